"""Models: which version serves, how good it is, why each update was promoted or refused; promote, roll back, train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from streams.alarm_rates import AlarmCount, ModelAlarms
from streams.gateway.commands import ModelAction
from streams.gateway.gateway import Gateway
from streams.gateway.page_html import Content, Html, chip, code, empty, esc, link, note, small, table, tile, two_lines
from streams.gateway.page_model_card import card_href
from streams.gateway.page_shell import explain, markup, set_content, shell
from streams.gateway.page_words import DECISION, OTHER, clock
from streams.gateway.problem import ApiError
from streams.model_records import ModelVersion
from streams.models_topic import ModelView
from streams.wording import number

_SHOWN: Final = 12  # versions
_CHOICES: Final = 30  # versions that can be promoted by hand
_COLUMNS: Final = 3  # figures beside each version
_TELLING_ALARMS: Final = 1.0  # asked for, below which a ratio says nothing
# the trainer's figures that say most, and what they are called here; others follow by their own name
_FIGURES: Final = {
    "candidate_loss": "hold-out loss",
    "candidate_share_p05": "share of p < 0.05",
    "candidate_alarms": "hold-out alarms",
    "champion_loss": "loss of the one before",
    "twins": "twins learnt",
    "parameters": "parameters",
    "seconds": "training, seconds",
}


def build(gateway: Gateway, request: Request) -> None:
    subtitle = "What has been learnt, which version serves, and why"
    with shell(gateway, request, active="models", title="Models", subtitle=subtitle):
        explain(
            "What learning means here",
            "Each twin type has one model. It forecasts the next step of every twin and learns from the stream itself. On a "
            "timer the "
            "<b>trainer</b> fine-tunes a copy on the newest good readings, leaving out periods under an alert.",
            "The copy then has to <b>prove itself</b> against the version that serves now, the <b>champion</b>, on the "
            "newest readings, "
            "which neither has learnt from. If it is better, it is promoted, and every processor swaps it in between two "
            "batches, "
            "without a pause. If not, it is <b>refused</b>, and the reason stands here.",
            "A file that is damaged or does not fit is refused by the processors: the old version keeps serving.",
        )
        ModelsPage(gateway).build()


class ModelsPage:
    """One panel a model; built once, filled again when something changed."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._panels: dict[str, _ModelPanel] = {}
        self._seen: tuple[Any, ...] | None = None

    def build(self) -> None:
        self._empty = markup("")
        self._stack = ui.element("div").classes("lt-stack")
        self._tick()
        ui.timer(1.0, self._tick)

    def _tick(self) -> None:
        views = self._gateway.views
        seen = (views.models_revision, views.alarm_rates.revision, views.definitions.revision, len(views.twins) == 0)
        if seen == self._seen:
            return
        self._seen = seen
        for name in sorted(views.models.models):
            if name not in self._panels:
                with self._stack:
                    self._panels[name] = _ModelPanel(self._gateway, name)
            self._panels[name].fill(views.models.models[name])
        set_content(self._empty, "" if self._panels else f'<div class="lt-panel">{self._nothing()}</div>')

    def _nothing(self) -> str:
        twins = len(self._gateway.views.twins)
        if not twins:
            return empty("No model yet", 'No twin has sent readings. The <a href="/">fleet page</a> says how to feed them.')
        words = "The first model of a type is trained once it has seen enough steps to know what is normal."
        return empty("No model yet", f"{twins:,} twins are collecting readings. {words}")


class _ModelPanel:
    """One model."""

    def __init__(self, gateway: Gateway, name: str) -> None:
        self._gateway = gateway
        self._name = name
        with ui.element("section").classes("lt-panel"):
            with ui.element("header"):
                self._title = markup("").style("flex:1 1 auto")
                with ui.element("div").classes("lt-row"):
                    self._button("Train now", "train")
                    self._back = self._button("Roll back", "rollback")
                    self._choice = ui.select([], on_change=self._chosen).classes("lt-field")
                    self._choice.props(
                        'outlined dense options-dense aria-label="Version to promote" display-value="Choose a version"'
                    )
                    self._promote = self._button("Promote", "promote")
            self._body = markup("")
            self._history = markup("")
            self._foot = markup("", classes="lt-body")

    def _button(self, text: str, action: ModelAction) -> ui.button:
        return ui.button(text, on_click=lambda: self._ask(action), color=None).props("flat no-caps").classes("lt-btn")

    def _chosen(self) -> None:
        self._promote.set_enabled(bool(self._choice.value))
        self._choice.props(f'display-value="{self._choice.value or "Choose a version"}"')

    async def _ask(self, action: ModelAction) -> None:
        version = str(self._choice.value) if action == "promote" and self._choice.value else None
        try:
            await self._gateway.operator.model(self._name, action, by="operator", version=version)
        except ApiError as error:
            ui.notify(error.detail, type="negative", timeout=8000)
            return
        ui.notify("Asked the trainer. The outcome shows here, with its reason.", type="info")

    def fill(self, model: ModelView) -> None:
        views = self._gateway.views
        alias = model.alias
        kind = views.type_name(model.type) if model.type else self._name
        pending = "".join(chip(OTHER, f"asked: {command.action}") for command in model.pending())
        set_content(self._title, f'<div class="lt-row"><h2>{esc(kind)}</h2>{code(self._name, "lt-muted")}{pending}</div>')
        self._back.set_enabled(alias is not None and alias.previous is not None)
        versions = [one.version for one in model.history() if alias is None or one.version != alias.champion][:_CHOICES]
        if versions != self._choice.options:
            self._choice.set_options(versions, value=self._choice.value if self._choice.value in versions else None)
        self._promote.set_enabled(bool(self._choice.value))
        set_content(self._body, _champion(model, views.alarm_rates.of(self._name)))
        set_content(self._history, _history(model))
        set_content(self._foot, _serving(model))


def _figure_name(name: str) -> str:
    return _FIGURES.get(name, name.replace("_", " "))


def _telling(figures: Mapping[str, float]) -> list[tuple[str, float]]:
    """The figures that say most, then others until there are as many."""
    names = [name for name in _FIGURES if name in figures] + [name for name in figures if name not in _FIGURES]
    return [(name, figures[name]) for name in names[: len(_FIGURES)]]


def _champion(model: ModelView, alarms: ModelAlarms | None) -> str:
    alias = model.alias
    if alias is None:
        words = "No version serves yet: none has proved itself so far. Its twins are learning and raise nothing."
        return f'<div class="lt-body lt-soft">{words}</div>'
    champion = model.champion
    figures = _telling(champion.figures) if champion is not None else []
    since = f"since {clock(alias.since_ns, seconds=False)}"
    champions = Html(link(card_href(model.name, alias.champion), alias.champion))
    tiles = [tile("Champion", champions, since, tone=DECISION["champion"], mark=True, small=True)]
    if alarms is not None:
        label = "Alarms since it serves" if alarms.newest.version == alias.champion else "Alarms of the one before"
        tiles.append(_alarms("Alarms in a week", alarms.week))
        tiles.append(_alarms(label, alarms.since_version))
    tiles += [tile(_figure_name(name), number(value), small=True) for name, value in figures]
    energy = champion.compute.energy if champion is not None and champion.compute is not None else None
    if energy is not None:
        how = f"{'measured' if energy.measured else 'estimated'}, {number(energy.carbon_g)} g CO₂e"
        tiles.append(tile("Energy of the update", f"{number(energy.wh)} Wh", how, small=True))
    why = alias.why or (champion.why if champion is not None else "")
    where = "in the shadow" if alias.canary is None else f"serves {alias.canary.share:.0%} of the twins"
    challenger = f"<p>{small(Html(f'Challenger: {code(alias.challenger)}, {where}'))}</p>" if alias.challenger else ""
    return f'<div class="lt-body lt-stack"><div class="lt-tiles wide">{"".join(tiles)}</div><p>{small(why)}</p>{challenger}</div>'


def _alarms(label: str, count: AlarmCount) -> str:
    """Raised beside asked for; the ratio where enough were asked for to tell one."""
    ratio = "" if count.ratio is None or count.expected < _TELLING_ALARMS else f", {count.ratio:.2f} of it"
    return tile(label, str(count.alarms), f"{number(round(count.expected, 1))} asked for{ratio}", small=True)


def _history(model: ModelView) -> str:
    versions = model.history()
    if not versions:
        return ""
    names = _shared_figures(versions[:_SHOWN])
    rows: list[tuple[Content, ...]] = [
        (
            two_lines(Html(link(card_href(one.name, one.version), one.version)), clock(one.time_ns)),
            Html(chip(DECISION.get(one.decision, OTHER))),
            *(number(one.figures.get(name)) for name in names),
            Html(f'<div class="lt-why lt-small">{esc(one.why)}{_stages(one)}</div>'),
        )
        for one in versions[:_SHOWN]
    ]
    places = range(2, 2 + len(names))
    heads = ["Version", "Decision", *map(_figure_name, names), "Why"]
    found = table(heads, rows, right=places, hide_on_phone=places)
    if len(versions) > _SHOWN:
        older = f"{len(versions) - _SHOWN} older versions: {link(f'/v1/models/{model.name}', 'as JSON')}"
        found += f'<p style="padding:8px 16px">{small(Html(older), "lt-muted")}</p>'
    return found


def _stages(version: ModelVersion) -> str:
    """Each stage with its word, folded away."""
    if not version.stages:
        return ""
    lines = "".join(
        f"<li>{'✓' if stage.passed else '✕'} <b>{esc(stage.name)}</b>: {esc(stage.why)}</li>" for stage in version.stages
    )
    passed = sum(stage.passed for stage in version.stages)
    return f"<details><summary>{passed} of {len(version.stages)} stages passed</summary><ul>{lines}</ul></details>"


def _shared_figures(versions: list[ModelVersion]) -> list[str]:
    """A few figures that most versions have, so that they can be compared down the column."""
    count: dict[str, int] = {}
    for one in versions:
        for name, _ in _telling(one.figures):
            count[name] = count.get(name, 0) + 1
    return [name for name, times in count.items() if times * 2 >= len(versions)][:_COLUMNS]


def _serving(model: ModelView) -> str:
    parts = []
    by_version: dict[str, list[int]] = {}
    for partition, serving in sorted(model.serving.items()):
        if serving.switches:
            newest = serving.switches[-1]
            for version in (newest.version, *([newest.canary.version] if newest.canary is not None else ())):
                by_version.setdefault(version, []).append(partition)
    if by_version:
        says = "; ".join(f"{code(version)} on partition {', '.join(map(str, on))}" for version, on in by_version.items())
        parts.append(f"<p>{small(Html(f'<b>Serving now:</b> {says}.'))}</p>")
    else:
        parts.append(f"<p>{small('No processor has answered yet that it serves a version.', 'lt-muted')}</p>")
    for refusal in sorted(model.refusals.values(), key=lambda one: one.time_ns, reverse=True)[:6]:
        title = f"<b>✕ {esc(refusal.version)} could not be served</b> {small(clock(refusal.time_ns), 'lt-muted')}"
        keeps = f"{code(refusal.serving)} keeps serving." if refusal.serving else "No version serves."
        parts.append(note("critical", f"{title}<br>{esc(refusal.reason)}. {keeps}"))
    return f'<div class="lt-stack" style="gap:8px">{"".join(parts)}</div>'
