"""CloudEvents 1.0, binary and structured, around JSON and Arrow; the event speaks where its data do not."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from streams.decoding import decode
from streams.folding import Folder
from streams.formats.readings import Telemetry, TelemetryTable
from tests.streams.formats.wire import declared, event_headers, record, rows, structured, table
from tests.streams.plant import START
from twin.errors import ReadingRefused

READING = {"asset": "p1", "time": START, "flow": 1.5}
COLUMNS = {"asset": "p1", "time": [START, START + 1], "flow": [1.5, 2.5]}
ARROW = table(rows(["p1", "p2"], [0, 0], flow=[1.5, 2.5]))
ARROW_TYPE = "application/vnd.apache.arrow.stream"
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=utf-8"),)


def test_every_format_in_every_mode_stands_on_one_topic() -> None:
    folder = Folder(declared("p1", "p2"))
    sent = [
        record(0, orjson.dumps(READING)),
        record(1, orjson.dumps(COLUMNS)),
        record(2, ARROW),
        record(3, orjson.dumps(READING), headers=event_headers("application/json")),
        record(4, orjson.dumps(COLUMNS), headers=event_headers()),
        record(5, ARROW, headers=event_headers(ARROW_TYPE)),
        record(6, structured(data=READING), headers=STRUCTURED),
        record(7, structured(data=COLUMNS, datacontenttype="application/json")),
        record(8, structured(data_base64=base64.b64encode(ARROW).decode(), datacontenttype=ARROW_TYPE), headers=STRUCTURED),
        record(9, structured(data_base64=base64.b64encode(orjson.dumps(READING)).decode())),
    ]
    out = folder.fold(sent)
    assert out.refused == []
    assert out.counts["accepted"] == sum([1, 2, 2, 1, 2, 2, 1, 2, 2, 1])


@pytest.mark.parametrize(
    ("data", "event", "key", "asset"),
    [
        ({"asset": "own", "time": 1}, {"subject": "subject"}, b"key", "own"),
        ({"time": 1}, {"subject": "subject"}, b"key", "subject"),
        ({"time": 1}, {}, b"key", "key"),
    ],
)
def test_the_asset_is_the_datas_else_the_subject_else_the_key(
    data: dict[str, Any], event: dict[str, Any], key: bytes, asset: str
) -> None:
    for found in (
        decode(orjson.dumps(data), event_headers(**event), key),
        decode(structured(data=data, **event), STRUCTURED, key),
    ):
        assert isinstance(found, Telemetry)
        assert found.asset == asset


def test_the_time_is_the_datas_else_the_events() -> None:
    at = {"subject": "p1", "time": "2023-11-14T22:13:20Z"}
    for found in (decode(b'{"flow":1}', event_headers(**at)), decode(structured(data={"flow": 1}, **at))):
        assert found.time_ns == START * 10**9
    assert decode(b'{"flow":1,"time":7}', event_headers(**at)).time_ns == 7 * 10**9
    snapshot = decode(table({"asset": ["p1", "p2"], "flow": [1, 2]}), event_headers(ARROW_TYPE, **at))
    assert isinstance(snapshot, TelemetryTable)
    assert snapshot.time_ns.tolist() == [START * 10**9] * 2


def test_neither_source_nor_the_key_of_a_plain_record_names_an_asset() -> None:
    for headers in (event_headers(source="p1"), ()):
        with pytest.raises(ReadingRefused) as refusal:
            decode(b'{"time":1,"flow":1}', headers, None if headers else b"p1")
        assert refusal.value.reason == "asset"


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (b"{}", event_headers(specversion="0.3"), "cloudevents"),
        (b"{}", event_headers(id=""), "cloudevents"),
        (structured(data=READING, specversion="2.0"), (), "cloudevents"),
        (structured(), STRUCTURED, "cloudevents"),
        (structured(data=READING, data_base64=""), (), "cloudevents"),
        (structured(data_base64="no base64!"), (), "cloudevents"),
        (structured(data=READING, subject=7), (), "cloudevents"),
        (structured(data=READING, datacontenttype=ARROW_TYPE), (), "cloudevents"),
        (b'{"data":1}', STRUCTURED, "cloudevents"),
        (b"[]", STRUCTURED, "cloudevents"),
        (b"[]", (("content-type", b"application/cloudevents-batch+json"),), "cloudevents"),
        (b"no json", STRUCTURED, "json"),
        (b"no json", event_headers(), "json"),
        (structured(data="text"), (), "shape"),
        (structured(data="text", datacontenttype="text/plain"), (), "json"),
        (structured(data_base64=""), (), "empty"),
        (None, event_headers(), "empty"),
        (b'{"flow":1}', event_headers(subject="p1"), "time"),
        (b'{"flow":1}', event_headers(subject="p1", time="noon"), "time"),
    ],
)  # fmt: skip
def test_what_is_no_event_of_readings_goes_to_dead_letter(value: bytes | None, headers: Any, reason: str) -> None:
    out = Folder(declared("p1")).fold([record(0, value, headers=headers)])
    assert [one.reason for one in out.refused] == [reason]
    assert out.counts["accepted"] == 0
