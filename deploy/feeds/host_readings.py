"""This machine's readings through `psutil`: CPU, memory, disks, network, busiest programs.

In:   the operating system's counters, read once a second.
Out:  readings by asset; declarations of the assets that are there now. Rates are between two calls, so the first call gives none.
"""

from __future__ import annotations

import contextlib
import platform
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from twin.fleet import Relationship, TwinDeclaration

COMPUTER, DISK, NETWORK, PROCESS = (f"dtmi:livetwin:host:{name};1" for name in ("Computer", "Disk", "Network", "Process"))
BUSIEST = 6
_MOST_PROGRAMS = 12  # once shown, a program stays while it runs and none of these is busier
_BUSY_CORES = 0.01
_SCAN_EVERY_S = 5.0  # reading every process of the machine is the costly part
_MIB, _GIB = 1 << 20, 1 << 30
_PSEUDO = frozenset({"squashfs", "overlay", "tmpfs", "devtmpfs", "iso9660"})

Readings = dict[str, dict[str, float]]


class HostReadings:
    """The machine as a fleet. Call `read` about once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.name = re.sub(r"[^A-Za-z0-9._-]", "_", platform.node()) or "localhost"
        self.computer = f"host:{self.name}"
        self._disks = _disks()
        self._before: dict[str, tuple[float, tuple[float, ...]]] = {}
        self._programs: dict[str, list[psutil.Process]] = {}
        self._shown: dict[str, float] = {}  # program → CPU share, smoothed
        self._processor: dict[int, float] = {}  # process id → CPU seconds at the last scan
        self._scanned = -_SCAN_EVERY_S
        psutil.cpu_percent()  # the first call only sets its mark

    def read(self) -> Readings:
        """One reading of every asset that has one now."""
        now = self._clock()
        found: Readings = {self.computer: self._computer()}
        found |= {asset: channels for asset, channels in self._disk_readings(now).items() if channels}
        found |= self._network_readings(now)
        if now - self._scanned >= _SCAN_EVERY_S:
            self._scan(now - self._scanned)
            self._scanned = now
        found |= self._program_readings(now)
        return found

    def declarations(self, assets: frozenset[str]) -> list[TwinDeclaration]:
        """The computer and what it contains: `assets` that were ever read."""
        kinds = {"disk": DISK, "net": NETWORK, "process": PROCESS}
        parts = sorted(assets - {self.computer})
        computer = TwinDeclaration(
            asset=self.computer,
            type=COMPUTER,
            name=self.name,
            relationships=tuple(Relationship(name="contains", target=part) for part in parts),
            properties={
                "cores": psutil.cpu_count() or 1,
                "memoryGiB": round(psutil.virtual_memory().total / _GIB, 1),
            },
        )
        twins = [computer]
        for part in parts:
            kind, name = part.split(":", 1)
            properties: dict[str, str | float | bool] = {"mountpoint": self._disks[part][1]} if part in self._disks else {}
            twins.append(TwinDeclaration(asset=part, type=kinds[kind], name=name, properties=properties))
        return twins

    def _computer(self) -> dict[str, float]:
        return {
            "cpu": psutil.cpu_percent(),
            "load1": psutil.getloadavg()[0],
            "memory": psutil.virtual_memory().percent,
            "swap": psutil.swap_memory().percent,
        }

    def _disk_readings(self, now: float) -> Readings:
        counters = psutil.disk_io_counters(perdisk=True) or {}
        found: Readings = {}
        for asset, (device, mountpoint) in self._disks.items():
            channels: dict[str, float] = {}
            with contextlib.suppress(OSError):  # unmounted meanwhile
                channels["used"] = psutil.disk_usage(mountpoint).percent
            if device in counters:
                rates = self._rates(asset, now, counters[device].read_bytes, counters[device].write_bytes)
                if rates:
                    channels["read"], channels["write"] = rates
            found[asset] = channels
        return found

    def _network_readings(self, now: float) -> Readings:
        up = {name for name, state in psutil.net_if_stats().items() if state.isup}
        counters = {name: counter for name, counter in psutil.net_io_counters(pernic=True).items() if name in up}
        outer = {name: counter for name, counter in counters.items() if not name.startswith("lo")}
        found: Readings = {}
        for name, counter in (outer or counters).items():
            troubles = counter.errin + counter.errout + counter.dropin + counter.dropout
            rates = self._rates(f"net:{name}", now, counter.bytes_recv, counter.bytes_sent, troubles)
            if rates:
                found[f"net:{name}"] = dict(zip(("receive", "send", "errors"), rates, strict=True))
        return found

    def _scan(self, elapsed_s: float) -> None:
        """Look at all processes: which programs are busiest. New programs join, ended ones leave."""
        programs: dict[str, list[psutil.Process]] = defaultdict(list)
        used: dict[str, float] = defaultdict(float)
        processor: dict[int, float] = {}
        for process in psutil.process_iter(["name", "cpu_times"]):
            times = process.info["cpu_times"]
            if times is None or not process.info["name"]:
                continue  # not ours to see
            program = _program(process.info["name"])
            processor[process.pid] = times.user + times.system
            programs[program].append(process)
            used[program] += max(0.0, processor[process.pid] - self._processor.get(process.pid, processor[process.pid]))
        self._processor = processor
        share = {program: seconds / max(elapsed_s, 1e-3) for program, seconds in used.items()}
        smoothed = {program: 0.7 * self._shown.get(program, now) + 0.3 * now for program, now in share.items()}
        busy = [program for program in smoothed if smoothed[program] >= _BUSY_CORES or program in self._shown]
        busiest = sorted(busy, key=lambda program: (-smoothed[program], program))
        chosen = [program for program in busiest if program in self._shown] + busiest[:BUSIEST]
        kept = sorted(set(chosen), key=lambda program: (-smoothed[program], program))[:_MOST_PROGRAMS]
        self._shown = {program: smoothed[program] for program in kept}
        self._programs = {program: programs[program] for program in kept}
        counted = {_count(process) for processes in self._programs.values() for process in processes}
        self._before = {key: mark for key, mark in self._before.items() if not key.startswith("process:") or key in counted}

    def _program_readings(self, now: float) -> Readings:
        found: Readings = {}
        for program, processes in self._programs.items():
            shares: list[float] = []  # of those counted a second time: others may just have begun
            resident, threads = 0, 0
            for process in processes:
                try:
                    with process.oneshot():
                        times = process.cpu_times()
                        resident += process.memory_info().rss
                        threads += process.num_threads()
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
                shares += self._rates(_count(process), now, times.user + times.system) or ()
            if resident and shares:  # else it has ended, is a thread of the kernel, or is met for the first time
                cpu = 100.0 * sum(shares)
                found[f"process:{program}"] = {"cpu": cpu, "memory": resident / _MIB, "threads": float(threads)}
        return found

    def _rates(self, key: str, now: float, *counters: float) -> tuple[float, ...] | None:
        """Change a second since the last call for this key; None for the first, and where a counter was set back."""
        before = self._before.get(key)
        self._before[key] = (now, counters)
        if before is None or now <= before[0] or any(new < old for new, old in zip(counters, before[1], strict=True)):
            return None
        return tuple((new - old) / (now - before[0]) for new, old in zip(counters, before[1], strict=True))


def _count(process: psutil.Process) -> str:
    """Key of a process's CPU count."""
    return f"process:{process.pid}"


def _program(name: str) -> str:
    """A program's name as part of an asset id.

    >>> _program("kworker/0:1-events"), _program("java")
    ('kworker', 'java')
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", name.split("/")[0])[:64] or "unnamed"


def _disks() -> Mapping[str, tuple[str, str]]:
    """Asset → (name in the counters, a place where it is mounted). Each device once."""
    found: dict[str, tuple[str, str]] = {}
    for partition in psutil.disk_partitions(all=False):
        device = partition.device.rsplit("/", 1)[-1]
        if partition.fstype not in _PSEUDO and device and not device.startswith("loop"):
            found.setdefault(f"disk:{device}", (device, partition.mountpoint))
    return found or {"disk:root": ("", "/")}


def rounded(readings: Readings) -> dict[str, dict[str, Any]]:
    """Shorter records: four digits behind the point are more than these counters tell."""
    return {asset: {name: round(value, 4) for name, value in channels.items()} for asset, channels in readings.items()}
