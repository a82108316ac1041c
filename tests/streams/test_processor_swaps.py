"""Swaps on a real broker: no batch mixes versions, no step is lost, and what can't be served is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from models import version as version_file
from models.served import ServedModel
from models.structure import Structure
from streams import clients
from streams.history import HistoryBlock
from streams.model_records import ModelAlias, models_key
from streams.models_topic import ModelsView, read_models
from streams.processor import ProcessorStats, run_processor
from tests.streams.plant import TYPE, Plant, readings, trained, variant

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
SWAPS = 200


@pytest.fixture(scope="module")
def versions() -> list[ServedModel]:
    return [trained(), trained(2), variant(trained(2), 3, Structure(8, 2))]


@asynccontextmanager
async def running(plant: Plant) -> AsyncIterator[ProcessorStats]:
    stop, stats = asyncio.Event(), ProcessorStats()
    task = asyncio.create_task(
        run_processor(
            bootstrap=plant.bootstrap,
            topics=plant.topics,
            group=f"{plant.topics.prefix}g",
            batch_max_records=100,
            stop=stop,
            stats=stats,
        )
    )
    try:
        yield stats
    finally:
        stop.set()
        await asyncio.wait_for(task, 120)


async def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds:g} s")


async def blocks(plant: Plant) -> list[HistoryBlock]:
    return [HistoryBlock.from_bytes(record.value) for record in await clients.read_to_end(plant.bootstrap, plant.topics.history)]


async def test_200_swaps_under_load_mix_no_versions_and_lose_no_step(
    kafka: str, topic_prefix: str, versions: list[ServedModel], tmp_path: Path
) -> None:
    plant = await Plant.built(kafka, topic_prefix)
    aliases: list[tuple[bytes, bytes]] = []
    for model in versions:
        path = tmp_path / f"{model.version}.safetensors"
        sha256 = version_file.save(model, path)
        alias = ModelAlias(
            name=TYPE.slug, type=TYPE.id, champion=model.version, champion_sha256=sha256, champion_uri=path.as_uri(), since_ns=0
        )
        aliases.append((models_key(alias), alias.to_bytes()))
    await plant.send(plant.topics.models, aliases[:1])
    values = readings(4000, faults=False)
    fed = 0
    producer = clients.producer(kafka, client_id="swapping")
    await producer.start()
    try:
        async with running(plant) as stats:
            await plant.feed(values[:, :10])
            fed = 10
            await until(lambda: stats.counts["records"] >= 60, "the first records")
            number = 0
            while stats.swaps < SWAPS:
                assert fed < values.shape[1], f"{stats.swaps} swaps in {fed} steps, expected {SWAPS}"
                number += 1
                seen = stats.swaps
                await producer.send_and_wait(plant.topics.models, aliases[number % 3][1], key=aliases[number % 3][0])
                await plant.feed(values[:, fed : fed + 10], first=fed)
                fed += 10
                await until(lambda seen=seen: stats.swaps > seen, "the next swap")  # type: ignore[misc]
            await until(lambda: stats.counts["records"] >= 6 * fed, "the last record")
    finally:
        await producer.stop()

    found = await blocks(plant)
    assert all(len(set(block.version)) == 1 for block in found), "one micro-batch was scored by two versions"
    assert {version for block in found for version in block.version} == {model.version for model in versions}
    steps = [(asset, int(time)) for block in found for asset, time in zip(block.asset, block.time_ns, strict=True)]
    assert len(steps) == len(set(steps)) == 6 * (fed - 3)

    view = await read_models(kafka, plant.topics)
    for partition in {block.partition for block in found}:
        own = [block for block in found if block.partition == partition]
        changes = [nth for nth in range(1, len(own)) if own[nth].version[0] != own[nth - 1].version[0]]
        serving = view.serving(TYPE.slug, partition)
        assert serving is not None
        told = {switch.event_ns for switch in serving.switches}
        assert {max(int(block.time_ns.max()) for block in own[:nth]) for nth in changes} <= told, "a swap tells another time"


def _tampered(kind: str, good: Path, sha256: str) -> tuple[Path, str]:
    """A version file that must not serve, and the hash it is announced with."""
    payload = good.read_bytes()
    bad = good.with_name(f"bad-{kind}.safetensors")
    match kind:
        case "truncated":
            bad.write_bytes(payload[: len(payload) // 2])
        case "version":
            bad = good
        case "hash":
            bad.write_bytes(payload)
            sha256 = "0" * 64
        case "missing":
            pass
        case "non-finite":
            model = version_file.load(good)
            next(model.detectors.network.parameters())[0, 0, 0] = float("nan")
            sha256 = version_file.save(model, bad)
        case "contract":
            model = version_file.load(good)
            model.info = replace(model.info, contract="another-contract")
            sha256 = version_file.save(model, bad)
    return bad, sha256


@pytest.mark.parametrize("kind", ["truncated", "hash", "missing", "non-finite", "contract", "version"])
async def test_a_bad_version_is_refused_with_the_reason_and_the_old_one_serves(
    kafka: str, topic_prefix: str, versions: list[ServedModel], tmp_path: Path, kind: str
) -> None:
    plant = await Plant.built(kafka, topic_prefix)
    model, other, _ = versions
    await plant.promote(model, tmp_path)
    good = tmp_path / f"{other.version}.safetensors"
    bad, sha256 = _tampered(kind, good, version_file.save(other, good))
    named = "0009-another" if kind == "version" else other.version
    alias = ModelAlias(
        name=TYPE.slug, type=TYPE.id, champion=named, champion_sha256=sha256, champion_uri=bad.as_uri(), since_ns=1
    )
    values = readings(200, faults=False)
    async with running(plant) as stats:
        await plant.feed(values[:, :100])
        await until(lambda: stats.counts["records"] >= 600, "the first half")
        await plant.send(plant.topics.models, [(models_key(alias), alias.to_bytes())])
        view = await _until_refused(lambda: read_models(kafka, plant.topics))
        await plant.feed(values[:, 100:], first=100)
        await until(lambda: stats.counts["records"] >= 1200, "the second half")
    refusal = view.models[TYPE.slug].refusals[named]
    assert refusal.reason.startswith(f"{kind}:")
    assert refusal.serving == model.version
    assert {version for block in await blocks(plant) for version in block.version} == {model.version}


async def _until_refused(read: Callable[[], Awaitable[ModelsView]]) -> ModelsView:
    for _ in range(100):
        view = await read()
        if TYPE.slug in view.models and view.models[TYPE.slug].refusals:
            return view
        await asyncio.sleep(0.1)
    raise AssertionError("the bad version was not refused within 10 s")
