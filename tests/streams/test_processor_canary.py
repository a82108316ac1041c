"""Processors that are killed while a canary is tried put out the same bytes again, and what an undisturbed run puts out."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from models import version as version_file
from models.structure import Structure
from models.weight_sources import WeightSources
from streams import clients
from streams.canary import InForce
from streams.model_records import Canary, ModelAlias, models_key
from streams.models_topic import ModelView, read_models
from streams.past_versions import past_versions
from streams.serving import VersionShelf
from tests.faults.undisturbed import Undisturbed, differences
from tests.streams.plant import ASSETS, TYPE, Plant, readings, trained, variant
from tests.streams.test_processor_exactness import processor, until_done

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
STEPS = 240


async def until(plant: Plant, condition: Callable[[ModelView], object]) -> None:
    async with asyncio.timeout(120):
        while True:
            if condition((await read_models(plant.bootstrap, plant.topics)).models[TYPE.slug]):
                return
            await asyncio.sleep(0.1)


async def test_kills_during_a_canary_change_no_byte(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    plant = await Plant.built(kafka, topic_prefix)
    paths = [tmp_path / f"{number}.safetensors" for number in (1, 2)]
    models = [trained(), variant(trained(), 200, Structure(2, 1))]
    hashes = [version_file.save(model, path) for model, path in zip(models, paths, strict=True)]
    alias = ModelAlias(
        name=TYPE.slug, type=TYPE.id, champion=models[0].version, champion_sha256=hashes[0],
        champion_uri=paths[0].as_uri(), since_ns=0,
    )  # fmt: skip
    canary = Canary(version=models[1].version, sha256=hashes[1], uri=paths[1].as_uri(), share=0.5, since_ns=1)
    tried = alias.model_copy(update={"challenger": canary.version, "canary": canary})
    values = readings(STEPS)

    await plant.send(plant.topics.models, [(models_key(alias), alias.to_bytes())])
    async with processor(plant, batch=60) as process:
        await plant.feed(values[:, :40])
        await until_done(plant)
        await plant.send(plant.topics.models, [(models_key(tried), tried.to_bytes())])
        await until(plant, lambda model: {one.switches[-1].canary for one in model.serving.values()} == {canary})
        await plant.feed(values[:, 40:100], first=40)
        await until_done(plant, 0.8)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await plant.feed(values[:, 100:160], first=100)
    async with processor(plant, batch=23, DIE_AT_COMMIT="2") as process:
        assert await asyncio.wait_for(process.wait(), 120) == -signal.SIGKILL
    async with processor(plant, batch=60):
        await until_done(plant)
        await plant.send(plant.topics.models, [(models_key(alias), alias.to_bytes())])
        await until(plant, lambda model: {one.switches[-1].canary for one in model.serving.values()} == {None})
        await plant.feed(values[:, 160:], first=160)
        await until_done(plant)
    found = await plant.outputs()
    assert found.repeated > 0, "nothing was written twice: the kills hit no batch, the test proved nothing"

    calm, shelf = Undisturbed(), VersionShelf(WeightSources())
    for record in await clients.read_to_end(plant.bootstrap, plant.topics.definitions):
        calm.declare(record.key, record.value)
    view = (await read_models(plant.bootstrap, plant.topics)).models[TYPE.slug]
    for partition, serving in view.serving.items():
        table = (await past_versions(shelf, serving.switches, TYPE.contract)).table
        served: list[tuple[int, InForce]] = [(switch.offset, table.at(switch.offset)) for switch in serving.switches]
        calm.serve(TYPE.slug, partition, served)
    telemetry = await clients.read_to_end(plant.bootstrap, plant.topics.telemetry)
    calm.fold(sorted(telemetry, key=lambda record: (record.timestamp, record.partition, record.offset)))
    assert differences(found.history, calm.results.history, "history") == ""
    versions = {asset: {row[-1] for (one, _), row in found.history.items() if one == asset} for asset in ASSETS}  # type: ignore[misc,index]
    assert {models[1].version in seen for seen in versions.values()} == {True, False}
