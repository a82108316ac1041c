"""The claims of `streams.alert_tables` and of the order outputs, state, offsets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import faust
import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from streams import clients
from streams.alert_lifecycle import Lifecycle
from streams.alert_records import conditions_value, sequence_of, state_from
from streams.alert_routing import KIND_HEADER
from streams.alert_tables import CountedTable
from streams.alerting import build
from streams.records import Alert, alert_id
from streams.topics import Topics
from tests.streams.alerting_run import STEP_NS, make_signal
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


SIGNAL = ((KIND_HEADER, b"signal"),)


class Told:
    """A producer's side of it: what was sent, in order."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    async def send(self, topic: str, value: bytes, **_: object) -> Awaitable[None]:
        self.alerts.append(Alert.model_validate_json(value))
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        acknowledged.set_result(None)
        return acknowledged


class Dying(CountedTable):
    """The process ends in the place of one write, by number."""

    writes: ClassVar[int] = 0
    last: ClassVar[int] = 0

    async def write(self, partition: int, key: bytes, value: bytes) -> None:
        if Dying.writes == Dying.last:
            raise KafkaError("killed")
        Dying.writes += 1
        self.data[key] = value


@pytest.mark.parametrize("survive", range(8))
async def test_a_batch_that_is_cut_off_between_any_two_writes_gives_the_same_revisions_again(
    tmp_path: Path, survive: int
) -> None:
    """Two alerts in one batch: the first goes to the older ones. Then another batch, with a third."""
    app = faust.App("cut", broker="kafka://127.0.0.1:1", store="memory://", datadir=tmp_path, Table=Dying)
    told, conditions, closed = Told(), table(app, "conditions"), table(app, "closed")
    lifecycle = Lifecycle(cast(Any, told), Topics("t."), conditions, closed)
    steps = [("raise", 1, 1), ("clear", 4, 1), ("raise", 9, 9), ("clear", 12, 9), ("raise", 20, 20), ("clear", 23, 20)]
    inbox = [
        ConsumerRecord(
            "inbox", 0, at, 0, 0, asset, make_signal(kind, step, onset, asset=asset.decode()).to_bytes(), None, 0, 0, SIGNAL
        )
        for at, ((kind, step, onset), asset) in enumerate((step, asset) for step in steps for asset in (b"p1", b"p2"))
    ]
    Dying.writes, Dying.last = 0, survive
    for batch in (inbox[:8], inbox[8:]):
        try:
            await lifecycle.fold(batch)
        except KafkaError:
            Dying.last = 99  # started again: the batch is repeated from what was written
            await lifecycle.fold(batch)
    assert {(alert.id, alert.revision, alert.state) for alert in told.alerts} == {
        (alert_id(asset, "anomaly", onset * STEP_NS), revision, state)
        for asset in ("p1", "p2")
        for onset in (1, 9, 20)
        for revision, state in ((1, "active"), (2, "cleared"))
    }
    state = state_from(conditions.value_of(b"p1"), closed.value_of(b"p1"))
    assert [alert.onset_ns // STEP_NS for alert in state.closed.values()] == [1, 9]
    assert {alert.revision for alert in state.closed.values()} == {2}


async def test_of_two_owners_the_state_with_more_of_the_inbox_behind_it_wins(app: faust.App) -> None:
    """One that slept writes what it had folded late; its batch ended earlier in the inbox, whatever it wrote before."""
    told: Any = Told()
    found: dict[int, bytes] = {}
    for length in (2, 3):
        conditions = table(app, f"conditions{length}")
        conditions.send_changelog = _acknowledged  # type: ignore[method-assign]
        records = [
            ConsumerRecord("inbox", 0, at, 0, 0, b"p1", make_signal("keep", at, 0).to_bytes(), None, 0, 0, SIGNAL)
            for at in range(length)
        ]
        await Lifecycle(told, Topics("t."), conditions, table(app, f"closed{length}")).fold(records)
        found[length] = conditions.value_of(b"p1") or b""
    after = table(app, "after")
    after.apply_changelog_batch([logged("after-log", b"p1", found[length]) for length in (3, 2)])
    assert after.value_of(b"p1") == found[3]


async def _acknowledged(*_: object) -> None:
    await asyncio.sleep(0)


async def test_changelogs_are_not_watched_for_progress_for_nobody_processes_them(tmp_path: Path) -> None:
    nobody: Any = None
    app = build("127.0.0.1:9", Topics("t."), tmp_path, 2, nobody, nobody)
    assert {name: table.changelog_topic.acks for name, table in app.tables.items()} == {
        "epochs": False,
        "conditions": False,
        "closed": False,
    }
