"""Units that records state themselves: in every format, before what is declared, channel by channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.changing import ENOUGH_NUMBERS, Changing
from streams.decoding import decode
from streams.definitions import Definitions
from streams.folding import Folder
from streams.formats.arrow_writing import by_partition
from streams.formats.readings import TelemetryTable
from streams.stated_units import factor
from tests.streams.test_changing import owned_from
from tests.streams.test_folding_units import Record, declared, held

AT = 1_700_000_000


def beside(asset: str, values: dict[str, float], units: dict[str, str]) -> bytes:
    cells = {name: {"value": value, "unit": units[name]} if name in units else value for name, value in values.items()}
    return orjson.dumps({"asset": asset, "time": AT, **cells})


def under(asset: str, values: dict[str, float], units: dict[str, str]) -> bytes:
    return orjson.dumps({"asset": asset, "time": AT, **values, "units": units})


def columns(asset: str, values: dict[str, float], units: dict[str, str]) -> bytes:
    return orjson.dumps({"asset": asset, "time": [AT], **{name: [value] for name, value in values.items()}, "units": units})


def columns_beside(asset: str, values: dict[str, float], units: dict[str, str]) -> bytes:
    cells = {name: {"value": [value], "unit": units[name]} if name in units else [value] for name, value in values.items()}
    return orjson.dumps({"asset": asset, "time": [AT], **cells})


def event(asset: str, values: dict[str, float], units: dict[str, str]) -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": "1",
            "source": "/s",
            "type": "t",
            "subject": asset,
            "data": {"time": AT, **values, "units": units},
        }
    )


def arrow(asset: str | list[str], values: dict[str, Any], units: dict[str, str]) -> bytes:
    assets = [asset] if isinstance(asset, str) else asset
    fields = [pa.field("asset", pa.string()), pa.field("time", pa.int64())]
    fields += [pa.field(name, pa.float64(), metadata={"unit": units[name]} if name in units else None) for name in values]
    cells = [[value] * len(assets) if isinstance(value, float) else value for value in values.values()]
    table = pa.table([assets, [AT] * len(assets), *cells], schema=pa.schema(fields))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


FORMS = [beside, under, columns, columns_beside, event, arrow]


@pytest.mark.parametrize("form", FORMS)
def test_what_states_its_unit_is_held_in_the_types_whatever_is_declared(form: Any) -> None:
    folder = Folder(declared(b={}, us={"temp": "degreeFahrenheit", "pressure": "psi"}))
    values, units = {"temp": 373.15, "pressure": 100.0}, {"temp": "K", "pressure": "kPa"}
    folded = folder.fold([Record(0, form("b", values, units)), Record(1, form("us", values, units))])
    assert folded.refused == []
    for asset in ("b", "us"):
        found = held(folder, asset, AT)
        assert found["temp"] == pytest.approx(100.0, rel=1e-6)
        assert found["pressure"] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_a_channel_that_states_nothing_comes_as_declared(form: Any) -> None:
    folder = Folder(declared(us={"temp": "degreeFahrenheit", "pressure": "psi"}))
    assert folder.fold([Record(0, form("us", {"temp": 212.0, "pressure": 100.0}, {"pressure": "kPa"}))]).refused == []
    found = held(folder, "us", AT)
    assert (found["temp"], found["pressure"]) == (pytest.approx(100.0, rel=1e-6), pytest.approx(1.0, rel=1e-6))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("unit", "expected"),
    [("l/s", "temp: unit 'l/s' measures"), ("wobble", "temp: unit 'wobble' is not known"), ("C" * 70, "is not known")],
)
def test_a_unit_that_is_none_sends_its_channel_to_dead_letter_and_the_rest_is_used(form: Any, unit: str, expected: str) -> None:
    folder = Folder(declared(b={}))
    folded = folder.fold([Record(0, form("b", {"temp": 20.0, "pressure": 3.0}, {"temp": unit}))])
    assert [one.reason for one in folded.refused] == ["unit"]
    assert expected in folded.refused[0].message
    assert folded.counts["accepted"] == 1
    found = held(folder, "b", AT)
    assert np.isnan(found["temp"])
    assert found["pressure"] == 3.0


def test_a_channel_without_a_unit_takes_none_that_is_stated() -> None:
    folder = Folder(declared(b={}))
    folded = folder.fold([Record(0, beside("b", {"valve": 1.0, "temp": 20.0}, {"valve": "bar"}))])
    assert [one.reason for one in folded.refused] == ["unit"]
    assert "valve: unit 'bar' is stated, expected none" in folded.refused[0].message


@pytest.mark.parametrize("unit", [None, ""])
def test_an_empty_unit_states_nothing(unit: str | None) -> None:
    folder = Folder(declared(b={}))
    assert folder.fold([Record(0, beside("b", {"temp": 20.0}, {"temp": unit}))]).refused == []  # type: ignore[dict-item]
    assert held(folder, "b", AT)["temp"] == 20.0


@pytest.mark.parametrize("cell", [{}, {"value": 1, "quality": "bad"}, {"unit": "bar"}, {"value": {"value": 1}}, {"value": "x"}])
def test_an_object_that_is_no_value_is_refused_as_no_number(cell: dict[str, Any]) -> None:
    folder = Folder(declared(b={}))
    folded = folder.fold([Record(0, orjson.dumps({"asset": "b", "time": AT, "temp": cell, "pressure": 1.0}))])
    assert [one.reason for one in folded.refused] == ["not-a-number"]
    assert held(folder, "b", AT)["pressure"] == 1.0


def test_a_number_called_units_is_a_channel_as_any() -> None:
    assert decode(orjson.dumps({"asset": "b", "time": AT, "units": 3})).channels == {"units": 3}


def test_twins_of_one_table_with_other_declared_units_all_take_what_it_states() -> None:
    folder = Folder(declared(b={}, us={"temp": "degreeFahrenheit", "pressure": "psi"}))
    values = {"temp": [273.15, 293.15], "pressure": [1.0, 14.503773773]}
    assert folder.fold([Record(0, arrow(["b", "us"], values, {"temp": "kelvin"}))]).refused == []
    assert held(folder, "b", AT) == pytest.approx({"temp": 0.0, "pressure": 1.0, "valve": np.nan}, nan_ok=True, abs=1e-5)
    assert held(folder, "us", AT) == pytest.approx({"temp": 20.0, "pressure": 1.0, "valve": np.nan}, nan_ok=True, abs=1e-5)


def test_a_table_that_http_splits_by_partition_keeps_its_units() -> None:
    table = decode(arrow(["b", "us", "c"], {"temp": 1.0, "pressure": 2.0}, {"temp": "kelvin"}))
    assert isinstance(table, TelemetryTable)
    parts = [stream for _, stream in by_partition(table, 3)]
    assert len(parts) > 1
    assert [decode(part).units for part in parts] == [{"temp": "kelvin"}] * len(parts)


def test_a_type_that_is_inferred_takes_the_units_stated_first_and_grows_with_those_that_come_later() -> None:
    view = Definitions()
    folder = Folder(view)
    changing, seen = Changing(view, folder), []
    for step in range(40):
        cells: dict[str, Any] = {"flow": {"value": 3.6, "unit": "m3/h"} if step else {"value": 1.0, "unit": "l/s"}}
        if step > 10:
            cells["heat"] = {"value": 20.0, "unit": "°C"}
        folded = folder.fold([Record(step, orjson.dumps({"asset": "new", "time": AT + step, **cells}), timestamp=AT * 1000)])
        changing.decide(folded.strange, folded.strange_units, {0: owned_from(step + 1)})
        seen += [one.reason for one in folded.refused]
    place = folder.on_terms("new")
    assert place is not None
    kind = place.arena.type
    assert [(one.name, one.unit) for one in kind.channels] == [("flow", "litrePerSecond"), ("heat", "degreeCelsius")]
    assert seen == ["unknown-channel"] * ENOUGH_NUMBERS
    row, slot = place.arena.values[place.row], (AT + 38) % place.arena.slots
    assert row[slot].tolist() == [1.0, 20.0]


INTEGERS = st.integers(-(2**63), 2**63 - 1)
UNITS = st.sampled_from(["bar", "kPa", "psi", "K", "°F", "furlong", "", "l/s", "9**9", "wobble"]) | st.text(max_size=5)
cells = st.one_of(
    st.floats(allow_nan=False), INTEGERS, st.none(), st.booleans(), st.text(max_size=3),
    st.fixed_dictionaries(
        {"value": st.floats() | INTEGERS | st.none() | st.text(max_size=2)}, optional={"unit": UNITS | INTEGERS}
    ),
)  # fmt: skip
bodies = st.fixed_dictionaries(
    {},
    optional={
        "temp": cells, "pressure": cells, "valve": cells, "other": cells,
        "units": cells | st.dictionaries(
            st.sampled_from(["temp", "pressure", "valve", "none"]), UNITS | INTEGERS | st.none()
        ),
    },
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(bodies, min_size=1, max_size=6), st.integers(1, 6))
def test_whatever_is_stated_nothing_crashes_and_nothing_disappears_whatever_the_batch(
    found: list[dict[str, Any]], cut: int
) -> None:
    """Every channel that came as a value is accepted, or its record is in dead-letter; apart or together alike."""
    records = [Record(offset, orjson.dumps({**body, "asset": "b", "time": AT + offset})) for offset, body in enumerate(found)]
    together, apart = Folder(declared(b={"temp": "K"})), Folder(declared(b={"temp": "K"}))
    whole = together.fold(records)
    parts = [apart.fold(records[at : at + cut]) for at in range(0, len(records), cut)]
    refused = [(one.record.offset, one.reason, one.message) for one in whole.refused]
    assert refused == [(one.record.offset, one.reason, one.message) for part in parts for one in part.refused]
    for record, body in zip(records, found, strict=True):
        came = [name for name, cell in body.items() if name != "units" and not _empty(cell)]
        if came and record.offset not in {offset for offset, _, _ in refused}:
            cells_of = held(together, "b", AT + record.offset)
            assert all(not np.isnan(cells_of[name]) for name in came)
    if "dtmi:plant:Boiler;1" in together.arenas and together.arenas["dtmi:plant:Boiler;1"].row_of:
        for record in records:
            assert held(together, "b", AT + record.offset) == pytest.approx(
                held(apart, "b", AT + record.offset), nan_ok=True, abs=0
            )


def _empty(cell: Any) -> bool:
    value = cell["value"] if isinstance(cell, dict) else cell
    return value is None or (isinstance(value, float) and not np.isfinite(value))  # JSON has no NaN, no infinity: null


def test_a_unit_is_looked_up_once() -> None:
    factor.cache_clear()
    folder = Folder(declared(b={}))
    folder.fold(
        [Record(at, beside("b", {"temp": 1.0, "pressure": 2.0}, {"temp": "K", "pressure": "wobble"})) for at in range(50)]
    )
    found = factor.cache_info()
    assert (found.misses, found.hits) == (2, 98)
