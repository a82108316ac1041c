"""docs/limits.md says the limits that the code has; what happens past each is tried where the limit is."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from streams import micro_batch, placing
from streams.decoding import decode
from streams.folding import Folder
from streams.formats import limits
from streams.gateway import app, intake, producing
from streams.gateway.problem import ApiError
from streams.gateway.producing import Outgoing, RecordProducer
from tests.streams.formats.wire import declared, record
from tests.streams.plant import START
from twin import units
from twin.errors import ReadingRefused

PAGE = (Path(__file__).parents[3] / "docs/limits.md").read_text()
SAID = [
    ("bytes of a body over HTTP", app.MAX_BODY_BYTES),
    ("items of a list over HTTP", intake.MOST_ITEMS),
    ("bytes in the gateway that wait", producing.MOST_WAITING_BYTES),
    ("characters of an asset id", limits.MAX_ASSET),
    ("readings of a record", limits.MAX_READINGS),
    ("channels of a record", limits.MAX_CHANNELS),
    ("values of a record", limits.MAX_VALUES),
    ("bytes that an Arrow record claims", limits.MAX_ARROW_BYTES),
    ("batches and dictionaries of an Arrow record", limits.MAX_ARROW_MESSAGES),
    ("records of assets without a type", placing.MOST_WAITING),
    ("offsets of its partition that an asset without a type waits", placing.PATIENCE),
    ("telemetry folded at once", micro_batch.MOST_BYTES),
    ("characters of a unit", units.MOST_CHARACTERS),
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


async def test_bytes_that_wait_for_a_broker_that_is_away_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producing, "MOST_WAITING_BYTES", 1000)
    producer = RecordProducer("127.0.0.1:1")
    producer._waiting_bytes = 600  # as another request's that waits
    with pytest.raises(ApiError) as refusal:
        await producer.deliver("t", [Outgoing(b"x" * 500)])
    assert (refusal.value.status, refusal.value.retry_after_s) == (503, 5)
    assert "nothing was taken" in refusal.value.detail
    assert producer._waiting_bytes == 600
