"""Whatever comes as a body over HTTP: each item is taken or named, and what is taken is what the stream can use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.decoding import decode
from streams.formats.cloud_events import ARROW, BATCH, STRUCTURED
from streams.formats.readings import Telemetry
from streams.gateway.intake import MOST_REFUSED, Intake, read_events, read_telemetry
from streams.gateway.problem import ApiError
from tests.streams.formats.wire import rows, table
from tests.streams.plant import START
from tests.streams.poison import json_values, times

WORDS = {"mode": ["off", "running"]}
readings = st.fixed_dictionaries(
    {"asset": st.sampled_from(["p1", "p2"]) | json_values, "time": times},
    optional={"flow": json_values, "mode": st.sampled_from(["off", "running", "of"]) | json_values, "units": json_values},
)
attributes = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0") | json_values,
        "id": st.just("1"),
        "source": st.just("/s"),
        "type": st.just("t") | json_values,
    },
    optional={"subject": st.just("p1") | json_values, "time": times, "data": readings | json_values, "kind": json_values},
)
items = st.lists(readings | attributes | json_values, max_size=6)
bodies = items.map(lambda found: orjson.dumps(_plain(found))) | st.binary(max_size=60)
tables = st.lists(st.tuples(st.sampled_from(["p1", "p2", ""]), st.integers(0, 9), st.floats(-9, 9)), max_size=5).map(
    lambda cells: table(rows([one[0] for one in cells], [one[1] for one in cells], flow=[one[2] for one in cells]))
)
HEADERS = st.sampled_from(
    [
        {"content-type": "application/json"},
        {"content-type": BATCH},
        {"content-type": STRUCTURED},
        {"content-type": ARROW},
        {"content-type": "application/json", "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"},
        {"content-type": "text/plain"},
        {},
    ]
)


def _plain(found: Any) -> Any:
    """JSON has neither NaN nor numbers of seventy bits as orjson writes it."""
    if isinstance(found, dict):
        return {name: _plain(one) for name, one in found.items()}
    if isinstance(found, list):
        return [_plain(one) for one in found]
    return str(found) if isinstance(found, int) and not -(2**63) <= found < 2**64 else found


def taken_or_refused(read: Callable[[], Intake]) -> Intake | None:
    """None: the body as a whole was refused, as something that its sender can mend."""
    try:
        return read()
    except ApiError as error:
        if error.status not in (400, 415):
            raise
        return None


@settings(deadline=None, max_examples=200)
@given(bodies | tables, HEADERS)
@example(orjson.dumps([{"asset": "p1", "time": START, "mode": "running"}]), {"content-type": "application/json"})
def test_each_item_of_telemetry_is_taken_or_named_and_what_is_taken_can_be_used(body: bytes, headers: dict[str, str]) -> None:
    found = taken_or_refused(lambda: read_telemetry(body, headers.items(), 4, lambda asset: WORDS if asset == "p1" else {}))
    if found is None:
        return
    taken = 0
    for one in found.records:
        decoded = decode(one.value, one.headers, one.key)
        if isinstance(decoded, Telemetry):
            taken += 1
            assert decoded.asset.encode() == one.key
            for name, cell in decoded.channels.items():
                for value in cell if isinstance(cell, list) else [cell]:
                    number = isinstance(value, int | float | None) and abs(value or 0) <= np.finfo(np.float32).max
                    assert number or (decoded.asset == "p1" and value in WORDS.get(name, ()))
        else:
            assert not decoded.flaws
    named = {one.where for one in found.refused}
    assert found.count < MOST_REFUSED
    assert found.count == taken + len(named) or headers.get("content-type") == ARROW
    assert found.records or found.refused


@settings(deadline=None, max_examples=200)
@given(bodies, HEADERS)
def test_each_item_of_events_is_taken_or_named(body: bytes, headers: dict[str, str]) -> None:
    found = taken_or_refused(lambda: read_events(body, headers.items()))
    if found is None:
        return
    assert found.count == len(found.records) + len(found.refused)
    assert all(one.reason and one.message for one in found.refused)


def test_a_word_of_an_enumeration_is_taken_and_another_is_named() -> None:
    sent = [{"asset": "p1", "time": START + at, "mode": word} for at, word in enumerate(["off", "of"])]
    sent += [{"asset": "p1", "time": [START], "mode": ["running"]}, {"asset": "p2", "time": START, "mode": "off"}]
    found = read_telemetry(
        orjson.dumps(sent), [("content-type", "application/json")], 4, lambda asset: WORDS if asset == "p1" else {}
    )
    assert [one.where for one in found.refused] == ["item 1 (asset 'p1')", "item 3 (asset 'p2')"]
    assert found.readings == 2


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/plain"}])
def test_another_media_type_is_said_to_be_none_of_ours(headers: dict[str, str]) -> None:
    with pytest.raises(ApiError) as refused:
        read_telemetry(b"{}", headers.items(), 4)
    assert refused.value.status == 415
