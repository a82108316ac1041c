"""The end of work that may wait for a broker: it has time as long as it gets on, and no longer.

In:   a task that looks at `stop`, and a number that moves while the task gets on.
Out:  the task has ended; what it left undone is for its caller to have made harmless.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_LOOK_S = 0.5


async def ended(working: asyncio.Task[None], stop: asyncio.Event, progress: Callable[[], int], *, still_s: float) -> bool:
    """Wait until the task is done; whether it ended by itself. Raises what ended it.

    Args:
        stop: from when it is set on, a task whose progress stands still for `still_s` is cancelled.
        progress: a number that changes with every piece of work that is done.
    """
    stopping = asyncio.create_task(stop.wait())
    given_up = False
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        seen, since = progress(), time.monotonic()
        while not working.done():
            await asyncio.wait({working}, timeout=min(still_s, _LOOK_S))
            if progress() != seen:
                seen, since = progress(), time.monotonic()
            elif not working.done() and time.monotonic() - since >= still_s:
                given_up = True
                working.cancel()
                await asyncio.wait({working})
    except asyncio.CancelledError:
        working.cancel()
        await asyncio.wait({working})
        raise
    finally:
        stopping.cancel()
    if not working.cancelled():
        working.result()
    return not given_up
