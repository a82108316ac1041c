"""The alerting role: Faust over the signals and commands, with its state in tables that the broker keeps.

In:   `alert.signals`, `alert.commands`.
Out:  `alerts`, `feedback`, `dead-letter`; its own `alerting.*` topics.
Promises: every change of an alert is published at least once, and a repetition is the same record or none. It stops on
SIGTERM and SIGINT within seconds. It fails, rather than goes on in doubt, when a write is refused: started again, it
rebuilds its tables from their changelogs and repeats what it had not acknowledged. Many may run: they share the partitions.

Time: only the event time of the signals. What the alerts mean is in docs/alerts.md.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import faust
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams import clients
from streams.alert_intake import Intake, PartitionLog
from streams.alert_lifecycle import Lifecycle
from streams.alert_routing import Router
from streams.alert_tables import CountedTable, batches, message_of
from streams.client_logs import limit_client_logs
from streams.topics import Topics
from twin.errors import LivetwinError

log = logging.getLogger(__name__)

MOST_RECORDS = 500  # in one batch
AUDIT_EVERY_S = 1.0  # records that came and were not delivered are found after twice that
_TOPICS_WAIT_S = 60.0
_STOP_S = 8.0


class AlertingStopped(LivetwinError):
    """Alerting can't go on; started again, it repeats what was not acknowledged."""

    retriable = True


class TopicsUnfit(LivetwinError):
    """A topic of alerting is missing, or has another number of partitions than the signals."""


def main(*, bootstrap: str, topics: Topics, home: Path) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        bootstrap: HOST:PORT[,HOST:PORT] of the broker.
        home: livetwin's data folder; Faust keeps its own under `alerting`.

    Raises:
        TopicsUnfit: the topics are not there, see `deploy.topics.ensure_topics`.
        AlertingStopped: a part of it failed.
    """
    for noisy in ("faust", "mode", "aiokafka", "streams.alert_tables"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("faust.transport.producer").setLevel(logging.ERROR)  # warns of each batch of changelog records
    limit_client_logs()
    folder = home / "alerting"
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_serve(bootstrap, topics, folder))


async def _serve(bootstrap: str, topics: Topics, folder: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    partitions = await _partitions(bootstrap, topics, stop)
    if partitions is None:
        return
    async with AsyncExitStack() as stack:
        producer = clients.producer(bootstrap, client_id=f"{topics.prefix}alerting", request_timeout_ms=120_000)
        stack.push_async_callback(producer.stop)
        await producer.start()
        partition_log = PartitionLog(bootstrap, group=f"{topics.prefix}alerting")
        stack.push_async_callback(partition_log.stop)
        await partition_log.start()
        await _run(build(bootstrap, topics, folder, partitions, producer, partition_log), stop)


async def _run(app: faust.App, stop: asyncio.Event) -> None:
    stopping = asyncio.ensure_future(stop.wait())
    ended = asyncio.ensure_future(_started_until_ended(app))
    log.info("alerting-starting", extra={"group": app.conf.id})
    try:
        await asyncio.wait([stopping, ended], return_when=asyncio.FIRST_COMPLETED)
        failure = app.crash_reason or (ended.exception() if ended.done() else None)
        try:
            await asyncio.wait_for(app.stop(), _STOP_S)
        except TimeoutError:
            log.warning("alerting-stop-slow", extra={"after_s": _STOP_S})
    finally:
        stopping.cancel()
        ended.cancel()
        await asyncio.gather(stopping, ended, return_exceptions=True)
    if failure is not None:
        raise AlertingStopped(
            f"alerting stopped: {failure!r}; unacknowledged records will be repeated when it is started again"
        ) from failure


async def _started_until_ended(app: faust.App) -> None:
    await app.start()
    log.info("alerting-ready", extra={"group": app.conf.id})
    await app._wait_stopped()  # or crashed; what Faust's own worker waits for


def build(
    bootstrap: str, topics: Topics, folder: Path, partitions: int, producer: AIOKafkaProducer, partition_log: PartitionLog
) -> faust.App:
    """The Faust application, not yet started. Its group and all its topics are behind the prefix."""
    app = faust.App(
        id=f"{topics.prefix}alerting",
        broker=[f"kafka://{server.strip()}" for server in bootstrap.split(",")],
        store="memory://",
        datadir=folder,
        autodiscover=False,
        web_enabled=False,
        processing_guarantee="at_least_once",
        topic_partitions=partitions,
        topic_allow_declare=False,  # deploy.topics makes them, with the right settings
        topic_disable_leader=True,
        Table=CountedTable,
        producer_acks=-1,
        producer_compression_type="lz4",
        producer_max_request_size=clients.MAX_RECORD_BYTES,
        producer_request_timeout=120.0,
        consumer_max_fetch_size=clients.MAX_MESSAGE_BYTES,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=1.0,
        broker_session_timeout=10.0,  # how long a killed one's partitions wait for another
        broker_heartbeat_interval=3.0,
        broker_rebalance_timeout=15.0,
        stream_wait_empty=False,
    )

    def topic(name: str, *, acks: bool = True) -> Any:
        raw: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
        return app.topic(name, **raw, partitions=partitions, acks=acks)

    def table(name: str, changelog: str) -> CountedTable:
        # without acks, as Faust's own changelogs: nobody processes them, so a watch on progress would call them stuck
        log_topic = topic(changelog, acks=False)
        made = app.Table(name, key_type=bytes, value_type=bytes, partitions=partitions, changelog_topic=log_topic)
        assert isinstance(made, CountedTable)  # the App's setting `Table`
        return made

    router = Router(producer, topics, table("epochs", topics.alerting_epochs))
    lifecycle = Lifecycle(
        producer, topics, table("conditions", topics.alerting_conditions), table("closed", topics.alerting_closed)
    )

    def acknowledge(record: ConsumerRecord[bytes, bytes]) -> None:
        app.consumer.ack(message_of(record))

    intakes = [
        Intake(topics.signals, router.route_signals, partition_log, acknowledge),
        Intake(topics.alert_commands, router.route_commands, partition_log, acknowledge),
        Intake(topics.alerting_inbox, lifecycle.fold, partition_log, acknowledge),
    ]
    for intake in intakes:
        app.agent(topic(intake.topic), name=f"take {intake.topic}")(_agent(app, intake))
    app.timer(AUDIT_EVERY_S)(_audit(app, intakes))
    return app


def _agent(app: faust.App, intake: Intake) -> Callable[[Any], Awaitable[None]]:
    async def take(stream: Any) -> None:
        try:
            async for records in batches(stream, most=MOST_RECORDS, generation=lambda: app.consumer_generation_id):
                await intake.take(records, generation=app.consumer_generation_id)
        except Exception as error:
            # Faust would start the agent again and commit later offsets over what failed
            await app.crash(error)
            raise

    return take


def _audit(app: faust.App, intakes: Sequence[Intake]) -> Callable[[], Awaitable[None]]:
    async def audit() -> None:
        if app.rebalancing or app.in_recovery:
            return
        try:
            assigned = app.consumer.assignment()
            for intake in intakes:
                owned = sorted(one.partition for one in assigned if one.topic == intake.topic)
                await intake.audit(owned, generation=app.consumer_generation_id)
        except KafkaError as error:
            log.warning("audit-failed", extra={"error": repr(error)})  # the broker is away: the next one will tell
        except Exception as error:
            await app.crash(error)
            raise

    return audit


async def _partitions(bootstrap: str, topics: Topics, stop: asyncio.Event) -> int | None:
    """Partitions of the signals; waits for the topics for a while. None when it was stopped before they came."""
    needed = [topics.signals, topics.alert_commands, topics.alerting_inbox]
    needed += [topics.alerting_epochs, topics.alerting_conditions, topics.alerting_closed]
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        deadline = asyncio.get_running_loop().time() + _TOPICS_WAIT_S
        told = False
        while True:
            found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
            missing = [name for name in (*needed, topics.alerts, topics.feedback, topics.dead_letter) if name not in found]
            if not missing:
                break
            if asyncio.get_running_loop().time() > deadline:
                raise TopicsUnfit(
                    f"topics {', '.join(missing)} were not there within {_TOPICS_WAIT_S:.0f} s, expected all of "
                    f"{topics.prefix}*; alerting did not start"
                )
            if not told:
                log.info("alerting-waits-for-topics", extra={"missing": missing})
                told = True
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.5)
                return None
    finally:
        await admin.close()
    for name in needed:
        if found[name] != found[topics.signals]:
            raise TopicsUnfit(
                f"topic {name} has {found[name]} partitions, expected {found[topics.signals]} as {topics.signals} has; "
                "alerting did not start"
            )
    return found[topics.signals]
