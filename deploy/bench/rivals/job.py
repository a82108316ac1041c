"""The job as a user of a stream framework writes it: a twin's window in Python, its closed steps, the model's opinion of them.

In:   a JSON file that names broker, topics, types, twins and version files; the bytes of telemetry records.
Out:  one JSON record a closed step.

Every rival shares this file, so they differ by nothing but their framework. Windows lie in one array a twin that only grows
and is exchanged when it is full, so a closed step holds a view of it and copies nothing. Less is asked than of livetwin: no
dead letters, no late readings (they are dropped), no judgement of units and spikes, no evidence, one record a step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from deploy.bench.rivals.alarms import Alarms, SavedAlarms
from models import version as version_file
from models.served import ServedModel
from twin.quality import Quality
from twin.types import NS_PER_S, TwinType, compile_type

WINDOW = 64
NEVER = -(10**12)
ROOM = 1024  # steps a twin's array holds before it is exchanged


@dataclass(frozen=True, slots=True)
class Setting:
    """What a rival is told: `bootstrap`, `telemetry` and `output` are the broker's address and topics, `folder` is its own."""

    bootstrap: str
    telemetry: str
    output: str
    group: str
    folder: str
    interfaces: list[dict[str, Any]]
    assets: dict[str, str]  # asset → type
    versions: dict[str, str]  # type → version file

    @classmethod
    def read(cls, path: str) -> Setting:
        return cls(**orjson.loads(Path(path).read_bytes()))


class Kind:
    """A twin type with the version that scores it."""

    def __init__(self, type: TwinType, model: ServedModel) -> None:
        self.type, self.model = type, model
        self.channels = [
            (
                channel.name,
                -math.inf if channel.minimum is None else channel.minimum,
                math.inf if channel.maximum is None else channel.maximum,
                channel.stuck_after or math.inf,
                channel.gap_limit if channel.gap_rule != "none" else 0,
            )
            for channel in type.channels
        ]
        self.most_gap = max(channel.gap_limit for channel in type.channels)
        self.alarms = Alarms(model, type.period_ns)


@dataclass(slots=True)
class Closed:
    """A closed step with the window that ends in it."""

    twin: Twin
    step: int
    window: NDArray[np.float32]  # (WINDOW, C)
    quality: NDArray[np.uint8]  # (WINDOW, C)


class Twin:
    """One asset: open steps in a dictionary, closed ones in its array."""

    __slots__ = (
        "asset",
        "data_step",
        "end",
        "good",
        "good_step",
        "kind",
        "latest_ns",
        "next_step",
        "open",
        "quality",
        "row",
        "run",
        "saved_alarms",
        "seen",
        "values",
    )

    def __init__(self, asset: str, kind: Kind) -> None:
        channels = len(kind.channels)
        self.asset, self.kind = asset, kind
        self.row = int(kind.model.rows([asset])[0])
        self.open: dict[int, dict[str, tuple[int, float]]] = {}
        self.next_step: int | None = None
        self.latest_ns = self.data_step = NEVER
        self.values = np.full((WINDOW + ROOM, channels), np.nan, np.float32)
        self.quality = np.full(self.values.shape, int(Quality.MISSING), np.uint8)
        self.end = WINDOW
        self.good = [math.nan] * channels  # last value fit to fill a gap with
        self.good_step = [NEVER] * channels
        self.seen: list[float] = [math.nan] * channels
        self.run = [0] * channels  # equal values in a row
        kind.alarms.meet(self.row)
        self.saved_alarms: SavedAlarms = {}

    def __getstate__(self) -> dict[str, Any]:
        """What a framework saves: all but the kind, of the array the newest window."""
        newest = slice(self.end - WINDOW, self.end)
        kept = {name: getattr(self, name) for name in self.__slots__ if name not in ("kind", "values", "quality", "end")}
        kept["saved_alarms"] = self.kind.alarms.export(self.row)
        return {**kept, "values": self.values[newest].copy(), "quality": self.quality[newest].copy()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        for name, value in saved.items():
            setattr(self, name, value)
        self.end = WINDOW  # the array is full: the next step exchanges it

    def resume(self, kind: Kind) -> None:
        """Go on after `__setstate__`: what was saved of its alarms goes where its kind holds them."""
        self.kind = kind
        kind.alarms.restore(self.row, self.saved_alarms)

    def take(self, reading: dict[str, Any]) -> list[Closed]:
        """Fold one record; the steps it closes. A reading of a closed step is dropped."""
        kind = self.kind
        time_ns = reading["time"] * NS_PER_S
        step = time_ns // kind.type.period_ns
        if self.next_step is None:  # a first record may be out of order too
            self.next_step = (time_ns - kind.type.lateness_ns) // kind.type.period_ns
        if step >= self.next_step:
            cells = self.open.setdefault(step, {})
            for name, value in reading.items():
                if name != "asset" and name != "time" and (name not in cells or time_ns >= cells[name][0]):
                    cells[name] = (time_ns, value)
        if time_ns <= self.latest_ns:
            return []
        self.latest_ns = time_ns
        until = (time_ns - kind.type.lateness_ns) // kind.type.period_ns
        closed = []
        while self.next_step < until:
            one = self._close(self.next_step)
            if one is not None:
                closed.append(one)
            self.next_step += 1
        return closed

    def _close(self, step: int) -> Closed | None:
        if self.end == len(self.values):
            self._exchange()
        at, cells = self.end, self.open.pop(step, {})
        for place, (name, low, high, stuck_after, gap_limit) in enumerate(self.kind.channels):
            if name in cells:
                value = float(np.float32(cells[name][1]))
                self.run[place] = self.run[place] + 1 if value == self.seen[place] else 1
                self.seen[place] = value
                bits = 0
                if value < low or value > high:
                    bits = int(Quality.OUT_OF_RANGE)
                else:
                    self.good[place], self.good_step[place] = value, step
                if self.run[place] >= stuck_after:
                    bits |= int(Quality.STUCK)
            elif step - self.good_step[place] <= gap_limit:
                value, bits = self.good[place], int(Quality.GAP)
            else:
                value, bits = math.nan, int(Quality.MISSING)
            self.values[at, place], self.quality[at, place] = value, bits
        self.end = at + 1
        if cells:
            self.data_step = step
        if step - self.data_step > self.kind.most_gap:
            return None
        return Closed(self, step, self.values[at + 1 - WINDOW : at + 1], self.quality[at + 1 - WINDOW : at + 1])

    def _exchange(self) -> None:
        """A new array that begins with the newest window; closed steps keep the old one."""
        values = np.full((WINDOW + ROOM, self.values.shape[1]), np.nan, np.float32)
        quality = np.full(values.shape, int(Quality.MISSING), np.uint8)
        values[:WINDOW], quality[:WINDOW] = self.values[-WINDOW:], self.quality[-WINDOW:]
        self.values, self.quality, self.end = values, quality, WINDOW


class Fleet:
    """All twins that a process holds. `began_ns`: wall time of the first record."""

    def __init__(self, setting: Setting) -> None:
        kinds = [compile_type(interface) for interface in setting.interfaces]
        self._kinds = {
            kind.id: Kind(kind, version_file.load(Path(setting.versions[kind.id]), expect_contract=kind.contract))
            for kind in kinds
        }
        self._assets = setting.assets
        self._twins: dict[str, Twin] = {}
        self._began = Path(setting.folder) / "began"
        self._waits = True

    def new(self, asset: str) -> Twin:
        return Twin(asset, self.kind(asset))

    def kind(self, asset: str) -> Kind:
        return self._kinds[self._assets[asset]]

    def take(self, reading: dict[str, Any]) -> list[Closed]:
        """Fold one record into the twin of its asset."""
        if self._waits:
            self.begin()
        twin = self._twins.get(reading["asset"])
        if twin is None:
            twin = self._twins[reading["asset"]] = self.new(reading["asset"])
        return twin.take(reading)

    def begin(self) -> None:
        """Leave word when the first record came."""
        if self._waits:
            self._began.write_text(str(time.time_ns()))
            self._waits = False


def score(steps: Sequence[Closed]) -> list[bytes]:
    """One output record a step, in the same order; one call of the model a type."""
    by_kind: dict[Kind, list[int]] = {}
    for place, one in enumerate(steps):
        by_kind.setdefault(one.twin.kind, []).append(place)
    out: list[bytes] = [b""] * len(steps)
    for kind, places in by_kind.items():
        for place, record in zip(places, _scored(kind, [steps[place] for place in places]), strict=True):
            out[place] = record
    return out


def _scored(kind: Kind, steps: Sequence[Closed]) -> Iterable[bytes]:
    windows = np.stack([one.window for one in steps])
    quality = np.stack([one.quality for one in steps])
    period_ns = kind.type.period_ns
    step = np.array([one.step for one in steps], np.int64)
    time_ns = (step + 1) * period_ns
    rows = np.array([one.twin.row for one in steps], np.int64)
    found = kind.model.score(rows, windows[:, -kind.model.window :], quality[:, -kind.model.window :], time_ns, explained=False)
    alarm = kind.alarms.follow(rows, step, found, quality).tolist()
    for place, one in enumerate(steps):
        yield orjson.dumps(
            {
                "asset": one.twin.asset,
                "time": int(time_ns[place]),
                "values": windows[place, -1],
                "quality": quality[place, -1],
                "expected": found.expected[place],
                "spread": found.spread[place],
                "score": float(found.score[place]),
                "p_value": float(found.p_value[place]),
                "alarm": alarm[place],
                "version": kind.model.version,
            },
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
