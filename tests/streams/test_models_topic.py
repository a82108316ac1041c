"""The view of the `models` topic: what the fold keeps, what it ignores, and that it never raises."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.topics import ensure_topics
from streams import clients
from streams.model_records import ModelAlias, ModelCommand, ModelVersion, Refusal, Serving, Switch, models_key
from streams.models_topic import Change, ModelsView, follow, read_models
from streams.records import Record
from streams.topics import Topics

TYPE = "dtmi:livetwin:water:Tank;1"


def version(number: int, decision: str = "champion", time_ns: int | None = None) -> ModelVersion:
    return ModelVersion.model_validate(
        {
            "name": "water.tank",
            "type": TYPE,
            "version": f"{number:04d}",
            "uri": f"file:///{number}",
            "sha256": f"{number:064x}",
            "contract": "c",
            "decision": decision,
            "why": "holds",
            "time_ns": number if time_ns is None else time_ns,
        }
    )


def alias(champion: int, previous: int | None = None, command_id: str | None = None) -> ModelAlias:
    return ModelAlias(
        name="water.tank",
        type=TYPE,
        champion=f"{champion:04d}",
        champion_sha256=f"{champion:064x}",
        champion_uri=f"file:///{champion}",
        since_ns=champion,
        previous=None if previous is None else f"{previous:04d}",
        command_id=command_id,
    )


def serving(epoch: int, number: int, partition: int = 0) -> Serving:
    switch = Switch(offset=epoch * 10, version=f"{number:04d}", sha256=f"{number:064x}", uri=f"file:///{number}")
    return Serving(name="water.tank", partition=partition, epoch=epoch, switches=[switch], time_ns=epoch)


def command(identifier: str, time_ns: int = 1) -> ModelCommand:
    return ModelCommand(command_id=identifier, name="water.tank", action="rollback", time_ns=time_ns)


def put(view: ModelsView, record: ModelVersion | ModelAlias | ModelCommand | Serving | Refusal) -> Change | None:
    return view.apply(models_key(record), record.to_bytes())


def test_versions_are_listed_newest_first_with_their_last_decision() -> None:
    view = ModelsView()
    for record in (version(1), version(2, "refused"), version(3), version(1, "rolled-back")):
        assert put(view, record) == Change("version", "water.tank", record)
    assert [(v.version, v.decision) for v in view.models["water.tank"].history()] == [
        ("0003", "champion"),
        ("0002", "refused"),
        ("0001", "rolled-back"),
    ]


def test_the_alias_names_champion_and_previous_with_their_versions() -> None:
    view = ModelsView()
    put(view, version(1))
    put(view, version(2))
    assert put(view, alias(2, previous=1)) == Change("alias", "water.tank", alias(2, previous=1))
    model = view.models["water.tank"]
    assert (model.champion, model.previous, model.challenger, model.type) == (version(2), version(1), None, TYPE)
    assert view.alias("water.tank") == alias(2, previous=1)
    assert view.alias("unknown") is None


def test_a_record_seen_again_changes_nothing() -> None:
    view = ModelsView()
    refusal = Refusal(name="water.tank", version="0001", serving=None, reason="hash", time_ns=1)
    records = (version(1), alias(1), command("a"), serving(1, 1), refusal)
    assert all(put(view, record) is not None for record in records)
    assert [put(view, record) for record in records] == [None] * 5


def test_only_the_highest_epoch_of_a_partition_counts() -> None:
    view = ModelsView()
    assert put(view, serving(4, 2)) is not None
    assert put(view, serving(3, 1)) is None, "a zombie's older epoch must not replace the owner's"
    assert put(view, serving(3, 1, partition=1)) is not None
    assert view.serving("water.tank", 0) == serving(4, 2)
    assert view.serving("water.tank", 1) == serving(3, 1, partition=1)
    assert put(view, serving(4, 3)) is not None, "the owner itself may add a switch"
    assert view.serving("water.tank", 0) == serving(4, 3)


def test_a_command_is_pending_until_it_is_removed_or_answered_by_the_alias() -> None:
    view = ModelsView()
    put(view, command("late", 5))
    put(view, command("early", 2))
    assert [c.command_id for c in view.pending()] == ["early", "late"]
    put(view, alias(1, command_id="early"))
    assert [c.command_id for c in view.pending()] == ["late"]
    assert view.apply(models_key(command("late")), None) == Change("command", "water.tank", None)
    assert view.pending() == []


def test_a_tombstone_removes_only_what_its_key_names() -> None:
    view = ModelsView()
    refusal = Refusal(name="water.tank", version="0002", serving="0001", reason="hash", time_ns=1)
    for record in (version(1), version(2), alias(1), serving(4, 1), refusal):
        put(view, record)
    assert view.apply(models_key(serving(3, 1)), None) is None, "an older epoch's tombstone leaves the owner's record"
    assert view.serving("water.tank", 0) == serving(4, 1)
    for key in (models_key(version(2)), models_key(refusal), models_key(serving(4, 1)), models_key(alias(1))):
        assert view.apply(key, None) is not None
        assert view.apply(key, None) is None
    model = view.models["water.tank"]
    assert (list(model.versions), model.refusals, model.serving, model.alias) == (["0001"], {}, {}, None)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (None, alias(1).to_bytes(), "no-key"),
        (b"water.tank/alias", b"not json", "malformed"),
        (b"water.tank/alias", b'{"kind":"alias"}', "malformed"),
        (b"water.tank/alias", b'{"kind":"surprise"}', "malformed"),
        (b"water.pump/alias", alias(1).to_bytes(), "key-mismatch"),
    ],
)
def test_an_unreadable_record_is_skipped_and_counted_by_reason(
    key: bytes | None, value: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    view = ModelsView()
    assert view.apply(key, value) is None
    assert view.unreadable == {reason: 1}
    assert "models-record-skipped" in caplog.text
    assert view.alias("water.tank") is None
    assert view.alias("water.pump") is None


@given(st.one_of(st.none(), st.binary(max_size=60)), st.one_of(st.none(), st.binary(max_size=200)))
def test_no_bytes_make_the_fold_raise(key: bytes | None, value: bytes | None) -> None:
    view = ModelsView()
    put(view, version(1))
    view.apply(key, value)
    assert view.models["water.tank"].versions == {"0001": version(1)}


_RECORDS = st.lists(
    st.one_of(
        st.builds(version, st.integers(1, 3), st.sampled_from(["champion", "refused", "retired"]), st.integers(1, 9)),
        st.builds(alias, st.integers(1, 3), st.one_of(st.none(), st.integers(1, 3))),
        st.builds(serving, st.integers(1, 4), st.integers(1, 3), st.integers(0, 1)),
        st.builds(command, st.sampled_from("ab"), st.integers(1, 9)),
    ),
    max_size=20,
)


@given(_RECORDS)
def test_a_compacted_log_gives_the_same_view(records: list[Record]) -> None:
    whole, compacted = ModelsView(), ModelsView()
    newest = {models_key(record): index for index, record in enumerate(records)}  # type: ignore[arg-type]
    for index, record in enumerate(records):
        put(whole, record)  # type: ignore[arg-type]
        if newest[models_key(record)] == index:  # type: ignore[arg-type]
            put(compacted, record)  # type: ignore[arg-type]
    assert whole.models == compacted.models


@pytest.mark.kafka
async def test_a_follower_catches_up_and_then_sees_each_change(kafka: str, topic_prefix: str) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, partitions=1)
    producer = clients.producer(kafka, client_id="test")
    await producer.start()
    view, caught_up, swapped, stop, seen = ModelsView(), asyncio.Event(), asyncio.Event(), asyncio.Event(), list[Change]()

    def note(change: Change) -> None:
        seen.append(change)
        if change.record == alias(2, previous=1):
            swapped.set()

    try:
        for record in (version(1), alias(1)):
            await producer.send_and_wait(topics.models, key=models_key(record), value=record.to_bytes())
        await producer.send_and_wait(topics.models, key=b"junk", value=b"junk")
        task = asyncio.create_task(follow(kafka, topics, view, caught_up=caught_up, stop=stop, on_change=note))
        await asyncio.wait_for(caught_up.wait(), 120)
        assert view.alias("water.tank") == alias(1)
        await producer.send_and_wait(topics.models, key=models_key(alias(2)), value=alias(2, previous=1).to_bytes())
        await asyncio.wait_for(swapped.wait(), 120)
        stop.set()
        await asyncio.wait_for(task, 120)
        assert [change.kind for change in seen] == ["version", "alias", "alias"]
        assert (await read_models(kafka, topics)).models == view.models
        await asyncio.wait_for(view.reached(3), 60)
    finally:
        stop.set()
        await producer.stop()


def test_a_serving_record_is_written_as_every_record_is_and_an_updated_switch_anew() -> None:
    first = Switch(offset=1, version="0001-ä", sha256="ab", uri="file:///x")
    assert first.as_json == first.to_bytes()
    later = first.model_copy(update={"offset": 9, "event_ns": 7})
    record = Serving(name="water.tank", partition=3, epoch=2, switches=[first, later], time_ns=5)
    assert record.to_bytes() == Record.to_bytes(record)
    assert Serving.model_validate_json(record.to_bytes()).switches[1].offset == 9
