"""The job in Pathway: a batched UDF gets the records of a commit at once, folds them and scores what closes in one call.

The engine hands the rows of a commit in the order of their keys, so the UDF sorts them by event time first.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson
import pathway as pw

from deploy.bench.rivals.job import Closed, Fleet, Setting, score

COMMIT_MS = 200
MOST = 1 << 20


def main() -> None:
    setting = Setting.read(sys.argv[1])
    fleet = Fleet(setting)

    @pw.udf(max_batch_size=MOST, return_type=list[bytes])  # type: ignore[untyped-decorator]
    def scored(values: list[bytes]) -> list[list[bytes]]:
        readings = sorted(map(orjson.loads, values), key=lambda reading: reading["time"])
        steps: list[Closed] = [closed for reading in readings for closed in fleet.take(reading)]
        return [score(steps), *([] for _ in range(len(values) - 1))]  # which row carries them does not matter

    consumer = {"bootstrap.servers": setting.bootstrap, "group.id": setting.group, "auto.offset.reset": "earliest"}
    producer = {"bootstrap.servers": setting.bootstrap, "acks": "all", "compression.type": "lz4", "linger.ms": "5"}
    telemetry = pw.io.kafka.read(consumer, setting.telemetry, format="raw", autocommit_duration_ms=COMMIT_MS)
    steps = telemetry.select(steps=scored(pw.this.data)).flatten(pw.this.steps)
    pw.io.kafka.write(steps, producer, setting.output, format="raw", value=steps.steps)
    backend = pw.persistence.Backend.filesystem(str(Path(setting.folder) / "persistence"))
    pw.run(
        monitoring_level=pw.MonitoringLevel.NONE,
        persistence_config=pw.persistence.Config(backend, snapshot_interval_ms=10_000),
    )


if __name__ == "__main__":
    main()
