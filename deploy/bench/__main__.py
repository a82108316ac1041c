"""`make bench`: run the benchmarks on a broker of their own, print a table, write `build/bench.json`.

    python -m deploy.bench [throughput] [processes] [training] [swaps] [latency] [checkpoints] [scale] [adapters] [start]
                           [stores] [formats] [rivals]

Nothing of a running livetwin is touched: broker, home and topics lie in a temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: figures are of one core a process

from deploy.bench import figures
from deploy.bench.adapters import measure_adapters
from deploy.bench.checkpoints import measure_checkpoints
from deploy.bench.figures import Figure
from deploy.bench.formats import measure_formats
from deploy.bench.latency import measure_latency
from deploy.bench.plant import BenchPlant, SavedVersion, promote, trained
from deploy.bench.processes import measure_processes
from deploy.bench.rivals.measure import PYTHON, measure_rivals
from deploy.bench.scale import measure_scale
from deploy.bench.start import measure_start
from deploy.bench.stores import measure_stores
from deploy.bench.swaps import measure_swaps
from deploy.bench.throughput import Throughput, meet_twins
from deploy.bench.training import measure_training
from deploy.kafka import EmbeddedKafka

MEASURES = (
    "throughput",
    "processes",
    "training",
    "swaps",
    "latency",
    "checkpoints",
    "scale",
    "adapters",
    "start",
    "stores",
    "formats",
)
ASKED_FOR = ("rivals",)  # not among all: they need an environment of their own (`make bench-rivals`), and many minutes
ROUNDS = 6  # of the whole job and what it is held against; the first is not counted
SHORT_DAYS = 8  # as many times the telemetry, where a step has one reading
TRAINING_DAYS = 12  # as many: some seconds, so that updates begin and end in it
SWAP_DAYS = 90  # as many: a processor swaps once a micro-batch of 16,000 records at most, and a hundred swaps are asked for
WRITTEN = Path("build") / "bench.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.bench", description="Benchmarks of livetwin on this machine.")
    known = f"{', '.join(MEASURES)}: all of them when none is named; {', '.join(ASKED_FOR)}: by name only"
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=known)
    parser.add_argument("--days", type=float, default=1.0, help="event days of telemetry to work off [1]")
    parser.add_argument("--rounds", type=int, default=3, help="how many times the rivals are measured, by turns [3]")
    arguments = parser.parse_args()
    unknown = set(arguments.measures) - {*MEASURES, *ASKED_FOR}
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: no such measure, expected {', '.join((*MEASURES, *ASKED_FOR))}")
    if "rivals" in arguments.measures and not PYTHON.exists():
        parser.error("rivals: the frameworks are not installed; `make bench-rivals` installs and measures them")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a new broker's first refusals are retried
    wanted = arguments.measures or list(MEASURES)
    found = figures.machine()
    with tempfile.TemporaryDirectory(prefix="livetwin-bench-") as folder:
        home = Path(folder)
        if {"throughput", "processes", "training", "swaps", "latency", "checkpoints", "rivals"} & set(wanted):
            print("bench: starting a broker ...", flush=True)
            with EmbeddedKafka(home / "broker", port=0) as kafka:
                found += asyncio.run(_on_broker(kafka.bootstrap, home, wanted, arguments.days, arguments.rounds))
        if "scale" in wanted:
            print("bench: a thousand, ten thousand, a hundred thousand twins ...", flush=True)
            found += measure_scale()
        if "adapters" in wanted:
            print("bench: a hundred and ten thousand twins of one type ...", flush=True)
            found += measure_adapters()
        if "start" in wanted:
            print("bench: livetwin up, twice ...", flush=True)
            found += measure_start(home / "start")
        if "stores" in wanted:
            print("bench: steps into the stores ...", flush=True)
            found += measure_stores(home / "stores")
    if "formats" in wanted:
        print("bench: JSON and Arrow ...", flush=True)
        found += measure_formats()
    figures.show(found)
    figures.write(found, WRITTEN)
    print(f"bench: written to {WRITTEN}")


async def _on_broker(bootstrap: str, home: Path, wanted: list[str], days: float, rounds: int) -> list[Figure]:
    found: list[Figure] = []
    if {"throughput", "processes", "training", "swaps", "rivals"} & set(wanted):
        print("bench: training two versions of each model ...", flush=True)
        versions = [await asyncio.to_thread(trained, home / "models", seed=seed) for seed in (1, 2)]
        for readings_a_step in (1, 10) if "throughput" in wanted else ():
            span = days * SHORT_DAYS if readings_a_step == 1 else days  # or it would be worked off in a second
            print("bench: consume; consume, decode, fold; the whole job ...", flush=True)
            throughput = Throughput(readings_a_step)
            await _filled(bootstrap, f"bench{readings_a_step}.", span, readings_a_step, versions[0], throughput=throughput)
            found += throughput.figures()
        if "processes" in wanted:
            print("bench: one processor process, then two ...", flush=True)
            found += await measure_processes(bootstrap, "processes.", versions[0], SHORT_DAYS * days)
        if "training" in wanted:
            print("bench: a processor alone, then with a trainer beside it ...", flush=True)
            found += await measure_training(bootstrap, "training.", home / "trainers", versions[0], TRAINING_DAYS * days)
        if "rivals" in wanted:
            for readings_a_step in (1, 10):
                span = days * SHORT_DAYS if readings_a_step == 1 else days
                found += await measure_rivals(
                    bootstrap, home / "rivals", versions[0], days=span, rounds=rounds, readings_a_step=readings_a_step
                )
        if "swaps" in wanted:
            filled = await _filled(bootstrap, "swaps.", SWAP_DAYS * days, 1, versions[0])
            print("bench: swaps under load ...", flush=True)
            found += await measure_swaps(filled, (versions[0], versions[1]))
    if "latency" in wanted:
        print("bench: reading to alert ...", flush=True)
        found += await measure_latency(bootstrap, "latency.", home / "alerting")
    if "checkpoints" in wanted:
        print("bench: ten thousand twins, without checkpoints and with them ...", flush=True)
        found += await measure_checkpoints(bootstrap, "checkpoints.")
    return found


async def _filled(
    bootstrap: str,
    prefix: str,
    days: float,
    readings_a_step: int,
    versions: list[SavedVersion],
    *,
    throughput: Throughput | None = None,
) -> BenchPlant:
    """A plant on topics of its own: a checkpoint of another measure would spare a processor the work."""

    async def meet(plant: BenchPlant) -> None:
        await promote(bootstrap, plant.topics, versions)
        if throughput is not None:
            await meet_twins(plant)

    filled = await BenchPlant.filled(
        bootstrap,
        prefix,
        days=days,
        readings_a_step=readings_a_step,
        meet=meet,
        rounds=1 if throughput is None else ROUNDS,
        each=None if throughput is None else throughput.measure,
    )
    print(f"bench: {filled.records:,} records on the broker, {readings_a_step} a step", flush=True)
    return filled


if __name__ == "__main__":
    main()
