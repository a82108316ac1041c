"""A supervised process comes back after it ended, with growing delay, and stays away once stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.guard import Guarded
from deploy.role_output import RoleOutput
from deploy.role_plan import plan_roles
from deploy.roles_board import RolesBoard
from deploy.supervised import Child, Supervised, backoff_s
from twin.errors import LivetwinError


async def _soon(condition: Callable[[], bool], within_s: float = 120.0) -> None:
    async with asyncio.timeout(within_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


def _shown(home: Path, role: str) -> dict[str, Any]:
    shown: dict[str, dict[str, Any]] = json.loads((home / "run" / "roles.json").read_text())
    return shown.get(role, {})


def _supervised(home: Path, code: str) -> tuple[Supervised, list[Child]]:
    started: list[Child] = []

    async def start() -> Child:
        started.append(await asyncio.to_thread(Guarded, [sys.executable, "-c", code]))
        return started[-1]

    return Supervised("role", start, RolesBoard(home), asyncio.to_thread), started


async def test_a_process_that_ends_is_shown_in_backoff_and_comes_back(tmp_path: Path) -> None:
    supervised, started = _supervised(tmp_path, "raise SystemExit(3)")
    keeping = asyncio.create_task(supervised.keep())
    await _soon(lambda: len(started) >= 1 and _shown(tmp_path, "role").get("state") == "backoff")
    assert _shown(tmp_path, "role")["last_exit"] == 3
    assert _shown(tmp_path, "role")["pid"] is None
    await _soon(lambda: len(started) >= 2 and _shown(tmp_path, "role")["restarts"] == 1)
    await supervised.stop(5)
    await keeping
    assert _shown(tmp_path, "role")["state"] == "stopped"


async def test_a_killed_process_comes_back_and_a_stopped_one_does_not(tmp_path: Path) -> None:
    supervised, started = _supervised(tmp_path, "import time; time.sleep(600)")
    keeping = asyncio.create_task(supervised.keep())
    await _soon(lambda: len(started) == 1 and _shown(tmp_path, "role").get("pid") == started[0].pid)
    assert started[0].pid is not None
    os.kill(started[0].pid, signal.SIGKILL)
    await _soon(lambda: len(started) == 2 and _shown(tmp_path, "role")["state"] == "running")
    assert _shown(tmp_path, "role")["last_exit"] == 128 + signal.SIGKILL
    assert _shown(tmp_path, "role")["restarts"] == 1
    await supervised.stop(5)
    await keeping
    assert len(started) == 2
    assert _shown(tmp_path, "role")["state"] == "stopped"


async def test_a_process_that_can_t_be_started_is_tried_again_and_the_reason_shown(tmp_path: Path) -> None:
    tries: list[int] = []

    async def start() -> Child:
        tries.append(len(tries))
        raise LivetwinError("no broker here")

    supervised = Supervised("role", start, RolesBoard(tmp_path), asyncio.to_thread)
    keeping = asyncio.create_task(supervised.keep())
    await _soon(lambda: len(tries) >= 2)
    assert _shown(tmp_path, "role")["last_exit"] == "no broker here"
    await supervised.stop(5)
    await keeping


async def test_stop_waits_no_longer_than_the_grace(tmp_path: Path) -> None:
    deaf = "import pathlib, signal, sys, time; signal.signal(15, signal.SIG_IGN); pathlib.Path({!r}).touch(); time.sleep(600)"
    supervised, started = _supervised(tmp_path, deaf.format(str(tmp_path / "deaf")))
    keeping = asyncio.create_task(supervised.keep())
    await _soon(lambda: _shown(tmp_path, "role").get("state") == "running" if (tmp_path / "run/roles.json").exists() else False)
    await _soon((tmp_path / "deaf").exists)  # it ignores SIGTERM by now
    async with asyncio.timeout(120):
        await supervised.stop(0.3)
        await keeping
    assert len(started) == 1


def test_the_delay_never_exceeds_three_quarters_of_a_minute() -> None:
    assert max(backoff_s(failures, 1.0) for failures in range(1, 2000)) == 45.0


async def test_each_line_that_a_role_prints_is_kept_and_shown(tmp_path: Path) -> None:
    shown: list[str] = []
    output = RoleOutput("role", tmp_path, shown.append)
    write = await output.pipe()
    long = 3 * 2**20
    code = f"import sys; print('one'); print('x' * {long}); sys.stderr.write('two, ü'); sys.stderr.flush()"
    guarded = Guarded([sys.executable, "-u", "-c", code], output=write)
    os.close(write)
    await asyncio.to_thread(guarded.wait)
    await output.close()
    assert (shown[0], shown[-1]) == ("one", "two, ü")
    assert (tmp_path / "logs" / "role.log").read_text().splitlines() == shown


def test_roles_stop_feed_first_and_gateway_last() -> None:
    plan = plan_roles(processors=2, demo="water", own_historian=True)
    order = [role.name for role in sorted(plan, key=lambda role: role.stop_order)]
    assert order == ["feed", "processor-1", "processor-2", "alerting", "trainer", "historian", "gateway"]


def test_without_a_demo_there_is_no_feed() -> None:
    assert "feed" not in [role.name for role in plan_roles(processors=1, demo="none", own_historian=False)]
