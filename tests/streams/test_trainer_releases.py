"""Releases on a real broker: who becomes champion, what a command does, and that it does so once."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.topics import ensure_topics
from models.update import Update, UpdateFailed
from models.weights import WeightFiles, path_of
from streams import clients, release_writing
from streams.model_records import GateStage, ModelAlias, ModelCommand, ModelVersion, Refusal, Serving, Switch
from streams.models_topic import ModelsView, ModelView, follow, read_models
from streams.release_choices import earlier_champions
from streams.releases import Releases
from streams.topics import Topics
from twin.types import compile_type

pytestmark = pytest.mark.kafka

TANK = compile_type(
    {"@id": "dtmi:test:Tank;1", "@type": "Interface", "contents": [{"@type": "Telemetry", "name": "level", "schema": "double"}]}
)
NAME = TANK.slug


class Bench:
    """Releases over real files and a real topic; the clock counts calls."""

    def __init__(self, given: Releases, view: ModelsView, files: WeightFiles) -> None:
        self.releases, self.view, self.files = given, view, files

    @property
    def model(self) -> ModelView:
        return self.view.models[NAME]

    def trained(self, number: int, *, promote: bool = True, why: str = "") -> Update:
        """A version whose file is there; releasing does not look into it."""
        version = f"{number:04d}-aa"
        path = self.files.path(NAME, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(version.encode())
        sha256 = hashlib.sha256(version.encode()).hexdigest()
        return Update(version, path.as_uri(), sha256, TANK.contract, None, promote, why or f"reason {number}", {"loss": 1.0})

    async def promoted(self, *numbers: int) -> None:
        for number in numbers:
            alias = self.view.alias(NAME)
            assert await self.releases.publish(TANK, self.trained(number), compared_with=alias.champion if alias else None)

    def served(self) -> tuple[str, str | None]:
        alias = self.view.alias(NAME)
        assert alias is not None
        return alias.champion[:4], alias.previous[:4] if alias.previous else None

    def decisions(self) -> dict[str, str]:
        return {version.version[:4]: version.decision for version in self.model.history()}

    async def order(self, action: str, version: str | None = None, identifier: str = "c1") -> ModelCommand:
        found = {"command_id": identifier, "name": NAME, "action": action, "version": version, "by": "ada", "time_ns": 1}
        command = ModelCommand.model_validate(found)
        await self.releases.write(command)
        return command


@asynccontextmanager
async def opened(kafka: str, topics: Topics, home: Path) -> AsyncIterator[Bench]:
    view, caught_up, stop = ModelsView(), asyncio.Event(), asyncio.Event()
    files = WeightFiles(home)
    async with clients.producer(kafka, client_id="test") as producer:
        following = asyncio.create_task(follow(kafka, topics, view, caught_up=caught_up, stop=stop))
        await asyncio.wait_for(caught_up.wait(), 120)
        clock = itertools.count(10)
        try:
            yield Bench(Releases(producer, topics, view, files, now_ns=lambda: next(clock)), view, files)
        finally:
            stop.set()
            await following


@pytest.fixture
async def topics(kafka: str, topic_prefix: str) -> Topics:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, partitions=1)
    return topics


@pytest.fixture
async def bench(kafka: str, topics: Topics, tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(kafka, topics, tmp_path) as found:
        yield found


async def test_a_version_that_the_gate_lets_through_becomes_champion_and_the_one_before_is_retired(bench: Bench) -> None:
    await bench.promoted(1, 2)
    assert bench.served() == ("0002", "0001")
    assert bench.decisions() == {"0002": "champion", "0001": "retired"}
    assert bench.model.versions["0001-aa"].why == "reason 1 · replaced by 0002-aa"
    alias = bench.view.alias(NAME)
    assert alias is not None
    assert alias.champion_sha256 == hashlib.sha256(b"0002-aa").hexdigest()
    assert path_of(alias.champion_uri).read_bytes() == b"0002-aa"


async def test_a_revision_of_the_same_contract_shares_the_champion_and_then_has_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [{"@type": "Telemetry", "name": "level", "schema": "double", "highLimit": 7}]
    second = compile_type({"@id": "dtmi:test:Tank;2", "@type": "Interface", "contents": contents})
    other = compile_type({"@id": "dtmi:test:Tank;3", "@type": "Interface", "contents": [{**contents[0], "unit": "metre"}]})
    assert not await bench.releases.share(second, [TANK, second])  # there is nothing to share yet
    await bench.promoted(1)
    assert not await bench.releases.share(other, [TANK, second, other])
    assert await bench.releases.share(second, [TANK, second, other])
    assert not await bench.releases.share(second, [TANK, second, other])  # once
    alias, origin = bench.view.alias(second.slug), bench.view.alias(NAME)
    assert alias is not None
    assert origin is not None
    assert (alias.champion, alias.champion_uri) == (origin.champion, origin.champion_uri)
    assert bench.view.models[second.slug].versions["0001-aa"].why.startswith("serves dtmi:test:Tank;1 already")
    monkeypatch.setattr(release_writing, "KEEP_FILES", 1)
    await bench.promoted(2, 3, 4)
    assert bench.files.versions(NAME) == ["0001-aa", "0003-aa", "0004-aa"]  # the first serves the revision
    assert bench.releases.next_number(second.slug) == 2


async def test_a_version_that_the_gate_refuses_changes_nothing_that_serves(bench: Bench) -> None:
    await bench.promoted(1)
    assert not await bench.releases.publish(
        TANK, bench.trained(2, promote=False, why="loss is 3, champion's 1"), compared_with="0001-aa"
    )
    await bench.releases.publish_failure(TANK, UpdateFailed("loss is not finite"))
    assert bench.served() == ("0001", None)
    assert bench.decisions() == {"0003": "refused", "0002": "refused", "0001": "champion"}
    assert bench.model.versions["0003-failed"].why == "loss is not finite"


async def test_a_version_compared_with_what_no_longer_serves_is_refused(bench: Bench) -> None:
    await bench.promoted(1, 2)
    assert not await bench.releases.publish(TANK, bench.trained(3), compared_with="0001-aa")
    assert bench.served() == ("0002", "0001")
    assert bench.model.versions["0003-aa"].why.startswith("champion became 0002-aa while this was compared with 0001-aa")


async def test_promote_and_roll_back_by_hand(bench: Bench) -> None:
    await bench.promoted(1, 2, 3)
    await bench.releases.carry_out(await bench.order("promote", "0001-aa"))
    assert bench.served() == ("0001", "0003")
    assert bench.decisions() == {"0003": "retired", "0002": "retired", "0001": "champion"}
    await bench.releases.carry_out(await bench.order("rollback", identifier="c2"))
    assert bench.served() == ("0003", "0002"), "the version that was rolled back is not what the next roll back goes to"
    assert bench.decisions() == {"0003": "champion", "0002": "retired", "0001": "rolled-back"}
    await bench.releases.carry_out(await bench.order("rollback", identifier="c3"))
    assert bench.served() == ("0002", None)
    assert bench.view.pending() == []


async def test_a_command_delivered_again_after_a_crash_is_carried_out_once(bench: Bench, kafka: str, topics: Topics) -> None:
    await bench.promoted(1, 2, 3)
    command = await bench.order("rollback")
    await bench.releases.carry_out(command)
    assert bench.served() == ("0002", "0001")
    await bench.releases.write(command)  # as if the crash had come between the alias and the removal of the command
    assert bench.view.pending() == [], "the alias carries the command's id"
    assert (await read_models(kafka, topics)).pending() == []


@pytest.mark.parametrize("damage", ["missing", "hash", "unknown", "failed"])
async def test_a_promotion_that_cannot_be_is_refused_with_the_reason_and_the_champion_stays(bench: Bench, damage: str) -> None:
    await bench.promoted(1, 2)
    await bench.releases.publish_failure(TANK, UpdateFailed("loss is not finite"))
    wanted = {"missing": "0001-aa", "hash": "0001-aa", "unknown": "0009-zz", "failed": "0003-failed"}[damage]
    path = bench.files.path(NAME, "0001-aa")
    if damage == "missing":
        path.unlink()
    elif damage == "hash":
        path.write_bytes(b"0001-a")
    await bench.releases.carry_out(await bench.order("promote", wanted))
    assert bench.served() == ("0002", "0001")
    refusal = bench.model.refusals[wanted]
    assert refusal.reason.startswith(f"promote by ada refused: {'hash' if damage == 'hash' else 'missing'}: ")
    assert refusal.serving == "0002-aa"
    assert bench.view.pending() == []


async def test_a_champion_that_a_processor_refuses_is_rolled_back(bench: Bench) -> None:
    await bench.promoted(1, 2)
    await bench.releases.write(Refusal(name=NAME, version="0002-aa", serving="0001-aa", reason="non-finite: NaN", time_ns=5))
    await bench.releases.undo_refused(NAME)
    assert bench.served() == ("0002", "0001"), "a refusal from before it became champion says nothing of today"
    await bench.releases.write(Refusal(name=NAME, version="0002-aa", serving="0001-aa", reason="non-finite: NaN", time_ns=99))
    await bench.releases.undo_refused(NAME)
    assert bench.served() == ("0001", None)
    assert bench.decisions() == {"0002": "rolled-back", "0001": "champion"}
    await bench.releases.undo_refused(NAME)
    assert bench.served() == ("0001", None)


async def test_an_alias_that_someone_else_wrote_for_bad_weights_is_rolled_back_too(bench: Bench) -> None:
    await bench.promoted(1)
    bad = ModelAlias(name=NAME, type=TANK.id, champion="bad", champion_sha256="0", champion_uri="file:///no", since_ns=50)
    await bench.releases.write(bad)
    await bench.releases.write(Refusal(name=NAME, version="bad", serving="0001-aa", reason="missing: no such file", time_ns=60))
    await bench.releases.undo_refused(NAME)
    assert bench.served()[0] == "0001"


async def test_weights_that_one_machine_does_not_find_are_not_rolled_back_for_all(bench: Bench) -> None:
    await bench.promoted(1, 2)
    reason = "missing: weights file:///elsewhere are not here"
    await bench.releases.write(Refusal(name=NAME, version="0002-aa", serving=None, reason=reason, time_ns=99))
    await bench.releases.undo_refused(NAME)
    assert bench.served() == ("0002", "0001"), "its file is here and whole: that machine is at fault"
    bench.files.path(NAME, "0002-aa").unlink()
    await bench.releases.undo_refused(NAME)
    assert bench.served()[0] == "0001"


async def test_numbers_go_on_after_what_was_announced_and_what_lies_there(bench: Bench) -> None:
    assert bench.releases.next_number(NAME) == 1
    await bench.promoted(1)
    await bench.releases.publish_failure(TANK, UpdateFailed("no"))
    assert bench.releases.next_number(NAME) == 3
    bench.trained(7)  # its announcement was lost with the broker's log
    assert bench.releases.next_number(NAME) == 8


async def test_old_files_and_records_go_but_not_those_that_a_stretch_of_the_log_was_scored_by(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_writing, "KEEP_FILES", 2)
    monkeypatch.setattr(release_writing, "KEEP_VERSIONS", 3)
    await bench.promoted(1)
    switch = Switch(offset=0, version="0001-aa", sha256="s", uri="file:///1")
    await bench.releases.write(Serving(name=NAME, partition=0, epoch=1, switches=[switch], time_ns=1))
    await bench.promoted(2, 3, 4, 5, 6)
    assert bench.files.versions(NAME) == ["0001-aa", "0005-aa", "0006-aa"]
    assert sorted(bench.model.versions) == ["0001-aa", "0004-aa", "0005-aa", "0006-aa"]


async def test_a_decision_survives_that_its_run_is_noted_later(bench: Bench, kafka: str, topics: Topics) -> None:
    await bench.promoted(1, 2)
    await asyncio.gather(
        bench.releases.set_run(NAME, "0001-aa", "run-1"), bench.promoted(3), bench.releases.set_run(NAME, "0002-aa", "run-2")
    )
    found: dict[str, ModelVersion] = (await read_models(kafka, topics)).models[NAME].versions
    assert {key[:4]: (one.decision, one.run_id) for key, one in found.items()} == {
        "0001": ("retired", "run-1"),
        "0002": ("retired", "run-2"),
        "0003": ("champion", None),
    }


# ── shadow and rolling back ─────────────────────────────────────────────────────────────────────────────────────────


async def in_the_shadow(bench: Bench, number: int) -> str:
    alias = bench.view.alias(NAME)
    assert alias is not None
    assert not await bench.releases.publish(TANK, bench.trained(number), compared_with=alias.champion, shadow=True)
    return f"{number:04d}-aa"


def challenger_of(bench: Bench) -> str | None:
    alias = bench.view.alias(NAME)
    return alias.challenger if alias is not None else None


async def test_a_first_model_needs_no_shadow_and_the_next_stands_in_it(bench: Bench) -> None:
    assert await bench.releases.publish(TANK, bench.trained(1), compared_with=None, shadow=True)
    challenger = await in_the_shadow(bench, 2)
    assert bench.served() == ("0001", None)
    assert challenger_of(bench) == challenger
    assert bench.decisions()["0002"] == "challenger"
    passed = GateStage(name="shadow", passed=True, why="loss 1 against 2")
    assert await bench.releases.conclude(NAME, challenger, passed, {"shadow_steps": 24.0})
    assert bench.served() == ("0002", "0001")
    assert challenger_of(bench) is None
    version = bench.model.versions[challenger]
    assert (version.decision, version.stages, version.figures["shadow_steps"]) == ("champion", [passed], 24.0)
    assert version.why == "reason 2 · no worse in the shadow: loss 1 against 2"
    assert not await bench.releases.conclude(NAME, challenger, passed, {}), "once"


async def test_a_challenger_that_does_worse_is_refused_and_nothing_else_changes(bench: Bench) -> None:
    await bench.promoted(1)
    challenger = await in_the_shadow(bench, 2)
    failed = GateStage(name="shadow", passed=False, why="loss 3 against 2")
    assert not await bench.releases.conclude(NAME, challenger, failed, {})
    assert bench.served() == ("0001", None)
    assert challenger_of(bench) is None
    assert bench.model.versions[challenger].why == "refused in the shadow: loss 3 against 2"


async def test_a_challenger_leaves_the_shadow_for_a_newer_one_and_when_a_person_decides(bench: Bench) -> None:
    await bench.promoted(1, 2)
    first = await in_the_shadow(bench, 3)
    second = await in_the_shadow(bench, 4)
    assert challenger_of(bench) == second
    assert bench.model.versions[first].why == "reason 3 · left the shadow: 0004-aa took its place"
    await bench.releases.carry_out(await bench.order("promote", "0001-aa"))
    assert challenger_of(bench) is None
    assert bench.decisions() == {"0001": "champion", "0002": "retired", "0003": "refused", "0004": "refused"}
    assert not await bench.releases.conclude(NAME, second, GateStage(name="shadow", passed=True, why="late"), {})


async def test_a_person_may_promote_a_challenger(bench: Bench) -> None:
    await bench.promoted(1)
    challenger = await in_the_shadow(bench, 2)
    await bench.releases.carry_out(await bench.order("promote", challenger))
    assert bench.served() == ("0002", "0001")
    assert bench.decisions() == {"0001": "retired", "0002": "champion"}


async def test_a_challenger_that_a_crash_left_behind_is_refused(bench: Bench) -> None:
    await bench.promoted(1)
    left = bench.model.versions["0001-aa"].model_copy(update={"version": "0002-aa", "decision": "challenger"})
    await bench.releases.write(left)
    await bench.promoted(3)
    assert bench.decisions() == {"0001": "retired", "0002": "refused", "0003": "champion"}


async def test_a_champion_that_was_rolled_back_is_never_promoted_again(bench: Bench) -> None:
    await bench.promoted(1, 2)
    live = GateStage(name="live", passed=False, why="worse than 0001-aa before it: loss 3 against 2")
    assert not await bench.releases.roll_back(NAME, "0001-aa", live), "it does not serve"
    assert await bench.releases.roll_back(NAME, "0002-aa", live)
    assert bench.served() == ("0001", None)
    rolled = bench.model.versions["0002-aa"]
    assert (rolled.decision, rolled.stages) == ("rolled-back", [live])
    assert rolled.why == "reason 2 · rolled back: worse than 0001-aa before it: loss 3 against 2"
    again = bench.trained(3)  # the same content under another number
    assert not await bench.releases.publish(TANK, again, compared_with="0001-aa")
    assert bench.model.versions["0003-aa"].why.startswith("refused: the same as 0002-aa, which was rolled back")
    assert not await bench.releases.roll_back(NAME, "0001-aa", live), "there is no version before it"


async def on_canary_twins(bench: Bench, number: int) -> str:
    challenger = await in_the_shadow(bench, number)
    stage = GateStage(name="shadow", passed=True, why="loss 1 against 2")
    assert await bench.releases.begin_canary(NAME, challenger, stage, {"shadow_steps": 24.0}, 0.1)
    alias = bench.view.alias(NAME)
    assert alias is not None
    assert alias.canary is not None
    assert (alias.challenger, alias.canary.version, alias.canary.share) == (challenger, challenger, 0.1)
    assert alias.canary.sha256 == hashlib.sha256(challenger.encode()).hexdigest()
    return challenger


def canary_of(bench: Bench) -> str | None:
    alias = bench.view.alias(NAME)
    return alias.canary.version if alias is not None and alias.canary is not None else None


async def test_a_challenger_serves_canary_twins_and_then_all(bench: Bench) -> None:
    await bench.promoted(1)
    challenger = await on_canary_twins(bench, 2)
    assert bench.served() == ("0001", None)
    tried = bench.model.versions[challenger]
    assert (tried.decision, tried.why) == (
        "challenger", "reason 2 · no worse in the shadow: loss 1 against 2; serves 10% of the twins",
    )  # fmt: skip
    passed = GateStage(name="canary", passed=True, why="10% of the twins: loss 1 against 2")
    assert await bench.releases.conclude(NAME, challenger, passed, {})
    assert (bench.served(), canary_of(bench)) == (("0002", "0001"), None)
    served = bench.model.versions[challenger]
    assert [stage.name for stage in served.stages] == ["shadow", "canary"]
    assert served.why == "reason 2 · no worse on canary twins: 10% of the twins: loss 1 against 2"
    stage = GateStage(name="shadow", passed=True, why="late")
    assert not await bench.releases.begin_canary(NAME, challenger, stage, {}, 0.1), "it is champion"


async def test_a_canary_that_does_worse_is_withdrawn(bench: Bench) -> None:
    await bench.promoted(1)
    challenger = await on_canary_twins(bench, 2)
    failed = GateStage(name="canary", passed=False, why="10% of the twins: loss 3 against 2")
    assert not await bench.releases.conclude(NAME, challenger, failed, {})
    assert (bench.served(), canary_of(bench), challenger_of(bench)) == (("0001", None), None, None)
    assert bench.model.versions[challenger].why == "refused on canary twins: 10% of the twins: loss 3 against 2"


async def test_a_canary_ends_when_a_person_decides_and_when_another_challenger_follows(bench: Bench) -> None:
    await bench.promoted(1, 2)
    first = await on_canary_twins(bench, 3)
    await in_the_shadow(bench, 4)
    assert (canary_of(bench), challenger_of(bench)) == (None, "0004-aa")
    assert bench.model.versions[first].why.endswith("left its canary twins: 0004-aa took its place")
    await bench.releases.conclude(NAME, "0004-aa", GateStage(name="shadow", passed=False, why="loss"), {})
    await on_canary_twins(bench, 5)
    await bench.releases.carry_out(await bench.order("promote", "0001-aa"))
    assert (bench.served(), canary_of(bench), challenger_of(bench)) == (("0001", "0002"), None, None)


async def test_a_canary_that_a_processor_refuses_is_withdrawn_and_the_champion_stays(bench: Bench) -> None:
    await bench.promoted(1)
    challenger = await on_canary_twins(bench, 2)
    refusal = Refusal(name=NAME, version=challenger, serving="0001-aa", reason="missing: not here", time_ns=10**6)
    await bench.releases.write(refusal)
    await bench.releases.undo_refused(NAME)
    assert canary_of(bench) == challenger, "its file is there: that machine does not see it"
    await bench.releases.write(refusal.model_copy(update={"reason": "slow: 300 ms for 64 rows"}))
    await bench.releases.undo_refused(NAME)
    assert (bench.served(), canary_of(bench), challenger_of(bench)) == (("0001", None), None, None)
    assert "on canary twins: refused by a processor: slow: 300 ms" in bench.model.versions[challenger].why


async def test_what_a_version_is_compared_with_next_is_recorded_and_its_file_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_writing, "KEEP_FILES", 1)
    await bench.promoted(1)
    for number in (2, 3, 4, 5, 6, 7):
        update = replace(bench.trained(number), anchors=("0001-aa",))
        assert await bench.releases.publish(TANK, update, compared_with=f"{number - 1:04d}-aa")
    assert bench.model.versions["0007-aa"].anchors == ["0001-aa"]
    assert bench.files.versions(NAME) == ["0001-aa", "0006-aa", "0007-aa"]
    earlier = [one.version for one in earlier_champions(bench.model)]
    assert earlier == ["0001-aa", "0004-aa", "0005-aa", "0006-aa"], "the anchor, and the newest"
    gone = bench.model.versions["0006-aa"].model_copy(update={"decision": "rolled-back"})
    await bench.releases.write(gone)
    assert [one.version for one in earlier_champions(bench.model)] == ["0001-aa", "0003-aa", "0004-aa", "0005-aa"]
    assert earlier_champions(None) == ()
