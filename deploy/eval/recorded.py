"""Recorded figures: what an evaluation gave when it was last accepted, and what has fallen below it since.

In:   figures by part (which evaluation, with which settings); `recorded.json` beside this file.
Out:  what fell, in words; the file, written anew.

Figures are deterministic on one machine. Another processor sums in another order, so that a step at the edge of the threshold may
fall on its other side: the tolerance of a share is two of the faults it is taken over, and never less than `LEAST`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import orjson

from deploy.bench.figures import Figure, processor
from twin.errors import LivetwinError

RECORDED = Path(__file__).with_name("recorded.json")
LEAST = 0.02  # of a share
OF_100 = 1.5  # of the benchmark's figure
FEWEST = 10  # faults of a kind: shares of fewer are not held
_HIGHER = (
    "found within",
    "VUS-PR",
    "located",
    "top channel",
    "precision",
    "recall",
    "F1",
    "NAB, standard",
)
_LOWER = ("false alerts between",)


class NothingRecorded(LivetwinError):
    """There are no recorded figures, or the file can't be read."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A recorded figure, and how far a new one may be on the wrong side of it."""

    value: float
    tolerance: float
    better: Literal["higher", "lower"]

    @property
    def limit(self) -> float:
        return round(self.value + (self.tolerance if self.better == "lower" else -self.tolerance), 9)

    def holds(self, found: float) -> bool:
        return found >= self.limit if self.better == "higher" else found <= self.limit


@dataclass(slots=True)
class Comparison:
    fallen: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def bounds(figures: Sequence[Figure]) -> dict[str, Bound]:
    """What is held of some figures: those of which one side is worse."""
    faults = {one.measure.removesuffix(", faults"): one.value for one in figures if one.measure.endswith(", faults")}
    found = {}
    for one in figures:
        if ", beside " in one.measure or "scorer" in one.measure:
            continue
        if any(word in one.measure for word in _LOWER):
            found[one.measure] = Bound(one.value, round(max(0.25 * one.value, 0.005), 5), "lower")
        elif any(word in one.measure for word in _HIGHER):
            count = faults.get(", ".join(one.measure.split(", ")[:2]), faults.get("water, all", 1.0))
            if count < FEWEST and one.unit != "of 100":
                continue
            found[one.measure] = Bound(one.value, OF_100 if one.unit == "of 100" else round(max(LEAST, 2 / count), 4), "higher")
    return found


def write(parts: Mapping[str, Sequence[Figure]], path: Path) -> None:
    """Record these parts; others that the file has stay as they are."""
    known = read(path) if path.exists() else {}
    merged = {**known, **{part: bounds(figures) for part, figures in parts.items()}}
    content = {
        "machine": processor(),
        "parts": {part: {measure: asdict(one) for measure, one in sorted(of.items())} for part, of in sorted(merged.items())},
    }
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")


def read(path: Path) -> dict[str, dict[str, Bound]]:
    """Bounds by part and measure.

    Raises:
        NothingRecorded: no file, or not what `write` writes.
    """
    try:
        parts = orjson.loads(path.read_bytes())["parts"]
        return {part: {measure: Bound(**one) for measure, one in of.items()} for part, of in parts.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NothingRecorded(f"{path}: can't be read ({error!r}), expected what --record writes; nothing compared") from error


def compare(parts: Mapping[str, Sequence[Figure]], known: Mapping[str, Mapping[str, Bound]]) -> Comparison:
    """What of these parts fell below what is recorded: which, found, expected."""
    out = Comparison()
    for part, figures in parts.items():
        if part not in known:
            out.told.append(f"eval: {part}: nothing is recorded of it, not compared")
            continue
        found = {one.measure: one.value for one in figures}
        for measure, bound in known[part].items():
            if measure not in found:
                out.fallen.append(f"{measure}: not measured, recorded {bound.value:g}")
            elif not bound.holds(found[measure]):
                side = "at least" if bound.better == "higher" else "at most"
                out.fallen.append(f"{measure}: {found[measure]:g}, expected {side} {bound.limit:g} (recorded {bound.value:g})")
        out.told.append(f"eval: {part}: {len(known[part])} figures compared with the recorded ones")
    out.told += [f"eval: {part}: not measured now, not compared" for part in known if part not in parts]
    return out
