"""The whole loop on a real broker: the water plant is fed, learnt by the trainer, watched by the processor, told by alerting.

A fault-free week raises no more alarms than the target says; then a leak becomes an alert on the right asset.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from scipy.stats import poisson

from deploy.feeds.producer import FeedProducer
from deploy.feeds.water import telemetry
from deploy.feeds.water_fleet import water_declarations, water_interfaces
from deploy.feeds.water_plant import WaterPlant
from deploy.topics import ensure_topics
from streams import clients
from streams.definitions import read_definitions
from streams.models_topic import read_models
from streams.processor import ProcessorStats, run_processor
from streams.records import Alert, DemoCommand, Signal
from streams.topics import Topics
from streams.trainer import run_trainer
from tests.streams.alerting_run import AlertingRun, alerting_run
from tests.streams.contract_check import check_topics

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

STEP_S = 300
DAY = 86_400 // STEP_S
TARGET = 0.02  # alarms a twin and day
LEARN_DAYS, WATCH_DAYS, LEAK_DAYS = 14, 7, 1
LEAK = "junction-211"
# what a leak may show in, by type of asset
RIGHT_CHANNELS = {"junction": {"pressure"}, "pipe": {"flow", "headloss"}, "tank": {"level", "inflow"}}


@asynccontextmanager
async def role(run: Callable[[asyncio.Event], asyncio.Task[None]]) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = run(stop)
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 120)


async def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    for _ in range(int(seconds / 0.1)):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {seconds:g} s")


async def champions(kafka: str, topics: Topics) -> set[str]:
    view = await read_models(kafka, topics)
    return {name for name, model in view.models.items() if model.alias is not None}


async def test_a_calm_week_stays_calm_and_a_leak_is_told(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    topics, stats = Topics(topic_prefix), ProcessorStats()
    await ensure_topics(kafka, topics, 4)
    plant = WaterPlant(STEP_S, 11, 1_767_571_200 * 10**9)
    sent = 0

    def processor(stop: asyncio.Event) -> asyncio.Task[None]:
        return asyncio.create_task(
            run_processor(bootstrap=kafka, topics=topics, group=f"{topic_prefix}processor", stop=stop, stats=stats)
        )

    def trainer(stop: asyncio.Event) -> asyncio.Task[None]:
        return asyncio.create_task(
            run_trainer(
                bootstrap=kafka, topics=topics, home=tmp_path, train_every_s=5, train_min_steps=256, train_max_steps=4032,
                seed=7, threads=1, alarms_per_twin_day=TARGET, stop=stop,
            )
        )  # fmt: skip

    async with FeedProducer(kafka, topics, client_id="water") as producer:

        async def feed(days: int) -> None:
            nonlocal sent
            for _ in range(days):
                records = await asyncio.to_thread(telemetry, plant, DAY)
                await producer.telemetry(records)
                sent += len(records)
            await until(lambda: stats.counts["records"] >= sent, "the last record", 240)

        await producer.define(water_interfaces(STEP_S), water_declarations(plant.layout))
        async with role(processor):
            async with role(trainer):
                await feed(LEARN_DAYS)
                for _ in range(200):
                    if len(found := await champions(kafka, topics)) == 4:
                        break
                    await asyncio.sleep(2)
                assert len(found) == 4, f"models of {found} only were promoted"
            await until(lambda: stats.swaps >= 4, "the switch to the champions", 30)

            # no version scores the backlog that was there before it; from here on all twins are watched
            await feed(WATCH_DAYS)
            raised = Counter(signal.asset for signal in await signals(kafka, topics) if signal.kind == "raise")
            twins = sum(len(assets) for assets, _ in plant.layout.values())
            most = poisson.ppf(0.99, TARGET * twins * WATCH_DAYS)
            assert sum(raised.values()) <= most, (
                f"{sum(raised.values())} alarms in a calm week, at most {most:g} expected: {raised}"
            )

            began_ns = plant.time_ns
            plant.switch(DemoCommand(fault="leak", asset=LEAK))
            await feed(LEAK_DAYS)
            async with alerting_run(kafka, topic_prefix, tmp_path / "alerting") as alerting:
                alerting.start()
                told = await alerts_since(alerting, began_ns)

    checked = await check_topics(kafka, topics, 4)
    assert {"models:ModelVersion", "models:Serving", "twin.history:HistoryBlock", "alerts:Alert"} <= set(checked)
    neighbours = (await read_definitions(kafka, topics)).fleet.neighbours(LEAK)
    near = [alert for alert in told if alert.asset in {LEAK, *neighbours}]
    assert near, f"the leak at {LEAK} was told of {[alert.asset for alert in told]}, expected it or one of {neighbours}"
    for alert in near[:1]:
        evidence = alert.evidence
        assert evidence.channels[0].name in RIGHT_CHANNELS[alert.asset.split("-")[0]]
        assert evidence.model_version is not None
        assert evidence.weights_sha256 is not None
        assert evidence.first_offset < evidence.last_offset


async def signals(kafka: str, topics: Topics) -> list[Signal]:
    return [Signal.model_validate_json(record.value) for record in await clients.read_to_end(kafka, topics.signals)]


async def alerts_since(run: AlertingRun, began_ns: int) -> list[Alert]:
    """Alerts with an onset from then on, oldest first; waits until every asset that raised has one."""
    raised = {one.asset for one in await signals(run.bootstrap, run.topics) if one.kind == "raise" and one.onset_ns >= began_ns}
    assert raised, "nothing was raised after the leak began"
    found = await run.until(lambda alerts: raised <= {alert.asset for alert in alerts if alert.onset_ns >= began_ns}, within_s=60)
    newest = {alert.id: alert for alert in found if alert.onset_ns >= began_ns}
    return sorted(newest.values(), key=lambda alert: alert.onset_ns)
