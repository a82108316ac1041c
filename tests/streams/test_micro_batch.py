"""Slices of what was fetched: all records, in order, none too large, all about the same size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.log_record import PlainRecord
from streams.micro_batch import MOST_BYTES, slices


def records(sizes: list[int]) -> list[PlainRecord]:
    return [PlainRecord("t", 0, offset, 0, b"p1", bytes(size) or None) for offset, size in enumerate(sizes)]


@given(st.lists(st.one_of(st.integers(0, 900), st.integers(0, 2 * MOST_BYTES)), max_size=60))
def test_slices_hold_every_record_once_in_order_and_no_more_than_most_bytes(sizes: list[int]) -> None:
    given_records = records(sizes)
    found = slices(given_records)
    assert [record for part in found for record in part] == given_records
    assert all(part for part in found)
    largest = max(sizes, default=0)
    for part in found:
        assert len(part) == 1 or sum(len(one.value or b"") for one in part) <= MOST_BYTES + largest


def test_slices_of_like_records_differ_by_one_record_at_most() -> None:
    lengths = [len(part) for part in slices(records([240] * 16_000))]
    assert len(lengths) == 2
    assert max(lengths) - min(lengths) <= 1


def test_nothing_to_fold_is_no_slice() -> None:
    assert slices([]) == []
    assert [len(part) for part in slices(records([0, 0]))] == [2], "records without a value are to be refused, not lost"
