"""From which offset a new owner of a partition folds again, by what stands on `twin.checkpoint` and in which order."""

from __future__ import annotations

import pytest

from deploy.topics import ensure_topics
from streams import clients
from streams.checkpoint import WRITER_HEADER, export_twin, mark_key, mark_value, owner_key, twin_key
from streams.recovery import read_checkpoints
from streams.scoring import TypeScorer
from streams.topics import Topics
from tests.streams.plant import START, TYPE
from twin.arena import Arena
from twin.reading import ReadingBatchBuilder
from twin.types import NS_PER_S

pytestmark = pytest.mark.kafka
A, B = "a", "b"
OF_A = [("owner", A, 0), ("p1", A, 10), ("p2", A, 5), ("mark", A, 12)]
OF_B = [("owner", B, 0), ("p1", B, 30), ("mark", B, 30)]


def twin(asset: str, until: int) -> bytes:
    """A twin that has folded what is before offset `until`."""
    arena = Arena(TYPE)
    builder, row = ReadingBatchBuilder(2), arena.row(asset, 0)
    for offset in range(until):
        builder.add(row, [0, 1], (START + offset) * NS_PER_S, [1.0, 2.0], offset, 0)
    arena.fold(builder.build())
    return export_twin(arena, TypeScorer(arena), row)


@pytest.mark.parametrize(
    ("log", "begins", "of_p1"),
    [
        (OF_A, 12, 10),
        (OF_A + OF_B, 30, 30),  # p2 has had nothing since: its old checkpoint, by another, is as good as a new one
        ([*OF_A, ("p1", A, 20), *OF_B[:1], ("mark", B, 30)], 30, 20),  # before B took over, and so read by B
        ([*OF_A, *OF_B, ("p1", A, 20)], 20, 20),  # A slept; it did not come to its mark
        ([*OF_A, *OF_B, ("p1", A, 20), ("mark", A, 22)], 22, 20),  # nothing came for p1 between 20 and 22
        ([*OF_A, *OF_B, ("p1", A, 20), ("mark", B, 40)], 20, 20),  # B has not saved it again, as it had no more of it
        ([*OF_A, *OF_B, ("p1", A, 20), ("p2", A, 8), ("mark", B, 40)], 8, 20),
        ([*OF_A, *OF_B, ("p1", A, 20), ("p1", B, 35), ("mark", B, 40)], 40, 35),
        ([("p1", "", 10), ("mark", "", 12), ("p1", "", 20), ("mark", "", 25)], 25, 20),  # from before writers had names
    ],
)
async def test_a_new_owner_begins_at_what_a_former_one_wrote_too_late(
    kafka: str, topic_prefix: str, log: list[tuple[str, str, int]], begins: int, of_p1: int
) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, 1)
    async with clients.producer(kafka, client_id="test") as producer:
        for _ in range(60):
            await producer.send_and_wait(topics.telemetry, b"{}", partition=0)
        for what, writer, offset in log:
            headers = [(WRITER_HEADER, writer.encode())] if writer else []
            key, value = {
                "owner": lambda writer=writer: (owner_key(writer), b"{}"),
                "mark": lambda offset=offset: (mark_key(0), mark_value(offset, 1)),
            }.get(what, lambda what=what, offset=offset: (twin_key(what), twin(what, offset)))()
            await producer.send_and_wait(topics.checkpoint, value, key=key, partition=0, headers=headers)
    found = (await read_checkpoints(kafka, topics, [0]))[0]
    assert (found.mark, found.twins["p1"].next_offset) == (begins, of_p1)
    assert found.owners == {owner_key(writer) for what, writer, _ in log if what == "owner"}
