"""What a processor holds of each partition that it owns.

In:   offsets, epochs, announced switches.
Out:  a plain record for `streams.partitions`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.micro_batch import Reached
from streams.model_records import Switch


@dataclass(slots=True)
class Owned:
    """One owned partition."""

    position: int  # next offset to fold
    silent_until: int  # outputs of steps closed below this offset are out already
    epoch: int
    begin: int  # where the log began when we took over: switches from there on are kept, for who replays it
    mark: int  # offset of the newest checkpoint
    settled_until: int  # up to here an owner before us may have written outputs: no switch before it
    scored: Reached  # behind `position` while a batch is folded but not scored
    writer: str = ""  # our name on `twin.checkpoint` since we took over
    earlier: set[bytes] = field(default_factory=set)  # keys of those who took over before us, until our first mark
    refused: set[bytes] = field(default_factory=set)  # keys of checkpoints that could not be used, until they are replaced
    switches: dict[str, list[Switch]] = field(default_factory=dict)  # model name → announced switches
    newest_ns: dict[str, int] = field(default_factory=dict)  # model name → end of the newest scored step

    @property
    def free_from(self) -> int:
        """From which offset on terms may change: nobody before us has written outputs there."""
        return max(self.position, self.settled_until)

    def withdrawn(self, held: set[bytes]) -> list[bytes]:
        """Keys of checkpoints that could not be used and of which the log has nothing, once it was folded again.

        They are to be deleted, or each owner to come would fold the partition again. `held`: keys that are written anew.
        """
        if not self.refused or self.scored.position < self.silent_until:
            return []
        gone, self.refused = sorted(self.refused - held), set()
        return gone
