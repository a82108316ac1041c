"""On which terms a twin's readings are taken: of which type it is and in which units its source sends, from which offset on.

A twin may be declared anew while its telemetry flows, and the two come on different topics. So the owner of its partition writes
down, on `definitions`, from which offset of telemetry on the new terms hold, before its first output on them (key
`terms/<asset>/<epoch>`). Whoever folds that stretch again changes at the same offset. The highest epoch counts, so what a zombie
writes changes nothing; each record tells all terms, so that the newest is enough.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from pydantic import Field

from streams.keyed_records import RecordInvalid, read_keyed
from streams.records import Record

PREFIX = "terms/"
MOST_TERMS = 64  # kept of one twin; the oldest holds from the beginning then
NEVER = (1 << 63) - 1


class Term(Record):
    """From `offset` of the twin's partition on, readings are those of a `type`, in `units` where these differ from the type's."""

    offset: int
    type: str
    units: dict[str, str] = Field(default_factory=dict)


class TwinTerms(Record):
    """`definitions`, key `terms/<asset>/<epoch>`: all terms of one twin, the first from the beginning of the log."""

    asset: str
    epoch: int
    terms: list[Term]


@dataclass(slots=True)
class Terms:
    """Fold of these records. Twins that were never declared anew are not in it."""

    _of: dict[str, TwinTerms] = field(default_factory=dict)

    def apply(self, name: str, value: bytes) -> bool:
        """Fold one record; whether it counts. Raises RecordInvalid."""
        found = read_keyed(TwinTerms, name, value, lambda one: f"{PREFIX}{one.asset}/{one.epoch}")
        offsets = [term.offset for term in found.terms]
        if not offsets or offsets != sorted(set(offsets)):
            raise RecordInvalid(f"{name!r} has terms from offsets {offsets}, expected rising ones; not used")
        known = self._of.get(found.asset)
        if known is not None and (known.epoch > found.epoch or known == found):
            return False
        self._of[found.asset] = found
        return True

    def of(self, asset: str) -> list[Term]:
        known = self._of.get(asset)
        return known.terms if known is not None else []

    def at(self, asset: str, offset: int) -> tuple[Term | None, int]:
        """The terms at an offset and the offset at which the next begin; None: as declared."""
        terms = self.of(asset)
        if not terms:
            return None, NEVER
        place = max(bisect_right([term.offset for term in terms], offset) - 1, 0)
        return terms[place], terms[place + 1].offset if place + 1 < len(terms) else NEVER

    def change(self, asset: str, epoch: int, before: Term, after: Term) -> tuple[bytes, bytes]:
        """Key and value of the record that tells of a change; `before` counts where none was told yet."""
        known = [term for term in self.of(asset) if term.offset < after.offset] or [before]
        terms = [*known, after][-MOST_TERMS:]
        record = TwinTerms(asset=asset, epoch=epoch, terms=terms)
        return f"{PREFIX}{asset}/{epoch}".encode(), record.to_bytes()
