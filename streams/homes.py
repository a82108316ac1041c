"""Which partition each asset lives on: claimed once, on `definitions`, before its first reading is folded.

Records of many assets share a partition, and a feeder may key them wrongly, so an asset can come on two partitions, whose
owners may be two processes. Whoever meets an asset without a home writes a claim (key `home/<asset>`) and waits until it has
read it back; the first claim in the log of `definitions`, which has one partition, is the asset's home for good. Records that
come elsewhere go to dead-letter. So no asset ever has two twins, and a replay decides as the first run did.

A claim that came second is younger than the one that counts, so compaction would keep the wrong one: the owner of the home
repeats its claim then. A tombstone under the key frees the asset.
"""

from __future__ import annotations

from streams.keyed_records import read_keyed
from streams.records import Record

PREFIX = "home/"


class AssetHome(Record):
    """`definitions`, key `home/<asset>`: the partition of telemetry that an asset's readings are taken from."""

    asset: str
    partition: int


class Homes:
    """Fold of the claims, in log order."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}
        self.disputed: set[str] = set()  # the newest claim in the log is not the one that counts

    def __len__(self) -> int:
        return len(self._of)

    def of(self, asset: str) -> int | None:
        return self._of.get(asset)

    def apply(self, name: str, value: bytes | None) -> bool:
        """Fold one claim; whether an asset's home changed. Raises RecordInvalid."""
        if value is None:
            self.disputed.discard(name.removeprefix(PREFIX))
            return self._of.pop(name.removeprefix(PREFIX), None) is not None
        claim = read_keyed(AssetHome, name, value, lambda one: PREFIX + one.asset)
        home = self._of.setdefault(claim.asset, claim.partition)
        if home != claim.partition:
            self.disputed.add(claim.asset)
            return False
        if claim.asset in self.disputed:
            self.disputed.discard(claim.asset)
            return False
        return True

    @staticmethod
    def claim(asset: str, partition: int) -> tuple[bytes, bytes]:
        """Key and value of a claim."""
        return f"{PREFIX}{asset}".encode(), AssetHome(asset=asset, partition=partition).to_bytes()
