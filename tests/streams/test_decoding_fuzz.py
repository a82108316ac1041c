"""Whatever bytes come on `telemetry`: nothing crashes, nothing disappears, and good records beside them are folded."""

from __future__ import annotations

import json
from typing import Any

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploy.score import FileRecord
from streams.definitions import Definitions
from streams.folding import Folder
from tests.streams.plant import INTERFACE, START, TYPE

NAMES = st.sampled_from(["asset", "time", "flow", "heat", "x"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
times = st.one_of(st.integers(START, START + 50), st.lists(st.integers(START, START + 50), max_size=4), json_values)
readings = st.fixed_dictionaries(
    {"asset": st.one_of(st.sampled_from(["p1", "p2", "stranger", ""]), json_values), "time": times},
    optional={"flow": json_values, "heat": json_values, "colour": json_values},
)
payloads = st.one_of(st.none(), st.binary(max_size=40), readings.map(lambda one: json.dumps(one).encode()))


def declared() -> Definitions:
    definitions = Definitions()
    definitions.apply(f"type/{TYPE.id}".encode(), orjson.dumps(INTERFACE))
    for asset in ("p1", "p2"):
        definitions.apply(f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": TYPE.id}))
    return definitions


def good(second: int) -> bytes:
    return orjson.dumps({"asset": "p1", "time": START + 100 + second, "flow": 1.0, "heat": 2.0})


@settings(max_examples=400, deadline=None)
@given(st.lists(payloads, max_size=12))
@example(
    [b'{"asset":"p1","time":1e300,"flow":1}', b'{"asset":"p1","time":[1,2],"flow":[1]}', b'{"asset":"p1","time":9e18,"flow":1}']
)
@example([b'{"asset":"p1","time":0,"flow":1}', b'{"asset":"p1","time":9223372036,"flow":1e38}'])
def test_any_bytes_are_folded_or_refused_and_the_stream_goes_on(sent: list[bytes | None]) -> None:
    folder = Folder(declared())
    mixed: list[bytes | None] = [*sent, *(good(second) for second in range(5))]
    records = [FileRecord("telemetry", 0, offset, START * 1000, None, value) for offset, value in enumerate(mixed)]
    out = folder.fold(records)
    refused = {one.record.offset for one in out.refused}
    waiting = {record.offset for one in folder.placing._waiting.values() for record, _ in one.records}
    assert out.counts["records"] == len(records)
    assert all(one.reason and one.message for one in out.refused)
    for record in records:
        if record.offset in refused | waiting:
            continue
        # neither refused nor waiting: it was a whole reading of a known twin, or of one whose type could be told
        found: Any = orjson.loads(record.value or b"")
        assert isinstance(found["asset"], str)
    # the good readings at the end were used, unless a wrong clock before them had moved the twin's time past them
    late = {one.record.offset for one in out.refused if one.reason == "late"}
    assert all(offset in late or offset not in refused for offset in range(len(sent), len(mixed)))
