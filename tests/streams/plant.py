"""A small plant on real topics: six twins of two channels on a one-second grid, a trained version, known faults."""

from __future__ import annotations

import asyncio
import functools
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
import torch
from numpy.typing import NDArray

from deploy.topics import ensure_topics
from models import version as version_file
from models.served import ServedModel
from models.structure import Structure
from models.training import train
from streams import clients
from streams.history import HistoryBlock
from streams.model_records import ModelAlias, models_key
from streams.records import Signal, TwinState
from streams.topics import Topics
from tests.models.fleets import reshaped
from twin.block import StepBlock
from twin.types import NS_PER_S, compile_type

START = 1_700_000_000  # seconds
ASSETS = tuple(f"p{index}" for index in range(6))
INTERFACE = {
    "@id": "dtmi:livetwin:test:Machine;1",
    "@type": "Interface",
    "samplingPeriod": "PT1S",
    "lateness": "PT2S",
    "maxAhead": None,
    "offDelay": "PT5S",
    "contents": [{"@type": "Telemetry", "name": name, "schema": "double"} for name in ("flow", "heat")],
}
TYPE = compile_type(INTERFACE)
LEARNT = 600  # steps that are trained on, before the telemetry of the tests begins


def readings(steps: int, *, seed: int = 1, faults: bool = True) -> NDArray[np.float64]:
    """(twin, step, channel), a slow wave and noise; p2 and p4 are off for a while."""
    rng = np.random.default_rng(seed)
    phase = np.arange(steps)[None, :, None] / 20 + np.arange(len(ASSETS))[:, None, None]
    values = np.sin(phase) * np.array([1.0, 2.0]) + rng.normal(0, 0.1, (len(ASSETS), steps, 2))
    if faults:
        values[2, steps // 3 : steps // 3 + 40, 0] += 6
        values[4, steps // 2 : steps // 2 + 60, 1] -= 9
    return values


def trained(number: int = 1) -> ServedModel:
    """A version trained on fault-free steps before START, later ones from the first; trained once a run, each caller's own."""
    return version_file.decode(_trained(number))


@functools.cache
def _trained(number: int) -> bytes:
    values = readings(LEARNT, seed=100 + number, faults=False).astype(np.float32)
    block = StepBlock(ASSETS, TYPE.channel_names, START - LEARNT, NS_PER_S, values, np.zeros(values.shape, np.uint8))
    base = None if number == 1 else trained()
    model = train(type=TYPE, block=block, base=base, number=number, alarms_per_twin_day=50, seed=number, threads=1).model
    return version_file.encode(model.info, model.detectors)


def variant(model: ServedModel, number: int, structure: Structure | None = None) -> ServedModel:
    """Another version without another training: the first weights a little larger; `structure`: in another one."""
    made = version_file.decode(version_file.encode(model.info, model.detectors))
    made = made if structure is None else reshaped(made, structure)
    with torch.no_grad():
        next(made.detectors.network.parameters()).mul_(1 + number / 1000)
    made.info = replace(made.info, version=f"{number:04d}-variant")
    return made


@dataclass(frozen=True)
class Plant:
    """The topics of one test, filled."""

    bootstrap: str
    topics: Topics

    @classmethod
    async def built(cls, bootstrap: str, prefix: str, partitions: int = 3) -> Plant:
        topics = Topics(prefix)
        await ensure_topics(bootstrap, topics, partitions)
        plant = cls(bootstrap, topics)
        declared = [(f"type/{TYPE.id}".encode(), orjson.dumps(INTERFACE))]
        declared += [(f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": TYPE.id})) for asset in ASSETS]
        await plant.send(topics.definitions, declared)
        return plant

    async def send(self, topic: str, records: list[tuple[bytes, bytes]]) -> None:
        producer = clients.producer(self.bootstrap, client_id="plant")
        await producer.start()
        try:
            await asyncio.gather(*[await producer.send(topic, value, key=key) for key, value in records])
        finally:
            await producer.stop()

    async def promote(self, model: ServedModel, folder: Path) -> None:
        path = folder / f"{model.version}.safetensors"
        sha256 = version_file.save(model, path)
        alias = ModelAlias(
            name=TYPE.slug,
            type=TYPE.id,
            champion=model.version,
            champion_sha256=sha256,
            champion_uri=path.as_uri(),
            since_ns=time.time_ns(),
        )
        await self.send(self.topics.models, [(models_key(alias), alias.to_bytes())])

    async def feed(self, values: NDArray[np.float64], first: int = 0) -> int:
        """One record a twin and step, in the order of time; how many."""
        records = [
            (
                asset.encode(),
                orjson.dumps({"asset": asset, "time": START + first + step, "flow": float(v[0]), "heat": float(v[1])}),
            )
            for step in range(values.shape[1])
            for asset, v in zip(ASSETS, values[:, step], strict=True)
        ]
        await self.send(self.topics.telemetry, records)
        return len(records)

    async def outputs(self) -> Outputs:
        found = Outputs({}, {}, {}, 0)
        for record in await clients.read_to_end(self.bootstrap, self.topics.history):
            block = HistoryBlock.from_bytes(record.value)
            for index, asset in enumerate(block.asset):
                row = (
                    block.values[index].tobytes(), block.quality[index].tobytes(), block.expected[index].tobytes(),
                    block.spread[index].tobytes(), float(block.score[index]), float(block.risk[index]), block.version[index],
                )  # fmt: skip
                found.repeated += found.take(found.history, (asset, int(block.time_ns[index])), row)
        for record in await clients.read_to_end(self.bootstrap, self.topics.signals):
            signal = Signal.model_validate_json(record.value)
            found.take(found.signals, (signal.asset, signal.condition, signal.time_ns), record.value)
        for record in await clients.read_to_end(self.bootstrap, self.topics.state):
            state = TwinState.model_validate_json(record.value)
            known = found.states.get(state.asset)
            newest = TwinState.model_validate_json(known) if known is not None else state
            if state.time_ns >= newest.time_ns:  # as every sink does: an older step never replaces a newer one
                assert known is None or state.time_ns > newest.time_ns or known == record.value
                found.states[state.asset] = record.value
        return found


@dataclass
class Outputs:
    """What a run wrote. The same output written twice must be the same bytes."""

    history: dict[object, object]
    signals: dict[object, object]
    states: dict[str, bytes]
    repeated: int

    def take(self, into: dict[object, object], key: object, value: object) -> bool:
        again = key in into
        assert not again or into[key] == value, f"{key} was written twice with different contents"
        into[key] = value
        return again
