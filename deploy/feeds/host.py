"""The demo feed `host`: this machine, once a second, as an ordinary producer of the public contract.

In:   `HostReadings`.
Out:  `definitions`, again whenever an asset is new; `telemetry` in real time.
A second that was missed (the machine was asleep, the broker away) is a gap, as it would be for any real sensor.
"""

from __future__ import annotations

import asyncio
import logging
import time

from aiokafka.errors import KafkaError, KafkaTimeoutError, OutOfOrderSequenceNumber

from deploy.feeds.host_readings import HostReadings, rounded
from deploy.feeds.interfaces import interface
from deploy.feeds.producer import FeedProducer
from streams.topics import Topics

log = logging.getLogger(__name__)

INTERFACES = ("host.computer", "host.disk", "host.network", "host.process")
_RETRY_S = 2.0


async def run_host(*, bootstrap: str, topics: Topics, stop: asyncio.Event) -> None:
    """Feed this machine until `stop`. A broker that goes away is waited for.

    Raises:
        KafkaError: the broker refuses for good (authorisation).
    """
    machine = HostReadings()
    while not stop.is_set():
        try:
            async with FeedProducer(bootstrap, topics, client_id="livetwin-host") as producer:
                await producer.define([interface(name) for name in INTERFACES])
                await _feed(machine, producer, stop)
        except KafkaError as error:
            if not (error.retriable or isinstance(error, KafkaTimeoutError | OutOfOrderSequenceNumber)):
                raise
            log.warning("host-waits-for-broker", extra={"found": str(error), "retry_after_s": _RETRY_S})
            await _wait(_RETRY_S, stop)


async def _feed(machine: HostReadings, producer: FeedProducer, stop: asyncio.Event) -> None:
    declared: frozenset[str] = frozenset()
    while True:
        await _wait(1.0 - time.time() % 1.0, stop)  # on the full second
        if stop.is_set():
            return
        second = round(time.time())
        readings = rounded(await asyncio.to_thread(machine.read))
        if not declared >= readings.keys():
            new = readings.keys() - declared
            declared |= readings.keys()
            await producer.define((), [twin for twin in machine.declarations(declared) if twin.asset in new | {machine.computer}])
        await producer.telemetry([{"asset": asset, "time": second, **channels} for asset, channels in readings.items()])


async def _wait(seconds: float, stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
