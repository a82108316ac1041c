"""A store that stands still under load costs the historian no memory and the history no step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.store_outage import Load, run

pytestmark = [pytest.mark.kafka, pytest.mark.influxdb, pytest.mark.slow]


async def test_while_influxdb_stands_still_the_historian_holds_one_batch_and_writes_all_afterwards(
    kafka: str, topic_prefix: str, influxdb_binary: Path, tmp_path: Path
) -> None:
    await run(kafka, topic_prefix, tmp_path, influxdb_binary, Load(warm_up_mib=6, outage_mib=24, outage_s=5), print)
