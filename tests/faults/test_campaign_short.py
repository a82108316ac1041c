"""A short campaign: each part of a whole system is hurt once, and what is left behind equals the undisturbed run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.kafka_errors import KafkaUnavailable
from tests.faults.campaign import Campaign
from tests.faults.injections import ALL
from tests.faults.system import running_system
from tests.streams.plant import trained, variant

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif("LIVETWIN_TEST_KAFKA" in os.environ, reason="it hurts its broker: another one was asked for"),
]

ROUNDS = (
    ("kill-processor-at-commit", "kill-alerting", "disk-full", "swap"),
    ("zombie-processor", "kill-gateway", "bad-version"),
)


async def test_what_a_disturbed_system_leaves_behind_equals_the_undisturbed_run(tmp_path: Path) -> None:
    by_name = {one.name: one for one in ALL}
    first = trained()
    try:
        async with running_system(tmp_path, [first, variant(first, 2)]) as system:
            campaign = Campaign(system, seed=7, say=print)
            await campaign.begin()
            for names in ROUNDS:
                await campaign.round([by_name[name] for name in names])
            await campaign.end()
    except KafkaUnavailable as error:
        pytest.skip(f"no broker: {error}")
    report = campaign.report
    assert report.repeated["history"] > 0, "nothing was written twice: the kill hit no batch"
    assert report.refused > 0
    assert report.alerts > 0
