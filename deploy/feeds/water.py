"""The demo feed `water`: a simulated water network as an ordinary producer of the public contract.

In:   settings of the plant's clock and seed; `demo.commands`.
Out:  `definitions`, `telemetry`; `events` with each fault's begin and end as ground truth, which detection never reads.

On the first start some days up to now are fed at once, then event time goes on at `speed` event seconds a wall second.
A step's readings are acknowledged before the plant's state is saved: a crash repeats a step, never skips one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka.errors import KafkaError, KafkaTimeoutError, OutOfOrderSequenceNumber

from deploy.feeds import water_state
from deploy.feeds.fault_commands import FaultCommands
from deploy.feeds.faults import FaultRefused
from deploy.feeds.newest import newest_event_time
from deploy.feeds.producer import FeedProducer, epoch
from deploy.feeds.water_fleet import water_declarations, water_interfaces
from deploy.feeds.water_plant import JUNCTION, PIPE, PUMP, TANK, WaterPlant, simulate
from streams.records import DemoCommand, EventRecord
from streams.topics import Topics
from twin.errors import LivetwinError
from twin.types import NS_PER_S

__all__ = ["JUNCTION", "PIPE", "PUMP", "TANK", "WaterPlant", "run_water", "simulate"]

log = logging.getLogger(__name__)

DAY_S = 86_400
_SHORTEST_TICK_S = 0.05  # below this, several steps go out together
_MOST_BEHIND_S = 5.0  # after a longer pause (a laptop that slept) the clock goes on from here and does not race
_RETRY_S = (0.5, 10.0)


class WaterStepInvalid(LivetwinError):
    """A step length or speed that the plant can't run with."""


async def run_water(
    *,
    bootstrap: str,
    topics: Topics,
    step_s: float,
    speed: float,
    backfill_days: float,
    seed: int,
    home: Path,
    stop: asyncio.Event,
) -> None:
    """Feed the plant until `stop`. A broker that goes away is waited for; nothing is skipped.

    Raises:
        WaterStepInvalid: step or speed out of range; nothing was fed.
        FeedStateRefused: the saved state can't be used; nothing was fed.
        KafkaError: the broker refuses for good (authorisation, missing topic after its time-out).
    """
    if step_s != int(step_s) or not 1 <= step_s <= 3600 or DAY_S % int(step_s):
        raise WaterStepInvalid(f"water step is {step_s} s, expected whole seconds, 1 to 3600, that divide a day; nothing was fed")
    if not speed > 0 or not math.isfinite(speed):
        raise WaterStepInvalid(f"water speed is {speed}, expected more than 0 event seconds a second; nothing was fed")
    feed = _WaterFeed(bootstrap, topics, int(step_s), speed, backfill_days, seed, home / "feeds" / "water.json")
    pause_s = _RETRY_S[0]
    while not stop.is_set():
        try:
            await feed.run(stop)
        except KafkaError as error:
            if not (error.retriable or isinstance(error, KafkaTimeoutError | OutOfOrderSequenceNumber)):
                raise
            log.warning("water-waits-for-broker", extra={"found": str(error), "retry_after_s": pause_s})
            await _wait(pause_s, stop)
            pause_s = min(2 * pause_s, _RETRY_S[1])


class _WaterFeed:
    def __init__(
        self, bootstrap: str, topics: Topics, step_s: int, speed: float, backfill_days: float, seed: int, state_path: Path
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._step_s = step_s
        self._speed = speed
        self._backfill_days = backfill_days
        self._seed = seed
        self._path = state_path

    async def run(self, stop: asyncio.Event) -> None:
        """From the saved state until `stop` or a KafkaError."""
        plant, backfill_until = await self._resume()
        async with (
            FeedProducer(self._bootstrap, self._topics, client_id="livetwin-water") as producer,
            FaultCommands(self._bootstrap, self._topics) as faults,
        ):
            await producer.define(water_interfaces(self._step_s), water_declarations(plant.layout))
            await self._backfill(plant, backfill_until, producer, stop)
            wanted = {(command.fault, command.asset): command for command in faults.wanted.values()}
            ended = [c for c in plant.faults.active() if (c.fault, c.asset) not in wanted]
            for command in [*wanted.values(), *(command.model_copy(update={"active": False}) for command in ended)]:
                await _switch(plant, command, producer, tell_refusal=False)
            await self._live(plant, backfill_until, producer, faults, stop)

    async def _resume(self) -> tuple[WaterPlant, int]:
        state = water_state.load(self._path)
        if state is not None:
            state = water_state.on_grid(state, self._step_s)
            return WaterPlant(self._step_s, self._seed, state=state), int(state["backfill_until_step"])
        until = time.time_ns() // NS_PER_S // self._step_s
        first = until - round(self._backfill_days * DAY_S / self._step_s)
        plant = WaterPlant(self._step_s, self._seed, first * self._step_s * NS_PER_S)
        known = await newest_event_time(self._bootstrap, self._topics, frozenset(plant.assets))
        if known is not None and known >= plant.time_ns:  # another plant fed these twins: go on after it
            first = known // NS_PER_S // self._step_s + 1
            plant = WaterPlant(self._step_s, self._seed, first * self._step_s * NS_PER_S)
        return plant, until

    async def _backfill(self, plant: WaterPlant, until: int, producer: FeedProducer, stop: asyncio.Event) -> None:
        if plant.step_number >= until:
            return
        total = until - plant.step_number
        log.info("water-backfill-begins", extra={"steps": total, "assets": len(plant.assets)})
        while plant.step_number < until and not stop.is_set():
            await self._feed(plant, min(DAY_S // self._step_s, until - plant.step_number), producer, until)
        log.info("water-backfill-ends", extra={"event_time_s": plant.time_ns // NS_PER_S})

    async def _live(
        self, plant: WaterPlant, backfill_until: int, producer: FeedProducer, faults: FaultCommands, stop: asyncio.Event
    ) -> None:
        steps = max(1, math.ceil(_SHORTEST_TICK_S * self._speed / self._step_s))
        tick_s = steps * self._step_s / self._speed
        clock = asyncio.get_running_loop()
        due = clock.time()
        while not stop.is_set():
            for command in await faults.within(max(0.0, due - clock.time()), stop):
                await _switch(plant, command, producer)
            if stop.is_set():
                break
            await self._feed(plant, steps, producer, backfill_until)
            due = max(due + tick_s, clock.time() - _MOST_BEHIND_S)
        await self._save(plant, backfill_until)  # what was switched since the newest step is not told again after a restart

    async def _feed(self, plant: WaterPlant, steps: int, producer: FeedProducer, backfill_until: int) -> None:
        """Some steps of all assets, acknowledged; then the state is saved."""
        await producer.telemetry(await asyncio.to_thread(telemetry, plant, steps))
        await self._save(plant, backfill_until)

    async def _save(self, plant: WaterPlant, backfill_until: int) -> None:
        state = {**plant.state(), "backfill_until_step": backfill_until}
        await asyncio.to_thread(water_state.save, self._path, state)


def telemetry(plant: WaterPlant, steps: int) -> list[dict[str, Any]]:
    """Records of the next `steps` steps: one a asset, single or in columns."""
    times = []
    arrays = []
    for _ in range(steps):
        times.append(epoch(plant.time_ns))
        arrays.append(plant.step_arrays())
    records: list[dict[str, Any]] = []
    for kind, (assets, channels) in plant.layout.items():
        values = np.round(np.stack([array[kind] for array in arrays], axis=2), 4).tolist()  # asset, channel, step
        for asset, columns in zip(assets, values, strict=True):
            readings = dict(zip(channels, columns, strict=True))
            if steps == 1:
                records.append({"asset": asset, "time": times[0], **{name: column[0] for name, column in readings.items()}})
            else:
                records.append({"asset": asset, "time": times, **readings})
    return records


async def _switch(plant: WaterPlant, command: DemoCommand, producer: FeedProducer, *, tell_refusal: bool = True) -> None:
    """Switch a fault and write the change to `events`; a command that the plant refuses is written there as well.

    `tell_refusal` false: a command that stood on the topic before the plant started, so it may have been refused before.
    """
    try:
        if not plant.switch(command):
            return
    except FaultRefused as error:
        log.warning("demo-command-refused", extra={"asset": command.asset, "fault": command.fault, "found": str(error)})
        if not tell_refusal:
            return
        refusal = EventRecord(asset=command.asset, time_ns=plant.time_ns, kind="log", text=str(error), code="fault-refused")
        await producer.event(refusal)
        return
    log.info("demo-fault-switched", extra={"asset": command.asset, "fault": command.fault, "on": command.active})
    await producer.event(
        EventRecord(
            asset=command.asset,
            time_ns=plant.time_ns,
            kind="fault",
            text=plant.wording(command),
            code=command.channel,
            label=command.fault,
            active=command.active,
        )
    )


async def _wait(seconds: float, stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
