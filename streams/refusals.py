"""Records that go to dead-letter: one refusal a record, whatever was wrong with it, and with however many of its assets.

In:   what folding found wrong, piece by piece.
Out:  `Refused`. The part of the record that was good has been folded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streams.formats.limits import MOST_ASSETS
from streams.log_record import LogRecord
from twin.arena import Arena, FoldResult
from twin.reading import ReadingBatch

_MOST_NAMED = 5  # assets or channels that a message names
_MOST_MESSAGES = 10  # that are joined for one record
_TOLD_AGAIN = ("unknown-asset", "too-many-assets", "partition")  # by who folds the record again

Origin = Mapping[tuple[int, int], LogRecord]  # by partition and offset


@dataclass(frozen=True, slots=True)
class Refused:
    """One record that goes to dead-letter. The part of it that was good has been folded."""

    record: LogRecord
    reason: str
    message: str


def untimely(arena: Arena, batch: ReadingBatch, result: FoldResult, origin: Origin) -> Iterator[Refused]:
    """Refusals of values that came too late or too far ahead, one a record and reason."""
    for reason, positions in (("late", result.late), ("ahead", result.ahead)):
        if not len(positions):
            continue
        pairs, counts = np.unique(np.stack([batch.row[positions], batch.offset[positions]]), axis=1, return_counts=True)
        of_record: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for (row, offset), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
            of_record.setdefault((int(arena.partition[row]), offset), []).append((row, count))
        if reason == "late":
            why = f"its step had closed; the type allows {arena.type.lateness_ns / 1e9:g} s of lateness"
        else:
            allowed = (arena.type.max_ahead_ns or 0) / 1e9
            why = f"ahead of the record's timestamp by more than the {allowed:g} s that the type allows"
        for place, found in of_record.items():
            named = listed([str(arena.asset_of[row]) for row, _ in found])
            values = sum(count for _, count in found)
            yield Refused(origin[place], reason, f"{values} values of {named} came {reason}: {why}; the rest was used")


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are.

    >>> listed(["p1"]), listed([f"p{n}" for n in range(8)])
    ("'p1'", "'p0', 'p1', 'p2', 'p3', 'p4' and 3 more")
    """
    shown = ", ".join(repr(name[:80]) for name in names[:_MOST_NAMED])
    return shown + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")


def unknown(record: LogRecord) -> Refused:
    """Waited for a type for too long. The message is the same for each, however many assets of the record waited until when."""
    return Refused(
        record,
        "unknown-asset",
        "it speaks of an asset that is not declared, and no type could be told from what came of that one while the partition "
        "moved on; kept in dead-letter",
    )


def too_many(record: LogRecord, asset: str) -> Refused:
    """A new asset, when as many as may be have a home."""
    return Refused(
        record,
        "too-many-assets",
        f"asset {asset[:80]!r} is new, and {MOST_ASSETS:,} have a home already, which is all that may; kept in dead-letter; "
        "tombstones under home/<asset> free the places of assets that are gone",
    )


class HeldRefusals:
    """Refusals of assets that waited for a type or a home, held until nothing of their record waits any more.

    The assets of a table are given up one after the other; whoever reads dead-letter gets the record once for all of them.
    Nothing is lost with what is held: the log, and what `definitions` says of the assets, tell it again to who folds again.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], list[Refused]] = {}

    def settled(self, refused: Sequence[Refused], waits: Callable[[LogRecord], bool]) -> list[Refused]:
        """One a record: what was found now, and what was held of records of which nothing waits any more."""
        now: list[Refused] = []
        for place, held in list(self._held.items()):
            if not waits(held[0].record):
                now += self._held.pop(place)
        for one in refused:
            if one.reason in _TOLD_AGAIN and waits(one.record):
                self._held.setdefault((one.record.partition, one.record.offset), []).append(one)
            else:
                now.append(one)
        return one_a_record(now)

    def drop(self, partition: int) -> None:
        """Its next owner folds these records again."""
        self._held = {place: held for place, held in self._held.items() if place[0] != partition}


def one_a_record(refused: Sequence[Refused]) -> list[Refused]:
    """A record goes to dead-letter once, whatever was wrong with it; the first reason names it."""
    found: dict[tuple[int, int], dict[tuple[str, str], Refused]] = {}
    for one in refused:
        found.setdefault((one.record.partition, one.record.offset), {}).setdefault((one.reason, one.message), one)
    return [_joined(list(ones.values())) for ones in found.values()]


def _joined(ones: list[Refused]) -> Refused:
    if len(ones) == 1:
        return ones[0]
    messages = "; ".join(one.message for one in ones[:_MOST_MESSAGES])
    more = f"; and {len(ones) - _MOST_MESSAGES} more flaws" if len(ones) > _MOST_MESSAGES else ""
    return Refused(ones[0].record, ones[0].reason, messages + more)
