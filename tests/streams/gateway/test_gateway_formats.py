"""POST /v1/telemetry takes every format of the topic, and what it puts there is decoded as it was meant."""

from __future__ import annotations

import base64
import gzip
import random
import urllib.error
import urllib.request
from typing import Any

import httpx
import orjson
import pytest
from aiokafka import ConsumerRecord
from aiokafka.partitioner import DefaultPartitioner

from streams.decoding import decode
from streams.formats.events import decode_event
from streams.formats.readings import Telemetry, TelemetryTable
from tests.streams.formats.wire import rows, structured, table
from tests.streams.gateway import plant
from tests.streams.gateway.conftest import Running
from tests.streams.gateway.test_gateway_api import problem, records
from tests.streams.plant import START

pytestmark = pytest.mark.kafka

ARROW = "application/vnd.apache.arrow.stream"
NAMES = [f"arrow-{n}" for n in range(20)]


def there(running: Running) -> set[tuple[int, int]]:
    """Places of all that is on the topic."""
    return {(one.partition, one.offset) for one in records(running, running.topics.telemetry)}


def came(running: Running, before: set[tuple[int, int]]) -> list[ConsumerRecord]:
    return [one for one in records(running, running.topics.telemetry) if (one.partition, one.offset) not in before]


def readings(found: list[ConsumerRecord]) -> dict[tuple[str, int], Any]:
    """Flow by asset and second."""
    flows: dict[tuple[str, int], Any] = {}
    for one in found:
        decoded = decode(one.value, one.headers, one.key)
        if isinstance(decoded, Telemetry):
            decoded_times = [decoded.time_ns] if isinstance(decoded.time_ns, int) else decoded.time_ns.tolist()
            cells = decoded.channels["flow"] if decoded.columnar else [decoded.channels["flow"]]
            flows |= {(decoded.asset, time // 10**9 - START): cell for time, cell in zip(decoded_times, cells, strict=True)}
        else:
            for code, time, flow in zip(decoded.code, decoded.time_ns.tolist(), decoded.channels["flow"].tolist(), strict=True):
                flows[decoded.assets[code], time // 10**9 - START] = flow
    return flows


def test_an_arrow_stream_is_split_so_that_each_asset_comes_where_its_key_would_put_it(
    http: httpx.Client, running: Running
) -> None:
    before = there(running)
    flow = [float(n) for n in range(40)]
    body = table(rows(NAMES * 2, [0] * 20 + [1] * 20, flow=flow), compression="zstd")
    answer = http.post("/v1/telemetry", content=body, headers={"content-type": ARROW})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["readings"], answer.json()["assets"]) == (40, 20)
    found = came(running, before)
    assert len(found) == answer.json()["records"] == plant.PARTITIONS
    assert readings(found) == {(name, second): flow[20 * second + n] for n, name in enumerate(NAMES) for second in (0, 1)}
    every = list(range(plant.PARTITIONS))
    for one in found:
        decoded = decode(one.value, one.headers)
        assert isinstance(decoded, TelemetryTable)
        assert {DefaultPartitioner()(name.encode(), every, every) for name in decoded.assets} == {one.partition}


def test_cloud_events_in_every_mode_arrive_as_they_were_meant(http: httpx.Client, running: Running) -> None:
    before = there(running)
    binary = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-subject": "p%20%C3%A4"}
    sent = [
        http.post("/v1/telemetry", json={"time": START, "flow": 1}, headers=binary),
        http.post(
            "/v1/telemetry",
            content=structured(subject="q", data={"time": START, "flow": 2}),
            headers={"content-type": "application/cloudevents+json"},
        ),
        http.post(
            "/v1/telemetry",
            content=b"[" + structured(subject="r", data={"time": [START], "flow": [3]}) + b"]",
            headers={"content-type": "application/cloudevents-batch+json"},
        ),
        http.post(
            "/v1/telemetry",
            content=structured(
                data_base64=base64.b64encode(table(rows(["s", "t"], [0, 0], flow=[4.0, 5.0]))).decode(), datacontenttype=ARROW
            ),
            headers={"content-type": "application/cloudevents+json"},
        ),
    ]
    assert [(answer.status_code, answer.json()["readings"]) for answer in sent] == [(202, 1), (202, 1), (202, 1), (202, 2)]
    assert readings(came(running, before)) == {("p ä", 0): 1, ("q", 0): 2, ("r", 0): 3, ("s", 0): 4.0, ("t", 0): 5.0}


def test_a_body_may_be_compressed_and_one_that_claims_to_be_is_said_to_be_none(http: httpx.Client, running: Running) -> None:
    before = there(running)
    body = gzip.compress(orjson.dumps({"asset": "gzip-1", "time": START, "flow": 2.5}))
    of_json = {"content-type": "application/json", "content-encoding": "gzip"}
    assert http.post("/v1/telemetry", content=body, headers=of_json).status_code == 202
    assert readings(came(running, before)) == {("gzip-1", 0): 2.5}
    for content, encoding, status in (
        (b"{}", "gzip", 400),
        (body[:-4], "gzip", 400),
        (body * 2, "gzip", 400),
        (gzip.compress(bytes(9 << 20)), "gzip", 413),
        (body, "br", 415),
    ):
        found = http.post("/v1/telemetry", content=content, headers={**of_json, "content-encoding": encoding})
        assert problem(found, status)["detail"].endswith("was taken")
        assert found.headers["accept-encoding"] == "gzip"
    parts = (random.randbytes(100_000) for _ in range(90))
    problem(http.post("/v1/telemetry", content=parts, headers=of_json), 413)


def test_a_client_that_sends_all_before_it_reads_is_told_that_it_is_too_much(running: Running) -> None:
    """As urllib and many others do; httpx looks for an answer meanwhile."""
    request = urllib.request.Request(f"{running.url}/v1/telemetry", bytes(30 << 20), {"content-type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    with refused.value as answer:
        assert (answer.code, b"larger than 8,388,608 bytes" in answer.read()) == (413, True)


def test_what_can_not_be_used_of_a_table_is_named_and_the_rest_is_taken(http: httpx.Client, running: Running) -> None:
    before = there(running)
    body = table(rows(["p1", None, "p1"], [0, 0, 1], flow=[1.0, 2.0, float("inf")], site=["a", "b", "c"]))
    answer = http.post("/v1/telemetry", content=body, headers={"content-type": ARROW})
    assert answer.status_code == 207
    assert [one["reason"] for one in answer.json()["refused"]] == ["asset", "not-a-number", "not-a-number"]
    assert answer.json()["readings"] == 2
    assert ("p1", 0) in readings(came(running, before))


@pytest.mark.parametrize(
    ("content", "headers", "says"),
    [
        (table(rows(["p1"], [0], flow=[1]))[:-20], {"content-type": ARROW}, "Arrow"),
        (orjson.dumps({"asset": "p1"}), {"content-type": ARROW}, "Arrow"),
        (structured(subject="p1"), {"content-type": "application/cloudevents+json"}, "no data"),
        (b'{"flow":1}', {"content-type": "application/json", "ce-specversion": "1.0"}, "requires"),
    ],
)
def test_a_body_of_which_nothing_can_be_used_is_a_problem(
    http: httpx.Client, content: bytes, headers: dict[str, str], says: str
) -> None:
    assert says in problem(http.post("/v1/telemetry", content=content, headers=headers), 400)["detail"]


def test_events_come_in_every_format_and_what_is_none_is_named(http: httpx.Client, running: Running) -> None:
    rest = {"text": "bearing changed", "kind": "maintenance"}
    binary = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/s",
        "ce-type": "maintenance",
        "ce-time": "2026-01-01T00:00:00Z",
    }
    batch = [structured(subject=name, time="2026-01-01T00:00:00Z", data=rest) for name in ("e3", "e4")]
    sent = [
        http.post("/v1/events", json={"asset": "e0", "time": 1_767_225_600, **rest}),
        http.post("/v1/events", json=rest, headers=binary | {"ce-subject": "e1"}),
        http.post("/v1/events", content=b"bearing changed", headers=binary | {"ce-subject": "e2", "content-type": "text/plain"}),
        http.post(
            "/v1/events", content=b"[" + b",".join(batch) + b"]", headers={"content-type": "application/cloudevents-batch+json"}
        ),
        http.post("/v1/events", json=[{"asset": "e5", "time": 1_767_225_600, **rest}, {"asset": "e6", "time": "soon", **rest}]),
    ]
    assert [answer.status_code for answer in sent] == [202, 202, 202, 202, 207]
    assert [(one["where"], one["reason"]) for one in sent[-1].json()["refused"]] == [("item 1 (asset 'e6')", "time")]
    assert sent[-1].json() | {"refused": []} == {"records": 1, "assets": 1, "items": 2, "refused": []}
    kept = [decode_event(one.value, one.headers) for one in records(running, running.topics.events)]
    found = {event.asset: event for event in kept}
    assert [found[f"e{number}"].text for number in range(6)] == ["bearing changed"] * 6
    assert {found[f"e{number}"].time_ns for number in range(6)} == {1_767_225_600 * 10**9}
    assert "e6" not in found
    refused = http.post("/v1/events", content=structured(subject="e7"), headers={"content-type": "application/cloudevents+json"})
    assert "time" in problem(refused, 400)["detail"]
    problem(http.post("/v1/events", content=b"x", headers={"content-type": ARROW}), 415)
