"""What a version file holds of faults: labelled examples, and the head that was learnt from them, if it proved itself.

In:   `Faults`, or names from a version's header and arrays from its tensors.
Out:  the other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.fault_head import FaultHead, scaled
from models.fault_labels import Examples, LabelledPeriod

log = logging.getLogger(__name__)

PREFIX: Final = "faults."  # of its tensors


@dataclass(frozen=True, slots=True)
class FaultNames:
    """What the tensors speak of; a version without examples has neither."""

    classes: tuple[str, ...] = ()  # that the head tells apart; none: there is no head
    periods: tuple[LabelledPeriod, ...] = ()  # of the examples

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> FaultNames:
        return cls(tuple(found["classes"]), tuple(LabelledPeriod(**one) for one in found["periods"]))


NO_FAULTS = FaultNames()


@dataclass(frozen=True, slots=True)
class Faults:
    """What a version knows of faults. `head` None: too little was labelled, or it told them apart no better than chance."""

    examples: Examples
    head: FaultHead | None

    @property
    def names(self) -> FaultNames:
        return FaultNames(self.head.classes if self.head is not None else (), self.examples.periods)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The tensors, by name. Features have five digits, so float32 holds them whole."""
        found: dict[str, NDArray[Any]] = {
            "features": self.examples.features.astype(np.float32),
            "period": self.examples.period.astype(np.int64),
        }
        if (head := self.head) is not None:
            found |= {"centre": head.centre, "spread": head.spread, "weights": head.weights, "bias": head.bias}
            found |= {"share": head.share, "calibration": np.array([head.temperature, head.reach])}
        return {PREFIX + name: array for name, array in found.items()}

    @classmethod
    def from_arrays(cls, names: FaultNames, arrays: Mapping[str, NDArray[Any]], features: int) -> Faults | None:
        """What a version file holds; None where it holds nothing, or other features than this release tells.

        Raises:
            ValueError: it is not whole; the message says what was found and expected.
        """
        mine = {name.removeprefix(PREFIX): array for name, array in arrays.items()}
        if not mine and names == NO_FAULTS:
            return None
        k, p = len(names.classes), len(names.periods)
        m, f = mine["features"].shape if "features" in mine and mine["features"].ndim == 2 else (0, features)
        shapes: dict[str, tuple[int, ...]] = {"features": (m, f), "period": (m,)}
        if k:
            shapes |= {"centre": (f,), "spread": (f,), "weights": (k, f), "bias": (k,), "share": (k,), "calibration": (2,)}
        if sorted(mine) != sorted(shapes):
            raise ValueError(f"of faults it holds the tensors {sorted(mine)}, expected {sorted(shapes)}")
        kinds = {"features": np.float32, "period": np.int64}
        for name, shape in shapes.items():
            found, kind = mine[name], np.dtype(kinds.get(name, np.float64))
            if found.shape != shape or found.dtype != kind or not np.isfinite(found).all():
                bad = int((~np.isfinite(found)).sum())
                raise ValueError(
                    f"{PREFIX}{name} is {found.shape} of {found.dtype}, {bad} not finite; expected {shape} of {kind}"
                )
        places = mine["period"].tolist()
        if places != sorted(places) or set(places) != set(range(p)):
            raise ValueError(f"{PREFIX}period does not tell examples of each of {p} periods, in order")
        examples = Examples(mine["features"].astype(np.float64), mine["period"], names.periods)
        head = None
        if k:
            temperature, reach = mine["calibration"].tolist()
            above_none = temperature > 0 and all(bool((mine[name] > 0).all()) for name in ("spread", "share"))
            labels = {one.label for one in names.periods}
            if len(set(names.classes)) != k or k < 2 or not labels.issuperset(names.classes) or not above_none:
                told = f"classes {', '.join(names.classes)}, examples of {', '.join(sorted(labels))}, above 0: {above_none}"
                raise ValueError(f"its fault head has {told}; expected two different classes at least, with examples, and no 0")
            own = {name: mine[name] for name in ("centre", "spread", "weights", "bias", "share")}
            near = scaled(examples.of(names.classes).features, own["centre"], own["spread"])
            head = FaultHead(names.classes, **own, examples=near, temperature=temperature, reach=reach)
        if f != features:
            log.warning("faults-left-out", extra={"found": f"{f} features", "expected": f"{features} of this release"})
            return None
        return cls(examples, head)
