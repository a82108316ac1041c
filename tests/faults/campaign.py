"""Round after round: feed, disturb, wait until all is done, compare with the undisturbed run.

In:   a seed, which injections, how many rounds.
Out:  an AssertionError that says what differs, or a `Report`. The same seed gives the same telemetry and the same injections; at
      which moment of the processes' work they strike, the machine decides.
"""

from __future__ import annotations

import asyncio
import io
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import psutil
from aiokafka import ConsumerRecord

from models import version as version_file
from models.served import ServedModel
from models.weights import path_of
from streams.definitions import Definitions
from streams.folding import Folder
from streams.history import HistoryBlock
from streams.homes import PREFIX as HOME
from streams.model_records import Serving
from streams.records import EPOCH_HEADER, Alert, AlertCommand, Signal, TwinState
from streams.stores.duckdb import DuckDbStore
from tests.faults.injections import Injection
from tests.faults.system import PARTITIONS, System
from tests.faults.tail import Tail
from tests.faults.undisturbed import Results, Undisturbed, differences, history_rows
from tests.streams.plant import ASSETS, INTERFACE, START, TYPE
from tests.streams.poison import drawn

STEPS = 60  # a round
POISON = 12  # records a round, of telemetry; a few more on other topics
FED_IN_S = 4.0
ROUND_WITHIN_S = 900.0  # roles and broker may take minutes to come back on a machine with other work
VICTIMS = ["victim-1", "victim-2"]  # declared twins that only poison speaks of


@dataclass
class Report:
    """What a campaign did."""

    rounds: int = 0
    injections: Counter[str] = field(default_factory=Counter)
    records: int = 0
    repeated: Counter[str] = field(default_factory=Counter)  # outputs that were written again, the same
    of_former_owners: int = 0  # outputs that sinks ignore
    refused: int = 0
    alerts: int = 0


class Campaign:
    """One system, disturbed round by round."""

    def __init__(self, system: System, seed: int, say: Callable[[str], None]) -> None:
        self._system, self._pick, self._say = system, random.Random(seed), say
        self._values = np.random.default_rng(seed)
        self._calm = Undisturbed()
        self._given = {f"type/{TYPE.id}".encode(): orjson.dumps(INTERFACE)}  # declarations that were not inferred
        self._given |= {f"twin/{one}".encode(): orjson.dumps({"asset": one, "type": TYPE.id}) for one in ASSETS}
        self._placer = Folder(Definitions())  # tells whose type can't be told
        for key, value in self._given.items():
            self._placer.definitions.apply(key, value)
        topics = system.plant.topics
        spread = (topics.telemetry, topics.history, topics.signals, topics.state, topics.alert_commands)
        single = (topics.dead_letter, topics.alerts, topics.models, topics.definitions)
        self._tail = Tail(system.plant.bootstrap, {**dict.fromkeys(spread, PARTITIONS), **dict.fromkeys(single, 1)})
        self._telemetry_tail = Tail(system.plant.bootstrap, {topics.telemetry: PARTITIONS})
        self._found = Results()
        self._letters: set[tuple[str, int, int]] = set()  # refused records of other topics than telemetry
        self._poisoned: set[tuple[str, int, int]] = set()
        self._epoch: dict[tuple[str, int], int] = {}  # topic, partition → highest epoch seen
        self._serving_epoch: dict[int, int] = {}
        self._switches: dict[int, list[tuple[int, str, str]]] = {
            number: [] for number in range(PARTITIONS)
        }  # offset, uri, sha256
        self._models: dict[str, ServedModel] = {}
        self.report = Report()
        self._sent = 0
        self._step = 0

    # ── a round ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def begin(self) -> None:
        """Declare the victims; a first round without any injection, so that all roles are at work when it begins."""
        for asset in VICTIMS:
            await self._declare(asset)
        await self._system.get("/readyz", within_s=120)
        await self.round(())

    async def round(self, chosen: Sequence[Injection]) -> None:
        """Raises AssertionError where it differs, or does not end within ROUND_WITHIN_S: then what waits where is said."""
        watch = asyncio.get_running_loop().call_later(ROUND_WITHIN_S, self._say_what_waits)
        try:
            async with asyncio.timeout(ROUND_WITHIN_S + 1):
                await self._round(chosen)
        except TimeoutError as error:
            raise AssertionError(f"the round did not end within {ROUND_WITHIN_S:g} s") from error
        finally:
            watch.cancel()

    def _say_what_waits(self) -> None:
        for task in asyncio.all_tasks():
            into = io.StringIO()
            task.print_stack(file=into)
            self._say(into.getvalue())

    async def _round(self, chosen: Sequence[Injection]) -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._feed())
            hurting = [tasks.create_task(one.act(self._system, self._pick)) for one in chosen]
        happened = [one.result() for one in hurting]
        await self._declare_strangers()
        await self._system.settled()
        await self._operate()
        await self._compare()
        self.report.rounds += 1
        self.report.injections.update(one.name for one in chosen)
        words = [f"{one.name}{f' ({word})' if word else ''}" for one, word in zip(chosen, happened, strict=True)]
        what = ", ".join(words) or "nothing"
        self._say(f"{self.report.rounds:4d}  {time.monotonic() - began:5.1f} s  {what}  ({self._memory()})")

    def _memory(self) -> str:
        sizes = []
        for name, role in self._system.roles.items():
            if role.process is not None and role.running():
                sizes.append(f"{name} {psutil.Process(role.process.pid).memory_info().rss / 2**20:.0f}")
        return "MiB: " + ", ".join(sizes)

    async def _feed(self) -> None:
        """Telemetry with faults, repetitions, what comes late or out of order, and poison between."""
        records = self._telemetry()
        for payload in drawn(POISON, [*VICTIMS, f"stranger-{self.report.rounds}"], self._pick):
            records.insert(self._pick.randrange(len(records)), (_asset_of(payload), payload))
        topic, producer = self._system.plant.topics.telemetry, self._system.producer
        pause_s = FED_IN_S / len(records) * 20
        for start in range(0, len(records), 20):
            waiting = []
            for asset, value in records[start : start + 20]:
                key = asset.encode() if asset is not None else None
                number = zlib.crc32(key or value or b"") % PARTITIONS
                # a client may send neither key nor value, aiokafka can't
                waiting.append(await producer.send(topic, value, key=key or b"?", partition=number))
            await asyncio.gather(*waiting)
            await asyncio.sleep(pause_s)
        self._sent += len(records)
        await self._poison_other_topics()

    def _telemetry(self) -> list[tuple[str | None, bytes | None]]:
        first, self._step = self._step, self._step + STEPS
        phase = np.arange(first, first + STEPS)[None, :, None] / 20 + np.arange(len(ASSETS))[:, None, None]
        values = np.sin(phase) * np.array([1.0, 2.0]) + self._values.normal(0, 0.1, (len(ASSETS), STEPS, 2))
        for _ in range(self._pick.randint(0, 2)):
            asset, channel, start = self._pick.randrange(len(ASSETS)), self._pick.randrange(2), self._pick.randrange(STEPS)
            values[asset, start : start + self._pick.randint(3, 40), channel] += self._pick.choice([-9, 6, 12])
        records: list[tuple[str | None, bytes | None]] = []
        for step in range(STEPS):
            for asset, cells in zip(ASSETS, values[:, step], strict=True):
                reading = {"asset": asset, "time": START + first + step, "flow": float(cells[0]), "heat": float(cells[1])}
                records.append((asset, orjson.dumps(reading)))
        for _ in range(30):  # out of order, again, or too late
            at = self._pick.randrange(len(records))
            records.insert(min(len(records), at + self._pick.choice([3, 9, 40, 200])), records[at])
        return records

    async def _poison_other_topics(self) -> None:
        topics = self._system.plant.topics
        for topic, count in ((topics.signals, PARTITIONS), (topics.alert_commands, PARTITIONS), (topics.history, PARTITIONS),
                             (topics.alerts, 1), (topics.models, 1), (topics.definitions, 1)):  # fmt: skip
            if self._pick.random() < 0.5:
                continue
            value = self._pick.choice([b"", b"{", b"\xff\x00\xfe", b"[]", self._pick.randbytes(200), b'{"kind": 7}'])
            number = self._pick.randrange(count)
            sent = await self._system.producer.send_and_wait(topic, value, key=b"poison", partition=number)
            if topic not in (topics.definitions,) and not (topic == topics.models and value == b'{"kind": 7}'):
                self._poisoned.add((topic, sent.partition, sent.offset))

    async def _declare(self, asset: str) -> None:
        key, value = f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": TYPE.id})
        self._given[key] = value
        self._placer.definitions.apply(key, value)
        await self._system.producer.send_and_wait(self._system.plant.topics.definitions, value, key=key)

    async def _declare_strangers(self) -> None:
        """Assets whose type nobody can tell: their records would wait for a declaration forever."""
        new = await self._telemetry_tail.new()
        placing = self._placer.fold(new[self._system.plant.topics.telemetry])
        for key, value in placing.definitions:
            self._placer.definitions.apply(key, value)
        for asset in sorted(self._placer.placing._waiting):
            await self._declare(asset)

    async def _operate(self) -> None:
        """Between two rounds, so that the order of commands and signals is given."""
        newest = {alert.id: alert for alert in map(Alert.model_validate_json, self._found.alerts.values())}
        if not newest or self._pick.random() < 0.4:
            return
        alert = newest[self._pick.choice(sorted(newest))]
        fields: dict[str, Any] = {"command_id": f"c{self.report.rounds}", "alert_id": alert.id, "asset": alert.asset}
        action = self._pick.choice(["acknowledge", "comment", "false-alarm"])
        command = AlertCommand(action=action, text="seen", time_ns=self.report.rounds + 1, **fields)
        topic = self._system.plant.topics.alert_commands
        await self._system.producer.send_and_wait(topic, command.to_bytes(), key=alert.id.encode())
        await self._system.settled()

    # ── compare ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _compare(self) -> None:
        topics, found, calm = self._system.plant.topics, self._found, self._calm.results
        new = await self._tail.new()
        for record in new[topics.models]:
            self._note_serving(record)
        for number, switches in self._switches.items():
            self._calm.serve(TYPE.slug, number, [(offset, self._load(uri, sha256)) for offset, uri, sha256 in switches])
        for record in new[topics.definitions]:
            self._note_definition(record)
        self._calm.fold(new[topics.telemetry])
        for record in new[topics.alert_commands]:
            if (record.topic, record.partition, record.offset) not in self._poisoned:
                self._calm.command(AlertCommand.model_validate_json(record.value))
        self._take_history(new[topics.history])
        self._take_signals(new[topics.signals])
        self._take_states(new[topics.state])
        self._take_alerts(new[topics.alerts])
        self._take_letters(new[topics.dead_letter])
        told = [
            differences(found.refused, calm.refused, "dead letters"),
            differences(found.history, calm.history, "history"),
            differences(found.signals, calm.signals, "signals"),
            differences(found.alerts, calm.alerts, "alerts"),
            differences(self._spoken(found.states), self._spoken(calm.states), "states"),
            differences(found.definitions, calm.definitions, "definitions"),
            differences(dict.fromkeys(self._letters), dict.fromkeys(self._poisoned), "dead letters of other topics"),
            await self._store_differences(),
        ]
        assert not any(told), "the disturbed run is not the undisturbed one:\n" + "".join(told)
        assert self._calm.records == self._sent, f"{self._calm.records} records are in the log, {self._sent} were sent"
        self.report.records, self.report.refused, self.report.alerts = self._sent, len(found.refused), len(found.alerts)

    def _spoken(self, states: dict[str, bytes]) -> dict[str, bytes]:
        """Of twins that go on; when exactly one that fell silent is told to be depends on who else is polled with it."""
        return {asset: state for asset, state in states.items() if asset in ASSETS}

    def _note_serving(self, record: ConsumerRecord) -> None:
        if (record.topic, record.partition, record.offset) in self._poisoned or record.value is None:
            return
        found = orjson.loads(record.value)
        if found.get("kind") != "serving":
            return
        serving = Serving.model_validate(found)
        if serving.epoch < self._serving_epoch.get(serving.partition, -1):
            return
        self._serving_epoch[serving.partition] = serving.epoch
        if not serving.switches:
            return
        first = serving.switches[0].offset  # what stands before it was forgotten, not taken back
        kept = [one for one in self._switches[serving.partition] if one[0] < first]
        self._switches[serving.partition] = kept + [(one.offset, one.uri, one.sha256) for one in serving.switches]

    def _load(self, uri: str, sha256: str) -> ServedModel:
        if sha256 not in self._models:
            self._models[sha256] = version_file.load(path_of(uri), expect_sha256=sha256, expect_contract=TYPE.contract)
        return self._models[sha256]

    def _note_definition(self, record: ConsumerRecord) -> None:
        if record.key == b"poison" or record.key.startswith(HOME.encode()):
            return  # who lives where is claimed by whoever meets an asset first
        if self._given.get(record.key) == record.value:
            self._calm.declare(record.key, record.value)
            return
        self._take(self._found.definitions, record.key, record.value, "definitions")

    def _former(self, record: ConsumerRecord) -> bool:
        """Whether a sink ignores it: an owner that was followed by another wrote it."""
        epoch = int(dict(record.headers)[EPOCH_HEADER])
        place = record.topic, record.partition
        if epoch < self._epoch.get(place, -1):
            self.report.of_former_owners += 1
            return True
        self._epoch[place] = epoch
        return False

    def _take(self, into: dict[Any, Any], key: Any, value: Any, what: str) -> None:
        if key in into:
            self.report.repeated[what] += 1
            assert into[key] == value, f"{what}: {key} was written twice, not the same:\n  {into[key]!r}\n  {value!r}"
        into[key] = value

    def _take_history(self, records: list[ConsumerRecord]) -> None:
        for record in records:
            if (record.topic, record.partition, record.offset) in self._poisoned or self._former(record):
                continue
            for key, row in history_rows(HistoryBlock.from_bytes(record.value)).items():
                self._take(self._found.history, key, row, "history")

    def _take_signals(self, records: list[ConsumerRecord]) -> None:
        for record in records:
            if (record.topic, record.partition, record.offset) in self._poisoned or self._former(record):
                continue
            signal = Signal.model_validate_json(record.value)
            self._take(self._found.signals, (signal.asset, signal.condition, signal.time_ns), record.value, "signals")

    def _take_states(self, records: list[ConsumerRecord]) -> None:
        """As every sink does: an older step never replaces a newer one."""
        for record in records:
            state = TwinState.model_validate_json(record.value)
            known = self._found.states.get(state.asset)
            if self._former(record) or (known and TwinState.model_validate_json(known).time_ns > state.time_ns):
                continue
            self._found.states[state.asset] = record.value

    def _take_alerts(self, records: list[ConsumerRecord]) -> None:
        for record in records:
            if (record.topic, record.partition, record.offset) not in self._poisoned:
                alert = Alert.model_validate_json(record.value)
                self._take(self._found.alerts, (alert.id, alert.revision), record.value, "alerts")

    def _take_letters(self, records: list[ConsumerRecord]) -> None:
        for record in records:
            headers = {name: value.decode(errors="replace") for name, value in record.headers}
            place = int(headers["partition"]), int(headers["offset"])
            if headers["topic"] == self._system.plant.topics.telemetry:
                value = record.value if record.value is not None else None
                self._take(self._found.refused, place, (headers["reason"], headers["message"], value), "dead letters")
            else:
                self._letters.add((headers["topic"], *place))

    # ── the store ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _store_differences(self) -> str:
        """What the gateway answers of this round's steps, against the undisturbed run's."""
        told = ""
        for asset in ASSETS:
            rows = {time_ns: row for (name, time_ns), row in self._calm.results.history.items() if name == asset}
            times = sorted(rows)[-STEPS:]
            path = f"/v1/twins/{asset}/history?points=5000&from={times[0]}&to={times[-1] + 1}"
            answer = (await self._system.get(path)).json()
            flow = [None if np.isnan(cell) else float(cell) for cell in (np.frombuffer(rows[t][0], np.float32)[0] for t in times)]
            found = next(one["value"] for one in answer["channels"] if one["name"] == "flow")
            expected = {"flow": flow, "risk": [rows[t][5] for t in times], "version": [rows[t][6] for t in times]}
            shown = {"flow": found, "risk": answer["risk"]["risk"], "version": answer["risk"]["version"]}
            told += differences(shown, expected, f"history of {asset} from the store")
        return told

    async def end(self) -> None:
        """Stop the gateway in order, and compare the whole store with one that the undisturbed run wrote."""
        system = self._system
        system.down.add("gateway")
        await system.roles["gateway"].end()
        path = next(system.folder.joinpath("gateway").rglob("*.duckdb"))
        await asyncio.to_thread(self._same_store, DuckDbStore(path), DuckDbStore(system.folder / "calm.duckdb"))

    def _same_store(self, disturbed: DuckDbStore, calm: DuckDbStore) -> None:
        try:
            calm.write_history(self._calm.blocks)
            calm.write_alerts([Alert.model_validate_json(value) for value in self._calm.results.alerts.values()])
            for what in (DuckDbStore.latest, lambda store: store.alerts(limit=10**6), self._all_history):
                found, expected = repr(what(disturbed)), repr(what(calm))
                at = next((n for n, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), 0)
                assert found == expected, (
                    f"store:\n  {found[max(0, at - 200) : at + 200]}\n  {expected[max(0, at - 200) : at + 200]}"
                )
        finally:
            disturbed.close()
            calm.close()

    def _all_history(self, store: DuckDbStore) -> object:
        assets = [twin.asset for twin in store.latest()]
        return [store.history(asset, channels=None, from_ns=-(2**60), to_ns=2**60, points=10**6) for asset in assets]


def _asset_of(payload: bytes | None) -> str | None:
    """What a feeder would take as the key: all of one asset on one partition."""
    try:
        found = orjson.loads(payload or b"")
    except orjson.JSONDecodeError:
        return None
    asset = found.get("asset") if isinstance(found, dict) else None
    return asset if isinstance(asset, str) and asset else None
