"""The topic `demo.commands` as the plant sees it: which faults are wanted, then each change.

In:   records under `fault/<fault>/<asset>`, the last one of a key counts; one without a value, or with `active` false, ends it.
Out:  `DemoCommand`s. A record that is none is logged and passed over.
No group: the topic is compacted, so that a plant that starts again reads all faults that are still on.
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from streams import clients
from streams.demo import fault_key
from streams.records import DemoCommand
from streams.topics import Topics

log = logging.getLogger(__name__)


class FaultCommands:
    """An open reader. `wanted` holds what was wanted when it was opened, by key."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._bootstrap = bootstrap
        self._topic = topics.demo_commands
        self._consumer = clients.consumer(bootstrap, self._topic, client_id="livetwin-water-faults")
        self.wanted: dict[str, DemoCommand] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._read_what_is_wanted()
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def _read_what_is_wanted(self) -> None:
        await self._consumer.start()
        end = await self._consumer.end_offsets(self._consumer.assignment())
        for partition, offset in end.items():
            while await self._consumer.position(partition) < offset:
                for records in (await self._consumer.getmany(partition, timeout_ms=200)).values():
                    for record in records:
                        command = decode(record)
                        if command is not None:
                            self.wanted[fault_key(command).decode()] = command

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._consumer.stop()

    async def within(self, seconds: float, stop: asyncio.Event) -> list[DemoCommand]:
        """Wait that long, or until `stop`; the commands that came."""
        found: list[DemoCommand] = []
        end = asyncio.get_running_loop().time() + seconds
        while True:
            remaining = end - asyncio.get_running_loop().time()
            timeout_ms = max(0, int(min(remaining, 0.2) * 1000))
            for records in (await self._consumer.getmany(timeout_ms=timeout_ms)).values():
                found += [command for record in records if (command := decode(record)) is not None]
            if remaining <= 0.2 or stop.is_set():
                return found


def decode(record: ConsumerRecord) -> DemoCommand | None:
    """The command of one record, None when it is none."""
    key = (record.key or b"").decode("utf-8", "replace")
    try:
        if record.value is not None:
            return DemoCommand.model_validate_json(record.value)
        _, fault, asset = key.split("/", 2)
        return DemoCommand.model_validate({"fault": fault, "asset": asset, "active": False})
    except (ValidationError, ValueError) as error:
        found = str(error).splitlines()[0]
        log.warning("demo-command-not-understood", extra={"key": key, "offset": record.offset, "found": found})
        return None
