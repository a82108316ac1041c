"""livetwin beside Faust, Quix Streams, Bytewax and Pathway: the same records and model, one process each, one after the other.

In:   a broker, trained versions, the Python of the environment that `environment.sh` makes.
Out:  records a second and CPU a record of each, and livetwin's beside them; a rival whose steps differ from livetwin's has none.

A rival is timed from the first record in its user's code to its last output on the broker, livetwin from before its first
fetch to its last block. Starting and closing are not counted for anybody.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.bench.figures import Figure
from deploy.bench.plant import PARTITIONS, STEP_S, SavedVersion, types_of_twins
from deploy.bench.processes import WorkedOff, cpu_s, work_off
from deploy.bench.rivals.job import Setting
from deploy.feeds.water_fleet import water_interfaces
from streams import clients
from twin.quality import Quality

REPOSITORY = Path(__file__).resolve().parents[3]
PYTHON = REPOSITORY / "build" / "rivals" / "bin" / "python"
GIVEN_S = 30.0  # one that needs longer is measured by what it has done until then
STARTED_S = 120.0
STOPPED_S = 15.0
POLL_S = 0.02

Step = tuple[float, bool]  # score, in alarm
Steps = dict[tuple[str, int], Step | None]  # by asset and time; None: not compared
JUDGED = int(Quality.SPIKE | Quality.WRONG_UNIT)  # what livetwin judges and `job` does not


@dataclass(frozen=True, slots=True)
class Rival:
    """`module` with `arguments`, as people know it."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()


RIVALS = (
    Rival("Faust, micro-batches (stream.take)", "faust_job"),
    Rival("Faust, a call a step", "faust_job", ("steps",)),
    Rival("Quix Streams, a call a step", "quix_job"),
    Rival("Quix Streams, micro-batches (BatchingSink)", "quix_job", ("batches",)),
    Rival("Bytewax, micro-batches (flat_map_batch)", "bytewax_job"),
    Rival("Pathway, micro-batches (batched UDF)", "pathway_job"),
)


class RivalFailed(Exception):
    """A rival ended, or gave nothing; the message holds the end of what it wrote."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run did. `records` may be fewer than there were, when it was stopped at GIVEN_S."""

    records: float
    took_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        return self.records / self.took_s

    @property
    def cost_us(self) -> float:
        return 1e6 * self.cpu_s / self.records

    def __str__(self) -> str:
        return f"{self.records:,.0f} records in {self.took_s:.1f} s, {self.rate:,.0f} a second, {self.cost_us:.0f} us of CPU each"


async def measure_rivals(
    bootstrap: str, home: Path, versions: list[SavedVersion], *, days: float, rounds: int, readings_a_step: int = 1
) -> list[Figure]:
    """Rounds of all by turns, so that what else the machine does meets all of them; the middle one of each counts."""
    runs: dict[str, list[Run]] = {}
    ratios: dict[str, list[float]] = {}
    for turn in range(rounds):
        print(f"bench: round {turn + 1} of {rounds}: livetwin ...", flush=True)
        prefix = f"rivals{readings_a_step}.{turn}."
        done = await work_off(bootstrap, prefix, versions, days=days, readings_a_step=readings_a_step, processes=1)
        ours = Run(done.records, done.took_s, done.cpu_s)
        runs.setdefault("livetwin", []).append(ours)
        print(f"bench: livetwin: {ours}", flush=True)
        for rival in RIVALS:
            print(f"bench: round {turn + 1} of {rounds}: {rival.name} ...", flush=True)
            try:
                run = await _run(rival, done, versions, home / prefix / rival.module / "-".join(rival.arguments))
            except RivalFailed as error:
                print(f"bench: {error}", flush=True)
                continue
            if run is not None:
                print(f"bench: {rival.name}: {run}", flush=True)
                runs.setdefault(rival.name, []).append(run)
                ratios.setdefault(rival.name, []).append(ours.rate / run.rate)
    return _figures(runs, ratios, readings_a_step)


def _figures(runs: dict[str, list[Run]], ratios: dict[str, list[float]], readings_a_step: int) -> list[Figure]:
    what = f"{readings_a_step} {'reading' if readings_a_step == 1 else 'readings'} a step"
    ours = runs["livetwin"]
    found = [
        Figure(f"livetwin, {what}", round(statistics.median(run.rate for run in ours)), "records/s"),
        Figure(f"livetwin, {what}", round(statistics.median(run.cost_us for run in ours), 1), "us CPU/record"),
    ]
    for rival in RIVALS:
        if rival.name not in runs:
            continue
        theirs = runs[rival.name]
        rate = round(statistics.median(run.rate for run in theirs))
        among = f"{min(ratios[rival.name]):.2f} to {max(ratios[rival.name]):.2f}"
        found += [
            Figure(f"{rival.name}, {what}", round(statistics.median(run.cost_us for run in theirs), 1), "us CPU/record"),
            Figure(
                f"livetwin beside {rival.name}, {what} ({among})",
                found[0].value,
                "records/s",
                rate,
                round(statistics.median(ratios[rival.name]), 2),
            ),
        ]
    return found


async def _run(rival: Rival, done: WorkedOff, versions: list[SavedVersion], folder: Path) -> Run | None:
    """Measure one rival; None where its steps are not livetwin's. Raises RivalFailed."""
    plant, output = done.plant, f"{done.plant.topics.prefix}{rival.module}{''.join(rival.arguments)}"
    await _create(plant.bootstrap, output)
    setting = Setting(
        bootstrap=plant.bootstrap,
        telemetry=plant.topics.telemetry,
        output=output,
        group=f"{output}-group",
        folder=str(folder),
        interfaces=water_interfaces(STEP_S),
        assets=types_of_twins(),
        versions={one.type_id: str(one.path) for one in versions},
    )
    log = folder / "output.log"
    child = _started(rival, setting, log)
    try:
        steps, took_s, cost_s = await _watch(child, plant.bootstrap, output, folder / "began", done.steps)
    except RivalFailed as error:
        raise RivalFailed(f"{rival.name}: {error}; no figures of it. The end of what it wrote:\n{_ending(log)}") from None
    finally:
        child.terminate()
        try:
            await asyncio.to_thread(child.wait, STOPPED_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    found = await _written(plant.bootstrap, output)
    run = Run(steps * done.plant.records / done.steps, took_s, cost_s)
    differing = differences(expected_steps(done), found, whole=steps >= done.steps)
    if differing:
        print(f"bench: {rival.name}: {run}: void, its steps are not livetwin's: {differing}", flush=True)
        return None
    return run


def _started(rival: Rival, setting: Setting, log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True)
    told = log.parent / "setting.json"
    told.write_bytes(orjson.dumps(asdict(setting)))
    command = [str(PYTHON), "-m", f"deploy.bench.rivals.{rival.module}", str(told), *rival.arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with open(log, "wb") as written:
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=written, stderr=written, env=environment)


def _ending(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def _began_ns(word: Path) -> int | None:
    """When the first record came, as `job.Fleet.begin` wrote it."""
    return int(word.read_text() or 0) or None if word.exists() else None


async def _watch(
    child: subprocess.Popen[bytes], bootstrap: str, output: str, began: Path, steps: int
) -> tuple[int, float, float]:
    """Steps written, seconds and CPU seconds since the first record came; until all are there or GIVEN_S is over."""
    started = time.monotonic()
    counter: AIOKafkaConsumer = clients.consumer(bootstrap, client_id="livetwin-bench")
    await counter.start()
    try:
        places = [TopicPartition(output, place) for place in range(PARTITIONS)]
        cpu_before, began_ns = 0.0, None
        while True:
            if child.poll() is not None:
                raise RivalFailed(f"ended with {child.returncode} before its work was done")
            if began_ns is None:
                cpu_before, began_ns = cpu_s([child.pid]), _began_ns(began)
                if began_ns is None and time.monotonic() - started > STARTED_S:
                    raise RivalFailed(f"read no record within {STARTED_S:g} s")
            else:
                written = sum((await counter.end_offsets(places)).values())
                now_ns = time.time_ns()
                if written >= steps or now_ns - began_ns > GIVEN_S * 1e9:
                    if not written:
                        raise RivalFailed(f"wrote nothing within {GIVEN_S:g} s")
                    return written, (now_ns - began_ns) / 1e9, cpu_s([child.pid]) - cpu_before
            await asyncio.sleep(POLL_S)
    finally:
        await counter.stop()


async def _create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    finally:
        await admin.close()


async def _written(bootstrap: str, output: str) -> list[tuple[tuple[str, int], Step]]:
    records = [orjson.loads(record.value) for record in await clients.read_to_end(bootstrap, output)]
    return [((one["asset"], one["time"]), (one["score"], one["alarm"])) for one in records]


def expected_steps(done: WorkedOff) -> Steps:
    """What livetwin made of the same records. Risk is at one half or above exactly while a twin is in alarm.

    Twins of which it marked a reading as in another unit, or as a spike, are not compared: rivals do not judge that.
    """
    marked = {
        asset
        for block in done.blocks
        for asset, quality in zip(block.asset, block.quality, strict=True)
        if np.bitwise_or.reduce(quality) & JUDGED
    }
    print(f"bench: {len(marked)} twins are not compared", flush=True)
    return {
        (asset, time_ns): None if asset in marked else (score, risk >= 0.5)
        for block in done.blocks
        for asset, time_ns, score, risk in zip(
            block.asset, block.time_ns.tolist(), block.score.tolist(), block.risk.tolist(), strict=True
        )
    }


def differences(expected: Steps, found: list[tuple[tuple[str, int], Step]], *, whole: bool) -> str:
    """In words; nothing where all is the same. `whole`: whether all steps should be there.

    >>> differences({("p", 1): (0.5, False)}, [(("p", 1), (0.5, False))], whole=True)
    ''
    >>> differences({("p", 1): (0.5, False)}, [(("p", 1), (0.6, True))], whole=True)
    '1 scores and 1 alarms of 1 steps differ'
    """
    once = dict(found)
    wrong = []
    if len(once) != len(found):
        wrong.append(f"{len(found) - len(once)} steps came twice")
    if unknown := sum(key not in expected for key in once):
        wrong.append(f"{unknown} steps that livetwin has not")
    if whole and (missing := len(expected.keys() - once.keys())):
        wrong.append(f"{missing} steps are missing")
    both = [(step, ours) for key, step in once.items() if (ours := expected.get(key)) is not None]
    scores = sum(theirs[0] != ours[0] for theirs, ours in both)
    alarms = sum(theirs[1] != ours[1] for theirs, ours in both)
    if scores or alarms:
        wrong.append(f"{scores} scores and {alarms} alarms of {len(both)} steps differ")
    return ", ".join(wrong)
