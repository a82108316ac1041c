"""The model card of a version: what it is, what it learnt from, how good it proved, what it took, what it is not for.

In:   the version's record on `models`, the one source of all of it.
Out:  the card as plain values (JSON), and as Markdown for people.
Pure: no clock, no I/O; same record, same card.

Source of the sections: Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from streams.model_records import ModelVersion
from streams.wording import number

HYGIENE: Final = "hygiene_"  # prefix of figures: what did not train, and why
_EXCLUDED: Final = "excluded_steps"
_SIDES: Final = ("candidate_", "champion_")  # prefixes of the gate's figures: this version, and the one that it was compared with
USE: Final = (
    "Forecasts the next steps of twins of this type, says how strange each step is, and raises alarms for people to look at. "
    "One version serves all twins of the type; each twin has an adapter, a scale and calibration tables of its own."
)
NOT_FOR: Final = (
    "Safety functions and protective trips; twins of another type; channels, units or a sampling period that differ from the "
    "contract (such weights are refused)."
)
CAVEATS: Final = (
    "A twin that came after training starts on the fleet's mean adapter.",
    "What begins so slowly that a window does not show it may pass for normal; limits of the type hold whatever the model says.",
    "The figures of the gate are of the newest steps at the time of training, not of a later season.",
)


def card(version: ModelVersion) -> dict[str, Any]:
    """All that is known of a version, by section. Fields are stable; more may be added."""
    origin, compute = version.origin, version.compute
    energy = compute.energy if compute is not None else None
    gate, rest = _split(version.figures)
    return {
        "model": {
            "name": version.name,
            "type": version.type,
            "version": version.version,
            "base": version.base,
            "sha256": version.sha256,
            "uri": version.uri,
            "contract": version.contract,
            "run_id": version.run_id,
        },
        "decision": {
            "decision": version.decision,
            "why": version.why,
            "time": _time(version.time_ns),
            "trigger": version.trigger,
        },
        "data": None
        if origin is None
        else {
            "from": _time(origin.data_from_ns),
            "to": _time(origin.data_to_ns),
            "days": round((origin.data_to_ns - origin.data_from_ns) / 86_400e9, 3),
            "period_s": origin.period_ns / 1e9,
            "twins": origin.twins,
            "assets": list(origin.assets),
            "channels": list(origin.channels),
            "seed": origin.seed,
        },
        "structure": None if origin is None else dict(origin.structure),
        "hygiene": {name.removeprefix(HYGIENE): value for name, value in rest.items() if _is_hygiene(name)},
        "training": {name: value for name, value in rest.items() if not _is_hygiene(name)},
        "gate": gate,
        "stages": [stage.model_dump() for stage in version.stages],
        "faults": None if version.faults is None else asdict(version.faults),
        "compute": None
        if compute is None
        else {**asdict(compute), "energy": None if energy is None else {"wh": energy.wh, **asdict(energy)}},
    }


def _is_hygiene(name: str) -> bool:
    return name.startswith(HYGIENE) or name == _EXCLUDED


def _split(figures: Mapping[str, float]) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """The gate's figures by name, each with those of `candidate` and `champion` that are there; and the others.

    >>> _split({"candidate_loss": 1.0, "champion_loss": 2.0, "twins": 3.0})
    ({'loss': {'candidate': 1.0, 'champion': 2.0}}, {'twins': 3.0})
    """
    gate: dict[str, dict[str, float]] = {}
    rest: dict[str, float] = {}
    for name, value in figures.items():
        side = next((one for one in _SIDES if one in name), None)
        if side is None:
            rest[name] = value
        else:
            gate.setdefault(name.replace(side, "", 1), {})[side.removesuffix("_")] = value
    return gate, rest


def markdown(found: Mapping[str, Any]) -> str:
    """A card as Markdown."""
    model, decision, data, compute = found["model"], found["decision"], found["data"], found["compute"]
    lines = [f"# {model['name']} {model['version']}", "", f"**{decision['decision']}** {decision['time']}: {decision['why']}", ""]
    about = [("type", model["type"]), ("fine-tuned from", model["base"] or "nothing: trained anew")]
    about += [("tensor contract", model["contract"]), ("weights sha256", model["sha256"] or "none: training gave no version")]
    about += [("trained because of", decision["trigger"])] if decision["trigger"] else []
    about += [("MLflow run", model["run_id"])] if model["run_id"] else []
    lines += ["## Model", *_rows(about)]
    lines += ["## Use", USE, "", f"Not for: {NOT_FOR}", ""]
    if data is not None:
        some = "" if len(data["assets"]) == data["twins"] else f", the first {len(data['assets'])}"
        told = [("event time", f"{data['from']} to {data['to']} ({number(data['days'])} days)")]
        told += [("step", f"{number(data['period_s'])} s"), ("channels", ", ".join(data["channels"]))]
        told += [("twins", f"{data['twins']}{some}: {', '.join(data['assets'])}")]
        lines += ["## Training data", *_rows(told)]
    if found["hygiene"]:
        lines += ["## Left out of training", *_rows((words(name), number(value)) for name, value in found["hygiene"].items())]
    if found["stages"]:
        words_of = ((f"{'passed' if stage['passed'] else 'failed'}: {stage['name']}", stage["why"]) for stage in found["stages"])
        lines += ["## Stages", *_rows(words_of)]
    if found["gate"]:
        lines += ["## Gate", "| figure | this version | champion then |", "|---|---:|---:|"]
        for name, sides in found["gate"].items():
            lines.append(f"| {words(name)} | {number(sides.get('candidate'))} | {number(sides.get('champion'))} |")
        lines.append("")
    if found["faults"]:
        lines += ["## Faults told apart", found["faults"]["why"], "", *_faults(found["faults"])]
    if found["training"]:
        lines += ["## Figures of training", *_rows((words(name), number(value)) for name, value in found["training"].items())]
    if found["structure"] is not None:
        shape = (
            (words(name), str(value) if isinstance(value, bool) else number(value)) for name, value in found["structure"].items()
        )
        lines += ["## Structure", *_rows([*shape, ("seed", str(data["seed"]))])]
    if compute is not None:
        lines += ["## Cost and software", *_rows(_cost(compute))]
    lines += ["## Caveats", *(f"- {caveat}" for caveat in CAVEATS)]
    return "\n".join(lines) + "\n"


def fault_columns(classes: Iterable[str]) -> list[str]:
    """Heads of the table of `fault_rows`."""
    return ["labelled", *(f"said {one}" for one in classes), "precision", "recall", "F1"]


def fault_rows(faults: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The confusion matrix of periods that were left out, with the figures of each class."""
    figures = zip(faults["classes"], faults["confusion"], faults["precision"], faults["recall"], faults["f1"], strict=True)
    return [(name, *map(str, counts), *map(number, shown)) for name, counts, *shown in figures]


def _faults(faults: Mapping[str, Any]) -> list[str]:
    if not faults["classes"]:
        return []
    heads = fault_columns(faults["classes"])
    table = ["| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *fault_rows(faults))]
    return [*table, ""]


def _cost(compute: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("time", f"{number(compute['wall_s'])} s, {number(compute['cpu_s'])} s of CPU, on {compute['device']}")]
    energy = compute["energy"]
    if energy is None:
        rows.append(("energy", "not known"))
    else:
        parts = f"processor {number(energy['cpu_wh'])}, memory {number(energy['ram_wh'])}, GPU {number(energy['gpu_wh'])}"
        rows.append(("energy", f"{number(energy['wh'])} Wh ({parts})"))
        rows.append(("how that is known", f"{energy['source']}; memory by its size"))
        rows.append(("greenhouse gas", f"{number(energy['carbon_g'])} g CO2e, electricity of: {energy['grid']}"))
    return rows + [(name, text) for name, text in sorted(compute["software"].items())]


def _rows(rows: Iterable[tuple[str, Any]]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {str(value).replace('|', '/')} |" for name, value in rows), ""]


def words(name: str) -> str:
    """A figure's name for people.

    >>> words("share_p05"), words("wrong-unit")
    ('share p05', 'wrong-unit')
    """
    return name.replace("_", " ")


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
