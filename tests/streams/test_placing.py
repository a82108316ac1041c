"""Assets nobody declared: they wait while definitions may still come, match a known type, or get one inferred."""

from __future__ import annotations

import orjson
import pytest

from deploy.score import FileRecord
from streams.definitions import Definitions
from streams.folding import Folder
from tests.streams.plant import INTERFACE, START, TYPE


def reading(offset: int, asset: str, second: int, **channels: object) -> FileRecord:
    value = orjson.dumps({"asset": asset, "time": START + second, **channels})
    return FileRecord("telemetry", 0, offset, (START + second) * 1000, asset.encode(), value)


def declared() -> Definitions:
    definitions = Definitions()
    definitions.apply(f"type/{TYPE.id}".encode(), orjson.dumps(INTERFACE))
    return definitions


def test_an_undeclared_asset_with_the_channels_of_one_type_is_of_that_type() -> None:
    folder = Folder(declared())
    out = folder.fold([reading(0, "new", 0, flow=1.0, heat=2.0)])
    assert out.counts["accepted"] == 2
    assert [key for key, _ in out.definitions] == [b"twin/new"]


def test_a_type_is_inferred_from_eight_times_and_no_reading_is_lost() -> None:
    folder = Folder(Definitions())
    out = folder.fold([reading(second, "new", second, rpm=float(second)) for second in range(7)])
    assert (out.counts["accepted"], folder.placing.oldest_offset(0)) == (0, 0)
    out = folder.fold([reading(7, "new", 7, rpm=7.0)])
    assert out.counts["accepted"] == 8
    assert folder.placing.oldest_offset(0) is None
    assert [key.decode().split("/")[0] for key, _ in out.definitions] == ["type", "twin"]


def test_records_wait_while_the_definitions_may_be_incomplete() -> None:
    definitions = Definitions()
    folder = Folder(definitions)
    sent = [reading(second, "p1", second, flow=1.0, heat=2.0) for second in range(20)]
    assert folder.fold(sent, infer=False).counts["accepted"] == 0
    definitions.apply(f"type/{TYPE.id}".encode(), orjson.dumps(INTERFACE))
    definitions.apply(b"twin/p1", orjson.dumps({"asset": "p1", "type": TYPE.id}))
    out = folder.fold([reading(20, "p1", 20, flow=1.0, heat=2.0)], infer=False)
    assert out.counts["accepted"] == 42
    assert out.definitions == []


def test_an_asset_without_any_number_goes_to_dead_letter_with_every_record() -> None:
    folder = Folder(Definitions())
    out = folder.fold([reading(second, "new", second, name="x") for second in range(8)])
    assert [(one.record.offset, one.reason) for one in out.refused] == [(second, "unknown-asset") for second in range(8)]


def test_what_can_not_be_used_is_refused_once_a_record_and_the_rest_is_used() -> None:
    folder = Folder(declared())
    sent = [
        reading(0, "p1", 0, flow=1.0, heat=2.0),
        reading(1, "p1", 1, flow="x", heat=2.0, colour=3),
        FileRecord("telemetry", 0, 2, 0, b"p1", b"{not json"),
        FileRecord("telemetry", 0, 3, 0, b"p1", b'{"asset":"p1","flow":1}'),
        FileRecord("telemetry", 1, 0, 0, b"p1", orjson.dumps({"asset": "p1", "time": START + 2, "flow": 1})),
    ]
    out = folder.fold(sent)
    reasons = [(one.record.partition, one.record.offset, one.reason) for one in out.refused]
    assert sorted(reasons) == [(0, 1, "unknown-channel"), (0, 2, "json"), (0, 3, "time"), (1, 0, "partition")]
    assert out.counts["accepted"] == 3


@pytest.mark.parametrize("batch", [1, 3, 20])
def test_the_type_depends_on_the_first_records_that_tell_it_not_on_how_many_wait_with_them(batch: int) -> None:
    sent = [reading(0, "new", 0, flow=1.0, heat=2.0), reading(1, "new", 1, flow=1.0, heat=2.0, colour=3.0)]
    sent += [reading(2 + second, "odd", second, rpm=1.0) for second in range(8)]
    sent += [reading(10 + second, "odd", 8 + second, rpm=1.0, torque=2.0) for second in range(4)]
    sent += [reading(20 + second, "words", second, label="on") for second in range(9)]
    folder = Folder(declared())
    definitions, refused = {}, set()
    for start in range(0, len(sent), batch):
        for records, infer in ((sent[start : start + batch], False), ([], True)):
            out = folder.fold(records, infer=infer)
            definitions.update(out.definitions)
            refused |= {(one.record.offset, one.reason) for one in out.refused}
    assert orjson.loads(definitions[b"twin/new"])["type"] == TYPE.id
    (inferred,) = (value for key, value in definitions.items() if key.startswith(b"type/"))
    assert [one["name"] for one in orjson.loads(inferred)["contents"] if one["@type"] == "Telemetry"] == ["rpm"]
    # eight readings told that no type can be had; the ninth waits for more
    assert {offset for offset, _ in refused if offset >= 20} == set(range(20, 28))
    assert folder.placing.oldest_offset(0) == 28
    assert {place for place in refused if place[0] < 20} == {
        (1, "unknown-channel"),
        *((n, "unknown-channel") for n in range(10, 14)),
    }
