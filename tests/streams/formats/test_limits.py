"""docs/limits.md says the limits that the code has; what happens past each is tried where the limit is."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError

from streams import micro_batch, placing
from streams.decoding import decode
from streams.folding import Folder
from streams.formats import limits
from streams.formats.readings import TelemetryTable
from streams.gateway import alert_context, app, intake, producing, views
from streams.gateway.problem import ApiError, BrokerAway
from streams.gateway.producing import Outgoing, RecordProducer
from streams.topics import Topics
from tests.streams.formats.wire import declared, record, rows, table
from tests.streams.plant import START
from twin import alert_likeness, units
from twin.errors import ReadingRefused

PAGE = (Path(__file__).parents[3] / "docs/limits.md").read_text()
SAID = [
    ("bytes of a body over HTTP, also once it is decompressed", app.MAX_BODY_BYTES),
    ("items of a list over HTTP", intake.MOST_ITEMS),
    ("bytes in the gateway that wait", producing.MOST_WAITING_BYTES),
    ("characters of an asset id", limits.MAX_ASSET),
    ("readings of a record", limits.MAX_READINGS),
    ("channels of a record", limits.MAX_CHANNELS),
    ("values of a record", limits.MAX_VALUES),
    ("bytes that an Arrow record claims", limits.MAX_ARROW_BYTES),
    ("batches and dictionaries of an Arrow record", limits.MAX_ARROW_MESSAGES),
    ("records of assets without a type", placing.MOST_WAITING),
    ("assets that have a home", limits.MOST_ASSETS),
    ("types, after which none is inferred", limits.MOST_TYPES),
    ("offsets of its partition that an asset without a type waits", placing.PATIENCE),
    ("telemetry folded at once", micro_batch.MOST_BYTES),
    ("characters of a unit", units.MOST_CHARACTERS),
    ("events of an asset that stand beside its alerts", views.MOST_EVENTS_OF_AN_ASSET),
    ("characters of such an event's text", views.MOST_EVENT_TEXT),
    ("neighbours of an alert's twin", alert_context.MOST_NEIGHBOURS),
    ("neighbours told beside an alert", alert_context.MOST_MOVING),
    ("similar alerts told", alert_likeness.MOST_SIMILAR),
]


@pytest.mark.parametrize(("row", "value"), SAID, ids=[row for row, _ in SAID])
def test_a_limit_is_documented_with_its_value(row: str, value: int) -> None:
    (cells,) = [line.split("|") for line in PAGE.splitlines() if line.startswith(f"| {row}")]
    assert int(re.sub(r"[^0-9]", "", cells[2])) == value


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        ({"asset": "p" * (limits.MAX_ASSET + 1), "time": START, "flow": 1}, "asset"),
        ({"asset": "p1", "time": [START] * (limits.MAX_READINGS + 1), "flow": [1] * (limits.MAX_READINGS + 1)}, "size"),
        ({"asset": "p1", "time": START, **{f"c{n}": 1 for n in range(limits.MAX_CHANNELS + 1)}}, "size"),
        ({"asset": "p1", "time": [START] * 3000, **{f"c{n}": [1] * 3000 for n in range(limits.MAX_VALUES // 3000 + 1)}}, "size"),
    ],
    ids=["asset", "readings", "channels", "values"],
)  # fmt: skip
def test_a_json_record_past_a_limit_is_refused_and_one_at_it_is_not(reading: dict[str, object], reason: str) -> None:
    with pytest.raises(ReadingRefused) as refusal:
        decode(orjson.dumps(reading))
    assert refusal.value.reason == reason
    decode(orjson.dumps({"asset": "p" * limits.MAX_ASSET, "time": START, **{f"c{n}": 1 for n in range(limits.MAX_CHANNELS)}}))
    decode(orjson.dumps({"asset": "p1", "time": [START] * limits.MAX_READINGS, "flow": [1] * limits.MAX_READINGS}))


def test_records_that_wait_for_a_type_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "MOST_WAITING", 3)
    folder = Folder(declared())
    out = folder.fold([record(n, orjson.dumps({"asset": f"x{n}", "time": START, "rpm": 1})) for n in range(5)])
    assert [(one.record.offset, one.reason) for one in out.refused] == [(3, "unknown-asset"), (4, "unknown-asset")]


async def test_bytes_that_wait_for_a_broker_that_does_not_answer_are_bounded() -> None:
    """Requests of eight bodies wait at once; the ninth is refused at once, and when they are over there is room again."""
    connected: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: connected.append(writer), "127.0.0.1", 0)
    producer = RecordProducer(f"127.0.0.1:{silent.sockets[0].getsockname()[1]}")
    body = [Outgoing(bytes(app.MAX_BODY_BYTES))]
    fitting = producing.MOST_WAITING_BYTES // app.MAX_BODY_BYTES
    waiting = [asyncio.create_task(producer.deliver("t", body)) for _ in range(fitting)]
    await asyncio.sleep(0)
    with pytest.raises(BrokerAway) as refusal:
        await producer.deliver("t", body)
    assert "67,108,864 at most; nothing was taken" in refusal.value.detail
    assert (refusal.value.status, refusal.value.retry_after_s) == (503, 5)
    assert not any(one.done() for one in waiting)
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert ["did not acknowledge" in str(one) for one in ended] == [True] * fitting
    with pytest.raises(BrokerAway, match="did not acknowledge"):
        await producer.deliver("t", body)
    for writer in connected:
        writer.close()
    silent.close()
    await producer.close()


def test_an_arrow_record_of_more_batches_than_may_be_is_refused_and_one_of_as_many_is_not() -> None:
    most = limits.MAX_ARROW_MESSAGES
    columns = rows(["p1"] * (most + 1), range(most + 1), flow=range(most + 1))
    at_limit = {name: column[:most] for name, column in columns.items()}
    found = decode(table(at_limit, parts=most))
    assert isinstance(found, TelemetryTable)
    assert len(found) == most
    with pytest.raises(ReadingRefused, match=f"more than {most} batches") as refusal:
        decode(table(columns, parts=most + 1))
    assert refusal.value.reason == "size"


def test_a_list_of_more_items_than_may_be_is_refused_and_one_of_as_many_is_not() -> None:
    headers = [("content-type", "application/json")]
    item = orjson.dumps({"asset": "p1", "time": START, "kind": "log"})
    assert len(intake.read_events(b"[" + b",".join([item] * intake.MOST_ITEMS) + b"]", headers).records) == intake.MOST_ITEMS
    for media in ("application/json", "application/cloudevents-batch+json"):
        with pytest.raises(ApiError, match=r"50001 items in the list, expected 1 to 50000; nothing was taken") as refusal:
            intake.read_events(b"[" + b",".join([b"{}"] * (intake.MOST_ITEMS + 1)) + b"]", [("content-type", media)])
        assert refusal.value.status == 400


@pytest.mark.kafka
async def test_a_record_larger_than_the_topic_takes_is_an_error_for_its_producer(kafka: str, topic_prefix: str) -> None:
    topic = Topics(topic_prefix).telemetry
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": "1048588"})])  # Kafka's default
    await admin.close()
    record = random.Random(1).randbytes(1 << 20)
    async with AIOKafkaProducer(bootstrap_servers=kafka, max_request_size=4 << 20) as producer:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic, record)
        await producer.send_and_wait(topic, record[: 1000 << 10])


HERE, TESTS = "streams/formats/test_limits.py", Path(__file__).parents[2]
JSON_RECORD = (HERE, "test_a_json_record_past_a_limit_is_refused_and_one_at_it_is_not")
UNITS, SLICES = "streams/test_stated_units.py", "streams/test_micro_batch.py"
FLEET, ARROW, PLACING = "streams/formats/test_fleet_limits.py", "streams/formats/test_arrow.py", "streams/test_placing.py"
CONTEXT = ("streams/gateway/test_alert_context.py", "test_what_is_told_is_bounded")
TRIED = {
    "bytes of a record": (HERE, "test_a_record_larger_than_the_topic_takes_is_an_error_for_its_producer"),
    "bytes of a body": ("streams/gateway/test_gateway_api.py", "test_a_body_that_is_too_large_or_no_json_is_said_to_be"),
    "items of a list": (HERE, "test_a_list_of_more_items_than_may_be_is_refused_and_one_of_as_many_is_not"),
    "bytes in the gateway": (HERE, "test_bytes_that_wait_for_a_broker_that_does_not_answer_are_bounded"),
    "characters of an asset": JSON_RECORD,
    "readings of a record": JSON_RECORD,
    "channels of a record": JSON_RECORD,
    "values of a record": JSON_RECORD,
    "bytes that an Arrow": (ARROW, "test_a_compressed_buffer_that_claims_gigabytes_is_refused_before_it_is_made"),
    "batches and dict": (HERE, "test_an_arrow_record_of_more_batches_than_may_be_is_refused_and_one_of_as_many_is_not"),
    "records of assets": (HERE, "test_records_that_wait_for_a_type_are_bounded"),
    "offsets of its": (PLACING, "test_who_waits_too_long_for_a_type_is_given_up_and_who_comes_often_enough_gets_one"),
    "telemetry folded": (SLICES, "test_slices_hold_every_record_once_in_order_and_no_more_than_most_bytes"),
    "characters of a unit": (UNITS, "test_a_unit_that_is_none_sends_its_channel_to_dead_letter_and_the_rest_is_used"),
    "assets that have": (FLEET, "test_an_asset_that_is_new_when_as_many_as_may_be_have_a_home_is_refused_and_the_others_go_on"),
    "types, after which": (FLEET, "test_past_the_types_that_may_be_none_is_inferred_and_known_ones_are_matched"),
    "events of an asset": CONTEXT,
    "characters of such": (CONTEXT[0], "test_events_of_the_twin_and_its_neighbours_close_in_time_are_told_the_own_ones_first"),
    "neighbours of an alert": CONTEXT,
    "neighbours told": CONTEXT,
    "similar alerts": ("twin/test_alert_likeness.py", "test_of_many_the_nearest_are_named_and_the_newer_of_equals_first"),
    "a value": (ARROW, "test_bad_rows_and_columns_are_named_and_the_rest_is_used"),
    "a time": ("twin/test_time.py", "test_what_is_no_time_is_refused_with_the_reason_time"),
}  # fmt: skip


def test_every_limit_of_the_page_is_tried() -> None:
    limits_said = [line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith("| ")][1:]
    untried = [row for row in limits_said if not any(row.startswith(begin) for begin in TRIED)]
    assert not untried, "name the test that goes past it in TRIED"
    for path, test in TRIED.values():
        assert re.search(rf"def {test}\(", (TESTS / path).read_text()), f"{path}::{test} is gone"
