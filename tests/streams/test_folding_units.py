"""Units on the way in: what a source sends in its own unit is held in the type's, in every format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from streams.definitions import Definitions
from streams.folding import Folder

BOILER = {
    "@id": "dtmi:plant:Boiler;1",
    "@type": "Interface",
    "samplingPeriod": "PT1S",
    "lateness": "PT0S",
    "maxAhead": None,
    "contents": [
        {"@type": ["Telemetry", "Temperature"], "name": "temp", "schema": "double", "unit": "degreeCelsius"},
        {"@type": ["Telemetry", "Pressure"], "name": "pressure", "schema": "double", "unit": "bar"},
        {
            "@type": "Telemetry",
            "name": "valve",
            "schema": {
                "@type": "Enum",
                "valueSchema": "string",
                "enumValues": [{"name": "closed", "enumValue": "closed"}, {"name": "open", "enumValue": "open"}],
            },
        },
    ],
}


@dataclass(frozen=True)
class Record:
    offset: int
    value: bytes
    topic: str = "telemetry"
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def declared(**units: dict[str, str]) -> Definitions:
    view = Definitions()
    assert view.apply(b"type/dtmi:plant:Boiler;1", orjson.dumps(BOILER))
    for asset, of_asset in units.items():
        twin = {"asset": asset, "type": "dtmi:plant:Boiler;1", "units": of_asset}
        assert view.apply(f"twin/{asset}".encode(), orjson.dumps(twin))
    return view


def held(folder: Folder, asset: str, step: int) -> dict[str, float]:
    arena = folder.arenas["dtmi:plant:Boiler;1"]
    found = arena.values[arena.row_of[asset], step % arena.slots]
    return dict(zip(arena.type.channel_names, found.tolist(), strict=True))


def as_single(asset: str, temp: float, pressure: float) -> bytes:
    return orjson.dumps({"asset": asset, "time": 1_700_000_000, "temp": temp, "pressure": pressure})


def as_columns(asset: str, temp: float, pressure: float) -> bytes:
    return orjson.dumps({"asset": asset, "time": [1_700_000_000], "temp": [temp], "pressure": [pressure]})


def as_arrow(asset: str, temp: float, pressure: float) -> bytes:
    table = pa.table({"asset": [asset], "time": pa.array([1_700_000_000]), "temp": [temp], "pressure": [pressure]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("form", [as_single, as_columns, as_arrow])
def test_readings_are_held_in_the_types_unit(form: Any) -> None:
    folder = Folder(declared(us={"temp": "degreeFahrenheit", "pressure": "psi"}, eu={}))
    folded = folder.fold([Record(0, form("us", 212.0, 14.5038)), Record(1, form("eu", 100.0, 1.0))])
    assert folded.refused == []
    for asset in ("us", "eu"):
        found = held(folder, asset, 1_700_000_000)
        assert found["temp"] == pytest.approx(100.0, abs=1e-4)
        assert found["pressure"] == pytest.approx(1.0, abs=1e-4)


def test_many_twins_keep_their_own_units_whatever_the_batch() -> None:
    units: dict[str, dict[str, str]] = {f"b{i}": ({"temp": "kelvin"} if i % 3 == 0 else {}) for i in range(200)}
    records = [Record(i, as_single(f"b{i}", 300.0 if i % 3 == 0 else 26.85, 1.0)) for i in range(200)]
    together, apart = Folder(declared(**units)), Folder(declared(**units))
    together.fold(records)
    for record in records:
        apart.fold([record])
    for folder in (together, apart):
        found = [held(folder, f"b{i}", 1_700_000_000)["temp"] for i in range(200)]
        np.testing.assert_allclose(found, 26.85, rtol=1e-6)


def test_words_of_an_enumeration_are_numbers_and_other_words_are_refused() -> None:
    folder = Folder(declared(b={}))
    columns = {"asset": "b", "time": [1_700_000_000, 1_700_000_001], "valve": ["open", "closed"]}
    single = {"asset": "b", "time": 1_700_000_002, "valve": "open"}
    folded = folder.fold(
        [Record(0, orjson.dumps(columns)), Record(1, orjson.dumps(single)), Record(2, orjson.dumps({**single, "valve": "ajar"}))]
    )
    assert [held(folder, "b", 1_700_000_000 + i)["valve"] for i in range(3)] == [1.0, 0.0, 1.0]
    assert [(one.record.offset, one.reason) for one in folded.refused] == [(2, "not-a-number")]


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ({"temp": "bar"}, "temp: unit 'bar' measures"),
        ({"temp": "wobble"}, "temp: unit 'wobble' is not known"),
        ({"valve": "bar"}, "valve: unit 'bar' is declared for it, expected none"),
        ({"flow": "bar"}, "flow: a unit is declared for it, expected one of pressure, temp, valve"),
    ],
)
def test_a_declaration_with_a_unit_that_does_not_fit_is_refused(units: dict[str, str], expected: str) -> None:
    view = declared()
    twin = {"asset": "b", "type": "dtmi:plant:Boiler;1", "units": units}
    assert not view.apply(b"twin/b", orjson.dumps(twin))
    assert expected in view.faults["twin/b"]


@pytest.mark.parametrize("form", [as_single, as_columns, as_arrow])
def test_a_twin_declared_before_its_type_takes_no_reading_in_a_unit_that_does_not_fit(form: Any) -> None:
    view = Definitions()
    view.apply(b"twin/b", orjson.dumps({"asset": "b", "type": "dtmi:plant:Boiler;1", "units": {"temp": "bar"}}))
    view.apply(b"type/dtmi:plant:Boiler;1", orjson.dumps(BOILER))
    folder = Folder(view)
    folded = folder.fold([Record(0, form("b", 1.0, 2.0))])
    assert [one.reason for one in folded.refused] == ["unit"]
    assert "temp: unit 'bar' measures" in folded.refused[0].message
    found = held(folder, "b", 1_700_000_000)
    assert np.isnan(found["temp"])
    assert found["pressure"] == 2.0
