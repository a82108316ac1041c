"""How often twins alarm beside how often they were to: told by processors as their own signals have it, and summed."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from models.windows import DAY_NS
from streams.alarm_rates import AlarmCount, AlarmRate, of_model
from streams.gateway.views import AlarmRatesView
from streams.micro_batch import Outputs
from streams.records import Signal
from tests.streams.plant import ASSETS, TYPE, trained
from tests.streams.test_partitions_overlap import Owner, batches

TOLD = AlarmRate(
    model="m",
    type="dtmi:x;1",
    partition=0,
    epoch=2,
    time_ns=30 * DAY_NS,
    version="2",
    target=0.02,
    twins=10,
    week=AlarmCount(twin_days=70.0, alarms=2, expected=1.4),
    since_version=AlarmCount(twin_days=20.0, alarms=1, expected=0.4),
)


async def outcome(owner: Owner, *, most: int = 99, swap_at: int | None = None) -> list[Outputs]:
    """Outputs of each of up to `most` batches; another version serves after batch `swap_at`."""
    found = []
    await owner.promote(trained())
    owner.partitions.switching.switch_ready(0)
    for number, batch in enumerate(batches()[:most]):
        outputs = owner.partitions.score(owner.partitions.fold(batch))
        owner.partitions.passed(outputs)
        found.append(outputs)
        if number == swap_at:
            await owner.promote(trained(2))
            owner.partitions.switching.switch_ready(0)
    return found


def values(outputs: list[Outputs], topic: str) -> list[bytes]:
    return [value for one in outputs for name, _, _, value, _ in one.records if name.endswith(topic)]


def rates(outputs: list[Outputs]) -> dict[int, AlarmRate]:
    """The newest of each partition."""
    found = [AlarmRate.model_validate_json(value) for value in values(outputs, "monitoring")]
    return {rate.partition: rate for rate in found}


def raised(outputs: list[Outputs]) -> int:
    signals = [Signal.model_validate_json(value) for value in values(outputs, "signals")]
    return sum(signal.condition == "anomaly" and signal.kind == "raise" for signal in signals)


async def test_a_processor_tells_the_alarms_that_it_signalled_in_a_week_and_under_each_version(tmp_path: Path) -> None:
    found = await outcome(Owner(tmp_path, rates_every_s=0.0), swap_at=9)
    before, after = of_model(rates(found[:10]).values()), of_model(rates(found).values())
    assert before is not None
    assert after is not None
    assert (before.newest.model, before.newest.target, before.newest.version) == (TYPE.slug, 50, trained().version)
    assert before.week.alarms == before.since_version.alarms == raised(found[:10]) > 0
    steps = before.week.twin_days * DAY_NS / TYPE.period_ns
    assert 0 < steps < sum(one.counts["scored"] for one in found[:10])  # less those whose window held too little
    assert before.week.expected == pytest.approx(50 * before.week.twin_days, rel=1e-3)
    assert (after.newest.version, after.twins) == (trained(2).version, len(ASSETS))
    assert after.week.alarms == raised(found)
    assert 0 < after.since_version.twin_days < after.week.twin_days - before.week.twin_days + 1e-6


async def test_it_is_told_once_in_a_while_and_not_of_what_is_out_already(tmp_path: Path) -> None:
    once = await outcome(Owner(tmp_path), most=3)
    told = [key or b"" for one in once for topic, _, key, *_ in one.records if topic.endswith("monitoring")]
    assert sorted(told) == [f"alarms/{TYPE.slug}/{partition}".encode() for partition in (0, 1)]
    again = Owner(tmp_path, committed=10**6, rates_every_s=0.0)
    assert rates(await outcome(again, most=2)) == {}


def test_partitions_are_summed_and_old_owners_and_words_do_not_count() -> None:
    view = AlarmRatesView()
    other = TOLD.model_copy(update={"partition": 1, "time_ns": TOLD.time_ns + 1, "twins": 5})
    assert view.put(TOLD)
    assert view.put(other)
    assert not view.put(TOLD.model_copy(update={"epoch": 1, "time_ns": TOLD.time_ns + 99, "twins": 99}))
    assert not view.put(TOLD.model_copy(update={"time_ns": TOLD.time_ns - 1, "twins": 99}))
    found = view.of("m")
    assert found is not None
    assert (found.newest, found.twins, found.week.alarms, found.week.ratio) == (other, 15, 4, 1.4286)
    assert view.put(other.model_copy(update={"time_ns": TOLD.time_ns + 2, "version": "3"}))
    found = view.of("m")
    assert found is not None
    assert (found.twins, found.week.alarms, found.since_version.alarms) == (5, 4, 1)  # partition 0 has not switched yet
    assert view.put(other.model_copy(update={"time_ns": TOLD.time_ns + 8 * DAY_NS, "version": "3"}))
    found = view.of("m")
    assert found is not None
    assert found.week.alarms == 2  # partition 0 was not heard of in that week
    assert view.of("n") is None


def test_nothing_asked_for_has_no_ratio() -> None:
    assert AlarmCount(twin_days=0.0, alarms=0, expected=0.0).ratio is None
    assert set(orjson.loads(TOLD.to_bytes())) >= {"kind", "model", "partition", "epoch", "week", "since_version"}
