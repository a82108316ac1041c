"""Conditions of many steps at once: the transitions and the state of the same steps one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.conditions import Conditions
from twin.types import NS_PER_S, compile_type

TYPE = compile_type(
    {
        "@context": ["dtmi:dtdl:context;3", "dtmi:livetwin:extension:stream;1"],
        "@id": "dtmi:test:conditions;1",
        "@type": "Interface",
        "samplingPeriod": "PT1S",
        "contents": [{"@type": "Telemetry", "name": "flow", "schema": "double"}],
        "offDelay": "PT3S",
    }
)
TWINS, NAMES = 3, len(Conditions(TYPE, 1).names)


@given(st.lists(st.lists(st.lists(st.booleans(), max_size=9), min_size=TWINS, max_size=TWINS), min_size=1, max_size=4))
def test_steps_at_once_give_what_they_give_one_by_one(batches: list[list[list[bool]]]) -> None:
    at_once, one_by_one = Conditions(TYPE, TWINS), Conditions(TYPE, TWINS)
    clock = 0
    for batch in batches:
        rows = np.repeat(np.arange(TWINS), [len(steps) for steps in batch])
        rank = np.array([number for steps in batch for number in range(len(steps))], np.int64)
        on = np.zeros((len(rows), NAMES), np.bool_)
        on[:, 0] = [holds for steps in batch for holds in steps]
        time_ns = (clock + rank + 1) * NS_PER_S
        clock += 10
        expected = []
        for step in range(10):  # all twins go step by step together
            for at in np.flatnonzero(rank == step).tolist():
                told = one_by_one.follow(rows[[at]], on[[at]], time_ns[[at]])
                expected += [(at, one.condition, one.kind, one.onset_ns) for one in told]
        found = [(one.index, one.condition, one.kind, one.onset_ns) for one in at_once.follow(rows, on, time_ns)]
        assert found == expected
        assert (at_once.onset == one_by_one.onset).all()
        assert (at_once.last_on == one_by_one.last_on).all()
