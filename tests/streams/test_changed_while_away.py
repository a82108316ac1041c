"""Twins declared anew while no processor runs: the log before the declaration is read on the old terms, after it on the new."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import orjson
import pytest
from aiokafka.structs import ConsumerRecord

from deploy.topics import ensure_topics
from streams import clients
from streams.definitions import read_definitions
from streams.folding import Folder
from streams.history import HistoryBlock
from streams.topics import Topics
from tests.streams.plant import START, Plant
from tests.streams.test_processor_swaps import running, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

STEP = 10**9


def boiler(version: int, unit: str) -> dict[str, Any]:
    temp = {"@type": ["Telemetry", "Temperature"], "name": "temp", "schema": "double", "unit": unit}
    return {
        "@id": f"dtmi:plant:Boiler;{version}", "@type": "Interface", "samplingPeriod": "PT1S", "lateness": "PT0S",
        "maxAhead": None, "contents": [temp],
    }  # fmt: skip


def declared(version: int, unit: str, **more: Any) -> list[tuple[bytes, bytes]]:
    kind = boiler(version, unit)
    twin = {"asset": "b", "type": kind["@id"], **more}
    return [(f"type/{kind['@id']}".encode(), orjson.dumps(kind)), (b"twin/b", orjson.dumps(twin))]


ANEW = {
    "units": declared(1, "degreeCelsius", units={"temp": "degreeFahrenheit"}),
    "type": declared(2, "degreeFahrenheit"),
    "units, and back": declared(1, "degreeCelsius", units={"temp": "kelvin"})
    + declared(1, "degreeCelsius", units={"temp": "degreeFahrenheit"}),
}


async def feed(plant: Plant, steps: range, temp: float) -> None:
    """A reading a second; the log's clock has a resolution of a millisecond, so what follows is a little later."""
    records = [(b"b", orjson.dumps({"asset": "b", "time": START + step, "temp": temp})) for step in steps]
    await plant.send(plant.topics.telemetry, records)
    await asyncio.sleep(0.05)


def celsius(kind: str, value: float) -> float:
    return value if kind.endswith("1") else (value - 32) / 1.8


async def temperatures(plant: Plant) -> dict[int, tuple[str, float]]:
    """Second → type and value of the closed step; the same step written again must be the same."""
    found: dict[int, tuple[str, float]] = {}
    for record in await clients.read_to_end(plant.bootstrap, plant.topics.history):
        block = HistoryBlock.from_bytes(record.value)
        for at in range(len(block)):
            step, row = int(block.time_ns[at]) // STEP - 1 - START, (block.type, float(block.values[at, 0]))
            assert found.setdefault(step, row) == row
    return found


@pytest.mark.parametrize("anew", ANEW)
async def test_what_came_before_the_declaration_is_read_on_the_old_terms(kafka: str, topic_prefix: str, anew: str) -> None:
    plant = Plant(kafka, Topics(topic_prefix))
    await ensure_topics(kafka, plant.topics, 1)
    await plant.send(plant.topics.definitions, declared(1, "degreeCelsius"))
    async with running(plant) as stats:
        await feed(plant, range(30), 20.0)
        await until(lambda: stats.counts["records"] >= 30, "the first readings")
    await feed(plant, range(30, 50), 20.0)
    await plant.send(plant.topics.definitions, ANEW[anew])
    await asyncio.sleep(0.05)
    await feed(plant, range(50, 70), 68.0)
    for last in (90, 110):  # started, and started again
        async with running(plant) as stats:
            await feed(plant, range(last - 20, last), 68.0)
            await until(lambda: stats.counts["records"] >= 20, "readings after a start")
            await until(lambda: bool(stats.counts["steps"] >= 18), "steps after a start")
    found = await temperatures(plant)
    assert sorted(found) == list(range(len(found)))
    assert len(found) >= 105
    np.testing.assert_allclose([celsius(*row) for row in found.values()], 20.0, rtol=1e-5)
    if anew == "type":
        # the last step before the declaration was open: it moved with the twin, and was converted
        assert [row[0][-1] for _, row in sorted(found.items())] == ["1"] * 49 + ["2"] * (len(found) - 49)

    # and whoever folds all again, from what is in the log, gets the same
    view = await read_definitions(kafka, plant.topics)
    assert [term.offset for term in view.terms.of("b")] == [0, 50]
    folder, again = Folder(view), dict[int, tuple[str, float]]()
    records: list[ConsumerRecord] = await clients.read_to_end(kafka, plant.topics.telemetry)
    for closed in folder.fold(records).closed:
        for at in range(len(closed)):
            again[int(closed.step[at]) - START] = closed.type.id, float(closed.values[at, 0])
    assert {step: again[step] for step in found} == found


async def test_a_twin_that_has_no_checkpoint_is_taken_as_it_is_declared(kafka: str, topic_prefix: str) -> None:
    """Nobody has written down what it was before: docs/types.md says so."""
    plant = Plant(kafka, Topics(topic_prefix))
    await ensure_topics(kafka, plant.topics, 1)
    await plant.send(plant.topics.definitions, declared(1, "degreeCelsius"))
    await feed(plant, range(10), 68.0)
    await plant.send(plant.topics.definitions, ANEW["units"])
    await feed(plant, range(10, 20), 68.0)
    async with running(plant) as stats:
        await until(lambda: stats.counts["steps"] >= 19, "the steps")
    np.testing.assert_allclose([row[1] for row in (await temperatures(plant)).values()], 20.0, rtol=1e-5)
