"""A revision of a type with the same tensor contract goes on with the weights of the one before: live, restarted, replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from deploy.topics import ensure_topics
from models import version as version_file
from models.served import ServedModel
from models.weight_sources import WeightSources
from streams.definitions import Definitions
from streams.history import HistoryBlock
from streams.homes import Homes
from streams.log_record import PlainRecord
from streams.micro_batch import Announcement, Outputs
from streams.model_records import ModelAlias, models_key
from streams.models_topic import ModelsView
from streams.partitions import Partitions
from streams.past_versions import PastOf
from streams.period_replay import PeriodReplay
from streams.scoring import Switches
from streams.serving import Champions, VersionShelf
from streams.topics import Topics
from tests.streams.plant import ASSETS, INTERFACE, START, TYPE, Plant, readings, trained
from tests.streams.test_processor_swaps import blocks, running, until

STEPS, BATCH, CHANGED = 160, 60, 80
NEXT = {**INTERFACE, "@id": f"{TYPE.id[:-1]}2", "displayName": "Machine, told anew"}
NEXT["contents"] = [{**one, "highLimit": 1000} for one in INTERFACE["contents"]]  # type: ignore[index,union-attr]
OTHER = {**NEXT, "contents": [{**one, "unit": "kelvin"} for one in NEXT["contents"]]}  # type: ignore[index,union-attr]


@pytest.fixture(scope="module")
def model() -> ServedModel:
    return trained()


def telemetry() -> list[PlainRecord]:
    values = readings(STEPS)
    rows = [(step, number) for step in range(STEPS) for number in range(len(ASSETS))]
    return [
        PlainRecord(
            "t", 0, offset, 0, ASSETS[number].encode(),
            orjson.dumps({"asset": ASSETS[number], "time": START + step, "flow": float(values[number, step, 0]),
                          "heat": float(values[number, step, 1])}),
        )
        for offset, (step, number) in enumerate(rows)
    ]  # fmt: skip


def declared(interface: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """A type, and all twins of it."""
    twins = [(f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": interface["@id"]})) for asset in ASSETS]
    return [(f"type/{interface['@id']}".encode(), orjson.dumps(interface)), *twins]


def rows_of(found: list[HistoryBlock]) -> dict[tuple[str, int], tuple[str, bytes, float, str]]:
    return {
        (asset, int(block.time_ns[at])): (block.type, block.expected[at].tobytes(), float(block.risk[at]), block.version[at])
        for block in found
        for at, asset in enumerate(block.asset)
    }


class Owner:
    """Partition 0 from its beginning, without a broker."""

    def __init__(self, model: ServedModel, folder: Path) -> None:
        self.view, self.definitions = ModelsView(), Definitions()
        self.champions = Champions(self.view, VersionShelf(WeightSources()))
        past = PastOf(self.view, self.definitions, self.champions.shelf, skip_missing=False)
        self.partitions = Partitions("", Topics("t."), self.definitions, self.view, self.champions, past)
        self.partitions.own(0, position=0, committed=0, epoch=1)
        self.blocks: list[HistoryBlock] = []
        self.put([*declared(INTERFACE), *(Homes.claim(asset, 0) for asset in ASSETS)])
        path = folder / f"{model.version}.safetensors"
        self.alias = ModelAlias(
            name=TYPE.slug, type=TYPE.id, champion=model.version, champion_sha256=version_file.save(model, path),
            champion_uri=path.as_uri(), since_ns=0,
        )  # fmt: skip

    def put(self, definitions: list[tuple[bytes, bytes]]) -> None:
        for key, value in definitions:
            self.definitions.apply(key, value)

    async def promote(self) -> None:
        change = self.view.apply(models_key(self.alias), self.alias.to_bytes())
        assert change is not None
        self.champions.on_change(change)
        await self.champions.load_now(self.definitions.types)

    def run(self, records: list[PlainRecord]) -> None:
        """One batch, as a processor does it: announcements are in the log before the outputs."""
        outputs: Outputs = self.partitions.score(self.partitions.fold(records))  # type: ignore[arg-type]
        for _, _, key, value in outputs.announced:
            self.view.apply(key, value)
        self.blocks += [HistoryBlock.from_bytes(value) for topic, _, _, value, _ in outputs.records if topic == "t.twin.history"]
        self.partitions.passed(outputs)
        for _, _, key, value in self.switch():
            self.view.apply(key, value)

    def switch(self) -> list[Announcement]:
        switching = self.partitions.switching
        return switching.announcements(switching.switch_ready(0))

    def replayed(self, batch: int) -> dict[tuple[str, int], tuple[str, bytes, float, str]]:
        """All again from what is in the log."""
        served = {switch.version: one for one, switch in self.champions.current.values()}
        tables: dict[str, dict[int, Switches]] = {}
        for name, found in self.view.models.items():
            for serving in found.serving.values():
                table = tables.setdefault(name, {}).setdefault(serving.partition, Switches())
                for switch in serving.switches:
                    table.add(switch.offset, served[switch.version])
        replay, records = PeriodReplay(self.definitions, tables, from_ns=0, to_ns=1 << 62), telemetry()
        again = [block for at in range(0, len(records), batch) for block in replay.fold(records[at : at + batch])]  # type: ignore[arg-type]
        return rows_of(again)


@pytest.mark.parametrize("promoted_after", [1, 11], ids=["before the revision", "after the revision"])
async def test_a_revision_of_the_same_contract_is_scored_by_the_same_weights_from_its_first_step_on(
    model: ServedModel, tmp_path: Path, promoted_after: int
) -> None:
    owner, records = Owner(model, tmp_path), telemetry()
    for number, at in enumerate(range(0, len(records), BATCH)):
        if number == promoted_after:
            await owner.promote()
        if at == CHANGED * len(ASSETS):
            owner.put(declared(NEXT))
        owner.run(records[at : at + BATCH])
    rows = rows_of(owner.blocks)
    first = min(time for (_, time), row in rows.items() if row[3])
    moved = min(time for (_, time), row in rows.items() if row[0] == NEXT["@id"])
    assert {row[3] for (_, time), row in rows.items() if time >= first + 10**9} == {model.version}
    assert {row[0] for (_, time), row in rows.items() if time > moved} == {NEXT["@id"]}
    assert (first < moved) == (promoted_after == 1)
    for batch in (7, 1000):
        assert owner.replayed(batch) == rows


async def test_a_revision_of_another_contract_learns_anew(model: ServedModel, tmp_path: Path) -> None:
    owner, records = Owner(model, tmp_path), telemetry()
    for number, at in enumerate(range(0, len(records), BATCH)):
        if number == 1:
            await owner.promote()
        if at == CHANGED * len(ASSETS):
            owner.put(declared(OTHER))
        owner.run(records[at : at + BATCH])
    rows = rows_of(owner.blocks)
    assert {row[3] for row in rows.values() if row[0] == OTHER["@id"]} == {""}
    assert owner.replayed(50) == rows


async def test_a_twin_keeps_its_risk_over_a_revision_of_the_same_contract(model: ServedModel, tmp_path: Path) -> None:
    """p4 is far off from step 80 on: the revision comes while it is in alarm, and the alarm is the same."""
    found = []
    for changing in (False, True):
        owner, records = Owner(model, tmp_path), telemetry()
        for number, at in enumerate(range(0, len(records), BATCH)):
            if number == 1:
                await owner.promote()
            if changing and at == (CHANGED + 20) * len(ASSETS):
                owner.put(declared(NEXT))
            owner.run(records[at : at + BATCH])
        found.append({key: row[1:] for key, row in rows_of(owner.blocks).items()})
    assert max(row[1] for row in found[0].values()) > 0.5
    assert found[0] == found[1]


@pytest.mark.kafka
@pytest.mark.slow
async def test_a_processor_that_starts_after_the_revision_was_declared_goes_on_with_the_champion(
    kafka: str, topic_prefix: str, model: ServedModel, tmp_path: Path
) -> None:
    plant = await Plant.built(kafka, topic_prefix)
    await ensure_topics(kafka, plant.topics, 3)
    await plant.promote(model, tmp_path)
    values = readings(STEPS, faults=False)
    async with running(plant) as stats:
        await plant.feed(values[:, :60])
        await until(lambda: stats.counts["records"] >= 360, "the first records")
    await plant.send(plant.topics.definitions, declared(NEXT))
    for first in (60, 110):  # started, and started again
        async with running(plant) as stats:
            await plant.feed(values[:, first : first + 10], first=first)
            await until(lambda: stats.counts["records"] >= 60, "records after a start")
            await plant.feed(values[:, first + 10 : first + 50], first=first + 10)
            await until(lambda: stats.counts["records"] >= 300, "more records")
    rows = rows_of(await blocks(plant))
    assert len(rows) >= len(ASSETS) * 155
    of_next = {key: row for key, row in rows.items() if row[0] == NEXT["@id"]}
    assert {asset for asset, _ in of_next} == set(ASSETS)
    assert {row[3] for row in of_next.values()} == {model.version}
