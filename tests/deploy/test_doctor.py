"""`livetwin doctor` on a real broker, a real InfluxDB, a web server: what it finds, the way out, and that it changes nothing."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from deploy import doctor, doctor_broker, doctor_services
from deploy.finding import Finding
from deploy.influxd import InfluxDbAddress
from deploy.topics import ensure_topics
from streams import clients
from streams.checkpoint import mark_key, mark_value
from streams.lag import group_of
from streams.stores import influxdb_setup
from streams.stores.influxdb_server import InfluxDb
from streams.topics import Topics

Set = Callable[..., None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Set:
    """Settings by their short names; the data folder is empty."""

    def put(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(name.upper() if name.startswith("mlflow") else f"LIVETWIN_{name.upper()}", value)

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    put(home=str(tmp_path / "home"))
    return put


def by_subject(findings: Iterator[Finding]) -> dict[str, Finding]:
    """The gravest of each subject."""
    grave = ("ok", "note", "fault")
    return {one.subject: one for one in sorted(findings, key=lambda one: grave.index(one.state))}


# ── the broker ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def broker(kafka: str, topic_prefix: str, environment: Set) -> Callable[[], dict[str, Finding]]:
    environment(kafka=kafka, topic_prefix=topic_prefix)
    return lambda: by_subject(doctor_broker.examine())


async def send(
    kafka: str, topic: str, count: int, *, key: bytes = b"x", value: bytes = b"{}", timestamp_ms: int | None = None
) -> None:
    async with clients.producer(kafka, client_id="test") as producer:
        for _ in range(count):
            await producer.send(topic, value, key=key, partition=0, timestamp_ms=timestamp_ms)


@pytest.mark.kafka
def test_topics_that_are_missing_or_made_otherwise_are_named_with_what_to_do(
    kafka: str, topic_prefix: str, broker: Callable[[], dict[str, Finding]]
) -> None:
    found = broker()
    assert "speaks as Kafka 4" in found["broker"].found
    assert (found["topics"].state, found["topics"].way_out) == ("note", "`livetwin topics` creates them")
    topics = Topics(topic_prefix)

    async def make() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await admin.create_topics([NewTopic(topics.definitions, 1, 1, topic_configs={"cleanup.policy": "delete"})])
        await admin.close()
        await ensure_topics(kafka, topics, 2)

    asyncio.run(make())
    found = broker()
    assert found["topics"].state == "fault"
    assert f"{topics.definitions}: cleanup.policy is delete, expected compact" in found["topics"].found
    assert "--add-config cleanup.policy=[compact]" in found["topics"].way_out


@pytest.mark.kafka
def test_what_waits_for_a_role_that_nobody_runs_is_told(
    kafka: str, topic_prefix: str, broker: Callable[[], dict[str, Finding]]
) -> None:
    topics = Topics(topic_prefix)
    asyncio.run(ensure_topics(kafka, topics, 2))
    found = broker()
    assert {one.state for one in found.values()} == {"ok"}, found
    asyncio.run(send(kafka, topics.signals, 3))
    found = broker()
    assert (found["roles"].state, found["roles"].way_out) == ("note", "start it: `livetwin alerting`")
    assert "alerting ×0 3 behind" in found["roles"].found


@pytest.mark.kafka
def test_telemetry_that_retention_deleted_before_it_was_folded_and_checkpoints_older_than_the_log_are_faults(
    kafka: str, topic_prefix: str, broker: Callable[[], dict[str, Finding]]
) -> None:
    topics = Topics(topic_prefix)
    first = TopicPartition(topics.telemetry, 0)

    async def make(committed: int, mark: int, begin: int) -> None:
        await ensure_topics(kafka, topics, 2)
        await send(kafka, topics.telemetry, 10)
        await send(kafka, topics.checkpoint, 1, key=mark_key(0), value=mark_value(mark, 1))
        async with clients.consumer(kafka, group=group_of(topics, "processor"), client_id="test") as consumer:
            consumer.assign([first])
            await consumer.commit({first: committed})
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await admin.delete_records({first: RecordsToDelete(begin)})
        await admin.close()

    asyncio.run(make(committed=8, mark=2, begin=1))
    found = broker()["retention"]
    assert found.state == "ok"
    asyncio.run(make(committed=8, mark=2, begin=5))
    found = broker()["retention"]
    assert found.state == "fault"
    assert "checkpoints of partitions [0] are older than the oldest telemetry" in found.found
    asyncio.run(make(committed=8, mark=8, begin=11))
    found = broker()["retention"]
    assert found.state == "fault"
    assert f"retention.ms of {topics.telemetry}" in found.way_out


@pytest.mark.kafka
def test_a_feeder_whose_clock_is_ahead_is_told(kafka: str, topic_prefix: str, broker: Callable[[], dict[str, Finding]]) -> None:
    topics = Topics(topic_prefix)
    asyncio.run(ensure_topics(kafka, topics, 2))
    asyncio.run(send(kafka, topics.telemetry, 1))
    assert broker()["clocks"].state == "ok"
    asyncio.run(send(kafka, topics.telemetry, 1, timestamp_ms=int((time.time() + 3600) * 1000)))
    found = broker()["clocks"]
    assert found.state == "fault"
    assert "NTP" in found.way_out


def test_a_broker_that_is_away_is_one_finding_and_the_rest_goes_on(environment: Set) -> None:
    environment(kafka="127.0.0.1:9")
    found = by_subject(doctor.examine())
    assert found["broker"].state == "fault"
    assert {"settings", "java", "kafka jars", "disk", "gateway port", "store", "registry", "torch"} <= found.keys()
    assert all(one.way_out for one in found.values() if one.state != "ok")


# ── store and registry ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.influxdb
def test_an_influxdb_without_our_buckets_is_told_and_left_as_it_is(influxdb: InfluxDbAddress, environment: Set) -> None:
    bucket = f"d{uuid.uuid4().hex[:8]}"
    environment(
        store=f"influxdb:{influxdb.url}", influxdb_token=influxdb.token, influxdb_org=influxdb.org, influxdb_bucket=bucket
    )
    server, buckets = InfluxDb(influxdb.url, token=influxdb.token, org=influxdb.org), influxdb_setup.Buckets(bucket)
    try:
        for _ in range(2):
            found = by_subject(doctor_services.examine())
            assert found["store"].state == "note"
            assert f"bucket {bucket}_hourly" in found["store"].found
            assert "livetwin store setup" in found["store"].way_out
        influxdb_setup.set_up(server, buckets)
        found = by_subject(doctor_services.examine())
        assert found["store"].state == "ok"
        assert found["store clock"].found == "the InfluxDB server's is this machine's"
        environment(influxdb_token="wrong")
        found = by_subject(doctor_services.examine())
        assert found["store"].state == "fault"
        assert "LIVETWIN_INFLUXDB_TOKEN" in found["store"].found
    finally:
        server.close()


def test_a_registry_that_is_away_or_whose_clock_is_another_is_told(environment: Set) -> None:
    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(time.time() - 600, usegmt=True)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    environment(mlflow_tracking_uri=f"http://127.0.0.1:{server.server_port}")
    try:
        found = by_subject(doctor_services.examine())
        assert found["registry"].state == "ok"
        assert re.search(r"the MLflow server's is \d+ s behind this machine's", found["registry clock"].found)
        assert "NTP" in found["registry clock"].way_out
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert by_subject(doctor_services.examine())["registry"].state == "fault"


def test_the_embedded_store_and_registry_are_told_before_and_after_they_are_there(environment: Set, tmp_path: Path) -> None:
    found = by_subject(doctor_services.examine())
    assert (found["store"].state, found["registry"].state) == ("note", "note")
    home = tmp_path / "home"
    (home / "mlflow").mkdir(parents=True)
    (home / "store.duckdb").write_bytes(bytes(3 << 20))
    found = by_subject(doctor_services.examine())
    assert (found["store"].state, found["registry"].state) == ("ok", "ok")
    environment(store_max_mib="16")
    with (home / "store.duckdb").open("ab") as file:
        file.truncate(40 << 20)
    found = by_subject(doctor_services.examine())
    assert "LIVETWIN_STORE_MAX_MIB=16" in found["store"].found


def test_a_finding_that_is_not_well_has_a_way_out() -> None:
    with pytest.raises(ValueError, match="expected one"):
        Finding("fault", "x", "broken")
