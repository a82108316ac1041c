"""The versions that scored a stretch of the log before, loaded again: who folds it once more scores it with the same.

In:   switches as `models` records them.
Out:  which version scores from which offset on; None where its weights can't be loaded, and why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from models.port import Served, VersionRefused
from streams.canary import Divided
from streams.definitions import Definitions
from streams.model_records import Serving, Switch
from streams.models_topic import ModelsView
from streams.scoring import Switches
from streams.serving import NOT_HERE, VersionShelf, VersionsMissing
from twin.types import TwinType

log = logging.getLogger(__name__)


@dataclass(slots=True)
class PastVersions:
    """Switches of one model and partition, with the versions loaded."""

    switches: list[Switch]
    table: Switches = field(default_factory=Switches)
    missing: list[tuple[Switch, VersionRefused]] = field(default_factory=list)


async def past_versions(shelf: VersionShelf, switches: Iterable[Switch], contract: str) -> PastVersions:
    """Load what these switches name. A version that can't be loaded scores nothing; nobody else takes its place."""
    found = PastVersions(list(switches))
    for switch in found.switches:
        champion = await _loaded(shelf, switch, contract, found)
        if switch.canary is None:
            found.table.add(switch.offset, champion)
        else:
            named = {"version": switch.canary.version, "sha256": switch.canary.sha256, "uri": switch.canary.uri}
            canary = await _loaded(shelf, switch.model_copy(update=named), contract, found)
            found.table.add(switch.offset, Divided(champion, canary, switch.canary))
    return found


async def _loaded(shelf: VersionShelf, switch: Switch, contract: str, found: PastVersions) -> Served | None:
    try:
        return await shelf.past(switch, contract)
    except VersionRefused as refusal:
        found.missing.append((switch, refusal))
        return None


def recorded(view: ModelsView, partition: int) -> Iterator[tuple[str, Serving]]:
    """Who scored a partition, by model name."""
    for name in list(view.models):
        serving = view.serving(name, partition)
        if serving is not None:
            yield name, serving


class PastOf:
    """Versions that scored partitions which others owned before.

    Args:
        skip_missing: go on without weights that are not on this machine, their steps unscored.
    """

    def __init__(self, view: ModelsView, definitions: Definitions, shelf: VersionShelf, *, skip_missing: bool) -> None:
        self._view, self._definitions, self._shelf, self._skip_missing = view, definitions, shelf, skip_missing

    async def partition(self, partition: int, *, position: int, end: int) -> list[tuple[TwinType, PastVersions]]:
        """All switches of a partition up to where it ends, loaded from `position` on. Raises VersionsMissing."""
        out: list[tuple[TwinType, PastVersions]] = []
        for name, serving in recorded(self._view, partition):
            # beyond the end: recorded for a log that is no more
            switches = [switch for switch in serving.switches if switch.offset <= end]
            kind = self._definitions.by_slug(name)
            if kind is None or not switches:
                continue
            needed = max(sum(one.offset <= position for one in switches) - 1, 0)
            found = await past_versions(self._shelf, switches[needed:], kind.contract)
            self._refuse(name, partition, found)
            found.switches = switches
            out.append((kind, found))
        return out

    async def require(self) -> None:
        """For before a group is joined. Raises VersionsMissing where weights that serve now are not on this machine."""
        for name, model in list(self._view.models.items()):
            kind = self._definitions.by_slug(name)
            if kind is None:
                continue
            for partition, serving in list(model.serving.items()):
                self._refuse(name, partition, await past_versions(self._shelf, serving.switches[-1:], kind.contract))

    def _refuse(self, name: str, partition: int, found: PastVersions) -> None:
        for switch, refusal in found.missing:
            log.error("past-version-missing", extra={"model": name, "version": switch.version, "found": str(refusal)})
            if refusal.reason in NOT_HERE and not self._skip_missing:
                raise VersionsMissing(
                    f"{name} {switch.version} scored partition {partition} from offset {switch.offset} on, and its weights are "
                    f"not on this machine ({refusal.reason}: {refusal}). Nothing was taken over; a processor that has them can. "
                    "Where they are lost for good, LIVETWIN_MISSING_VERSIONS=skip goes on without: steps that they scored "
                    "come out unscored if they come out again"
                )
