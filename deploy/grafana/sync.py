"""Keep Grafana's dashboards those of the twin types that are declared: written anew when a type is declared or changes.

In:   the topic `definitions`; an InfluxDB, for the read token, and for the newest step of each type: dashboards open there.
Out:  `FOLDER/dashboards/*.json`, `FOLDER/influxdb-read-token`; Grafana looks at the folder by itself every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path

from deploy.grafana.export import ExportFailed, export
from deploy.grafana.frame import fleet_of
from deploy.grafana.influxql import steps_of
from deploy.grafana.period import hours_ahead
from streams.definitions import Definitions, follow_definitions, read_definitions
from streams.stores.influxdb_server import InfluxDb
from streams.stores.influxdb_setup import Buckets
from streams.stores.port import StoreUnavailable
from streams.topics import Topics
from streams.waiting import pause
from twin.types import TwinType

log = logging.getLogger(__name__)
_LOOK_EVERY_S = 1.0
_NEWEST_EVERY_S = 10.0
_RETRY_S = (1.0, 30.0)


async def sync(
    *,
    bootstrap: str,
    topics: Topics,
    folder: Path,
    page_url: str,
    ensure_token: Callable[[], bool],
    newest_ns: Callable[[Collection[TwinType]], dict[str, int]],
    stop: asyncio.Event,
) -> None:
    """Run until `stop`. A store that is away and a folder that can't be written are waited for; a refusal is raised.

    Args:
        ensure_token: writes the read token where it is missing; blocks, raises as `read_token.ensure_read_token`.
        newest_ns: end of the newest step of each type that has any, by id; blocks, raises StoreUnavailable and StoreRefused.
    """
    if not await _until_done(ensure_token, stop, "read-token-waits"):
        return
    view = await read_definitions(bootstrap, topics)
    following = asyncio.create_task(follow_definitions(bootstrap, topics, view, stop=stop))
    try:
        await _write_changes(view, folder / "dashboards", page_url, newest_ns, stop, following)
    finally:
        stop.set()
        await following


def newest_steps(server: InfluxDb, buckets: Buckets, types: Collection[TwinType]) -> dict[str, int]:
    """End of the newest step of each type that has any, by id. Raises StoreUnavailable, StoreRefused."""
    if not types:
        return {}
    asked = [f'SELECT last("fields") FROM {steps_of(kind).source}' for kind in types]
    answers = server.query(buckets.database, *asked)
    return {kind.id: answer[0].column("time")[0] for kind, answer in zip(types, answers, strict=True) if answer}


async def _write_changes(
    view: Definitions,
    folder: Path,
    page_url: str,
    newest_ns: Callable[[Collection[TwinType]], dict[str, int]],
    stop: asyncio.Event,
    following: asyncio.Task[None],
) -> None:
    written: tuple[dict[str, TwinType], dict[str, int]] | None = None
    ahead_h: dict[str, int] = {}
    look_at = 0.0
    while not stop.is_set() and not following.done():
        types = dict(view.types)
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + _NEWEST_EVERY_S
            try:
                newest = await asyncio.to_thread(newest_ns, types.values())
                ahead_h = hours_ahead(newest, types.values(), time.time_ns())
            except StoreUnavailable as error:
                log.info("newest-steps-unknown", extra={"error": str(error)})
        if (types, ahead_h) != written:

            def write(types: dict[str, TwinType] = types, ahead_h: dict[str, int] = ahead_h) -> bool:
                paths = export(fleet_of(list(types.values()), page_url, ahead_h), folder)
                log.info("dashboards-written", extra={"folder": str(folder), "dashboards": len(paths), "types": len(types)})
                return True

            if not await _until_done(write, stop, "dashboards-wait"):
                return
            written = (types, ahead_h)
        await pause(stop, _LOOK_EVERY_S)


async def _until_done(act: Callable[[], bool], stop: asyncio.Event, event: str) -> bool:
    """Run it in a thread, again and again while that can help; False: told to stop before it was done."""
    delay_s, longest_s = _RETRY_S
    while not stop.is_set():
        try:
            await asyncio.to_thread(act)
            return True
        except (StoreUnavailable, ExportFailed) as error:
            log.warning(event, extra={"error": str(error), "retry_s": delay_s})
            await pause(stop, delay_s)
            delay_s = min(2 * delay_s, longest_s)
    return False
