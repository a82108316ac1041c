"""Seasons of the water plant with injected faults: what is injected comes, nothing overlaps, a seed gives the same again."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import orjson
import pytest
from rich.console import Console

from deploy.eval import recorded
from deploy.eval.host_season import HostSeason
from deploy.eval.watching import Watch
from deploy.eval.water import SMALL, Plan, evaluate_water
from deploy.eval.water_faults import KINDS, PROCESS_KINDS, SENSOR_KINDS, SHARES, Fault
from deploy.eval.water_season import DAY, PARALLEL, SETTLING_STEPS, STEP_S, WaterSeason, definitions
from deploy.feeds.leaks import default_leak_lps
from streams.log_record import PlainRecord
from twin.quality import Quality

Series = dict[str, dict[str, dict[int, float]]]  # asset → channel → step → value


def series(records: list[PlainRecord], step_s: int = STEP_S) -> Series:
    found: Series = {}
    for record in records:
        content = orjson.loads(record.value or b"")
        asset, times = content.pop("asset"), content.pop("time")
        for channel, values in content.items():
            of = found.setdefault(asset, {}).setdefault(channel, {})
            of.update(zip((time // step_s for time in times), values, strict=True))
    return found


@pytest.fixture(scope="module")
def disturbed() -> tuple[WaterSeason, list[PlainRecord]]:
    season = WaterSeason(seed=11, kinds=(*KINDS, "offset", "stuck", "noise"))
    return season, [record for records in season.hours() for record in records]


def test_every_kind_is_injected_and_no_fault_stands_in_the_window_of_another(
    disturbed: tuple[WaterSeason, list[PlainRecord]],
) -> None:
    season, _ = disturbed
    assert sorted(one.kind for one in season.faults) == sorted((*KINDS, "offset", "stuck", "noise"))
    fleet = definitions().fleet
    at_once = 0
    for one, other in combinations(season.faults, 2):
        if one.onset == other.onset:
            at_once += 1
            assert not one.of_process
            assert not other.of_process
            assert other.asset not in {one.asset} | fleet.neighbours(one.asset)
        else:
            first, second = sorted((one, other), key=lambda fault: fault.onset)
            assert second.onset > first.end + SETTLING_STEPS["process" if first.of_process else "sensor"]
    assert at_once > PARALLEL  # pairs


def test_the_same_seed_gives_the_same_records_and_another_one_others(disturbed: tuple[WaterSeason, list[PlainRecord]]) -> None:
    _, records = disturbed
    again = WaterSeason(seed=11, kinds=(*KINDS, "offset", "stuck", "noise"))
    first_day = [record.value for _, hour in zip(range(40), again.hours(), strict=False) for record in hour]
    assert first_day == [record.value for record in records[: len(first_day)]]
    other = next(WaterSeason(seed=12, kinds=KINDS).hours())
    assert [one.value for one in other] != first_day[: len(other)]
    assert [record.offset for record in records] == list(range(len(records)))


def test_readings_are_those_of_a_season_without_faults_changed_as_each_fault_says(
    disturbed: tuple[WaterSeason, list[PlainRecord]],
) -> None:
    season, records = disturbed
    found = series(records)

    def during(fault: Fault, channel: str) -> np.ndarray:
        return np.array([found[fault.asset][channel].get(step, np.nan) for step in range(fault.onset, fault.end)])

    for fault in season.faults:
        channel = fault.channels[0]
        before = np.array([found[fault.asset][channel][step] for step in range(fault.onset - 12, fault.onset)])
        values = during(fault, channel)
        if fault.kind == "gap":
            assert np.isnan(values).all()
            assert fault.end in found[fault.asset][channel]  # and then it is back
        elif fault.kind in ("frozen", "stuck"):
            assert all(np.ptp(during(fault, name)) == 0 for name in fault.channels)
        elif fault.kind == "closed-main":
            assert np.abs(values).max() < 1
        elif fault.kind == "pump-trip":
            assert before[-1] > 10
            assert np.abs(values).max() < 1
            assert during(fault, "command")[0] == 1
        elif fault.kind == "unit":
            assert values[0] / before[-1] == pytest.approx(fault.size, rel=0.5)
        elif fault.kind == "leak":
            low, high = SHARES["leak"]
            assert low <= fault.size / default_leak_lps(fault.asset.removeprefix("junction-")) <= high


@pytest.mark.parametrize(("faults", "count"), [(20, 1), (120, 3), (240, 5), (1000, 20)])
def test_a_plan_spreads_every_kind_evenly_over_its_seasons(faults: int, count: int) -> None:
    seasons = Plan(faults=faults, seed=0).seasons()
    assert len(seasons) == count
    assert sorted(kind for kinds in seasons for kind in kinds) == sorted(KINDS * (faults // len(KINDS)))
    for kinds in seasons:
        found = {kinds.count(kind) for kind in (*PROCESS_KINDS, *SENSOR_KINDS)}
        assert max(found) - min(found) <= 1


def test_a_watch_closes_every_step_with_the_streams_quality_and_learning_twins_raise_nothing() -> None:
    season = WaterSeason(seed=5, kinds=("frozen", "gap"))  # of two mains
    watch = Watch(season, {}, kept_steps=2 * DAY)
    watch.run()
    seen = watch.result()
    assert seen.alerts == []
    frozen, gap = sorted(season.faults, key=lambda one: one.kind)
    assert [asset for asset, _ in seen.silent] == [gap.asset]
    assert gap.onset + 12 < seen.silent[0][1] < gap.onset + 36
    (found,) = (one for one in seen.by_type.values() if frozen.asset in one.assets)
    marked = found.marked[found.assets.index(frozen.asset)]
    first = frozen.onset - seen.first_step
    assert not marked[:first].any()
    assert marked[first + 12 : first + 100].all()
    kept = watch.kept(next(kind for kind, one in seen.by_type.items() if one is found))
    stuck = kept.quality[kept.assets.index(frozen.asset)] & int(Quality.STUCK)
    assert stuck.any()


@pytest.mark.slow
def test_a_few_faults_are_found_as_well_as_when_the_figures_were_recorded() -> None:
    found = {SMALL.name: evaluate_water(SMALL, Console(quiet=True))}
    assert {one.measure for one in found[SMALL.name] if one.measure.endswith(", faults")} == {
        f"water, {kind}, faults" for kind in (*KINDS, "all")
    }
    compared = recorded.compare(found, recorded.read(recorded.RECORDED))
    assert compared.fallen == []


def test_computers_stay_within_what_their_type_allows_and_differ_from_each_other_and_from_week_to_week() -> None:
    one, again, other = (HostSeason(seed=seed, fleet_seed=1, computers=3, days=1) for seed in (1, 1, 2))
    first, same, later = (series([record for hour in season.hours() for record in hour], 60) for season in (one, again, other))
    assert first == same != later
    (kind,) = one.definitions.types.values()
    assert kind.channel_names == one.layout[kind.id][1]
    busy = []
    for asset in one.layout[kind.id][0]:
        for channel in kind.channels:
            values = np.array(list(first[asset][channel.name].values()))
            assert len(values) == 1440
            assert channel.minimum is None or values.min() >= channel.minimum
            assert channel.maximum is None or values.max() <= channel.maximum
        busy.append(float(np.median(list(first[asset]["cpu"].values()))))
    assert np.ptp(busy) > 2
