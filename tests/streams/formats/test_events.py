"""Events in every format: JSON, CloudEvents around JSON and text; any bytes are an event or refused with a reason."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.formats.events import decode_event
from streams.records import EventRecord
from tests.streams.formats.wire import Headers, event_headers, structured
from twin.errors import ReadingRefused

NS = 1_767_225_600 * 10**9
TIME = "2026-01-01T00:00:00Z"
EVENT = EventRecord(asset="p1", time_ns=NS, kind="maintenance", text="bearing changed", code="b-7")
PLAIN: dict[str, Any] = {"asset": "p1", "time": TIME, "kind": "maintenance", "text": "bearing changed", "code": "b-7"}
REST = {"text": "bearing changed", "code": "b-7"}
SPEAKING = {"subject": "p1", "time": TIME, "type": "maintenance"}
STRUCTURED: Headers = (("content-type", b"application/cloudevents+json"),)


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (EVENT.to_bytes(), ()),
        (orjson.dumps(PLAIN), ()),
        (orjson.dumps({**PLAIN, "time": NS // 10**9}), (("content-type", b"application/json"),)),
        (orjson.dumps({**PLAIN, "time": 1, "time_ns": NS}), ()),
        (orjson.dumps(PLAIN), event_headers("application/json", subject="other", type="other")),
        (orjson.dumps(REST), event_headers("application/json; charset=utf-8", **SPEAKING)),
        (orjson.dumps(REST), event_headers(None, **SPEAKING)),
        (structured(data=REST, **SPEAKING), STRUCTURED),
        (structured(data=REST, **SPEAKING), ()),
        (structured(data_base64=base64.b64encode(orjson.dumps(REST)).decode(), **SPEAKING), STRUCTURED),
    ],
)
def test_one_event_in_every_format(value: bytes, headers: Headers) -> None:
    assert decode_event(value, headers) == EVENT


@pytest.mark.parametrize(
    ("value", "headers", "text"),
    [
        ("Pumpe läuft".encode(), event_headers("text/plain; charset=utf-8", **SPEAKING), "Pumpe läuft"),
        (structured(data="Pumpe läuft", datacontenttype="text/plain", **SPEAKING), STRUCTURED, "Pumpe läuft"),
        (structured(data="Pumpe läuft", **SPEAKING), STRUCTURED, "Pumpe läuft"),
        (b'"Pumpe"', event_headers(None, **SPEAKING), "Pumpe"),
        (None, event_headers(None, **SPEAKING), ""),
        (b"", event_headers("text/plain", **SPEAKING), ""),
        (structured(**SPEAKING), STRUCTURED, ""),
    ],
)
def test_the_data_of_an_event_may_be_text_or_none(value: bytes | None, headers: Headers, text: str) -> None:
    assert decode_event(value, headers) == EventRecord(asset="p1", time_ns=NS, kind="maintenance", text=text)


def test_the_asset_is_the_datas_else_the_subject_else_the_key() -> None:
    about = event_headers(None, time=TIME)
    assert decode_event(b'{"asset":"own"}', about, b"key").asset == "own"
    assert decode_event(b"{}", (*about, ("ce_subject", b"subject")), b"key").asset == "subject"
    assert decode_event(b"{}", about, b"key").asset == "key"


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (None, (), "empty"),
        (b"", STRUCTURED, "empty"),
        (b"pump tripped", (), "json"),
        (b"[1]", (), "shape"),
        (orjson.dumps({**PLAIN, "kind": 3}), (), "shape"),
        (orjson.dumps({name: PLAIN[name] for name in ("asset", "time")}), (), "shape"),
        (orjson.dumps({**PLAIN, "asset": "a" * 257}), (), "asset"),
        (orjson.dumps({"time": TIME, "kind": "log"}), (), "asset"),
        (orjson.dumps({**PLAIN, "time": "yesterday"}), (), "time"),
        (orjson.dumps({**PLAIN, "time_ns": -1}), (), "time"),
        (orjson.dumps({**PLAIN, "time_ns": True}), (), "time"),
        (orjson.dumps(PLAIN), event_headers(None, specversion="0.3"), "cloudevents"),
        (b"\xff", event_headers("text/plain", **SPEAKING), "cloudevents"),
        (b"\x89PNG", event_headers("image/png", **SPEAKING), "cloudevents"),
        (b"pump tripped", event_headers(None, **SPEAKING), "json"),
        (b"[]", (("content-type", b"application/cloudevents-batch+json"),), "cloudevents"),
        (structured(data=[1], **SPEAKING), STRUCTURED, "shape"),
    ],
)
def test_what_is_no_event_is_refused(value: bytes | None, headers: Headers, reason: str) -> None:
    with pytest.raises(ReadingRefused) as refused:
        decode_event(value, headers)
    assert refused.value.reason == reason
    assert "kept in dead-letter" in str(refused.value)


_text = st.text(max_size=8)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _text, lambda inner: st.lists(inner, max_size=3), max_leaves=4
)
_names = st.sampled_from(["asset", "time", "time_ns", "kind", "text", "code", "label", "active"])
_fields = st.builds(lambda known, odd: {**known, **odd}, st.just(PLAIN) | st.just({}), st.dictionaries(_names | _text, _json))
_attributes = st.sampled_from(
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data", "data_base64"]
)
_media = st.sampled_from(["application/json", "application/cloudevents+json", "text/plain", "text/x; charset=latin-1", "a/b", ""])
_wrapped = st.builds(
    lambda fields, odd: {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": fields, **odd},
    _fields,
    st.dictionaries(_attributes, _json),
)
_bytes = st.binary(max_size=40) | st.one_of(_json, _fields, _wrapped).map(lambda found: orjson.dumps(_plain(found)))
_headers = st.lists(
    st.tuples(
        st.sampled_from(["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "content-type", "x"]),
        st.sampled_from([b"1.0", b"t", b"p1", TIME.encode(), b"\xff", None]) | _media.map(str.encode),
    ),
    max_size=8,
)


def _plain(found: Any) -> Any:
    """Without integers that JSON writers refuse."""
    if isinstance(found, dict):
        return {name: _plain(one) for name, one in found.items()}
    if isinstance(found, list):
        return [_plain(one) for one in found]
    return str(found) if isinstance(found, int) and not -(2**63) <= found < 2**63 else found


@settings(max_examples=600, deadline=None)
@given(
    st.none() | _bytes,
    _headers.map(tuple) | st.just(event_headers("application/json", **SPEAKING)) | st.just(STRUCTURED),
    st.none() | st.binary(max_size=3),
)
def test_anything_is_an_event_or_refused_and_an_event_stays_what_it_is(
    value: bytes | None, headers: Headers, key: bytes | None
) -> None:
    try:
        event = decode_event(value, headers, key)
    except ReadingRefused:
        return  # anything else fails
    assert decode_event(event.to_bytes()) == event
