"""The job in Bytewax: a twin is the state of a stateful operator, `flat_map_batch` scores what flows by in one call.

With a recovery store, so that it is at-least-once: each epoch (10 s) saves the twins that changed and the offsets.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import orjson
from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from deploy.bench.rivals.job import Closed, Fleet, Setting, Twin, score

BATCH, EPOCH_S = 4000, 10.0


def main() -> None:
    setting = Setting.read(sys.argv[1])
    fleet = Fleet(setting)

    def keyed(message: KafkaSourceMessage[bytes, bytes]) -> tuple[str, dict[str, object]]:
        reading = orjson.loads(message.value)
        fleet.begin()
        return reading["asset"], reading

    def take(twin: Twin | None, reading: dict[str, object]) -> tuple[Twin, list[Closed]]:
        if twin is None:
            twin = fleet.new(str(reading["asset"]))
        elif not hasattr(twin, "kind"):  # from the recovery store
            twin.resume(fleet.kind(twin.asset))
        return twin, twin.take(reading)

    def scored(steps: list[Closed]) -> Iterable[KafkaSinkMessage[bytes, bytes]]:
        return [KafkaSinkMessage(None, record) for record in score(steps)]

    flow = Dataflow("job")
    source = KafkaSource([setting.bootstrap], [setting.telemetry], add_config={"fetch.min.bytes": "1"}, batch_size=BATCH)
    readings = op.map("reading", op.input("telemetry", flow, source), keyed)
    closed = op.stateful_flat_map("twin", readings, take)
    steps = op.map("step", closed, lambda pair: pair[1])
    config = {"acks": "all", "enable.idempotence": "true", "compression.type": "lz4", "linger.ms": "5"}
    records = op.flat_map_batch("score", steps, scored)
    kop.output("output", records, brokers=[setting.bootstrap], topic=setting.output, add_config=config)
    store = Path(setting.folder) / "recovery"
    store.mkdir()
    init_db_dir(store, 1)
    cli_main(flow, epoch_interval=timedelta(seconds=EPOCH_S), recovery_config=RecoveryConfig(str(store)))


if __name__ == "__main__":
    main()
