"""Claims of the partitions that new assets came on, from the time they are made until `definitions` tells who was first.

In:   assets without a home, and what `definitions` says meanwhile.
Out:  claims to publish. Nothing is claimed once MOST_ASSETS have a home: homes only grow in number, so whoever folds that stretch
      of the log again refuses the same assets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streams.batching import Place
from streams.formats.limits import MOST_ASSETS
from streams.homes import Homes


class Claims:
    """Of one process. `made`: whether it claims at all."""

    def __init__(self, homes: Homes, *, made: bool) -> None:
        self.made = made
        self._homes = homes
        self._under_way: set[str] = set()
        self._repeated: set[str] = set()  # assets whose disputed claim is under way again

    def has_room(self, asset: str) -> bool:
        """Whether the asset has a home, or may get one."""
        return len(self._homes) < MOST_ASSETS or self._homes.of(asset) is not None

    def of(self, asset: str, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """The claim of an asset, if it is not under way."""
        if asset not in self._under_way:
            self._under_way.add(asset)
            yield Homes.claim(asset, partition)

    def end(self, asset: str) -> None:
        """The asset is placed, or waits no longer."""
        self._under_way.discard(asset)

    def again(self, places_of: Mapping[str, Place]) -> Iterator[tuple[bytes, bytes]]:
        """A claim that came second is the newest of its key: the home of a twin that is ours is claimed again."""
        disputed = self._homes.disputed if self.made else set()
        self._repeated &= disputed
        for asset in sorted(disputed - self._repeated):
            place = places_of.get(asset)
            if place is not None and place.partition == self._homes.of(asset):
                self._repeated.add(asset)
                yield Homes.claim(asset, place.partition)
