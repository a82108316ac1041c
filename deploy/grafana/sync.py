"""Keep Grafana's dashboards those of the twin types that are declared: written anew when a type is declared or changes.

In:   the topic `definitions`; for the read token, an InfluxDB.
Out:  `FOLDER/dashboards/*.json`, `FOLDER/influxdb-read-token`; Grafana looks at the folder by itself every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from deploy.grafana.export import ExportFailed, export
from deploy.grafana.frame import fleet_of
from streams.definitions import Definitions, follow_definitions, read_definitions
from streams.stores.port import StoreUnavailable
from streams.topics import Topics
from streams.waiting import pause
from twin.types import TwinType

log = logging.getLogger(__name__)
_LOOK_EVERY_S = 1.0
_RETRY_S = (1.0, 30.0)


async def sync(
    *,
    bootstrap: str,
    topics: Topics,
    folder: Path,
    page_url: str,
    ensure_token: Callable[[], bool],
    stop: asyncio.Event,
) -> None:
    """Run until `stop`. A store that is away and a folder that can't be written are waited for; a refusal is raised.

    Args:
        ensure_token: writes the read token where it is missing; blocks, raises as `read_token.ensure_read_token`.
    """
    if not await _until_done(ensure_token, stop, "read-token-waits"):
        return
    view = await read_definitions(bootstrap, topics)
    following = asyncio.create_task(follow_definitions(bootstrap, topics, view, stop=stop))
    try:
        await _write_changes(view, folder / "dashboards", page_url, stop, following)
    finally:
        stop.set()
        await following


async def _write_changes(
    view: Definitions, folder: Path, page_url: str, stop: asyncio.Event, following: asyncio.Task[None]
) -> None:
    written: dict[str, TwinType] | None = None
    while not stop.is_set() and not following.done():
        types = dict(view.types)
        if types != written:

            def write(types: dict[str, TwinType] = types) -> bool:
                paths = export(fleet_of(list(types.values()), page_url), folder)
                log.info("dashboards-written", extra={"folder": str(folder), "dashboards": len(paths), "types": len(types)})
                return True

            if not await _until_done(write, stop, "dashboards-wait"):
                return
            written = types
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
