"""Ask the gateway over HTTP how far the system is: does the page answer, how many twins live."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

_EVERY_S = 0.5
_TIMEOUT_S = 5.0


async def await_page(address: str) -> None:
    """Return once `/healthz` answers 200."""
    while True:
        if await asyncio.to_thread(_get, f"{address}/healthz") is not None:
            return
        await asyncio.sleep(_EVERY_S)


async def await_twins(address: str) -> int:
    """Number of twins, as soon as one shows a step that was not there at the first look: what is remembered is not live yet."""
    remembered: set[tuple[str, str]] | None = None
    while True:
        answer = await asyncio.to_thread(_get, f"{address}/v1/twins?limit=1000")
        if isinstance(answer, dict) and "twins" in answer:
            steps = {(str(twin["id"]), str(twin["time"])) for twin in answer["twins"]}
            remembered = steps if remembered is None else remembered
            if steps - remembered:
                return len(steps)
        await asyncio.sleep(_EVERY_S)


def _get(url: str) -> Any:
    """The JSON answer, the text where it is no JSON, None where there is no 200."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            body = answer.read()
    except (OSError, urllib.error.URLError):
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body
