"""One sentence about a channel: what is off, by how much, and against what.

In:   `ChannelEvidence` with the detector that finds the channel strangest.
Out:  English, with short units. Pure: the same evidence gives the same words.
"""

from __future__ import annotations

from typing import Final

from models.fault_head import NORMAL
from streams.records import UNKNOWN_FAULT, ChannelEvidence, LikelyFault
from streams.wording import duration, number, unit

_LEAST_PROBABILITY: Final = 0.1  # of a class beside the first that is worth a word
_UNKNOWN: Final = {"far": "like no alert that people have labelled", "unsure": "too little speaks for any one label"}


def fault_words(found: LikelyFault) -> str:
    """Which fault an alert looks like.

    >>> fault_words(LikelyFault(label="leak", probabilities={"leak": 0.72, "normal": 0.2, "stuck": 0.08}))
    'leak (72 %), or a false alarm (20 %)'
    >>> fault_words(LikelyFault(label="unknown", probabilities={"leak": 0.9, "normal": 0.1}, why="far"))
    'unknown: like no alert that people have labelled'
    """
    if found.label == UNKNOWN_FAULT:
        return f"unknown: {_UNKNOWN.get(found.why or '', 'nothing can be said')}"
    told = [
        f"{'a false alarm' if label == NORMAL else label} ({probability:.0%})".replace("%", " %")
        for label, probability in found.probabilities.items()
        if label == found.label or probability >= _LEAST_PROBABILITY
    ]
    return ", or ".join(told)


def sentence(one: ChannelEvidence, *, alone: bool) -> str:
    """What the detector says of this channel; empty where no detector is named, as in older records.

    Args:
        alone: the twin has no other channel.

    >>> off = {"name": "pressure", "seen": 41.8, "expected": 44.9, "unit": "metre", "off": -3.1, "over_ns": 1200 * 10**9}
    >>> sentence(ChannelEvidence(**off, detector="level"), alone=False)
    'pressure is 3.1 m below what time of day and the other channels say, over the last 20 min'
    >>> sentence(ChannelEvidence(**off, detector="shift"), alone=False)
    'pressure stays 3.1 m below the forecast made before the last 20 min'
    >>> past = ChannelEvidence(name="flow", seen=9.0, expected=8.0, unit="litrePerSecond", off=1.0, detector="limit")
    >>> sentence(past, alone=True)
    'flow is 1 L/s above its limit of 8 L/s'
    >>> odd = {"name": "level", "unit": "metre", "seen": 610.0}
    >>> sentence(ChannelEvidence(**odd, expected=60.0, off=550.0, detector="out-of-range"), alone=False)
    'level is 550 m above what its sensor can say, 60 m'
    >>> sentence(ChannelEvidence(**odd, expected=6.1, detector="wrong-unit"), alone=False)
    'level says 610, out of range in m, and close to what it said before if read in another unit'
    >>> sentence(ChannelEvidence(name="flow", seen=None, expected=None, detector="silent", over_ns=3600 * 10**9), alone=True)
    'nothing has come for 1 h, while others of its type went on'
    >>> sentence(ChannelEvidence(name="flow", seen=9.0, expected=8.0), alone=False)
    ''
    """
    amount = f"{number(None if one.off is None else abs(one.off))} {unit(one.unit)}".strip()
    side = "above" if (one.off or 0.0) > 0 else "below"
    span = duration(one.over_ns or 0)
    match one.detector:
        case "forecast":
            return f"{one.name} is {amount} {side} the forecast made one step before"
        case "shift":
            return f"{one.name} stays {amount} {side} the forecast made before the last {span}"
        case "level":
            others = "" if alone else " and the other channels"
            return f"{one.name} is {amount} {side} what time of day{others} say{'s' if alone else ''}, over the last {span}"
        case "shape":
            usual = "moved as usual" if alone else "gone with the other channels as usual"
            return f"{one.name} has not {usual} over the last {span}, about {amount} {side}"
        case "pattern":
            return (
                f"{one.name} does not run as in any window shown before, over the last {span}, about {amount} {side} the nearest"
            )
        case "limit" if one.off is not None:
            return f"{one.name} is {amount} {side} its limit of {number(one.expected)} {unit(one.unit)}".rstrip()
        case "stuck":
            return f"{one.name} repeats {number(one.seen)} {unit(one.unit)}".rstrip() + " and moves no more"
        case "out-of-range" if one.off is not None:
            return f"{one.name} is {amount} {side} what its sensor can say, {number(one.expected)} {unit(one.unit)}".rstrip()
        case "wrong-unit":
            said = f"{one.name} says {number(one.seen)}, out of range in {unit(one.unit) or 'its unit'}"
            return f"{said}, and close to what it said before if read in another unit"
        case "silent":
            return f"nothing has come for {span}, while others of its type went on"
    return ""
