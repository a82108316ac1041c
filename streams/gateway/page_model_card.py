"""One version: its model card, as far as its record on `models` tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from streams.gateway.gateway import Gateway
from streams.gateway.page_html import Content, Html, chip, code, empty, esc, facts, link, small, table, tile
from streams.gateway.page_shell import markup, panel, set_content, shell
from streams.gateway.page_words import DECISION, OTHER
from streams.model_card import CAVEATS, NOT_FOR, USE, card, fault_columns, fault_rows, words
from streams.model_records import ModelVersion
from streams.wording import number

_ASSETS: Final = 12  # twins that are named


def card_href(name: str, version: str) -> str:
    return f"/model?name={quote(name, safe='')}&version={quote(version, safe='')}"


def build(gateway: Gateway, request: Request, name: str, version: str) -> None:
    with shell(gateway, request, active="models", title=f"{name} {version}".strip() or "Model card", subtitle="Model card"):
        model = gateway.views.models.get(name)
        if model is None or version not in model.versions:
            which = f"{code(version)} of {code(name)} is not known." if name else "Choose a version on the models page."
            markup(empty("No such version", which, link("/models", "To the models")), classes="lt-panel")
            return
        CardPage(gateway, name, version).build()


class CardPage:
    """Filled again when the record changes: a decision may follow."""

    def __init__(self, gateway: Gateway, name: str, version: str) -> None:
        self._gateway, self._name, self._version = gateway, name, version
        self._seen: ModelVersion | None = None

    def build(self) -> None:
        with ui.element("div").classes("lt-stack"):
            self._head = markup("")
            with ui.element("div").classes("lt-two even"):
                with ui.element("div").classes("lt-stack"):
                    self._gate = self._section("Gate", "this version beside the champion of that time")
                    self._faults = self._section("Faults told apart", "labelled periods that were left out")
                    self._training = self._section("Figures of training")
                    self._use = self._section("Use and caveats")
                with ui.element("div").classes("lt-stack"):
                    self._data = self._section("Training data")
                    self._left_out = self._section("Left out of training")
                    self._cost = self._section("Cost and software")
                    self._structure = self._section("Structure")
        self._tick()
        ui.timer(1.0, self._tick)

    def _section(self, title: str, about: str = "") -> ui.html:
        with panel(title, note=about), ui.element("div").classes("lt-body"):
            return markup("")

    def _tick(self) -> None:
        model = self._gateway.views.models.get(self._name)
        version = model.versions.get(self._version) if model is not None else None
        if version is None or version == self._seen:
            return
        self._seen = version
        found = card(version)
        set_content(self._head, _head(found))
        set_content(self._gate, _gate(found["gate"], found["stages"]))
        set_content(self._faults, _faults(found["faults"]))
        set_content(self._training, _figures(found["training"], "No version came of it."))
        set_content(self._data, _data(found["data"]))
        set_content(self._left_out, _figures(found["hygiene"], "Nothing is recorded."))
        set_content(self._cost, _cost(found["compute"]))
        set_content(self._structure, _structure(found))
        set_content(self._use, _use())


def _head(found: Mapping[str, Any]) -> str:
    model, decision = found["model"], found["decision"]
    energy = (found["compute"] or {}).get("energy")
    tiles = [
        tile("Version", model["version"], f"fine-tuned from {model['base']}" if model["base"] else "trained anew", small=True)
    ]
    if energy is not None:
        how = "measured" if energy["measured"] else "estimated"
        tiles.append(tile("Energy", f"{number(energy['wh'])} Wh", f"{how}; {number(energy['carbon_g'])} g CO₂e", small=True))
    if found["compute"] is not None:
        tiles.append(
            tile("CPU time", f"{number(found['compute']['cpu_s'])} s", f"in {number(found['compute']['wall_s'])} s", small=True)
        )
    if found["data"] is not None:
        tiles.append(tile("Twins", number(found["data"]["twins"]), f"{number(found['data']['days'])} days of steps", small=True))
    trigger = small(f"trained because of: {decision['trigger']}", "lt-muted") if decision["trigger"] else ""
    said = f"{chip(DECISION.get(decision['decision'], OTHER))} {small(decision['time'], 'lt-muted')} {trigger}"
    address = f"/v1/models/{quote(model['name'], safe='')}/versions/{quote(model['version'], safe='')}"
    links = f"{link(address, 'JSON')} · {link(f'{address}/card.md', 'Markdown')}"
    return (
        f'<div class="lt-panel"><div class="lt-body lt-stack"><div class="lt-row">{said}</div><p>{esc(decision["why"])}</p>'
        f'<div class="lt-tiles wide">{"".join(tiles)}</div><p>{small(Html(f"The same as {links}."), "lt-muted")}</p></div></div>'
    )


def _gate(gate: Mapping[str, Mapping[str, float]], stages: Sequence[Mapping[str, Any]]) -> str:
    said = facts((f"{'✓' if stage['passed'] else '✕'} {stage['name']}", stage["why"]) for stage in stages) if stages else ""
    if not gate:
        return said or small("It was not compared with anything.", "lt-muted")
    rows: list[tuple[Content, ...]] = [
        (words(name), number(sides.get("candidate")), number(sides.get("champion"))) for name, sides in gate.items()
    ]
    return f'<div class="lt-stack">{said}{table(["Figure", "This version", "Champion"], rows, right=[1, 2])}</div>'


def _faults(faults: Mapping[str, Any] | None) -> str:
    if faults is None:
        return small("Nobody has labelled a period of a twin of this type.", "lt-muted")
    heads = fault_columns(faults["classes"])
    matrix = table(heads, fault_rows(faults), right=range(1, len(heads))) if faults["classes"] else ""
    return f'<div class="lt-stack"><p>{esc(faults["why"])}</p>{matrix}</div>'


def _figures(figures: Mapping[str, float], nothing: str) -> str:
    if not figures:
        return small(nothing, "lt-muted")
    return facts((words(name), number(value)) for name, value in figures.items())


def _data(data: Mapping[str, Any] | None) -> str:
    if data is None:
        return small("Not recorded: there are no weights, or they are from before this was kept.", "lt-muted")
    named = ", ".join(data["assets"][:_ASSETS]) + (f" and {data['twins'] - _ASSETS} more" if data["twins"] > _ASSETS else "")
    rows: list[tuple[str, Content]] = [("from", data["from"]), ("to", data["to"]), ("step", f"{number(data['period_s'])} s")]
    return facts([*rows, ("channels", ", ".join(data["channels"])), ("twins", named)])


def _cost(compute: Mapping[str, Any] | None) -> str:
    if compute is None:
        return small("Not recorded.", "lt-muted")
    energy, rows = compute["energy"], list[tuple[str, Content]]()
    if energy is not None:
        rows.append(("processor", f"{number(energy['cpu_wh'])} Wh, {energy['source']}"))
        rows.append(("memory", f"{number(energy['ram_wh'])} Wh, estimated by its size"))
        rows.append(("GPU", f"{number(energy['gpu_wh'])} Wh"))
        rows.append(("greenhouse gas", f"{number(energy['carbon_g'])} g CO₂e, electricity of: {energy['grid']}"))
    else:
        rows.append(("energy", "not known"))
    return facts([*rows, ("device", compute["device"]), *sorted(compute["software"].items())])


def _structure(found: Mapping[str, Any]) -> str:
    model = found["model"]
    shape = [
        (words(name), ("yes" if value else "no") if isinstance(value, bool) else number(value))
        for name, value in (found["structure"] or {}).items()
    ]
    rows: list[tuple[str, Content]] = [*shape, ("tensor contract", Html(code(model["contract"])))]
    rows += [("seed", str(found["data"]["seed"]))] if found["data"] is not None else []
    rows += [("weights", Html(code(model["sha256"])))] if model["sha256"] else []
    return facts([*rows, *([("MLflow run", Html(code(model["run_id"])))] if model["run_id"] else [])])


def _use() -> str:
    caveats = "".join(f"<li>{esc(caveat)}</li>" for caveat in CAVEATS)
    return f'<div class="lt-stack"><p>{esc(USE)}</p><p><b>Not for:</b> {esc(NOT_FOR)}</p><ul>{caveats}</ul></div>'
