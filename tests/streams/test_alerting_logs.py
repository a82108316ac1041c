"""The claims of `streams.client_logs`."""

from __future__ import annotations

import logging

import pytest

from streams.client_logs import OncePer


def test_a_repeated_message_is_said_once_per_period_with_how_often_it_was_kept_back(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    logger = logging.getLogger("test.once-per")
    limit = OncePer(10.0, clock=lambda: now[0])
    logger.addFilter(limit)
    for second in range(25):
        now[0] = float(second)
        logger.warning("Unable to connect to %s", f"node {second}")
        logger.warning("other %d", second) if second == 3 else None
    logger.removeFilter(limit)
    assert [record.getMessage() for record in caplog.records] == [
        "Unable to connect to node 0",
        "other 3",
        "Unable to connect to node 10 (and 9 times since this was last said)",
        "Unable to connect to node 20 (and 9 times since this was last said)",
    ]
