"""The job in Quix Streams, which goes from record to record: one call of the model a closed step.

`batches` as second argument: scoring in a `BatchingSink`, which gets the closed steps of a partition at each checkpoint
and sends the outputs itself: micro-batches at the price of leaving `to_topic`.
"""

from __future__ import annotations

import sys

import orjson
from confluent_kafka import Producer
from quixstreams import Application
from quixstreams.models.serializers import JSONDeserializer
from quixstreams.sinks import BatchingSink, SinkBatch

from deploy.bench.rivals.job import Fleet, Setting, score

BATCH = 4000
PRODUCER = {"acks": "all", "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 5}


class ScoringSink(BatchingSink):  # type: ignore[misc]
    """Scores what a checkpoint covers, and returns when the broker has the outputs."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self._topic = setting.output
        self._producer = Producer({"bootstrap.servers": setting.bootstrap, **PRODUCER, "queue.buffering.max.messages": 1 << 20})

    def write(self, batch: SinkBatch) -> None:
        for record in score([item.value for item in batch]):
            self._producer.produce(self._topic, record)
        if self._producer.flush(60):
            raise TimeoutError(f"{self._topic}: outputs not acknowledged within 60 s; the checkpoint is not committed")


def main() -> None:
    setting = Setting.read(sys.argv[1])
    fleet = Fleet(setting)
    batches = "batches" in sys.argv[2:]
    app = Application(
        broker_address=setting.bootstrap,
        consumer_group=setting.group,
        auto_offset_reset="earliest",
        commit_every=BATCH if batches else 0,
        producer_extra_config=PRODUCER,
        state_dir=setting.folder,
        auto_create_topics=False,
        loglevel="WARNING",
    )
    telemetry = app.topic(setting.telemetry, key_deserializer="bytes", value_deserializer=JSONDeserializer(loads=orjson.loads))
    closed = app.dataframe(telemetry).apply(fleet.take, expand=True)
    if batches:
        closed.sink(ScoringSink(setting))
    else:
        output = app.topic(setting.output, key_serializer="bytes", value_serializer="bytes")
        closed.apply(lambda one: score([one])[0]).to_topic(output)
    app.run()


if __name__ == "__main__":
    main()
