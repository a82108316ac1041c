"""The trainer end to end: real broker, real training in its process, real MLflow; telemetry in, versions out."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
import pytest
from aiokafka import AIOKafkaProducer

from deploy.topics import ensure_topics
from models import version as version_file
from models.registry import Registry
from models.weights import WeightFiles
from streams import clients
from streams.lag import TRAINER, LagProbe
from streams.model_records import ModelCommand, models_key
from streams.models_topic import ModelsView, ModelView, follow
from streams.topics import Topics
from streams.trainer import run_trainer
from tests.faults import processes
from twin.fleet import TwinDeclaration
from twin.types import NS_PER_S, compile_type

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
]

TANK: dict[str, Any] = {
    "@id": "dtmi:test:Tank;1",
    "@type": "Interface",
    "samplingPeriod": "PT5M",
    "maxAhead": None,
    "contents": [{"@type": "Telemetry", "name": name, "schema": "double"} for name in ("level", "pressure")],
}
TYPE = compile_type(TANK)
NAME = TYPE.slug
ASSETS = [f"tank-{number}" for number in range(2)]
FIRST_S = 1_700_000_100  # on the five-minute grid
MIN_STEPS = 256


class Plant:
    """Tanks with a daily course and sensor noise, fed in columns."""

    def __init__(self, producer: AIOKafkaProducer, topics: Topics) -> None:
        self.producer, self.topics = producer, topics
        self._random = np.random.default_rng(3)
        self._fed = 0

    async def declare(self) -> None:
        await self.producer.send_and_wait(self.topics.definitions, key=f"type/{TYPE.id}".encode(), value=orjson.dumps(TANK))
        for asset in ASSETS:
            declaration = TwinDeclaration(asset=asset, type=TYPE.id).model_dump_json().encode()
            await self.producer.send_and_wait(self.topics.definitions, key=f"twin/{asset}".encode(), value=declaration)

    async def feed(self, steps: int) -> None:
        at = np.arange(self._fed, self._fed + steps)
        self._fed += steps
        for number, asset in enumerate(ASSETS):
            course = np.sin(2 * np.pi * at / 288 + number)
            columns = {
                name: (10 + scale * course + self._random.normal(0, 0.05, steps)).tolist()
                for name, scale in (("level", 2), ("pressure", 1))
            }
            record = {"asset": asset, "time": (FIRST_S + 300 * at).tolist(), **columns}
            await self.producer.send_and_wait(self.topics.telemetry, key=asset.encode(), value=orjson.dumps(record))


class Watch:
    """The `models` topic as everyone else sees it."""

    def __init__(self, view: ModelsView, producer: AIOKafkaProducer, topics: Topics) -> None:
        self.view, self._producer, self._topics = view, producer, topics
        self._seen = asyncio.Event()

    def seen(self, _: object) -> None:
        self._seen.set()

    async def until(self, condition: Callable[[ModelView], object], within_s: float = 400) -> ModelView:
        async with asyncio.timeout(within_s):
            while not (NAME in self.view.models and condition(self.view.models[NAME])):
                self._seen.clear()
                await self._seen.wait()
        return self.view.models[NAME]

    async def order(self, action: str, version: str | None = None, *, time_ns: int = 2**62, name: str = NAME) -> ModelCommand:
        command = ModelCommand.model_validate(
            {
                "command_id": os.urandom(8).hex(),
                "name": name,
                "action": action,
                "version": version,
                "by": "ada",
                "time_ns": time_ns,
            }
        )
        await self._producer.send_and_wait(self._topics.models, key=models_key(command), value=command.to_bytes())
        return command


@pytest.fixture
async def stream(kafka: str, topic_prefix: str) -> AsyncIterator[tuple[str, Topics, Plant, Watch]]:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, partitions=2)
    view, caught_up, stop = ModelsView(), asyncio.Event(), asyncio.Event()
    async with clients.producer(kafka, client_id="test") as producer:
        plant, watch = Plant(producer, topics), Watch(view, producer, topics)
        await plant.declare()
        following = asyncio.create_task(follow(kafka, topics, view, caught_up=caught_up, stop=stop, on_change=watch.seen))
        yield kafka, topics, plant, watch
        stop.set()
        await following


@asynccontextmanager
async def trainer(
    kafka: str, topics: Topics, home: Path, *, every_s: float = 3600, min_steps: int = MIN_STEPS, structure_every: int = 0
) -> AsyncIterator[None]:
    """The role as `livetwin trainer` runs it; stopped, and nothing left behind, at the end."""
    stop = asyncio.Event()
    running = asyncio.create_task(
        run_trainer(
            bootstrap=kafka,
            topics=topics,
            home=home,
            train_every_s=every_s,
            train_min_steps=min_steps,
            train_max_steps=1000,
            train_structure_every=structure_every,
            train_loss="quantile",
            seed=7,
            threads=1,
            alarms_per_twin_day=0.02,
            stop=stop,
        )
    )
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(running, 120)
        assert not training_processes()


def training_processes() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE and "spawn_main" in " ".join(child.cmdline())]


async def training_process() -> psutil.Process:
    """Wait until it is there."""
    for _ in range(2400):
        if found := training_processes():
            return found[0]
        await asyncio.sleep(0.05)
    raise AssertionError("no training process was started within 120 s")


async def caught_up(kafka: str, topics: Topics, within_s: float = 120.0) -> None:
    """Return once the trainer has noted that it has folded all telemetry there is."""
    deadline = time.monotonic() + within_s
    async with LagProbe(kafka, topics) as probe:
        while [role.records for role in await probe.ask() if role.role == TRAINER] != [{topics.telemetry: 0}]:
            assert time.monotonic() < deadline, f"the trainer did not fold what there is within {within_s:g} s"
            await asyncio.sleep(0.1)


async def test_from_the_first_model_to_fine_tuned_versions_commands_and_a_restart(
    stream: tuple[str, Topics, Plant, Watch], tmp_path: Path
) -> None:
    kafka, topics, plant, watch = stream
    await plant.feed(200)
    async with trainer(kafka, topics, tmp_path, every_s=4, structure_every=2):
        # the first model comes when there are enough steps, not before
        await caught_up(kafka, topics)
        assert NAME not in watch.view.models
        await plant.feed(200)
        model = await watch.until(lambda model: model.alias)
        assert model.alias is not None
        assert model.champion is not None
        assert model.champion.base is None
        assert (model.champion.trigger or "").startswith("first: ")
        assert model.champion.figures["pretrained_steps"] >= MIN_STEPS
        assert model.champion.figures["taught_by_quantile"] == 1
        served = version_file.load(
            WeightFiles(tmp_path).verify(model.alias.champion_uri, model.alias.champion_sha256),
            expect_sha256=model.alias.champion_sha256,
            expect_contract=TYPE.contract,
        )
        assert served.info.assets == tuple(ASSETS)
        first = model.alias.champion
        assert first.startswith("0001-")

        # what it was trained on, and what that took
        origin, compute = model.champion.origin, model.champion.compute
        assert origin is not None
        assert origin.assets == tuple(ASSETS)
        assert origin.data_from_ns == (FIRST_S + 300) * NS_PER_S
        assert compute is not None
        assert compute.cpu_s > 0
        assert compute.energy is not None
        assert compute.energy.cpu_wh > 0

        # the timer: fine-tuned from the champion, decided and told why
        await plant.feed(30)
        model = await watch.until(lambda model: len(model.versions) >= 2)
        second = model.history()[0]
        assert second.version.startswith("0002-")
        assert second.base == first
        assert second.decision in ("champion", "refused")
        assert second.why
        assert (second.trigger or "").startswith("time: ")
        assert second.figures["hygiene_steps_used"] == 2 * second.figures["steps"]
        assert second.figures["pretrained_steps"] == model.versions[first].figures["pretrained_steps"]

        # the second tries a structure beside the first's, and tells what came of that
        said = [stage.why for stage in second.stages if stage.name == "structure"]
        assert len(said) == 1
        assert said[0].startswith("rank 4 and 1 residual blocks instead of rank 4 and 0 residual blocks")
        assert not [stage for stage in model.versions[first].stages if stage.name == "structure"]
        assert second.origin is not None
        assert second.origin.structure["blocks"] == float("not " not in said[0])

        # the record of runs
        model = await watch.until(lambda model: all(version.run_id for version in model.versions.values()))
        from mlflow import MlflowClient

        registry = Registry(tmp_path)
        client = MlflowClient(tracking_uri=registry.tracking_uri, registry_uri=registry.tracking_uri)
        run = client.get_run(str(model.versions[second.version].run_id))
        assert (run.data.tags["livetwin.version"], run.data.tags["decision"]) == (second.version, second.decision)
        assert run.data.params["trigger"] == second.trigger
        assert run.data.metrics["energy_wh"] > 0
        assert run.data.params["twins"] == str(len(ASSETS))
        assert run.data.params["structure.blocks"] == str(second.origin.structure["blocks"])

    # a restart goes on where the other stopped; a command older than the alias is not carried out again
    assert model.alias is not None
    champion, versions = model.alias.champion, len(model.versions)
    outdated = await watch.order("rollback", time_ns=1)
    async with trainer(kafka, topics, tmp_path):
        model = await watch.until(lambda model: outdated.command_id not in model.commands)
        assert model.alias is not None
        assert model.alias.champion == champion

        # by hand
        await watch.order("train")
        model = await watch.until(lambda model: len(model.versions) > versions and not model.commands)
        assert max(version.version for version in model.versions.values()).startswith(f"{versions + 1:04d}-")
        wanted = first if model.alias is not None and model.alias.champion != first else second.version
        await watch.order("promote", wanted)
        model = await watch.until(lambda model: model.alias and model.alias.champion == wanted and not model.commands)
        await watch.order("promote", "0099-none")
        model = await watch.until(lambda model: "0099-none" in model.refusals)
        assert model.alias is not None
        assert model.alias.champion == wanted


async def test_a_training_process_that_is_killed_is_announced_and_the_next_round_trains(
    stream: tuple[str, Topics, Plant, Watch], tmp_path: Path
) -> None:
    kafka, topics, plant, watch = stream
    await plant.feed(400)
    async with trainer(kafka, topics, tmp_path, every_s=2):
        os.kill((await training_process()).pid, signal.SIGKILL)
        model = await watch.until(lambda model: "0001-failed" in model.versions)
        assert "ended with exit code -9" in model.versions["0001-failed"].why
        assert model.alias is None
        await plant.feed(30)
        model = await watch.until(lambda model: model.alias)
        assert model.alias is not None
        assert model.alias.champion.startswith("0002-")


async def test_a_trainer_that_is_killed_in_the_middle_of_training_begins_again_and_answers_what_was_asked(
    stream: tuple[str, Topics, Plant, Watch], tmp_path: Path
) -> None:
    kafka, topics, plant, watch = stream
    await plant.feed(400)
    role = processes.trainer(kafka, topics.prefix, tmp_path, every_s=3600)
    asked = await watch.order("train")
    running = psutil.Process(role.start().pid)
    try:
        while not (" training\n" in role.said() and (at_work := running.children())):
            assert role.running(), role.said()
            await asyncio.sleep(0.05)
        await role.end(signal.SIGKILL)
        await asyncio.to_thread(psutil.wait_procs, at_work, timeout=60)
        assert NAME not in watch.view.models or not watch.view.models[NAME].versions
        half = WeightFiles(tmp_path / "trainer").path(NAME, ".0001-cut.safetensors.1.tmp").with_suffix("")
        half.parent.mkdir(parents=True, exist_ok=True)
        half.write_bytes(b"half of a file")
        os.utime(half, (0, 0))
        role.start()
        model = await watch.until(lambda model: model.alias and asked.command_id not in model.commands)
    finally:
        if role.running():
            await role.end(signal.SIGTERM)
    assert model.alias is not None
    assert [version.version for version in model.history()] == [model.alias.champion]
    assert model.alias.champion.startswith("0001-")
    assert (model.history()[0].trigger or "").startswith("hand: ")
    assert not half.exists(), "what the crash left is cleared away"


async def test_the_trainer_stops_in_the_middle_of_training(stream: tuple[str, Topics, Plant, Watch], tmp_path: Path) -> None:
    kafka, topics, plant, watch = stream
    await plant.feed(400)
    async with trainer(kafka, topics, tmp_path):
        await training_process()
    assert NAME not in watch.view.models
