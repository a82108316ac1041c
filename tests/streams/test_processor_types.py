"""Types that change under a running processor on a real broker: nothing is lost, and the next owner goes on from there."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from deploy.topics import ensure_topics
from streams import clients
from streams.definitions import read_definitions
from streams.processor import ProcessorStats
from streams.records import TwinState
from streams.topics import Topics
from tests.streams.plant import START, Plant
from tests.streams.test_processor_swaps import running, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


class Feed:
    """One asset, a reading a second."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self.sent = 0

    async def send(self, count: int, **channels: float) -> None:
        records = [
            (b"p1", orjson.dumps({"asset": "p1", "time": START + self.sent + i, **{n: v + i for n, v in channels.items()}}))
            for i in range(count)
        ]
        await self._plant.send(self._plant.topics.telemetry, records)
        self.sent += count


def folded(stats: ProcessorStats, records: int) -> bool:
    return stats.counts["records"] >= records


async def state_of(plant: Plant) -> TwinState:
    outputs = await plant.outputs()  # which fails when one step was written twice with different contents
    return TwinState.model_validate_json(outputs.states["p1"])


async def test_new_channels_and_new_versions_reach_a_running_twin(kafka: str, topic_prefix: str) -> None:
    plant = Plant(kafka, Topics(topic_prefix))
    await ensure_topics(kafka, plant.topics, 1)
    feed = Feed(plant)
    async with running(plant) as stats:
        await feed.send(40, flow=1.0)
        await until(lambda: folded(stats, feed.sent), "the first readings")
        for _ in range(30):  # the change comes with a later micro-batch
            await feed.send(1, flow=2.0, heat=7.0)
            await until(lambda: folded(stats, feed.sent), "a reading with a new channel")
    grown = await state_of(plant)
    assert grown.type.endswith(";2")
    assert set(grown.values) == {"flow", "heat"}
    assert stats.counts["refused"] == 8
    view = await read_definitions(kafka, plant.topics)
    interface = {**view.interfaces[grown.type], "@id": "dtmi:plant:Pump;1"}
    interface["contents"] = [{**one, "minimum": -1000} for one in interface["contents"]]

    async with running(plant) as stats:  # the next owner, from the checkpoint
        await feed.send(20, flow=3.0, heat=7.0)
        await until(lambda: folded(stats, 20), "readings after a restart")
        twin = {"asset": "p1", "type": interface["@id"]}
        await plant.send(
            plant.topics.definitions, [(b"type/dtmi:plant:Pump;1", orjson.dumps(interface)), (b"twin/p1", orjson.dumps(twin))]
        )
        sent = 20
        while (await state_of(plant)).type != interface["@id"]:
            await feed.send(2, flow=4.0, heat=7.0)
            sent += 2
            await until(lambda sent=sent: folded(stats, sent), "readings after a declaration")  # type: ignore[misc]
            await asyncio.sleep(0.05)
    assert stats.counts["refused"] == 0
    outputs = await plant.outputs()
    steps = sorted(time_ns // 10**9 for _, time_ns in outputs.history)  # type: ignore[misc]
    assert steps == list(range(START + 1, steps[-1] + 1))
    assert len(steps) >= feed.sent - 5  # the last few are still open

    records = await clients.read_to_end(kafka, plant.topics.definitions)
    terms = [orjson.loads(record.value) for record in records if (record.key or b"").startswith(b"terms/p1/")]
    assert [one["type"] for one in terms[-1]["terms"]][1:] == [grown.type, interface["@id"]]
