"""The plant of the benchmarks: the demo's water network, its models trained, its telemetry on a broker.

In:   a broker, days of telemetry.
Out:  filled topics; versions to serve; how many records there are to work off.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import TopicPartition

from deploy.feeds.producer import FeedProducer
from deploy.feeds.water import telemetry
from deploy.feeds.water_fleet import water_declarations, water_interfaces
from deploy.feeds.water_plant import WaterPlant, simulate
from deploy.topics import ensure_topics
from models import version as version_file
from models.served import ServedModel
from models.training import train
from streams import clients
from streams.model_records import ModelAlias, models_key
from streams.topics import Topics
from twin.types import NS_PER_S, TwinType, compile_type

STEP_S = 300
PARTITIONS = 8
LEARNT_DAYS = 3
MET_STEPS = 6
MONDAY_NS = 1_767_571_200 * NS_PER_S
SEED = 1


@dataclass(frozen=True, slots=True)
class BenchPlant:
    """Topics with telemetry on them: `records` of single readings, as a gateway sends them, in the order of time."""

    bootstrap: str
    topics: Topics
    records: int
    readings_a_step: int
    met: int = 0  # of them, the first ones, which were there when the newest stretch began
    starts: dict[TopicPartition, int] = field(default_factory=dict)  # where that stretch begins

    @classmethod
    async def filled(
        cls,
        bootstrap: str,
        prefix: str,
        *,
        days: float,
        readings_a_step: int,
        meet: Callable[[BenchPlant], Awaitable[None]] | None = None,
        rounds: int = 1,
        each: Callable[[BenchPlant], Awaitable[None]] | None = None,
    ) -> BenchPlant:
        """Days of telemetry; `meet` is called when every twin has sent a few steps of it, and the rest follows.

        With `rounds` so many stretches of so many days, and `each` is called when one is there.
        """
        topics = Topics(prefix)
        await ensure_topics(bootstrap, topics, PARTITIONS)
        reading_s = STEP_S // readings_a_step
        plant = WaterPlant(reading_s, SEED, MONDAY_NS + LEARNT_DAYS * 86_400 * NS_PER_S)
        found = cls(bootstrap, topics, 0, readings_a_step)
        async with FeedProducer(bootstrap, topics, client_id="livetwin-bench") as producer:
            await producer.define(water_interfaces(STEP_S), water_declarations(plant.layout))

            async def fed(to: BenchPlant, readings: int) -> BenchPlant:
                starts, records = await _ends(bootstrap, topics.telemetry), to.records
                for _ in range(readings):
                    values = telemetry(plant, 1)
                    await producer.telemetry(values)
                    records += len(values)
                return cls(bootstrap, topics, records, readings_a_step, to.records, starts)

            if meet is not None:
                found = await fed(found, MET_STEPS * readings_a_step)
                await meet(found)
            for _ in range(rounds):
                found = await fed(found, round(days * 86_400 / reading_s))
                if each is not None:
                    await each(found)
        return found


async def _ends(bootstrap: str, topic: str) -> dict[TopicPartition, int]:
    """The next offset of each partition."""
    reader = clients.consumer(bootstrap, topic, client_id="livetwin-bench")
    await reader.start()
    try:
        ends: dict[TopicPartition, int] = await reader.end_offsets(list(reader.assignment()))
        return ends
    finally:
        await reader.stop()


def types_of_twins() -> dict[str, str]:
    """The type of each twin of the plant."""
    layout = WaterPlant(STEP_S, SEED, MONDAY_NS).layout
    return {twin.asset: twin.type for twin in water_declarations(layout)}


@dataclass(frozen=True, slots=True)
class SavedVersion:
    """One trained version in its file."""

    model: ServedModel
    type_id: str
    path: Path
    sha256: str

    def alias(self) -> ModelAlias:
        return ModelAlias(
            name=self.model.name,
            type=self.type_id,
            champion=self.model.version,
            champion_sha256=self.sha256,
            champion_uri=self.path.as_uri(),
            since_ns=time.time_ns(),
        )


async def promote(bootstrap: str, topics: Topics, versions: list[SavedVersion]) -> None:
    """Name versions champion on `models`; processors load them and switch."""
    producer = clients.producer(bootstrap, client_id="livetwin-bench")
    await producer.start()
    try:
        for one in versions:
            alias = one.alias()
            await producer.send_and_wait(topics.models, alias.to_bytes(), key=models_key(alias))
    finally:
        await producer.stop()


def trained(folder: Path, *, seed: int) -> list[SavedVersion]:
    """One version a type of the plant, trained on the days before the telemetry begins."""
    blocks = simulate(LEARNT_DAYS, seed=SEED, step_s=STEP_S, start_ns=MONDAY_NS)
    kinds: list[TwinType] = [compile_type(interface) for interface in water_interfaces(STEP_S)]
    saved = []
    for kind in kinds:
        model = train(
            type=kind, block=blocks[kind.id], base=None, number=seed, alarms_per_twin_day=0.02, seed=seed, threads=1
        ).model
        path = folder / f"{model.name}-{model.version}.safetensors"
        saved.append(SavedVersion(model, kind.id, path, version_file.save(model, path)))
    return saved
