"""Epoch fencing: which history blocks a store takes, so that a processor that woke up too late changes nothing.

In:   blocks in the order of their log.
Out:  admitted or not, and the fence rows that changed, for the store to keep.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

from streams.history import HistoryBlock

# A consumer group's generation starts again at 1 once the group's offsets have expired (7 days by default). A zombie wakes up
# within minutes. So an epoch that falls after a day without records is a new life of the group, and is let through.
NEW_LIFE_AFTER_MS = 24 * 3_600_000
_KEEP_TIME_EVERY_MS = 600_000


@dataclass(frozen=True, slots=True)
class Fence:
    """The newest epoch seen of one partition of one log, and the timestamp of the newest record that carried it."""

    log: str
    partition: int
    epoch: int
    written_ms: int


class EpochFence:
    """Fences of all partitions. Epochs of different logs (clusters) are never compared.

    `admit` changes what is seen; `changed` gives what has to be kept with the blocks, `kept` forgets it once it is.
    """

    def __init__(self, fences: list[Fence] | None = None) -> None:
        self._kept = {(fence.log, fence.partition): fence for fence in fences or []}
        self._seen = dict(self._kept)

    def admit(self, block: HistoryBlock) -> bool:
        """Whether this block may be written; remembers its epoch if so."""
        key = (block.log, block.partition)
        seen = self._seen.get(key)
        if seen is not None and block.epoch < seen.epoch:
            if not (seen.written_ms and block.written_ms - seen.written_ms >= NEW_LIFE_AFTER_MS):
                return False
        elif seen is not None and block.epoch == seen.epoch and block.written_ms <= seen.written_ms:
            return True
        self._seen[key] = Fence(block.log, block.partition, block.epoch, block.written_ms)
        return True

    def learn(self, fences: list[Fence]) -> None:
        """What other writers of the store have kept meanwhile; what was seen here stays where it is newer."""
        for fence in fences:
            key = (fence.log, fence.partition)
            for known in (self._kept, self._seen):
                here = known.get(key)
                if here is None or (here.written_ms, here.epoch) < (fence.written_ms, fence.epoch):
                    known[key] = fence

    def changed(self) -> list[Fence]:
        """Fences that differ from what is kept: at once by epoch, every ten minutes by time."""
        return [fence for key, fence in self._seen.items() if _worth_keeping(self._kept.get(key), fence)]

    def kept(self, fences: list[Fence]) -> None:
        """The store has committed these."""
        self._kept.update({(fence.log, fence.partition): fence for fence in fences})

    def undo(self) -> None:
        """The store could not commit: go back to what is kept."""
        self._seen = dict(self._kept)


def _worth_keeping(kept: Fence | None, seen: Fence) -> bool:
    return kept is None or kept.epoch != seen.epoch or seen.written_ms - kept.written_ms >= _KEEP_TIME_EVERY_MS
