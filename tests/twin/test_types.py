"""Twin types: what an interface says is what the channel holds, and what can't be is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from twin.errors import TypeInvalid
from twin.types import compile_type


def interface(**telemetry: Any) -> dict[str, Any]:
    element = {"@type": "Telemetry", "name": "level", "schema": "double", **telemetry}
    return {"@id": "dtmi:plant:Tank;1", "@type": "Interface", "contents": [element]}


def test_gap_rule_spike_limit_and_role_are_the_channels() -> None:
    (channel,) = compile_type(interface(gapRule="linear", gapLimit=3, spikeLimit=0.5, role="state")).channels
    assert (channel.gap_rule, channel.gap_limit, channel.spike_limit, channel.role) == ("linear", 3, 0.5, "state")


def test_a_gap_is_held_for_six_steps_unless_the_type_says_otherwise() -> None:
    (channel,) = compile_type(interface()).channels
    assert (channel.gap_rule, channel.gap_limit, channel.spike_limit, channel.role) == ("hold", 6, None, "sensor")


@pytest.mark.parametrize(
    ("found", "expected"), [({"gapRule": "guess"}, "'hold'"), ({"role": "boss"}, "'actuator'"), ({"spikeLimit": -1}, "zero")]
)
def test_a_word_or_limit_that_can_not_be_is_refused(found: dict[str, Any], expected: str) -> None:
    with pytest.raises(TypeInvalid, match=expected):
        compile_type(interface(**found))
