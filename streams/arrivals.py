"""Whether steps still come, by the wall clock: told where a whole type, partition or source stands still.

In:   when the broker got each `twin.state` record, by type and partition; what time it is now.
Out:  `Arrival`s: since when nothing has come from the twins of a type on a partition, and from when on that is too long.
Pure: no clock, no I/O. Beside the log: who is `silent` is told in event time (`twin.silence`), which stands still with
its source.

How long is too long is read off how steps have come: PAUSES times the pause in which half of the time went by, so a source that
sends each hour in one go is asked after six hours, one that sends each second after a minute. A pause that was too long counts
twice the limit at most: an outage is soon forgotten, and a slower rhythm is learnt after a few words too many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import Field

from streams.records import Record

PAUSES: Final = 6
LEAST_MS: Final = 60_000
BURST_MS: Final = 1000  # what comes within so long came in one go
KNOWN_MS: Final = 3_600_000  # so long a rhythm is watched before it is relied on; till then a limit is
UNKNOWN_MS: Final = 600_000  # at least
_KEPT: Final = 64  # pauses

Place = tuple[str, int]  # DTMI, partition


@dataclass(frozen=True, slots=True)
class Arrival:
    """Of the twins of one type on one partition. Wall clock, milliseconds since 1970."""

    type: str
    partition: int
    twins: int
    last_ms: int
    limit_ms: int  # how long nothing may come
    quiet: bool


class Quiet(Record):
    """`monitoring`, key `quiet/<type>/<partition>`: whether anything comes from the twins of a type on a partition."""

    kind: Literal["quiet"] = "quiet"
    type: str = Field(description="DTMI")
    partition: int
    quiet: bool = Field(description="whether nothing comes")
    twins: int = Field(description="that it is of")
    since_ns: int = Field(description="wall clock of the last step that came")
    limit_ns: int = Field(description="so long nothing may come, as steps came so far")

    @property
    def key(self) -> bytes:
        return f"quiet/{self.type}/{self.partition}".encode()


@dataclass(slots=True)
class _Rhythm:
    last_ms: int
    watched_ms: int = 0
    pauses: deque[int] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def limit_ms(self, unknown_ms: int) -> int:
        found = max(LEAST_MS, PAUSES * self._usual_ms())
        return found if self.watched_ms >= KNOWN_MS else max(found, unknown_ms, UNKNOWN_MS)

    def _usual_ms(self) -> int:
        """Half of the time went by in pauses no longer than this."""
        gone, half = 0, sum(self.pauses) / 2
        for pause in sorted(self.pauses):
            gone += pause
            if gone >= half:
                return pause
        return 0


class Arrivals:
    """By type and partition when steps came. `known`: where nothing comes, as `monitoring` has it."""

    def __init__(self) -> None:
        self._rhythms: dict[Place, _Rhythm] = {}
        self.known: set[Place] = set()

    def take(self, record: Quiet) -> None:
        """Somebody has told it: another gateway, or this one before it was started again."""
        place = (record.type, record.partition)
        if record.quiet:
            self.known.add(place)
        else:
            self.known.discard(place)

    def put(self, type: str, partition: int, time_ms: int, *, live: bool) -> None:
        """A step came. `live`: all that came before it was told too, so the pause counts."""
        found = self._rhythms.setdefault((type, partition), _Rhythm(time_ms))
        pause = time_ms - found.last_ms
        if pause < BURST_MS:
            return  # the last one stays where it is, or a stream without pauses would never have one
        if live:
            pause = min(pause, 2 * found.limit_ms(0))
            found.pauses.append(pause)
            found.watched_ms += pause
        found.last_ms = time_ms

    def told(self, now_ms: int, twins: Mapping[Place, int], unknown_ms: Callable[[str], int]) -> list[Arrival]:
        """By type and partition.

        Args:
            twins: how many there are; who has none is left out.
            unknown_ms: how long nothing may come of a type while its rhythm is not known.
        """
        found = []
        for (type, partition), count in sorted(twins.items()):
            rhythm = self._rhythms.get((type, partition))
            if rhythm is not None and count:
                limit = rhythm.limit_ms(unknown_ms(type))
                found.append(Arrival(type, partition, count, rhythm.last_ms, limit, now_ms - rhythm.last_ms > limit))
        return found
