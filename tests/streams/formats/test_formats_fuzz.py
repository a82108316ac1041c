"""Whatever comes on `telemetry`, in whatever mix: nothing crashes, nothing disappears, batches change nothing.

Every record is used, or refused with a reason, or waits for the type of its asset: accepted + dead-lettered = sent.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.folding import Folder
from streams.log_record import PlainRecord
from tests.streams.formats.wire import ARROW_HEADERS, Headers, declared, event_headers, record, stream
from tests.streams.plant import START
from tests.streams.poison import json_values, payloads, times


@dataclass(frozen=True)
class Sent:
    """One record; `values`: how many numbers it surely has when it is used as a whole."""

    value: bytes | None
    headers: Headers = ()
    key: bytes | None = None
    values: int = 0


ASSETS = st.sampled_from(["p1", "p2", "stranger", ""])
readings = st.fixed_dictionaries(
    {"time": times}, optional={"asset": ASSETS | json_values, "flow": json_values, "heat": json_values, "l/s": json_values}
)
plain = payloads(["p1", "p2", "stranger", ""]).map(Sent)
good = st.builds(
    lambda asset, second, flow: Sent(orjson.dumps({"asset": asset, "time": START + second, "flow": flow}), values=1),
    st.sampled_from(["p1", "p2"]), st.integers(0, 50), st.floats(-100, 100),
)  # fmt: skip
anything = st.builds(Sent, st.none() | st.binary(max_size=40), key=st.none() | st.binary(max_size=3))

attributes = st.dictionaries(
    st.sampled_from(["specversion", "id", "source", "type", "subject", "time", "datacontenttype"]),
    st.sampled_from(["1.0", "p1", "2023-11-14T22:13:20Z", "", "application/json", "application/vnd.apache.arrow.stream"]),
    max_size=4,
)
content_types = st.none() | st.sampled_from(
    ["application/json", "application/vnd.apache.arrow.stream", "application/cloudevents+json", "text/plain", "x; charset=utf-8"]
)

number_types = st.sampled_from(
    [pa.int8(), pa.uint32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.null()]
)


def cells(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_boolean(kind):
        return st.booleans()
    if pa.types.is_floating(kind):
        return st.floats(width=32) | st.just(1e39 if kind == pa.float64() else 0.0)
    return st.integers(0, 100) if pa.types.is_integer(kind) else st.text(max_size=3) if kind == pa.string() else st.none()


@st.composite
def tables(draw: st.DrawFn) -> Sent:
    """An Arrow stream; `values` where all of it is in order."""
    count = draw(st.integers(0, 6))

    def column(kind: pa.DataType, values: st.SearchStrategy[Any], empty: bool) -> pa.Array:
        values = st.none() | values if empty else values
        return pa.array(draw(st.lists(values, min_size=count, max_size=count)), kind)

    orderly = draw(st.booleans())
    asset = column(pa.string(), st.sampled_from(["p1", "p2"]) if orderly else ASSETS, not orderly)
    if draw(st.booleans()):
        asset = asset.dictionary_encode()
    time = column(pa.int64(), st.integers(START, START + 50), not orderly)
    if draw(st.booleans()):
        time = time.cast(pa.timestamp("s", "UTC"))
    columns = {"asset": asset, "time": time}
    values = 0
    for name in draw(st.sets(st.sampled_from(["flow", "heat", "rpm", "l/s"]), max_size=3)):
        kind = draw(number_types)
        columns[name] = column(kind, cells(kind), True)
        if name in ("flow", "heat") and orderly and kind != pa.string():
            found = np.array([np.nan if cell is None else cell for cell in columns[name].to_pylist()], float)
            values += int((np.abs(found) <= np.finfo(np.float32).max).sum())
    if draw(st.integers(0, 9)) == 0:
        del columns[draw(st.sampled_from(["asset", "time"]))]
        values = 0
    value = stream(pa.table(columns), parts=draw(st.integers(1, 3)), compression=draw(st.sampled_from([None, "lz4", "zstd"])))
    return Sent(value, draw(st.sampled_from([(), ARROW_HEADERS])), b"p1", values)


@st.composite
def damaged(draw: st.DrawFn) -> Sent:
    """An Arrow stream that was cut, or some bytes of which were changed."""
    value = bytearray(draw(tables()).value or b"")
    if draw(st.booleans()):
        del value[draw(st.integers(0, len(value))) :]
    for _ in range(draw(st.integers(0, 3))):
        if value:
            value[draw(st.integers(0, len(value) - 1))] = draw(st.integers(0, 255))
    return Sent(bytes(value), ARROW_HEADERS)


@st.composite
def events(draw: st.DrawFn) -> Sent:
    """A CloudEvent of any kind, in order or not, around any of the others."""
    inner = draw(plain | good | tables() | anything)
    given_attributes = draw(attributes)
    if draw(st.booleans()):
        return Sent(inner.value, event_headers(draw(content_types), **given_attributes), draw(st.none() | st.just(b"p2")))
    members: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", **given_attributes}
    members["data"] = draw(readings | json_values)
    return Sent(json.dumps(members).encode(), draw(st.sampled_from([(), (("content-type", b"application/cloudevents+json"),)])))


FORMATS = {
    "json": plain | good | anything,
    "cloudevents": events(),
    "arrow": tables(),
    "damaged arrow": damaged(),
    "any": plain | good | anything | events() | tables() | damaged(),
}


def fold(records: list[PlainRecord], cuts: list[int]) -> tuple[Folder, Any, set[int], dict[Any, Any], Counter[str]]:
    """Fold in batches that end at `cuts`."""
    folder = Folder(declared("p1", "p2"))
    refused: set[int] = set()
    steps: dict[Any, Any] = {}
    counts: Counter[str] = Counter()
    definitions = []
    for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
        out = folder.fold(records[start:end])
        assert all(one.reason and one.message for one in out.refused)
        refused |= {one.record.offset for one in out.refused}
        counts.update(out.counts)
        definitions += out.definitions
        for one in out.closed:
            assets, windows = folder.arenas[one.type.id].asset_of, one.windows.values
            for at in range(len(one)):
                place = assets[one.row[at]], int(one.step[at])
                assert place not in steps
                steps[place] = (
                    one.values[at].tobytes(), one.quality[at].tobytes(), windows[at].tobytes(),
                    int(one.first_offset[at]), int(one.closed_by[at]),
                )  # fmt: skip
    return folder, definitions, refused, steps, counts


def hold(sent: list[Sent], cuts: list[int]) -> None:
    records = [record(offset, one.value, headers=one.headers, key=one.key) for offset, one in enumerate(sent)]
    folder, definitions, refused, steps, counts = fold(records, [])
    waiting = {found.offset for one in folder.placing._waiting.values() for found, _ in one.records}
    assert counts["records"] == len(records)
    whole = sum(one.values for offset, one in enumerate(sent) if offset not in refused | waiting)
    assert counts["accepted"] + counts["duplicate"] >= whole
    for offset, one in enumerate(sent):
        if one.values and offset not in refused:
            assert offset not in waiting  # its assets are declared
    _, definitions_again, refused_again, steps_again, counts_again = fold(records, sorted({min(cut, len(sent)) for cut in cuts}))
    assert steps_again == steps
    assert refused_again == refused
    assert definitions_again == definitions
    assert counts_again == counts


def moved_on(second: int) -> Sent:
    return Sent(orjson.dumps({"asset": "p1", "time": START + 60 + second, "flow": 1.0, "heat": 2.0}), values=2)


@pytest.mark.parametrize("sent_as", FORMATS)
def test_any_bytes_are_folded_or_refused_the_same_in_any_batches_and_the_stream_goes_on(sent_as: str) -> None:
    @settings(max_examples=120, deadline=None)
    @given(st.lists(FORMATS[sent_as], max_size=10), st.lists(st.integers(0, 12), max_size=4))
    @example([Sent(b'{"asset":"p1","time":1e300,"flow":1}'), Sent(b'{"asset":"p1","time":9e18,"flow":1}')], [1])
    @example([Sent(b'{"asset":"p1","time":0,"flow":1}'), Sent(b'{"asset":"p1","time":9223372036,"flow":1e38}')], [1])
    @example([Sent(b'{"asset":"new","time":%d,"":1}' % (START + n)) for n in range(9)], [3])
    def holds(sent: list[Sent], cuts: list[int]) -> None:
        hold([*sent, *map(moved_on, range(5))], cuts)

    holds()
