"""Which earlier alerts looked like this one: the same channels off to the same side, seen by the same detectors.

In:   evidence of alerts, as records carry it.
Out:  signatures, and the nearest of them by cosine.
Pure: no clock, no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from twin.alert_state import AlertState

LEAST_SIMILARITY = 0.8  # below, two alerts have too little in common to learn from each other
MOST_SIMILAR = 5
MOST_SIMILAR_COMMENT = 200  # characters

Signature = Mapping[str, float]
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class SimilarAlert:
    """An earlier alert of the same twin that looked much the same, as it was when the later one was shown."""

    id: str
    similarity: float
    condition: str
    onset_ns: int
    cleared_ns: int | None = None
    false_alarm: bool = False
    comment: str | None = None


def similar_alerts(alert: AlertState, past: Iterable[AlertState]) -> tuple[SimilarAlert, ...]:
    """The nearest of `past` that began before the alert and are of its type."""
    earlier = [one for one in past if one.id != alert.id and one.onset_ns < alert.onset_ns and one.type == alert.type]
    found = nearest(signature(alert.evidence), ((one, one.onset_ns, signature(one.evidence)) for one in earlier))
    return tuple(
        SimilarAlert(
            id=one.id,
            similarity=near,
            condition=one.condition,
            onset_ns=one.onset_ns,
            cleared_ns=one.cleared_ns,
            false_alarm=one.false_alarm_by is not None,
            comment=last_comment((line.by, line.text) for line in one.comments),
        )
        for one, near in found
    )


def last_comment(comments: Iterable[tuple[str, str]]) -> str | None:
    """The newest that a person wrote, of (by, text), cut.

    >>> last_comment([("kim", "Valve was closed."), ("livetwin", "cleared: …")])
    'Valve was closed.'
    """
    written = [text for by, text in comments if by != "livetwin"]
    return written[-1][:MOST_SIMILAR_COMMENT] if written else None


def signature(evidence: Mapping[str, Any]) -> Signature:
    """What an alert looks like, as a vector of length 1: each channel's contribution with the sign of its deviation, and each
    detector's share. Empty where the evidence tells neither.

    >>> one = {"channels": [{"name": "flow", "contribution": 0.6, "off": -2.0}], "detectors": {"level": 0.8}}
    >>> {name: round(size, 2) for name, size in signature(one).items()}
    {'channel flow': -0.6, 'detector level': 0.8}
    """
    found = {f"channel {one['name']}": _sign(one) * float(one.get("contribution") or 0.0) for one in evidence.get("channels", ())}
    found |= {f"detector {name}": float(share) for name, share in (evidence.get("detectors") or {}).items()}
    length = math.sqrt(sum(size * size for size in found.values()))
    return {name: size / length for name, size in found.items() if size} if length else {}


def similarity(one: Signature, other: Signature) -> float:
    """Cosine of two signatures, -1..1; 0 where one is empty. Rounded, so that a last bit decides nothing.

    >>> up, down = {"channel flow": 1.0}, {"channel flow": -1.0}
    >>> similarity(up, up), similarity(up, down), similarity(up, {})
    (1.0, -1.0, 0.0)
    """
    if len(other) < len(one):
        one, other = other, one
    return round(sum(size * other[name] for name, size in one.items() if name in other), 4) + 0.0


def nearest(own: Signature, past: Iterable[tuple[K, int, Signature]], *, most: int = MOST_SIMILAR) -> list[tuple[K, float]]:
    """The most similar of `past` (what, onset, signature), nearest first, the newer one first where two are as near."""
    near = [(similarity(own, signature), onset_ns, what) for what, onset_ns, signature in past]
    near = [one for one in near if one[0] >= LEAST_SIMILARITY]
    near.sort(key=lambda one: (-one[0], -one[1]))
    return [(what, found) for found, _, what in near[:most]]


def _sign(channel: Mapping[str, Any]) -> float:
    off = channel.get("off")
    if off is None and channel.get("seen") is not None and channel.get("expected") is not None:
        off = channel["seen"] - channel["expected"]
    return -1.0 if off is not None and off < 0 else 1.0
