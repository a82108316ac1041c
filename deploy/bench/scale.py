"""Many twins in one process: time, memory, checkpoint and recovery a twin, from a thousand to a hundred thousand.

In:   how many twins; nothing else, neither broker nor model: what grows with the number of twins is in fold, state and records.
Out:  figures. Each number of twins has a process of its own, so that memory is its own.

The same number of readings goes through for every number of twins: JSON records of five channels, a thousand records a
micro-batch, decoded, folded, closed, passed through scoring as twins that are still learning, and made into records.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import orjson
import psutil

from deploy.bench.figures import Figure
from streams import outputs
from streams.checkpoint import export_twin, read_twin, restore_twin
from streams.definitions import Definitions
from streams.folding import Folder
from streams.log_record import PlainRecord
from streams.scoring import TypeScorer
from streams.silence import silent_states
from twin.arena import Arena

TWINS = (1_000, 10_000, 100_000)
READINGS = 200_000
BATCH = 1_000
WARM_UP_STEPS = 3  # until every twin closes a step with each reading
CHANNELS = ("current", "flow", "head", "power", "temperature")
PERIOD_S, START_S = 60, 1_700_000_000
INTERFACE = {
    "@id": "dtmi:livetwin:bench:Pump;1",
    "@type": "Interface",
    "samplingPeriod": f"PT{PERIOD_S}S",
    "lateness": f"PT{PERIOD_S}S",
    "maxAhead": None,
    "contents": [
        {"@type": "Telemetry", "name": name, "schema": "double", "minimum": 0, "maximum": 500, "stuckAfter": 30, "spikeLimit": 50}
        for name in CHANNELS
    ],
}


def measure_scale() -> list[Figure]:
    """Rows a number of twins; `ratio` is to the fewest twins: 1.2 at most is flat."""
    found: dict[int, dict[str, float]] = {}
    for twins in TWINS:
        run = subprocess.run([sys.executable, "-m", "deploy.bench.scale", str(twins)], capture_output=True, text=True, check=True)
        found[twins] = json.loads(run.stdout.splitlines()[-1])
    return [
        Figure.beside(f"{measure}, {twins:,} twins", figures[measure], _unit(measure), found[TWINS[0]][measure])
        for measure in found[TWINS[0]]
        for twins, figures in found.items()
    ]


def _unit(measure: str) -> str:
    return "KiB" if "memory" in measure else "B" if "bytes" in measure else "µs"


class Fleet:
    """So many twins of one type, and what a processor does for them between the broker and the broker."""

    def __init__(self, twins: int) -> None:
        definitions = Definitions()
        definitions.apply(f"type/{INTERFACE['@id']}".encode(), orjson.dumps(INTERFACE))
        self.assets = [f"pump-{index:06d}" for index in range(twins)]
        for asset in self.assets:
            definitions.apply(f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": INTERFACE["@id"]}))
        self._folder = Folder(definitions)
        self.arena = self._folder.arena(definitions.types[str(INTERFACE["@id"])])
        self.scorer = TypeScorer(self.arena)
        self._random, self._offset, self._step = np.random.default_rng(1), 0, 0

    def step(self) -> tuple[int, float]:
        """One reading of every twin: how many, and seconds of CPU."""
        spent = 0.0
        for first in range(0, len(self.assets), BATCH):
            records = self._records(first)
            began = time.thread_time()
            self._work(records)
            spent += time.thread_time() - began
        self._step += 1
        return len(self.assets), spent

    def _records(self, first: int) -> list[PlainRecord]:
        made = []
        values = self._random.uniform(100, 120, (BATCH, len(CHANNELS))).tolist()
        for asset, row in zip(self.assets[first : first + BATCH], values, strict=False):
            reading = {"asset": asset, "time": START_S + self._step * PERIOD_S, **dict(zip(CHANNELS, row, strict=True))}
            made.append(PlainRecord("telemetry", 0, self._offset, 0, asset.encode(), orjson.dumps(reading)))
            self._offset += 1
        return made

    def _work(self, records: list[PlainRecord]) -> None:
        for closed in self._folder.fold(records).closed:
            scored = self.scorer.score(closed)
            names = self.arena.asset_of
            loud = np.ones(len(closed), np.bool_)
            for block in outputs.history(scored, loud, names, {0: 1}):  # type: ignore[arg-type]
                block.to_bytes()
            for state in outputs.states(scored, loud, names, self.scorer.conditions):  # type: ignore[arg-type]
                state.to_bytes()
            for _, silent in silent_states(self.arena, closed.falls):
                silent.to_bytes()


def measure_one(twins: int) -> dict[str, float]:
    """Figures of one number of twins, in this process."""
    warm = Fleet(200)
    for _ in range(WARM_UP_STEPS + 2):
        warm.step()
    before = psutil.Process().memory_info().rss
    fleet = Fleet(twins)
    for _ in range(WARM_UP_STEPS):
        fleet.step()
    spent, done = 0.0, 0
    while done < READINGS:
        count, seconds = fleet.step()
        spent, done = spent + seconds, done + count
    memory = psutil.Process().memory_info().rss - before

    began = time.thread_time()
    sample = range(0, twins, max(1, twins // 2_000))
    written = [export_twin(fleet.arena, fleet.scorer, row) for row in sample]
    exported = time.thread_time() - began
    fresh = Arena(fleet.arena.type, capacity=twins)
    scorer = TypeScorer(fresh)
    began = time.thread_time()
    for value in written:
        saved = read_twin(value)
        row = fresh.row(saved.asset, 0)
        scorer.reset(row)
        restore_twin(saved, fresh, scorer, row)
    restored = time.thread_time() - began
    return {
        "a reading, CPU": round(1e6 * spent / done, 1),
        "a twin, memory": round(memory / twins / 1024, 1),
        "a checkpoint, bytes": round(sum(map(len, written)) / len(written)),
        "a checkpoint written, CPU": round(1e6 * exported / len(written), 1),
        "a checkpoint taken over, CPU": round(1e6 * restored / len(written), 1),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure_one(int(sys.argv[1]))) + "\n")
