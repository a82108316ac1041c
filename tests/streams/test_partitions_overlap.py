"""A batch that is folded while the one before it is not scored yet changes nothing: outputs, switches, what may be committed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from models import version as version_file
from models.served import ServedModel
from models.weight_sources import WeightSources
from streams.definitions import Definitions
from streams.homes import Homes
from streams.log_record import PlainRecord
from streams.micro_batch import Announcement, Outputs
from streams.model_records import ModelAlias, models_key
from streams.models_topic import ModelsView
from streams.partitions import Partitions
from streams.past_versions import PastOf
from streams.serving import Champions, VersionShelf
from streams.topics import Topics
from tests.streams.plant import ASSETS, INTERFACE, START, TYPE, readings, trained
from twin.rows import Rows

STEPS, BATCH = 120, 50
LATE = "p5"  # its twin comes when the others have been there for a while


@pytest.fixture(scope="module")
def versions() -> list[ServedModel]:
    return [trained(), trained(2)]


def batches() -> list[list[PlainRecord]]:
    """The plant's telemetry on two partitions; one asset is declared by nobody."""
    offsets = [0, 0]
    records = []
    values = readings(STEPS)
    for step in range(STEPS):
        for number, asset in enumerate((*ASSETS, "stranger")):
            if (asset == LATE and step < STEPS // 2) or (asset == "stranger" and step > 40):
                continue
            flow, heat = values[number % len(ASSETS), step].tolist()
            value = {
                "asset": asset,
                "time": START + step,
                **({"other": flow} if asset == "stranger" else {"flow": flow, "heat": heat}),
            }
            partition = number % 2
            records.append(PlainRecord("t", partition, offsets[partition], 0, asset.encode(), orjson.dumps(value)))
            offsets[partition] += 1
    return [records[start : start + BATCH] for start in range(0, len(records), BATCH)]


class Owner:
    """Partitions 0 and 1 from their beginning, without a broker."""

    def __init__(
        self, folder: Path, topics: Topics | None = None, *, committed: int = 0, rates_every_s: float = math.inf
    ) -> None:
        self.folder = folder
        self.view, definitions = ModelsView(), Definitions()
        definitions.apply(f"type/{TYPE.id}".encode(), orjson.dumps(INTERFACE))
        for asset in ASSETS:
            definitions.apply(f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": TYPE.id}))
        for number, asset in enumerate((*ASSETS, "stranger")):
            definitions.apply(*Homes.claim(asset, number % 2))
        self.champions = Champions(self.view, VersionShelf(WeightSources()))
        past = PastOf(self.view, definitions, self.champions.shelf, skip_missing=False)
        topics = topics or Topics("t.")
        self.partitions = Partitions("", topics, definitions, self.view, self.champions, past, rates_every_s=rates_every_s)
        for partition in (0, 1):
            self.partitions.own(partition, position=0, committed=committed, epoch=1)

    async def promote(self, model: ServedModel) -> None:
        path = self.folder / f"{model.version}.safetensors"
        sha256 = version_file.save(model, path)
        alias = ModelAlias(
            name=TYPE.slug, type=TYPE.id, champion=model.version, champion_sha256=sha256, champion_uri=path.as_uri(), since_ns=0
        )
        change = self.view.apply(models_key(alias), alias.to_bytes())
        assert change is not None
        self.champions.on_change(change)
        await self.champions.load_now({TYPE.id: TYPE})


def told(outputs: Outputs) -> Iterator[object]:
    yield from outputs.records
    yield from ((one.record.partition, one.record.offset, one.reason) for one in outputs.refused)
    yield from outputs.definitions


async def outcome(
    owner: Owner, versions: list[ServedModel], *, overlapping: bool
) -> tuple[list[object], list[Announcement], list[object]]:
    """Outputs, announced switches and what could be committed after each batch."""
    found: list[object] = []
    announced: list[Announcement] = []
    commits: list[object] = []
    partitions = owner.partitions
    await owner.promote(versions[0])
    announced += partitions.switching.announcements(partitions.switching.switch_ready(0))
    waiting = list(batches())
    folded = [partitions.fold(waiting.pop(0))]
    number = 0
    while folded:
        if overlapping and waiting:
            folded.append(partitions.fold(waiting.pop(0), infer=number % 3 == 1))
        outputs = partitions.score(folded.pop(0))
        found += told(outputs)
        partitions.passed(outputs)
        if number in (4, 9):
            await owner.promote(versions[1 if number == 4 else 0])
        announced += partitions.switching.announcements(partitions.switching.switch_ready(0))
        commits.append(partitions.commit_offsets())
        if not overlapping and waiting:
            folded.append(partitions.fold(waiting.pop(0), infer=number % 3 == 1))
        number += 1
    return found, announced, commits


async def test_outputs_switches_and_commits_are_those_of_one_batch_after_the_other(
    versions: list[ServedModel], tmp_path: Path
) -> None:
    apart = await outcome(Owner(tmp_path), versions, overlapping=False)
    overlapping = await outcome(Owner(tmp_path), versions, overlapping=True)
    assert overlapping == apart
    found, announced, commits = apart
    switches = [orjson.loads(value)["switches"] for _, _, _, value in announced]
    assert [len(one) for one in switches] == [1, 1, 2, 2, 3, 3]
    assert {one["offset"] for one in switches[-1]} != {0}
    assert any(key == LATE.encode() for topic, _, key, *_ in (one for one in found if len(one) == 5))  # type: ignore[arg-type,misc]
    assert commits[0] == {0: 3, 1: 17}, "the stranger's first record waits for its type: nothing after it may be committed"


def test_a_roster_is_what_it_was_when_a_row_gets_another_twin() -> None:
    rows = Rows(TYPE, slots=8, capacity=2)
    first, second = rows.row("a", 0), rows.row("b", 1)
    before = rows.roster()
    assert rows.roster() is before
    rows.remove("a")
    assert rows.row("c", 2) == first
    now = rows.roster()
    assert (before.assets, before.partition.tolist()) == (("a", "b"), [0, 1])
    assert (now.assets[first], now.partition.tolist()[first], now.assets[second]) == ("c", 2, "b")
