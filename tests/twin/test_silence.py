"""Who falls silent by which record: what is found in batches of any size is what is found record by record."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from twin.arena import Arena
from twin.reading import ReadingBatchBuilder
from twin.silence import ROUNDS, Silence
from twin.types import NS_PER_S, compile_type

TYPE = compile_type(
    {
        "@context": ["dtmi:dtdl:context;3", "dtmi:livetwin:extension:stream;1"],
        "@id": "dtmi:test:silence;1",
        "@type": "Interface",
        "samplingPeriod": "PT1S",
        "maxAhead": "PT1H",
        "contents": [{"@type": "Telemetry", "name": "flow", "schema": "double"}],
    }
)
Reading = tuple[int, str, int]  # partition, asset, second
Found = tuple[int, str, int, int, int]  # partition, asset, offset, last offset, since which second


@dataclass
class OneByOne:
    """The rule, straight: after each record look at every twin of its partition."""

    after: int
    follows: bool = False
    habit: dict[tuple[int, str], int] = field(default_factory=dict)  # 128 to a step, above a third of `after`
    first: dict[tuple[int, str], int] = field(default_factory=dict)
    last: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)  # newest second, last offset
    silent: set[tuple[int, str]] = field(default_factory=set)

    def take(self, offset: int, partition: int, asset: str, second: int) -> list[Found]:
        me = partition, asset
        self.first.setdefault(me, offset)
        if self.follows and me in self.last:
            self.habit[me] = self.moved(self.habit.get(me, 0), second - self.last[me][0])
        self.last[me] = max(second, self.last.get(me, (0, 0))[0]), offset
        self.silent.discard(me)
        mine = {who: told for who, told in self.last.items() if who[0] == partition}
        front = max(newest for newest, _ in mine.values())
        found = []
        for who, (newest, own) in mine.items():
            limit = self.after + 3 * self.habit.get(who, 0) // 128
            if who not in self.silent and front - newest > limit and (offset - own) // len(mine) > ROUNDS:
                self.silent.add(who)
                found.append((*who, offset, own, newest + 1 + limit))
        return found

    def moved(self, habit: int, pause: int) -> int:
        beyond = 128 * (pause - -(-self.after // 3))
        return min(habit + 128, beyond, 128 * 11 * -(-self.after // 3)) if beyond > habit else max(0, habit - 1)


def log_of(seed: int, twins: int, partitions: int) -> list[tuple[int, Reading]]:
    """Twins that send in any order, some late, some not at all for a while."""
    chance = random.Random(seed)
    clock, offsets, back, made = 1000, [0] * partitions, dict[int, int](), list[tuple[int, Reading]]()
    for turn in range(400):
        clock += chance.random() < 0.7
        twin = chance.randrange(twins * partitions)
        if back.get(twin, 0) > turn:
            continue
        if chance.random() < 0.03:
            back[twin] = turn + chance.randrange(20, 200)
        partition = twin % partitions
        late = chance.randrange(30) if chance.random() < 0.05 else 0
        made.append((offsets[partition], (partition, f"twin-{twin}", clock - late)))
        offsets[partition] += 1
    return made


def in_batches(log: list[tuple[int, Reading]], size: int, after: int, *, follows: bool = False) -> list[Found]:
    arena = Arena(TYPE, capacity=2)
    silence, found = Silence(arena, after, follows=follows), list[Found]()
    for start in range(0, len(log), size):
        builder = ReadingBatchBuilder(1)
        for offset, (partition, asset, second) in log[start : start + size]:
            builder.add(arena.row(asset, partition), [0], second * NS_PER_S, [1.0], offset, second * NS_PER_S)
        batch = builder.build()
        silence.meet(batch)
        for fall in silence.follow(batch):
            since = fall.time_ns // NS_PER_S
            found.append((fall.partition, str(arena.asset_of[fall.row]), fall.offset, fall.last_offset, since))
        arena.fold(batch)
    return sorted(found)


@pytest.mark.parametrize(("after", "follows"), [(3, False), (12, False), (3, True), (12, True)])
def test_batches_of_any_size_find_what_is_found_record_by_record(after: int, follows: bool) -> None:
    several = 0
    for seed in range(24):
        log = log_of(seed, twins=1 + seed % 5, partitions=1 + seed % 2)
        rule = OneByOne(after, follows)
        expected = sorted(one for offset, reading in log for one in rule.take(offset, *reading))
        several += len(expected)
        for size in (1, 7, 50, 1000):
            assert in_batches(log, size, after, follows=follows) == expected
    assert several > 20


def at_random(pause_s: float, *, stops: int | None = None) -> list[tuple[int, Reading]]:
    """Eight twins that send at random times for six hours; one of them no more from `stops` on."""
    chance = random.Random(4)
    sent = []
    for twin in range(8):
        second = 1000.0
        while (second := second + chance.expovariate(1 / pause_s)) < (stops if stops and twin == 0 else 22_600):
            sent.append((int(second), f"twin-{twin}"))
    return [(offset, (0, asset, second)) for offset, (second, asset) in enumerate(sorted(sent))]


@pytest.mark.parametrize("pause_s", [2.0, 5.0, 10.0])
def test_a_twin_that_sends_at_random_is_given_as_long_as_it_pauses_by_habit(pause_s: float) -> None:
    known = 1000 + 200 * pause_s  # from here on habits are known
    found = [one for one in in_batches(at_random(pause_s), 500, 12, follows=True) if one[4] > known]
    fixed = [one for one in in_batches(at_random(pause_s), 500, 12) if one[4] > known]
    assert len(found) <= 2
    assert len(fixed) > 20 or pause_s == 2.0
    stopped = in_batches(at_random(pause_s, stops=15_000), 500, 12, follows=True)
    (since,) = [since for _, asset, _, _, since in stopped if asset == "twin-0" and since > known]
    assert 0 < since - 15_000 < 20 * pause_s


def test_one_long_pause_of_a_regular_twin_changes_little() -> None:
    seconds = [*range(1000, 3000), *range(5000, 5200)]
    log = sorted([(second, "a") for second in seconds] + [(second, name) for second in range(1000, 6000) for name in "bc"])
    found = in_batches([(offset, (0, asset, second)) for offset, (second, asset) in enumerate(log)], 50, 12, follows=True)
    assert [(asset, since) for _, asset, _, _, since in found] == [("a", 3000 + 12), ("a", 5200 + 12)]


def test_a_reading_too_far_ahead_makes_nobody_silent() -> None:
    arena = Arena(TYPE)
    silence, builder = Silence(arena, 12), ReadingBatchBuilder(1)
    for offset in range(40):
        ahead = 7200 if offset > 20 else 0
        builder.add(arena.row("a" if offset else "b", 0), [0], (1000 + ahead) * NS_PER_S, [1.0], offset, 1000 * NS_PER_S)
    batch = builder.build()
    silence.meet(batch)
    assert silence.follow(batch) == []


def test_a_backlog_that_comes_twin_by_twin_makes_nobody_silent() -> None:
    arena = Arena(TYPE)
    silence = Silence(arena, 12)
    for offset, (asset, seconds) in enumerate([*((name, 1) for name in "abc"), *((name, 300) for name in "abc")]):
        builder = ReadingBatchBuilder(1)
        for second in range(seconds):
            builder.add(arena.row(asset, 0), [0], (1000 + second) * NS_PER_S, [1.0], offset, 2000 * NS_PER_S)
        batch = builder.build()
        silence.meet(batch)
        assert silence.follow(batch) == []
        arena.fold(batch)


def of_two_types(days: list[list[str]], size: int) -> list[tuple[str, int]]:
    """Who falls silent by which offset where each asset sends a whole day in one record; `size` records at once."""
    arenas = {"a": Arena(TYPE), "o": Arena(TYPE)}  # by the first letter of an asset
    silences = {name: Silence(arena, 12, arenas.values) for name, arena in arenas.items()}
    sent = [(day, asset) for day, assets in enumerate(days) for asset in assets]
    found = []
    for start in range(0, len(sent), size):
        builders = {name: ReadingBatchBuilder(1) for name in arenas}
        for offset, (day, asset) in enumerate(sent[start : start + size], start):
            row = arenas[asset[0]].row(asset, 0)
            for second in range(day * 300, (day + 1) * 300):
                builders[asset[0]].add(row, [0], (1000 + second) * NS_PER_S, [1.0], offset, 4000 * NS_PER_S)
        batches = {name: one.build() for name, one in builders.items()}
        for name, batch in batches.items():
            silences[name].meet(batch)
        for name, batch in batches.items():
            found += [(str(arenas[name].asset_of[fall.row]), fall.offset) for fall in silences[name].follow(batch)]
            arenas[name].fold(batch)
    return sorted(found)


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_records_of_other_types_are_no_rounds_of_this_one(size: int) -> None:
    others = [f"o{number}" for number in range(12)]
    everyone = ["a1", *others, "a2"]
    assert of_two_types([everyone] * 6, size) == []
    without = [everyone, *[["a1", *others]] * 7]  # a2 sends its first day only
    assert of_two_types(without, size) == of_two_types(without, 1)
    assert [asset for asset, _ in of_two_types(without, size)] == ["a2"]
