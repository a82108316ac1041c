"""A replay gives what the live run stored, byte for byte, whatever its batches, and when it is broken off and done again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest

from streams import clients
from streams.historian import Historian
from streams.models_topic import ModelsView
from streams.period_replay import replay_period
from streams.records import Alert
from streams.stores.duckdb import DuckDbStore
from streams.stores.export import export_lines
from tests.streams.alerting_run import AlertingRun, make_command
from tests.streams.plant import START, TYPE, Plant, readings, trained, variant
from tests.streams.test_processor_exactness import processor, until_done
from twin.types import NS_PER_S

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
STEPS = 600
ALL = {"from_ns": 0, "to_ns": 2**62}
PERIOD = {"from_ns": (START + 150) * NS_PER_S, "to_ns": (START + 420) * NS_PER_S}


class BrokenOff(Exception):
    pass


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    for _ in range(400):
        if await holds():
            return
        await asyncio.sleep(0.3)
    raise AssertionError(f"after 120 s: {what}")


async def serves_everywhere(plant: Plant, version: str) -> bool:
    view = ModelsView()
    for record in await clients.read_to_end(plant.bootstrap, plant.topics.models):
        view.apply(record.key, record.value)
    serving = [view.serving(TYPE.slug, partition) for partition in range(3)]
    return all(one is not None and one.switches[-1].version == version for one in serving)


async def live_run(plant: Plant, folder: Path) -> DuckDbStore:
    """All roles but the trainer on one stretch of telemetry: two versions, a restart, a command. What they stored."""
    first = trained()
    second = trained(2)
    await plant.promote(first, folder)
    store = DuckDbStore(folder / "live.duckdb")
    stop = asyncio.Event()
    historian = Historian(
        bootstrap=plant.bootstrap,
        topics=plant.topics,
        store=store,
        group=f"{plant.topics.prefix}h",
        max_age_ns=10**18,
        max_bytes=2**40,
    )
    sinking = asyncio.create_task(historian.run(stop))
    async with clients.producer(plant.bootstrap, client_id="operator") as producer:
        alerting = AlertingRun(plant.bootstrap, plant.topics.prefix, folder / "alerting", producer)
        process = alerting.start()
        try:
            values = readings(STEPS)
            async with processor(plant) as killed:
                await plant.feed(values[:, :300])
                await until_done(plant, 0.5)
                killed.send_signal(signal.SIGKILL)
                await killed.wait()
            async with processor(plant):
                await until_done(plant)

                async def alerts() -> list[Alert]:
                    records = await clients.read_to_end(plant.bootstrap, plant.topics.alerts)
                    return [Alert.model_validate_json(record.value) for record in records]

                async def some() -> bool:
                    return bool(await alerts())

                await until(some, "an alert")
                raised = (await alerts())[0]
                command = make_command("acknowledge", raised.id, asset=raised.asset)
                await producer.send_and_wait(plant.topics.alert_commands, command.to_bytes(), key=raised.id.encode())

                async def acknowledged() -> bool:
                    return any(alert.acknowledged for alert in await alerts())

                await until(acknowledged, "the acknowledgement")
                await plant.promote(second, folder)
                await until(lambda: serves_everywhere(plant, second.version), "the second version serves")
                await plant.feed(values[:, 300:], first=300)
                await until_done(plant)

            # what a replay makes of it is what the historian comes to, once it and alerting have caught up
            other = DuckDbStore(folder / "expected.duckdb")
            await replay_period(plant.bootstrap, plant.topics, other, **ALL)
            expected = list(export_lines(other, **ALL))
            other.close()

            async def caught_up() -> bool:
                return list(await asyncio.to_thread(export_lines, store, **ALL)) == expected

            try:
                await until(caught_up, "the live store equals the replay")
            except AssertionError:
                assert list(export_lines(store, **ALL)) == expected
        finally:
            stop.set()
            await asyncio.wait_for(sinking, 120)
            await alerting.end(process)
    return store


async def test_a_replay_equals_what_the_live_run_stored(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    plant = await Plant.built(kafka, topic_prefix)
    live = await live_run(plant, tmp_path)
    versions = {line.split(b'"version":')[1] for line in export_lines(live, **ALL) if b'"version":' in line}
    assert len(versions) >= 2, "both versions scored"
    alerts = live.alerts()
    assert {"p2", "p4"} <= {alert.asset for alert in alerts}
    assert any(alert.acknowledged for alert in alerts)

    # a period, in tiny batches, broken off in the middle and done again over what it left
    again = DuckDbStore(tmp_path / "again.duckdb")

    def breaks_off(done: int, total: int) -> None:
        if done > total * 0.7:
            raise BrokenOff

    with pytest.raises(BrokenOff):
        await replay_period(kafka, plant.topics, again, **PERIOD, batch_records=411, on_progress=breaks_off)
    report = await replay_period(kafka, plant.topics, again, **PERIOD, batch_records=53)
    assert not report.missing_versions
    assert (report.counts["records"], report.counts["written"]) == (6 * STEPS, 6 * 270)
    expected = list(export_lines(live, **PERIOD))
    assert list(export_lines(again, **PERIOD)) == expected
    assert list(export_lines(again, **ALL))[:10] == expected[:10], "steps out of the period were written"
    assert [alert.id for alert in again.alerts()]
    again.close()
    live.close()


async def test_a_version_that_is_gone_is_told_and_nobody_scores_in_its_place(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    plant = await Plant.built(kafka, topic_prefix)
    first = trained()
    second = variant(first, 2)
    await plant.promote(first, tmp_path)
    async with processor(plant):
        await until(lambda: serves_everywhere(plant, first.version), "the first serves")
        await plant.feed(readings(100)[:, :60])
        await until_done(plant)
        await plant.promote(second, tmp_path)
        await until(lambda: serves_everywhere(plant, second.version), "the second serves")
        await plant.feed(readings(100)[:, 60:], first=60)
        await until_done(plant)
    (tmp_path / f"{second.version}.safetensors").unlink()
    store = DuckDbStore(tmp_path / "store.duckdb")
    report = await replay_period(kafka, plant.topics, store, **ALL)
    versions = [orjson.loads(line)["version"] for line in export_lines(store, **ALL) if b'"version":' in line]
    store.close()
    assert len(report.missing_versions) == 3
    assert all(second.version in told for told in report.missing_versions)
    # a step closes with the record three later: that of the first after the switch
    assert {version: versions.count(version) for version in set(versions)} == {first.version: 6 * 57, "": 6 * 40}
