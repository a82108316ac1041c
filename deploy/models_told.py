"""What `livetwin models` tells: summaries, differences, exports, as plain values and as text.

In:   the view of `models`; weights where they are needed.
Out:  dictionaries for scripts, tables for people, files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from deploy.text_table import aligned
from models.port import VersionRefused
from models.weight_distance import tensor_distances
from models.weight_sources import WeightSources
from models.weights import SUFFIX
from streams.model_card import card, markdown, words
from streams.model_orders import ModelUnknown
from streams.model_records import ModelVersion
from streams.models_topic import ModelsView
from streams.wording import number

_FIRST_WORDS = 90  # characters of a reason in a table


def summaries(view: ModelsView) -> list[dict[str, Any]]:
    """One a model, by name."""
    found = []
    for name, model in sorted(view.models.items()):
        history = model.history()
        alias, newest = model.alias, history[0] if history else None
        found.append(
            {
                "name": name,
                "type": model.type,
                "champion": alias.champion if alias else None,
                "since": _time(alias.since_ns) if alias else None,
                "challenger": alias.challenger if alias else None,
                "canary_share": alias.canary.share if alias and alias.canary else None,
                "versions": len(history),
                "last": None
                if newest is None
                else {"version": newest.version, "decision": newest.decision, "why": newest.why, "time": _time(newest.time_ns)},
            }
        )
    return found


def summary_table(found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return "no model yet: the trainer makes the first of a type once it has seen enough steps"
    heads = ["model", "champion", "since", "challenger", "versions", "last decision"]
    rows = []
    for one in found:
        last = one["last"]
        told = "" if last is None else f"{last['version']} {last['decision']}: {last['why'].removeprefix('refused: ')}"
        short = told if len(told) <= _FIRST_WORDS else told[: _FIRST_WORDS - 1] + "…"
        tried = f" on {one['canary_share']:.0%} of the twins" if one["canary_share"] else ""
        challenger = f"{one['challenger']}{tried}" if one["challenger"] else "–"
        rows.append([one["name"], one["champion"] or "–", one["since"] or "–", challenger, str(one["versions"]), short])
    return aligned(heads, rows, right=[4])


def version_of(view: ModelsView, name: str, version: str | None) -> ModelVersion:
    """The version, or the champion. A beginning that only one version has is enough.

    Raises:
        ModelUnknown: none such, or several.
    """
    model = view.get(name)
    if model is None:
        raise ModelUnknown(f"no model {name!r}, expected one of: {', '.join(sorted(view.models)) or 'none yet'}")
    if version is None:
        if model.champion is None:
            raise ModelUnknown(f"{name} has no champion yet; name one of its versions: {_newest(model.versions)}")
        return model.champion
    fitting = [one for one in model.history() if one.version == version or one.version.startswith(version)]
    exact = [one for one in fitting if one.version == version]
    if len(exact or fitting) != 1:
        found = "no version" if not fitting else f"{len(fitting)} versions that begin with"
        raise ModelUnknown(f"{name} has {found} {version!r}, expected one of: {_newest(model.versions)}")
    return (exact or fitting)[0]


def _newest(versions: Iterable[str]) -> str:
    return ", ".join(sorted(versions, reverse=True)[:8]) or "none"


def differences(before: ModelVersion, after: ModelVersion, weights: WeightSources) -> dict[str, Any]:
    """Two versions of one model, section by section: [name, before, after] of what either has."""
    old, new = card(before), card(after)
    sections = {
        title: _both(_flat(old[title]), _flat(new[title])) for title in ("data", "hygiene", "gate", "training", "structure")
    }
    sections["cost"] = _both(_flat(old["compute"]), _flat(new["compute"]))
    found: dict[str, Any] = {"model": before.name, "before": before.version, "after": after.version, "sections": sections}
    found["decisions"] = [old["decision"], new["decision"]]
    if not (before.uri and after.uri):
        return found | {"weights": None, "weights_why": "a version without weights: its training failed"}
    try:
        payloads = _weights(before, weights), _weights(after, weights)
    except VersionRefused as error:
        return found | {"weights": None, "weights_why": str(error)}
    return found | {"weights": [asdict(one) for one in tensor_distances(*payloads)], "weights_why": None}


def _flat(section: Mapping[str, Any] | None) -> dict[str, Any]:
    """Names and values; a section within is told by its own name before."""
    found: dict[str, Any] = {}
    for name, value in (section or {}).items():
        if isinstance(value, Mapping):
            found |= {f"{name} {inner}": told for inner, told in _flat(value).items()}
        elif isinstance(value, list):
            found[name] = ", ".join(map(str, value))
        else:
            found[name] = value
    return found


def _both(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[list[Any]]:
    return [[name, old.get(name), new.get(name)] for name in dict.fromkeys([*old, *new])]


def differences_text(found: Mapping[str, Any]) -> str:
    heads = ["", found["before"], found["after"], ""]
    parts = [f"{found['model']}: {found['before']} → {found['after']}"]
    for version, decision in zip((found["before"], found["after"]), found["decisions"], strict=True):
        parts.append(f"{version} {decision['decision']} {decision['time']}: {decision['why']}")
    for title, rows in found["sections"].items():
        alike = title in ("structure", "cost", "data")  # long lists of what mostly stays
        shown = [row for row in rows if not alike or row[1] != row[2]]
        if shown:
            parts += ["", f"{title}:", aligned(heads, [_row(*row) for row in shown], right=[1, 2])]
        elif rows:
            parts += ["", f"{title}: the same"]
    parts.append("")
    if found["weights"] is None:
        return "\n".join([*parts, f"weights: not compared: {found['weights_why']}"])
    rows = [
        [one["name"], _shape(one), number(one["l2"]), number(one["relative"]), number(one["largest"])] for one in found["weights"]
    ]
    table = aligned(["tensor", "shape", "distance", "relative", "largest"], rows, right=[2, 3, 4])
    return "\n".join([*parts, "weights:", table])


def _row(name: str, old: Any, new: Any) -> list[str]:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (old, new))
    return [words(name), _cell(old), _cell(new), f"{new - old:+.4g}" if numbers and new != old else ""]


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return number(value)


def _shape(one: Mapping[str, Any]) -> str:
    sides = ["none" if side is None else "×".join(map(str, side)) or "1" for side in (one["before"], one["after"])]
    return sides[0] if sides[0] == sides[1] else " → ".join(sides)


def export_version(version: ModelVersion, weights: WeightSources, folder: Path) -> list[Path]:
    """Write weights and card; the paths.

    Raises:
        VersionRefused: the weights are not here, or not what was announced; nothing was written.
    """
    written: list[Path] = []
    payload = _weights(version, weights) if version.uri else b""
    folder.mkdir(parents=True, exist_ok=True)
    found = card(version)
    files = {f"{version.version}{SUFFIX}": payload} if payload else {}
    files |= {f"{version.version}.md": markdown(found).encode()}
    files |= {f"{version.version}.json": orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
        written.append(folder / name)
    return written


def _weights(version: ModelVersion, weights: WeightSources) -> bytes:
    """Raises VersionRefused: missing, or hash."""
    payload, place = weights.read(version.uri, version.sha256)
    found = hashlib.sha256(payload).hexdigest()
    if found != version.sha256:
        raise VersionRefused(
            "hash", f"weights {place}: sha256 is {found[:12]}…, expected {version.sha256[:12]}…; they were not used"
        )
    return payload


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
