"""The claims of `streams.alert_tables` and of the order outputs, state, offsets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from streams import clients
from streams.alert_lifecycle import Lifecycle
from streams.alert_records import conditions_value, sequence_of, state_from
from streams.alert_tables import CountedTable
from streams.alerting import build
from streams.topics import Topics
from tests.streams.alerting_run import make_signal
from tests.twin.test_alert_state import fold, signal
from twin.alert_command import OperatorCommand, fold_command
from twin.alert_state import AssetAlerts


@pytest.fixture
def app(tmp_path: Path) -> faust.App:
    return faust.App("tables", broker="kafka://127.0.0.1:1", store="memory://", datadir=tmp_path, Table=CountedTable)


def table(app: faust.App, name: str) -> CountedTable:
    made = app.Table(
        name, key_type=bytes, value_type=bytes, partitions=1, changelog_topic=app.topic(f"{name}-log", key_type=bytes)
    )
    assert isinstance(made, CountedTable)
    return made


def logged(topic: str, key: bytes, value: bytes) -> Any:
    """One changelog event, as far as a recovery looks at it."""
    return SimpleNamespace(key=key, value=value, message=SimpleNamespace(topic=topic, key=key, value=value, partition=0))


def counted(count: int) -> bytes:
    return conditions_value(AssetAlerts(), count)


async def test_a_recovery_keeps_the_value_with_the_most_writes_behind_it_in_any_order(app: faust.App) -> None:
    conditions = table(app, "conditions")
    conditions.apply_changelog_batch([logged("conditions-log", b"p1", counted(count)) for count in (1, 3, 2)])
    assert conditions.count_of(b"p1") == 3
    conditions.apply_changelog_batch([logged("conditions-log", b"p1", counted(2)), logged("conditions-log", b"p2", counted(1))])
    assert (conditions.count_of(b"p1"), conditions.count_of(b"p2")) == (3, 1)


async def test_a_recovery_takes_nothing_from_the_changelog_of_another_table(app: faust.App) -> None:
    conditions = table(app, "conditions")
    conditions.apply_changelog_batch([logged("closed-log", b"p1", counted(9))])
    assert conditions.value_of(b"p1") is None


def test_a_state_comes_back_from_its_bytes_as_it_was() -> None:
    asset, _ = fold([signal("raise", 10, 10), signal("clear", 30, 10), signal("raise", 100, 100, on_delay_ns=50)])
    said = OperatorCommand("c1", "comment", "anomaly@10", "ada", 1, text="ä")
    asset = fold_command(asset, said).asset
    value = conditions_value(asset, 7)
    assert state_from(value, None).conditions == asset.conditions
    assert sequence_of(value) == 7


@pytest.mark.kafka
async def test_a_state_is_not_kept_when_its_outputs_did_not_reach_the_broker(app: faust.App, kafka: str) -> None:
    producer = clients.producer(kafka, client_id="test", request_timeout_ms=1000)
    await producer.start()
    conditions = table(app, "conditions")
    lifecycle = Lifecycle(producer, Topics("nowhere."), conditions, table(app, "closed"))
    value = make_signal("raise", 1, 1).to_bytes()
    record = ConsumerRecord("inbox", 0, 0, 0, 0, b"p1", value, None, 0, 0, (("kind", b"signal"),))
    with pytest.raises(KafkaError):  # there is no topic nowhere.alerts
        await lifecycle.fold([record])
    await producer.stop()
    assert conditions.value_of(b"p1") is None


async def test_changelogs_are_not_watched_for_progress_for_nobody_processes_them(tmp_path: Path) -> None:
    nobody: Any = None
    app = build("127.0.0.1:9", Topics("t."), tmp_path, 2, nobody, nobody)
    assert {name: table.changelog_topic.acks for name, table in app.tables.items()} == {
        "epochs": False,
        "conditions": False,
        "closed": False,
    }
