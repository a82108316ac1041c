"""The job in Faust: `stream.take` gives micro-batches, twins are kept in memory, events are acknowledged when their batch is out.

`steps` as second argument: one call of the model a closed step, as an agent that goes from event to event does.
Windows in memory are the form that is fastest; a Faust table would send each twin's window to its changelog at every change.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import faust
import orjson

from deploy.bench.rivals.job import Fleet, Setting, score

BATCH, WITHIN_S = 4000, 0.2


def main() -> None:
    setting = Setting.read(sys.argv[1])
    fleet = Fleet(setting)
    app = faust.App(
        id=setting.group,
        broker=f"aiokafka://{setting.bootstrap}",
        store="memory://",
        datadir=setting.folder,
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        producer_acks=-1,
        producer_compression_type="lz4",
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=8 << 20,
        stream_buffer_maxsize=2 * BATCH,
        stream_wait_empty=False,
    )
    raw: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    telemetry, output = app.topic(setting.telemetry, **raw), app.topic(setting.output, **raw)

    async def out(records: list[bytes]) -> None:
        await asyncio.gather(*[await output.send(value=record) for record in records])

    if "steps" in sys.argv[2:]:

        @app.agent(telemetry)
        async def watch(stream: Any) -> None:
            async for value in stream:
                for closed in fleet.take(orjson.loads(value)):
                    await output.send(value=score([closed])[0])

    else:

        @app.agent(telemetry)
        async def watch(stream: Any) -> None:
            async for values in stream.take(BATCH, within=WITHIN_S):
                await out(score([closed for value in values for closed in fleet.take(orjson.loads(value))]))

    sys.argv[1:] = ["worker", "--loglevel=warn", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
