"""A small real plant for the gateway's tests: the demo's hydraulics, folded to what processor, alerting and trainer would write.

Run as a script it fills a broker's topics and serves the gateway, to look at the pages:
    python -m tests.streams.gateway.plant HOST:PORT PREFIX PORT HOME
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson

from deploy.feeds.water_fleet import water_declarations, water_interfaces
from deploy.feeds.water_plant import WaterPlant, simulate
from models.fault_report import FaultReport
from models.origin import Compute, Energy, Origin
from streams import clients
from streams.alarm_rates import AlarmCount, AlarmRate
from streams.evidence_words import sentence
from streams.history import HistoryBlock
from streams.model_records import ModelAlias, ModelVersion, Refusal, Serving, Switch, models_key
from streams.records import Alert, ChannelEvidence, DemoCommand, EventRecord, Evidence, TwinState, alert_id
from streams.topics import Topics
from streams.usage import ProcessorUsage
from twin.block import StepBlock
from twin.quality import Quality, word
from twin.types import compile_type

NS = 1_000_000_000
STEP_S = 300
DAYS = 2.0
PARTITIONS = 2
LEAK = DemoCommand(fault="leak", asset="junction-203", size=12.0)
BESIDE = "junction-201"  # feeds it
NOTE = "Valve 12 was exercised."
QUIET_TYPE, QUIET_S = "dtmi:livetwin:water:Tank;1", 3 * 3600  # of whose twins nothing has come for so long
SHA = hashlib.sha256(b"weights").hexdigest()


@dataclass
class Plant:
    """What was put on the topics, so that tests can compare."""

    twins: dict[str, TwinState] = field(default_factory=dict)
    blocks: list[HistoryBlock] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    declarations: int = 0
    swapped_ns: int = 0  # end of the last step that the first version scored


def partition_of(asset: str) -> int:
    return int(hashlib.sha256(asset.encode()).hexdigest(), 16) % PARTITIONS


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of the steps before each one, along axis 1."""
    padded = np.concatenate([np.repeat(values[:, :1], width, 1), values], 1)
    sums = np.cumsum(padded, 1, dtype=np.float64)
    return ((sums[:, width:] - sums[:, :-width]) / width)[:, : values.shape[1]].astype(np.float32)


def _history(block: StepBlock, kind: str, plant: Plant, leak_step: int) -> None:
    expected = _smooth(block.values, 3)
    spread = np.nanstd(block.values - expected, axis=1, keepdims=True).astype(np.float32) * 0.8 + 1e-4
    z = np.abs(block.values - expected) / spread
    score = z.max(2) ** 2 / 6
    risk = np.clip(1 / (1 + np.exp(-(score - 4.5))), 0, 1).astype(np.float32)
    quality = block.quality.copy()
    quality[0, 80:86] = int(Quality.STUCK)
    times = block.time_ns()
    plant.swapped_ns = int(times[min(287, block.steps - 1)])
    for row, asset in enumerate(block.assets):
        if asset == LEAK.asset:
            risk[row, leak_step:] = np.maximum(risk[row, leak_step:], np.linspace(0.55, 0.97, block.steps - leak_step))
            expected[row, leak_step:] = expected[row, leak_step - 1]
        learning = asset.endswith("7")
        for part in range(0, block.steps, 96):
            cut = slice(part, part + 96)
            count = len(times[cut])
            first = "0001-ab12cd34" if part < 288 else "0002-ef56ab78"
            plant.blocks.append(
                HistoryBlock(
                    type=kind,
                    channels=block.channels,
                    partition=partition_of(asset),
                    epoch=1,
                    asset=(asset,) * count,
                    time_ns=times[cut],
                    values=block.values[row, cut],
                    quality=quality[row, cut],
                    expected=np.full_like(expected[row, cut], np.nan) if learning else expected[row, cut],
                    spread=np.full_like(expected[row, cut], np.nan)
                    if learning
                    else np.broadcast_to(spread[row], expected[row, cut].shape).copy(),
                    score=score[row, cut].astype(np.float32),
                    risk=np.zeros(count, np.float32) if learning else risk[row, cut],
                    version=("" if learning else first,) * count,
                )
            )
        now = float(risk[row, -1])
        health = "learning" if learning else "alarm" if asset == LEAK.asset else "warning" if now > 0.5 else "ok"
        if asset == block.assets[-1] and len(block.assets) > 20:
            health = "silent"
        plant.twins[asset] = TwinState(
            asset=asset,
            type=kind,
            time_ns=int(times[-1]),
            health=health,
            risk=0.0 if learning else round(now, 3),
            values={name: round(float(value), 4) for name, value in zip(block.channels, block.values[row, -1], strict=True)},
            expected={}
            if learning
            else {name: round(float(value), 4) for name, value in zip(block.channels, expected[row, -1], strict=True)},
            quality={name: word(int(bits)) for name, bits in zip(block.channels, quality[row, -1], strict=True)},
            model_version=None if learning else "0002-ef56ab78",
            partition=partition_of(asset),
            offset=4_000 + row,
        )


def _alert(asset: str, kind: str, onset_ns: int, **more: object) -> Alert:
    told = {"seen": 38.21, "expected": 44.87, "spread": 0.61, "contribution": 0.86, "unit": "metre"}
    leading = {"detector": "shift", "off": -6.41, "over_ns": 8 * STEP_S * NS}
    channels = [
        ChannelEvidence.model_validate({"name": "pressure", **told, **leading}),
        ChannelEvidence(
            name="demand", seen=1.92, expected=1.71, spread=0.2, contribution=0.14, unit="litrePerSecond", detector="shape",
            off=0.18, over_ns=12 * STEP_S * NS,
        ),
    ]  # fmt: skip
    evidence = Evidence(
        channels=channels,
        detectors={"forecast": 0.08, "shift": 0.71, "level": 0.02, "shape": 0.19},
        summary=sentence(channels[0], alone=False),
        deviation=10.92,
        model_version="0002-ef56ab78",
        weights_sha256=SHA,
        partition=partition_of(asset),
        first_offset=3_100,
        last_offset=3_164,
    )
    fields: dict[str, object] = {
        "id": alert_id(asset, "anomaly", onset_ns),
        "revision": 1,
        "asset": asset,
        "type": kind,
        "condition": "anomaly",
        "severity": "major",
        "state": "active",
        "onset_ns": onset_ns,
        "updated_ns": onset_ns + 1800 * NS,
        "risk": 0.93,
        "evidence": evidence,
    }
    return Alert.model_validate(fields | more)


def make(days: float = DAYS) -> Plant:
    """Simulate, score in a simple way, and write down what would be on the topics."""
    steps = round(days * 86_400 / STEP_S)
    leak_step = steps - 30
    plant = Plant()
    blocks = simulate(days, seed=3, commands=[(leak_step, LEAK)], step_s=STEP_S)
    for kind, block in blocks.items():
        _history(block, kind, plant, leak_step)
    junctions = next(kind for kind in blocks if "Junction" in kind)
    end = int(blocks[junctions].time_ns()[-1])
    assets = blocks[junctions].assets
    plant.alerts = [
        _alert(LEAK.asset, junctions, end - 27 * STEP_S * NS),
        _alert(
            assets[5],
            junctions,
            end - 200 * STEP_S * NS,
            severity="minor",
            state="cleared",
            cleared_ns=end - 160 * STEP_S * NS,
            acknowledged=True,
            acknowledged_by="kim",
            risk=0.71,
            comments=[{"time_ns": end - 150 * STEP_S * NS, "by": "kim", "text": "Hydrant was flushed."}],
        ),
        _alert(BESIDE, junctions, end - 20 * STEP_S * NS, severity="warning", condition="limit:pressure:low", risk=0.58),
    ]
    return plant


def _usages() -> list[ProcessorUsage]:
    """Two processors at work, and one that was heard of an hour ago."""
    now = time.time_ns()
    of = {"since_ns": now - 7200 * NS, "watts": 4.0, "source": "estimated: CPU time at 8 W for all 2 threads (as set)"}
    return [
        ProcessorUsage(instance="aa", time_ns=now, scored_steps=60_000, cpu_s=9.0, **of),
        ProcessorUsage(instance="bb", time_ns=now - 60 * NS, scored_steps=40_000, cpu_s=9.0, **of),
        ProcessorUsage(instance="old", time_ns=now - 3600 * NS, scored_steps=1, cpu_s=1e6, **of),
    ]


def _alarm_rates() -> list[AlarmRate]:
    """Junctions on two partitions: in the week 3 alarms for 8.26 asked for."""

    def count(twin_days: float, alarms: int) -> AlarmCount:
        return AlarmCount(twin_days=twin_days, alarms=alarms, expected=round(0.02 * twin_days, 4))

    of = {
        "model": "water.junction",
        "type": "dtmi:livetwin:water:Junction;1",
        "epoch": 1,
        "time_ns": 1_767_830_400 * NS,
        "version": "0002-ef56ab78",
        "target": 0.02,
    }
    first = AlarmRate(**of, partition=0, twins=30, week=count(210.0, 2), since_version=count(60.0, 1))
    return [first, AlarmRate(**of, partition=1, twins=29, week=count(203.0, 1), since_version=count(58.0, 0))]


_ENERGY = Energy(0.021, 0.052, 0.0, 0.035, False, "estimated: CPU time at 8 W for all 2 threads (as set)", "world average")
_FAULTS = FaultReport(
    kept=True,
    why="leak, normal: accuracy 0.75 on left-out periods, 0.50 by always saying the most frequent one",
    labels={"leak": 4, "normal": 4},
    classes=("leak", "normal"),
    accuracy=0.75,
    majority=0.5,
    precision=(0.667, 1.0),
    recall=(1.0, 0.5),
    f1=(0.8, 0.667),
    confusion=((4, 0), (2, 2)),
)
_COMPUTE = Compute(18.7, 18.2, "cpu", {"livetwin": "0.1.0", "python": "3.11.7", "torch": "2.15.0"}, _ENERGY)


def _origin(number: int) -> Origin:
    """What a version of a type was trained on: a week of steps."""
    structure = {"twins": 25.0, "channels": 2.0, "past": 64.0, "rank": 4.0, "window": 64.0, "calendar_day": True}
    assets = tuple(f"junction-{asset}" for asset in range(101, 126))
    to_ns = 1_767_830_400 * NS + number * 3600 * NS
    return Origin(to_ns - 7 * 86_400 * NS, to_ns, 300 * NS, 25, assets, ("pressure", "demand"), 7, structure)


def _models(kinds: list[str], swapped_ns: int) -> list[tuple[bytes, bytes]]:
    wall = time.time_ns()
    records: list[ModelVersion | ModelAlias | Serving | Refusal] = []
    for kind in kinds:
        name = kind.removeprefix("dtmi:livetwin:").partition(";")[0].replace(":", ".").lower()
        common = {
            "name": name,
            "type": kind,
            "uri": f"file:///models/{name}",
            "sha256": SHA,
            "contract": "00" * 8,
            "run_id": "4f1d2c",
        }
        for number, decision, why in (
            (
                1,
                "retired",
                "first version: no champion to compare with; its checks hold (alarm rate 0.018 a twin and day, finite, "
                "calibrated)",
            ),
            (
                2,
                "champion",
                "hold-out loss -0.412 is 0.037 better than 0001-ab12cd34's -0.375; alarm rate 0.021 a twin and day, target 0.020",
            ),
            (3, "refused", "hold-out loss -0.391 is 0.021 worse than 0002-ef56ab78's -0.412; the champion keeps serving"),
        ):
            version = {1: "0001-ab12cd34", 2: "0002-ef56ab78", 3: "0003-90ab12cd"}[number]
            figures = {
                "holdout_loss": -0.375 - 0.01 * number,
                "alarms_per_twin_day": 0.018 + 0.001 * number,
                "share_p_below_05": 0.049,
                "train_seconds": 7.9,
                "hygiene_alerted": 12.0,
            }
            if number > 1:
                figures |= {"candidate_loss": -0.375 - 0.01 * number, "champion_loss": -0.375}
            records.append(
                ModelVersion(
                    **common,
                    version=version,
                    base=None if number == 1 else "0001-ab12cd34",
                    decision=decision,
                    why=why,
                    time_ns=wall - (4 - number) * 60 * NS,
                    figures=figures,
                    origin=_origin(number),
                    faults=_FAULTS if number > 1 else None,
                    compute=_COMPUTE,
                )
            )
        records.append(
            ModelAlias(
                name=name,
                type=kind,
                champion="0002-ef56ab78",
                champion_sha256=SHA,
                champion_uri=f"file:///models/{name}",
                since_ns=wall - 110 * NS,
                previous="0001-ab12cd34",
                why="better on the newest hold-out",
            )
        )
        for partition in range(PARTITIONS):
            switches = [
                Switch(offset=0, version="0001-ab12cd34", sha256=SHA, uri="file:///a"),
                Switch(offset=3_000, version="0002-ef56ab78", sha256=SHA, uri="file:///b", event_ns=swapped_ns),
            ]
            records.append(Serving(name=name, partition=partition, epoch=1, switches=switches, time_ns=wall - 100 * NS))
    records.append(
        Refusal(
            name="water.junction",
            version="0004-deadbeef",
            serving="0002-ef56ab78",
            reason="hash: weights hash to 5f21…, expected 77ab…",
            time_ns=wall - 30 * NS,
        )
    )
    return [(models_key(record), record.to_bytes()) for record in records]


async def publish(bootstrap: str, topics: Topics, plant: Plant, *, history: bool = True) -> None:
    """Put it all on the topics, as the roles would."""
    live = WaterPlant(STEP_S, 3, 1_767_571_200 * NS)
    interfaces = water_interfaces(STEP_S)
    declarations = water_declarations(live.layout)
    plant.declarations = len(declarations)
    producer = clients.producer(bootstrap, client_id="plant")
    await producer.start()
    try:
        waiting = []

        async def put(topic: str, key: bytes, value: bytes, **more: object) -> None:
            waiting.append(await producer.send(topic, value, key=key, **more))

        for one in interfaces:
            compile_type(one)
            await put(topics.definitions, f"type/{one['@id']}".encode(), orjson.dumps(one))
        for twin in declarations:
            await put(topics.definitions, f"twin/{twin.asset}".encode(), twin.model_dump_json().encode())
        for asset, state in plant.twins.items():
            came = {"timestamp_ms": int(time.time() * 1000) - QUIET_S * 1000} if state.type == QUIET_TYPE else {}
            await put(
                topics.state, asset.encode(), state.to_bytes(), partition=state.partition, headers=[("epoch", b"1")], **came
            )
        for alert in plant.alerts:
            await put(topics.alerts, alert.id.encode(), alert.to_bytes())
        for usage in _usages():
            await put(topics.monitoring, f"usage/{usage.instance}".encode(), usage.to_bytes())
        for rate in _alarm_rates():
            await put(topics.monitoring, rate.key, rate.to_bytes())
        for key, value in _models([str(one["@id"]) for one in interfaces], plant.swapped_ns):
            await put(topics.models, key, value)
        await put(topics.demo_commands, f"fault/leak/{LEAK.asset}".encode(), LEAK.to_bytes())
        began = plant.alerts[0].onset_ns - 3 * STEP_S * NS
        await put(
            topics.events,
            LEAK.asset.encode(),
            EventRecord(asset=LEAK.asset, time_ns=began, kind="fault", label="leak", active=True).to_bytes(),
        )
        note = EventRecord(asset=LEAK.asset, time_ns=began - 4 * STEP_S * NS, kind="maintenance", text=NOTE)
        await put(topics.events, LEAK.asset.encode(), note.to_bytes())
        headers = [
            ("reason", b"json"),
            ("message", b"not JSON (unexpected end); the record is kept in dead-letter"),
            ("topic", topics.telemetry.encode()),
            ("partition", b"0"),
            ("offset", b"42"),
        ]
        await put(topics.dead_letter, b"pump-9", b"{", headers=headers)
        if history:
            for block in plant.blocks:
                await put(
                    topics.history,
                    str(block.partition).encode(),
                    block.to_bytes(),
                    partition=block.partition,
                    headers=[("epoch", b"1")],
                )
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()


async def _serve(bootstrap: str, prefix: str, port: int, home: Path) -> None:
    import logging
    import signal

    from streams.gateway.app import run_gateway
    from streams.stores import open_store

    logging.basicConfig(level=logging.INFO)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = open_store("duckdb:", home=home)
    try:
        await run_gateway(
            bootstrap=bootstrap,
            topics=Topics(prefix),
            store=store,
            host="127.0.0.1",
            port=port,
            home=home,
            historian=True,
            store_limits=(400 * 86_400 * NS, 1 << 30),
            stop=stop,
        )
    finally:
        store.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
