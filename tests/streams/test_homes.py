"""An asset lives on one partition, whoever owns which, and in whatever order they meet it."""

from __future__ import annotations

import asyncio
from collections import Counter

import orjson
import pytest

from streams import clients
from streams.definitions import Definitions
from streams.folded import Folded
from streams.folding import Folder
from streams.history import HistoryBlock
from streams.homes import Homes
from streams.log_record import PlainRecord
from streams.processor import ProcessorStats, run_processor
from tests.streams.formats.wire import declared, record, rows, table
from tests.streams.plant import START, Plant


def reading(offset: int, partition: int, asset: str = "p1", second: int | None = None) -> PlainRecord:
    at = START + (offset if second is None else second)
    return record(offset, orjson.dumps({"asset": asset, "time": at, "flow": 1.0, "heat": 2.0}), partition=partition)


def tell(views: list[Definitions], *outs: Folded) -> None:
    """What was published reaches every view, in this order."""
    for out in outs:
        for key, value in out.definitions:
            for view in views:
                view.apply(key, value)


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_owners_that_meet_an_asset_at_once_the_first_claim_in_the_log_wins(first: int) -> None:
    views = [declared("p1"), declared("p1")]
    owners = [Folder(view, claims=True) for view in views]
    outs = [owner.fold([reading(0, partition)]) for partition, owner in enumerate(owners)]
    assert all(out.counts["accepted"] == 0 and len(out.definitions) == 1 for out in outs)
    assert [owner.placing.oldest_offset(partition) for partition, owner in enumerate(owners)] == [0, 0]
    tell(views, outs[first], outs[1 - first])
    won, lost = owners[first].fold([reading(1, first)]), owners[1 - first].fold([reading(1, 1 - first)])
    assert (won.counts["accepted"], len(won.refused)) == (4, 0)
    assert lost.counts["accepted"] == 0
    assert [(one.record.offset, one.reason) for one in lost.refused] == [(0, "partition"), (1, "partition")]
    assert owners[1 - first].placing.oldest_offset(1 - first) is None


def test_a_claim_that_lost_does_not_outlive_compaction() -> None:
    views = [declared("p1"), declared("p1")]
    owners = [Folder(view, claims=True) for view in views]
    written = [owner.fold([reading(0, partition)]) for partition, owner in enumerate(owners)]
    tell(views, *written)
    repeated = owners[0].fold([reading(1, 0)])
    assert repeated.definitions == [Homes.claim("p1", 0)]
    assert owners[0].fold([reading(2, 0)]).definitions == []  # under way
    tell(views, repeated)
    assert not views[0].homes.disputed
    compacted = Definitions()
    newest = dict(one for out in [*written, repeated] for one in out.definitions)
    for key, value in newest.items():
        compacted.apply(key, value)
    assert compacted.homes.of("p1") == views[1].homes.of("p1") == 0


def test_readings_wait_until_their_claim_has_come_back_and_none_is_lost() -> None:
    view = declared("p1")
    folder = Folder(view, claims=True)
    out = folder.fold([reading(n, 0) for n in range(5)], infer=False)
    assert (out.counts["accepted"], len(out.definitions)) == (0, 1)
    tell([view], out)
    assert folder.fold([], infer=False).counts["accepted"] == 10


def test_an_asset_whose_records_wait_on_two_partitions_of_one_owner_holds_back_both() -> None:
    view = Definitions()
    folder = Folder(view, claims=True)
    tell([view], folder.fold([reading(3, 0), reading(7, 1)]))
    assert (folder.placing.oldest_offset(0), folder.placing.oldest_offset(1)) == (3, 7)
    folder.drop(0)
    assert (folder.placing.oldest_offset(0), folder.placing.oldest_offset(1)) == (None, 7)
    out = folder.fold([])
    assert [(one.record.offset, one.reason) for one in out.refused] == [(7, "partition")]


def test_a_replay_takes_each_asset_from_its_home_whatever_comes_first() -> None:
    view = declared("p1", "p2")
    view.apply(*Homes.claim("p1", 1))
    folder = Folder(view)
    out = folder.fold([record(0, table(rows(["p1", "p2"], [0, 0], flow=[1, 1]))), reading(0, 1)])
    assert [(one.record.partition, one.reason) for one in out.refused] == [(0, "partition")]
    assert out.counts["accepted"] == 3
    out = folder.fold([reading(1, 0, "p2"), reading(1, 1, "p2")])
    assert [(one.record.partition, one.reason) for one in out.refused] == [(1, "partition")]


def test_a_tombstone_frees_an_asset() -> None:
    view = declared("p1")
    view.apply(*Homes.claim("p1", 1))
    assert view.apply(b"home/p1", None)
    assert view.homes.of("p1") is None
    assert Folder(view).fold([reading(0, 0)]).counts["accepted"] == 2


@pytest.mark.parametrize("value", [b"", b"{}", b'{"asset":"p2","partition":0}', b'{"asset":"p1","partition":"x"}'])
def test_what_is_no_claim_is_counted_and_changes_nothing(value: bytes) -> None:
    view = declared("p1")
    assert not view.apply(b"home/p1", value)
    assert view.homes.of("p1") is None
    assert view.unusable["RecordInvalid"] == 1


@pytest.mark.kafka
async def test_two_processors_never_make_two_twins_of_an_asset_that_comes_on_two_partitions(
    kafka: str, topic_prefix: str
) -> None:
    plant = await Plant.built(kafka, topic_prefix, partitions=2)
    topics, count = plant.topics, 40
    stop, stats = asyncio.Event(), [ProcessorStats(), ProcessorStats()]
    running = [
        asyncio.create_task(run_processor(bootstrap=kafka, topics=topics, group=f"{topic_prefix}p", stop=stop, stats=one))
        for one in stats
    ]
    producer = clients.producer(kafka, client_id="test")
    await producer.start()
    try:
        for second in range(count):
            for partition in (0, 1):
                value = table(rows([f"p{n}" for n in range(6)], [second] * 6, flow=[1.0] * 6, heat=[2.0] * 6))
                await producer.send_and_wait(topics.telemetry, value, partition=partition)
        async with asyncio.timeout(120):
            while sum(one.counts["records"] for one in stats) < 2 * count:
                await asyncio.wait(running, timeout=0.1)
                assert not any(task.done() for task in running)
    finally:
        await producer.stop()
        stop.set()
        await asyncio.gather(*running)
    lives_on: dict[str, set[int]] = {}
    for one in await clients.read_to_end(kafka, topics.history):
        block = HistoryBlock.from_bytes(one.value)
        for asset in block.asset:
            lives_on.setdefault(asset, set()).add(one.partition)
    assert set(lives_on) == {f"p{n}" for n in range(6)}
    assert all(len(partitions) == 1 for partitions in lives_on.values())
    assert sum(one.counts["accepted"] for one in stats) == 6 * 2 * count
    assert sum(one.counts["other-partition"] for one in stats) == 6 * count
    letters = Counter(
        (dict(one.headers)["partition"], dict(one.headers)["offset"])
        for one in await clients.read_to_end(kafka, topics.dead_letter)
    )
    homes = {next(iter(partitions)) for partitions in lives_on.values()}
    assert len(letters) == (count if len(homes) == 1 else 2 * count)
