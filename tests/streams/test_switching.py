"""Switches of a partition: which are kept, and that no output of a version goes out before the version is announced."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from deploy.topics import ensure_topics
from models import version as version_file
from streams import clients, switching
from streams.micro_batch import Announcement, Reached
from streams.model_records import ModelAlias, Refusal, Serving, Switch, models_key
from streams.outbox import Outbox
from streams.owned import Owned
from streams.shipping import ProcessorStats, Shipping
from streams.switching import Switched
from streams.topics import Topics
from tests.streams.plant import TYPE, trained
from tests.streams.test_partitions_overlap import Owner, batches


def switch(offset: int) -> Switch:
    return Switch(offset=offset, version=f"v{offset}", sha256="", uri="")


@given(
    offsets=st.lists(st.integers(0, 30), max_size=12, unique=True).map(sorted),
    scored=st.integers(0, 40),
    settled=st.integers(0, 40),
    begin=st.integers(0, 40),
    most=st.integers(1, 6),
)
def test_of_switches_before_the_log_began_the_newest_is_kept_and_of_all_the_newest_most(
    offsets: list[int], scored: int, settled: int, begin: int, most: int
) -> None:
    owned = Owned(
        position=50, silent_until=0, epoch=1, begin=begin, mark=0, settled_until=settled, scored=Reached(scored, scored),
        switches={"tank": [switch(offset) for offset in offsets]}, newest_ns={"tank": 7},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(switching, "MOST_SWITCHES", most)
        found = switching._with(switch(999), owned, "tank")

    offset = max([scored, settled, *offsets])
    before = [one for one in offsets if one < offset]
    past = [one for one in before if one <= begin]
    kept = [*past[-1:], *(one for one in before if one > begin)]
    assert [one.offset for one in found] == [*(kept[-(most - 1) :] if most > 1 else []), offset]
    assert (found[-1].version, found[-1].event_ns) == ("v999", 7)
    assert [one.offset for one in owned.switches["tank"]] == offsets


@pytest.mark.kafka
async def test_no_output_goes_out_before_the_version_that_made_it_is_announced(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, 2)
    owner = Owner(tmp_path, topics)
    partitions, go = owner.partitions, threading.Event()
    made = partitions.switching.announcements

    def late(switched: list[Switched]) -> list[Announcement]:
        assert not switched or go.wait(60)
        return made(switched)

    monkeypatch.setattr(partitions.switching, "announcements", late)
    async with clients.producer(kafka, client_id="test") as producer, clients.consumer(kafka, client_id="test") as consumer:

        async def written() -> int:
            await outbox.acknowledged()
            places = [TopicPartition(topics.history, partition) for partition in (0, 1)]
            return int(sum((await consumer.end_offsets(places)).values()))

        outbox = Outbox(producer)
        shipping = Shipping(producer, outbox, topics, partitions, ProcessorStats())
        waiting = iter(batches())
        before = 0
        for _ in range(3):
            await shipping.ship(partitions.score(partitions.fold(next(waiting))))
        await owner.promote(trained())
        await shipping.ship(partitions.score(partitions.fold(next(waiting))))
        before = await written()

        outputs = partitions.score(partitions.fold(next(waiting)))  # scoring goes on meanwhile
        assert any(topic == topics.history for topic, *_ in outputs.records)
        following = asyncio.create_task(shipping.ship(outputs))
        done, _ = await asyncio.wait({following}, timeout=0.5)
        assert not done
        assert await written() == before
        go.set()
        await following
        assert await written() > before
        records = await clients.read_to_end(kafka, topics.models)
    served = [Serving.model_validate_json(record.value) for record in records]
    assert {one.partition for one in served} == {0, 1}
    assert {models_key(one) for one in served} == {record.key for record in records}


async def test_what_takes_too_long_between_two_batches_is_switched_after_the_next_one(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    kinds = [TYPE, *(replace(TYPE, id=f"dtmi:x:Other{number};1") for number in range(2))]
    path = tmp_path / "1.safetensors"
    sha256 = version_file.save(trained(), path)
    for kind in kinds:
        alias = ModelAlias(
            name=kind.slug,
            type=kind.id,
            champion=trained().version,
            champion_sha256=sha256,
            champion_uri=path.as_uri(),
            since_ns=0,
        )
        change = owner.view.apply(models_key(alias), alias.to_bytes())
        assert change is not None
        owner.champions.on_change(change)
    await owner.champions.load_now({kind.id: kind for kind in kinds})
    switch_ready = owner.partitions.switching.switch_ready
    first, *others = sorted(kind.slug for kind in kinds)
    assert [(one.name, one.partition) for one in switched(switch_ready(0, within_s=0.0))] == [(first, 0), (first, 1)]
    assert {one.name for one in switched(switch_ready(0))} == set(others)
    assert switch_ready(0) == []


def switched(found: list[Switched | Refusal]) -> list[Switched]:
    assert all(isinstance(one, Switched) for one in found), found
    return [one for one in found if isinstance(one, Switched)]
