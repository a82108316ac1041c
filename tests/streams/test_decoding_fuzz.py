"""Whatever bytes come on `telemetry`: nothing crashes, nothing disappears, and good records beside them are folded."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploy.score import FileRecord
from streams.definitions import Definitions
from streams.folding import Folder
from tests.streams.plant import INTERFACE, START, TYPE
from tests.streams.poison import payloads


def declared() -> Definitions:
    definitions = Definitions()
    definitions.apply(f"type/{TYPE.id}".encode(), orjson.dumps(INTERFACE))
    for asset in ("p1", "p2"):
        definitions.apply(f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": TYPE.id}))
    return definitions


def good(second: int) -> bytes:
    return orjson.dumps({"asset": "p1", "time": START + 100 + second, "flow": 1.0, "heat": 2.0})


@settings(max_examples=400, deadline=None)
@given(st.lists(payloads(["p1", "p2", "stranger", ""]), max_size=12))
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
