"""Decoding for the historian: what it takes comes through unchanged, anything else is refused, whatever the bytes."""

from __future__ import annotations

import numpy as np
import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from streams.historian_records import Batch, RecordRefused, decode
from streams.history import HistoryBlock
from streams.topics import Topics

from .stores.blocks import PUMP, block

TOPICS = Topics("t.")
GOOD = block(PUMP, ["p1", "p2"], range(3), seed=1).to_bytes()


def record(topic: str, value: bytes | None, offset: int = 0) -> ConsumerRecord:
    return ConsumerRecord(topic, 0, offset, 1700000000000, 0, b"k", value, None, 1, len(value or b""), ())


def test_a_block_comes_through_and_knows_its_log_and_when_it_was_written() -> None:
    found = decode(record(TOPICS.history, GOOD), TOPICS, log="cluster")
    assert isinstance(found, HistoryBlock)
    assert (found.log, found.written_ms) == ("cluster", 1700000000000)
    expected = block(PUMP, ["p1", "p2"], range(3), seed=1)
    for name in ("values", "quality", "expected", "spread", "score", "risk", "time_ns"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert (found.asset, found.version, found.channels) == (expected.asset, expected.version, expected.channels)


@given(
    cuts=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=4)), max_size=6),
    end=st.one_of(st.none(), st.integers(0, len(GOOD))),
)
def test_damaged_blocks_are_refused_or_still_blocks(cuts: list[tuple[int, bytes]], end: int | None) -> None:
    damaged = bytearray(GOOD)
    for start, piece in cuts:
        damaged[start : start + len(piece)] = piece
    try:
        found = decode(record(TOPICS.history, bytes(damaged[:end])), TOPICS, log="")
    except RecordRefused:
        return
    assert isinstance(found, HistoryBlock)
    assert found.values.shape == found.quality.shape == (len(found), len(found.channels))


@given(
    topic=st.sampled_from([TOPICS.alerts, TOPICS.models, TOPICS.history]),
    value=st.one_of(st.binary(), st.text().map(str.encode)),
)
def test_any_other_bytes_are_refused(topic: str, value: bytes) -> None:
    with pytest.raises(RecordRefused, match=f"{topic} partition 0 offset 0"):
        decode(record(topic, value), TOPICS, log="")


def test_what_is_no_alert_is_said_in_one_line() -> None:
    with pytest.raises(RecordRefused) as refused:
        decode(record(TOPICS.alerts, b'{"asset": "p1"}'), TOPICS, log="")
    assert str(refused.value) == f"{TOPICS.alerts} partition 0 offset 0: id: Field required; not kept"


def test_a_batch_knows_where_each_partition_begins_and_goes_on() -> None:
    batch = Batch()
    for offset in (5, 6, 9):
        batch.add(record(TOPICS.history, GOOD if offset != 6 else b"x", offset))
    batch.decode(TOPICS, "")
    (partition,) = batch.next
    assert (batch.first[partition], batch.next[partition]) == (5, 10)
    assert [record.offset for record, _ in batch.items] == [5, 9]
    assert [record.offset for record, _ in batch.refused] == [6]
