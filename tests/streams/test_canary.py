"""Canary twins: two versions serve one partition, twin by twin, and whoever folds the log again scores the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import version as version_file
from models.served import ServedModel
from streams.canary import Divided, Draws, drawn
from streams.log_record import PlainRecord
from streams.model_records import Canary, ModelAlias, Serving
from streams.past_versions import past_versions
from streams.period_replay import PeriodReplay
from streams.scoring import Switches
from streams.serving import VersionsMissing
from tests.streams.plant import ASSETS, TYPE, trained, variant
from tests.streams.test_weights_shared import Owner, rows_of, telemetry
from twin.rows import Roster

BATCH, BEGIN, END, ALL = 60, 4, 9, 12  # batches after which the canary begins, is withdrawn, and the challenger serves all


@pytest.fixture(scope="module")
def model() -> ServedModel:
    return trained()


@pytest.fixture(scope="module")
def challenger(model: ServedModel) -> ServedModel:
    return variant(model, 200)


def canary_of(challenger: ServedModel, folder: Path, share: float = 0.5) -> Canary:
    path = folder / f"{challenger.version}.safetensors"
    sha256 = version_file.save(challenger, path)
    return Canary(version=challenger.version, sha256=sha256, uri=path.as_uri(), share=share, since_ns=1)


def mine(canary: Canary) -> set[str]:
    return {asset for asset, is_mine in zip(ASSETS, drawn(ASSETS, canary), strict=True) if is_mine}


async def point(owner: Owner, alias: ModelAlias) -> None:
    owner.alias = alias
    await owner.promote()


def promoted(alias: ModelAlias, canary: Canary) -> ModelAlias:
    named = {"champion": canary.version, "champion_sha256": canary.sha256, "champion_uri": canary.uri, "canary": None}
    return alias.model_copy(update=named)


async def tried(model: ServedModel, challenger: ServedModel, folder: Path) -> tuple[Owner, Canary]:
    """A run in which the challenger is tried on half the twins, withdrawn, and promoted later."""
    owner, canary = Owner(model, folder), canary_of(challenger, folder)
    champion = owner.alias
    records = telemetry()
    for number, at in enumerate(range(0, len(records), BATCH)):
        if number in (1, END):
            await point(owner, champion)
        if number == BEGIN:
            await point(owner, champion.model_copy(update={"challenger": canary.version, "canary": canary}))
        if number == ALL:
            await point(owner, promoted(champion, canary))
        owner.run(records[at : at + BATCH])
    return owner, canary


def serving(owner: Owner) -> Serving:
    found = owner.view.serving(TYPE.slug, 0)
    assert found is not None
    return found


async def replayed(owner: Owner, batch: int) -> object:
    """All again from what is in the log, with versions loaded anew."""
    past = await past_versions(owner.champions.shelf, serving(owner).switches, TYPE.contract)
    assert not past.missing
    replay = PeriodReplay(owner.definitions, {TYPE.slug: {0: past.table}}, from_ns=0, to_ns=1 << 62)
    records: list[PlainRecord] = telemetry()
    found = [block for at in range(0, len(records), batch) for block in replay.fold(records[at : at + batch])]  # type: ignore[arg-type]
    return rows_of(found)


async def test_canary_twins_are_served_by_the_challenger_and_the_others_by_the_champion(
    model: ServedModel, challenger: ServedModel, tmp_path: Path
) -> None:
    owner, canary = await tried(model, challenger, tmp_path)
    switches = serving(owner).switches
    assert [(one.version, one.canary) for one in switches] == [
        (model.version, None), (model.version, canary), (model.version, None), (challenger.version, None),
    ]  # fmt: skip
    begin, end = (switch.event_ns for switch in switches[1:3])
    assert begin is not None
    assert end is not None
    assert 0 < len(mine(canary)) < len(ASSETS)
    rows = rows_of(owner.blocks)
    seen = {asset: {row[3] for (one, time), row in rows.items() if one == asset and begin < time <= end} for asset in ASSETS}
    assert seen == {asset: {challenger.version if asset in mine(canary) else model.version} for asset in ASSETS}
    for batch in (7, 1000):
        assert await replayed(owner, batch) == rows


async def test_a_twin_is_scored_as_if_its_version_served_everybody(
    model: ServedModel, challenger: ServedModel, tmp_path: Path
) -> None:
    owner, canary = await tried(model, challenger, tmp_path)
    begin, end = (switch.event_ns for switch in serving(owner).switches[1:3])
    alone = Owner(challenger, tmp_path)
    records = telemetry()
    for number, at in enumerate(range(0, len(records), BATCH)):
        if number == 1:
            await alone.promote()
        alone.run(records[at : at + BATCH])
    everybody = rows_of(alone.blocks)
    for (asset, time), row in rows_of(owner.blocks).items():
        if begin < time <= end:  # type: ignore[operator]
            assert (row[1] == everybody[asset, time][1]) == (asset in mine(canary)), (asset, time)


async def test_a_new_owner_in_the_middle_of_a_canary_puts_out_the_same(
    model: ServedModel, challenger: ServedModel, tmp_path: Path
) -> None:
    owner, _ = await tried(model, challenger, tmp_path)
    records = telemetry()
    heir = Owner(model, tmp_path)
    for serving_record in [serving(owner)]:
        heir.view.apply(f"{TYPE.slug}/serving/0/1".encode(), serving_record.to_bytes())
    half = BATCH * (BEGIN + END) // 2
    position = heir.partitions.own(0, position=0, committed=half, epoch=2)
    await heir.partitions.switching.restore(0, position, len(records), heir.partitions._folder.arena)
    heir.run(records[:half])  # silently
    heir.run(records[half:])
    told = rows_of(heir.blocks)
    expected = rows_of(owner.blocks)
    assert told == {key: expected[key] for key in told}
    assert len(told) > 200
    assert heir.view.serving(TYPE.slug, 0).switches[-1].version == challenger.version  # type: ignore[union-attr]


async def test_a_canary_that_does_not_load_is_refused_and_the_champion_serves_all(
    model: ServedModel, challenger: ServedModel, tmp_path: Path
) -> None:
    owner, canary = Owner(model, tmp_path), canary_of(challenger, tmp_path)
    (tmp_path / f"{challenger.version}.safetensors").write_bytes(b"cut")
    await point(owner, owner.alias.model_copy(update={"challenger": canary.version, "canary": canary}))
    owner.run(telemetry()[:BATCH])
    owner.run(telemetry()[BATCH : 3 * BATCH])
    refusal = owner.view.models[TYPE.slug].refusals[challenger.version]
    assert refusal.serving == model.version
    assert {row[3] for row in rows_of(owner.blocks).values()} == {"", model.version}


async def test_without_a_canarys_weights_its_twins_stay_unscored_and_nobody_takes_over_unasked(
    model: ServedModel, challenger: ServedModel, tmp_path: Path
) -> None:
    owner, _ = await tried(model, challenger, tmp_path)
    switches = serving(owner).switches[:2]
    (tmp_path / f"{challenger.version}.safetensors").unlink()
    heir = Owner(model, tmp_path)
    past = await past_versions(heir.champions.shelf, switches, TYPE.contract)
    divided = past.table.at(1 << 40)
    assert isinstance(divided, Divided)
    assert (divided.canary, [switch.version for switch, _ in past.missing]) == (None, [challenger.version])
    heir.view.apply(f"{TYPE.slug}/serving/0/1".encode(), serving(owner).to_bytes())
    position = heir.partitions.own(0, position=0, committed=0, epoch=2)
    with pytest.raises(VersionsMissing, match=f"{challenger.version} scored partition 0 from offset"):
        await heir.partitions.switching.restore(0, position, 10**6, heir.partitions._folder.arena)


def test_each_challenger_draws_other_twins_and_a_larger_share_keeps_those_it_had() -> None:
    names = [f"pump-{number}" for number in range(2000)]

    def by(version: str, share: float) -> np.ndarray:
        return drawn(names, Canary(version=version, sha256="", uri="", share=share, since_ns=0))

    first, second = by("0002-ab", 0.1), by("0003-cd", 0.1)
    assert 0.08 < first.mean() < 0.12
    assert (first & second).mean() < 0.03
    assert (by("0002-ab", 0.3) >= first).all()
    table = Switches()
    table.add(0, None)
    assert table.split(np.array([0, 5]))[0][0] is None


def test_a_twin_that_comes_later_is_drawn_too() -> None:
    canary = Canary(version="0002-ab", sha256="", uri="", share=0.5, since_ns=0)
    draws, divided = Draws(), Divided(None, None, canary)
    names = [f"pump-{number}" for number in range(40)]
    for count in (10, 40):
        roster = Roster(tuple(names[:count]), np.zeros(count, np.int64))
        found = [at for _, at in draws.by_twin(divided, np.arange(count), np.arange(count), roster)]
        assert found[-1].tolist() == np.flatnonzero(drawn(names[:count], canary)).tolist()


async def test_a_canary_that_ended_while_nobody_owned_the_partition_ends_for_the_next_owner(
    model: ServedModel, challenger: ServedModel, tmp_path: Path
) -> None:
    owner, _ = await tried(model, challenger, tmp_path)
    under_way = serving(owner).model_copy(update={"switches": serving(owner).switches[:2]})
    heir = Owner(model, tmp_path)
    await heir.promote()
    heir.partitions.switching.switch_ready(0)
    heir.view.apply(f"{TYPE.slug}/serving/0/1".encode(), under_way.to_bytes())
    place = heir.partitions.own(0, position=0, committed=0, epoch=2)
    await heir.partitions.switching.restore(0, place, 10**6, heir.partitions._folder.arena)
    told = [Serving.model_validate_json(value) for _, _, _, value in heir.partitions.switching.announce_start(0)]
    assert [(one.switches[-1].version, one.switches[-1].canary) for one in told] == [(model.version, None)]
