"""Assets whose type could not be told: which of their readings were given up, so that whoever folds them again does the same.

Records of an undeclared asset wait for their type, and what waits holds back the offset that is committed. So the wait has a
bound (`streams/placing.py`). An asset may be declared right after its wait was over: the owner of its partition therefore writes
down, on `definitions` (key `unknown/<asset>`), before which offset its readings are given up, and only then sends them to
dead-letter. A former owner that folds behind may write a lower offset; the highest that was read counts.
"""

from __future__ import annotations

from streams.keyed_records import read_keyed
from streams.records import Record

PREFIX = "unknown/"


class UnknownAsset(Record):
    """`definitions`, key `unknown/<asset>`: readings of an asset before this offset of its partition went to dead-letter."""

    asset: str
    partition: int
    before: int


class UnknownAssets:
    """Fold of these records."""

    def __init__(self) -> None:
        self._of: dict[str, UnknownAsset] = {}

    def given_up(self, asset: str, partition: int, offset: int) -> bool:
        """Whether a reading at this place was given up."""
        known = self._of.get(asset)
        return known is not None and known.partition == partition and offset < known.before

    def apply(self, name: str, value: bytes) -> bool:
        """Fold one record; whether it counts. Raises RecordInvalid."""
        found = read_keyed(UnknownAsset, name, value, lambda one: PREFIX + one.asset)
        known = self._of.get(found.asset)
        if known is not None and known.partition == found.partition and known.before >= found.before:
            return False
        self._of[found.asset] = found
        return True

    @staticmethod
    def mark(asset: str, partition: int, before: int) -> tuple[bytes, bytes]:
        """Key and value of a record."""
        return f"{PREFIX}{asset}".encode(), UnknownAsset(asset=asset, partition=partition, before=before).to_bytes()
