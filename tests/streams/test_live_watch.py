"""Versions on live steps, on a real broker and in the real training process: shadow, refusal, roll back, over a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models import version as version_file
from models.served import ServedModel
from streams.canary import drawn
from streams.lag import TRAINER, LagProbe
from streams.live_rules import LiveSteps
from streams.model_records import Canary, ModelAlias, ModelVersion, models_key
from streams.models_topic import ModelView, read_models
from streams.trainer import run_trainer
from tests.streams.plant import ASSETS, START, TYPE, Plant, readings, trained, variant
from tests.streams.test_processor_swaps import running
from twin.types import NS_PER_S

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SHADOW, WATCH, CANARY = 24, 48, 16


def far_off(model: ServedModel, number: int) -> ServedModel:
    """A version whose forecasts are not what they should be."""
    made = variant(model, number)
    with torch.no_grad():
        made.detectors.state_dict()["network.head.weight"].mul_(4)
    made.info = replace(made.info, version=f"{number:04d}-off")
    return made


class Bench:
    """Versions whose files are there, announced as a trainer announces them; steps are counted from START."""

    def __init__(self, plant: Plant, home: Path) -> None:
        self.plant, self.home, self.live = plant, home, LiveSteps(SHADOW, WATCH)
        self._values, self._fed = readings(600, faults=False), 0

    async def announce(self, model: ServedModel, decision: str, *, judged_to: int = 0) -> ModelVersion:
        path = self.home / "models" / TYPE.slug / f"{model.version}.safetensors"
        found = {
            "name": TYPE.slug, "type": TYPE.id, "version": model.version, "uri": path.as_uri(), "contract": TYPE.contract,
            "sha256": version_file.save(model, path), "decision": decision, "why": "passed the gate", "time_ns": time.time_ns(),
            "judged_to_ns": (START + judged_to) * NS_PER_S,
        }  # fmt: skip
        record = ModelVersion.model_validate(found)
        await self.plant.send(self.plant.topics.models, [(models_key(record), record.to_bytes())])
        return record

    async def point(
        self, champion: ModelVersion, *, challenger: str | None = None, previous: str | None = None, canary: Canary | None = None
    ) -> None:
        alias = ModelAlias(
            name=TYPE.slug, type=TYPE.id, champion=champion.version, champion_sha256=champion.sha256,
            champion_uri=champion.uri, since_ns=time.time_ns(), challenger=challenger, previous=previous, canary=canary,
        )  # fmt: skip
        await self.plant.send(self.plant.topics.models, [(models_key(alias), alias.to_bytes())])

    async def feed(self, steps: int) -> None:
        await self.plant.feed(self._values[:, self._fed : self._fed + steps], first=self._fed)
        self._fed += steps

    async def until(self, condition: Callable[[ModelView], object], within_s: float = 200) -> ModelView:
        async with asyncio.timeout(within_s):
            while True:
                model = (await read_models(self.plant.bootstrap, self.plant.topics)).models[TYPE.slug]
                if condition(model):
                    return model
                await asyncio.sleep(0.2)

    async def folded(self, within_s: float = 120) -> None:
        """Return once the trainer has folded all telemetry there is."""
        async with asyncio.timeout(within_s), LagProbe(self.plant.bootstrap, self.plant.topics) as probe:
            while True:
                if [role.records for role in await probe.ask() if role.role == TRAINER] == [{self.plant.topics.telemetry: 0}]:
                    return
                await asyncio.sleep(0.1)

    @asynccontextmanager
    async def trainer(self) -> AsyncIterator[None]:
        """One that judges and, as there are never steps enough, trains nothing."""
        stop = asyncio.Event()
        running = asyncio.create_task(
            run_trainer(
                bootstrap=self.plant.bootstrap, topics=self.plant.topics, home=self.home, train_every_s=3600,
                train_min_steps=100_000, train_max_steps=1000, seed=7, threads=1, alarms_per_twin_day=50, stop=stop,
                live=self.live,
            )
        )  # fmt: skip
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(running, 120)


@pytest.fixture
async def bench(kafka: str, topic_prefix: str, tmp_path: Path) -> Bench:
    return Bench(await Plant.built(kafka, topic_prefix), tmp_path)


async def test_a_challenger_serves_after_live_steps_and_a_worse_one_never(bench: Bench) -> None:
    good = trained()
    champion = await bench.announce(good, "champion")
    challenger = await bench.announce(variant(good, 2), "challenger", judged_to=10)
    await bench.point(champion, challenger=challenger.version)
    await bench.feed(10 + SHADOW // 2)
    async with bench.trainer():
        await bench.folded()
        model = await bench.until(lambda model: model.alias)
        assert model.alias is not None
        assert (model.alias.champion, model.alias.challenger) == (champion.version, challenger.version)
    async with bench.trainer():  # it ended in the middle of the shadow: the same steps count again
        await bench.feed(SHADOW)
        model = await bench.until(lambda model: model.alias and model.alias.champion == challenger.version)
        assert model.alias is not None
        assert (model.alias.previous, model.alias.challenger) == (champion.version, None)
        judged = model.versions[challenger.version]
        assert [(stage.name, stage.passed) for stage in judged.stages] == [("shadow", True)]
        assert judged.figures["shadow_steps"] >= SHADOW
        assert "no worse in the shadow: loss" in judged.why

        worse = await bench.announce(far_off(good, 3), "challenger", judged_to=10)
        await bench.point(judged, challenger=worse.version, previous=champion.version)
        await bench.until(lambda model: model.versions[worse.version].decision == "refused")
        model = await bench.until(lambda model: model.alias and model.alias.challenger is None)  # the record after that
        assert model.alias is not None
        assert model.alias.champion == challenger.version
        assert model.versions[worse.version].why.startswith("refused in the shadow: loss "), model.versions[worse.version].why


async def test_a_champion_that_is_worse_on_live_steps_is_rolled_back(bench: Bench) -> None:
    good = trained()
    before = await bench.announce(good, "retired")
    bad = await bench.announce(far_off(good, 2), "champion", judged_to=5)
    await bench.point(bad, previous=before.version)
    await bench.feed(20)
    async with bench.trainer():
        await bench.folded()
        assert (await bench.until(lambda model: model.alias)).champion == bad, "a few steps say nothing"
        await bench.feed(WATCH)
        model = await bench.until(lambda model: model.alias and model.alias.champion == before.version)
    rolled = model.versions[bad.version]
    assert rolled.decision == "rolled-back"
    assert f"rolled back: worse than {before.version} before it: loss " in rolled.why
    assert [(stage.name, stage.passed) for stage in rolled.stages] == [("live", False)]


def off_on(model: ServedModel, number: int, asset: str) -> ServedModel:
    """A version whose forecasts of one twin are far off."""
    made = variant(model, number)
    with torch.no_grad():
        made.detectors.state_dict()["network.bias"][made.info.assets.index(asset)] += 3
    made.info = replace(made.info, version=f"{number:04d}-off-on-{asset}")
    return made


def canary_of(version: ModelVersion, share: float = 0.5) -> Canary:
    return Canary(version=version.version, sha256=version.sha256, uri=version.uri, share=share, since_ns=time.time_ns())


def one_of(drawn_by: Canary, *, served: bool) -> str:
    """A twin that the canary serves, or one that it does not."""
    return next(asset for asset, mine in zip(ASSETS, drawn(ASSETS, drawn_by), strict=True) if mine == served)


async def test_a_challenger_that_passed_the_shadow_serves_some_twins_and_then_all(bench: Bench) -> None:
    bench.live = LiveSteps(SHADOW, WATCH, CANARY, 0.5)
    good = trained()
    champion = await bench.announce(good, "champion")
    challenger = await bench.announce(variant(good, 2), "challenger", judged_to=10)
    await bench.point(champion, challenger=challenger.version)
    async with running(bench.plant), bench.trainer():
        await bench.feed(10 + SHADOW + 4)
        model = await bench.until(lambda model: model.alias and model.alias.canary)
        assert model.alias is not None
        assert (model.alias.champion, model.alias.challenger) == (champion.version, challenger.version)
        await bench.feed(4)
        on_canary = await bench.until(lambda model: _canaries(model) == {challenger.version})
        assert {one.switches[-1].version for one in on_canary.serving.values()} == {champion.version}
        await bench.feed(CANARY + 8)
        model = await bench.until(lambda model: model.alias and model.alias.champion == challenger.version)
    judged = model.versions[challenger.version]
    assert [(stage.name, stage.passed) for stage in judged.stages] == [("shadow", True), ("canary", True)]
    assert judged.figures["canary_steps"] >= CANARY
    canary = next(switch.canary for serving in model.serving.values() for switch in serving.switches if switch.canary)
    rows = (await bench.plant.outputs()).history
    versions = {asset: {row[-1] for (one, _), row in rows.items() if one == asset} for asset in ASSETS}  # type: ignore[misc,index]
    assert {challenger.version in seen for seen in versions.values()} <= {True, False}
    assert challenger.version in versions[one_of(canary, served=True)]


@pytest.mark.parametrize("served", [True, False], ids=["on its twins", "on the others"])
async def test_a_canary_that_is_bad_on_some_twins_only_is_withdrawn(bench: Bench, served: bool) -> None:
    """On its own twins: before its steps are over. On others: before it serves them."""
    bench.live = LiveSteps(SHADOW, WATCH, CANARY, 0.5)
    good = trained()
    champion = await bench.announce(good, "champion")
    name = next(asset for asset in ASSETS if _is_drawn(f"0002-off-on-{asset}", asset) == served)
    bad = await bench.announce(off_on(good, 2, name), "challenger", judged_to=10)
    await bench.point(champion, challenger=bad.version, canary=canary_of(bad))
    async with running(bench.plant), bench.trainer():
        await bench.feed(8)
        await bench.until(lambda model: _canaries(model) == {bad.version})
        await bench.feed(2 * CANARY)
        model = await bench.until(lambda model: model.versions[bad.version].decision == "refused")
        await bench.feed(4)
        model = await bench.until(lambda model: not _canaries(model))
    assert model.alias is not None
    assert (model.alias.champion, model.alias.challenger, model.alias.canary) == (champion.version, None, None)
    why = model.versions[bad.version].why
    assert why.startswith("refused on canary twins: 50% of the twins: "), why
    assert ("on all twins, beside those it served" in why) == (not served)
    assert {one.switches[-1].version for one in model.serving.values()} == {champion.version}


def _is_drawn(version: str, asset: str) -> bool:
    return bool(drawn([asset], Canary(version=version, sha256="", uri="", share=0.5, since_ns=0))[0])


def _canaries(model: ModelView) -> set[str]:
    """What serves canary twins now, by what processors say."""
    newest = [serving.switches[-1].canary for serving in model.serving.values() if serving.switches]
    return {canary.version for canary in newest if canary is not None}
