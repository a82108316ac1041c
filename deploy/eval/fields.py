"""Fields: made-up plants, servers, spacecraft and meters whose faults differ in kind; each kind is drawn from a seed.

In:   a seed.
Out:  per kind the VUS-PR of the score beside that of simple detectors, faults alerted, and false alerts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deploy.bench.figures import Figure
from deploy.eval.field_parts import driven, stretches, wandering
from deploy.eval.made_up import Series, scored
from deploy.eval.simple_detectors import SIMPLE

SECOND = 10**9
EACH = 2  # series of each kind


def shifts(seed: int) -> Series:
    """Twenty channels that three causes drive; one of them is off by one to three of its spreads for a while."""
    draw = np.random.default_rng(seed)
    x, faults = driven(draw, 4000, 20, causes=3, noise=0.3), []
    spread = x[:1500].std(axis=0)
    for first, end in stretches(draw, 1500, 4000, count=6, length=(40, 250)):
        channel = draw.integers(20)
        x[first:end, channel] += draw.choice([-1, 1]) * draw.uniform(1.0, 3.0) * spread[channel]
        faults.append((first, end))
    return Series(SECOND, 1500, x * 10.0 ** draw.uniform(-2, 3, 20) + draw.uniform(-50, 50, 20), faults)


def couplings(seed: int) -> Series:
    """Ten channels that two causes drive; one then does what it would have done at another time."""
    draw = np.random.default_rng(seed)
    x, faults = driven(draw, 4000, 10, causes=2, noise=0.15), []
    for first, end in stretches(draw, 1500, 4000, count=5, length=(60, 250)):
        channel, away = draw.integers(10), int(draw.integers(300, 1000))
        x[first:end, channel] = x[first - away : end - away, channel]
        faults.append((first, end))
    return Series(SECOND, 1500, x, faults)


def rhythms(seed: int) -> Series:
    """Three channels of one unsteady rhythm; it becomes smaller, larger, faster or slower."""
    draw = np.random.default_rng(seed)
    steps, normal = 5000, 2000
    size, speed, faults = np.ones(steps), np.ones(steps), []
    for number, (first, end) in enumerate(stretches(draw, normal, steps, count=6, length=(100, 300))):
        (size if number % 2 else speed)[first:end] = draw.choice([0.6, 0.7, 1.4, 1.6])
        faults.append((first, end))
    angle = np.cumsum(2 * np.pi / draw.integers(30, 80) * speed * (1 + 0.2 * wandering(draw, steps, 40)))
    x = np.column_stack([size * np.sin(angle + turn) + 0.3 * np.sin(2 * angle + 2 * turn) for turn in (0.0, 0.9, 2.1)])
    return Series(SECOND // 50, normal, x + 0.05 * draw.normal(size=x.shape), faults)


def ramps(seed: int) -> Series:
    """Six channels over days; one goes off slowly, by two to four spreads in some hundred steps, and is back at once."""
    draw = np.random.default_rng(seed)
    steps, normal = 5000, 2500
    day = np.sin(2 * np.pi * np.arange(steps) / 288)[:, None] * draw.uniform(0.5, 1.5, 6)
    x, faults = day + driven(draw, steps, 6, causes=2, noise=0.3), []
    for first, end in stretches(draw, normal, steps, count=4, length=(150, 400)):
        channel = draw.integers(6)
        x[first:end, channel] += (
            np.linspace(0, draw.choice([-1, 1]) * draw.uniform(2, 4), end - first) * x[:normal, channel].std()
        )
        faults.append((first, end))
    return Series(300 * SECOND, normal, x, faults)


def bursts(seed: int) -> Series:
    """Eight noisy channels; for some dozen steps every fourth value or so of two of them is far off."""
    draw = np.random.default_rng(seed)
    x, faults = driven(draw, 4000, 8, causes=2, noise=0.5), []
    for first, end in stretches(draw, 1500, 4000, count=8, length=(12, 60)):
        for channel in draw.choice(8, 2, replace=False):
            hit = draw.random(end - first) < 0.25
            hit[0] = True
            x[first:end, channel] += hit * draw.normal(size=end - first) * 6 * x[:1500, channel].std()
        faults.append((first, end))
    return Series(60 * SECOND, 1500, x, faults)


def constants(seed: int) -> Series:
    """Fifteen channels of a server, five of which rest while learnt; one of these moves, or one that moves rests."""
    draw = np.random.default_rng(seed)
    x, faults = np.abs(driven(draw, 4000, 15, causes=2, noise=0.3)), []
    x[:, 10:] = draw.choice([0.0, 0.0, 1.0, 37.5], 5)
    for number, (first, end) in enumerate(stretches(draw, 1500, 4000, count=6, length=(30, 200))):
        channel = int(draw.integers(10) if number % 2 else draw.integers(10, 15))
        if number % 2:
            x[first:end, channel] = x[first, channel]
        else:
            x[first:end, channel] += 0.05 * np.abs(draw.normal(size=end - first)) if draw.random() < 0.5 else 1.0
        faults.append((first, end))
    return Series(60 * SECOND, 1500, x, faults)


def actuators(seed: int) -> Series:
    """Six switches in a fixed order and the three flows they make; a switch is left out, or one comes on out of turn."""
    draw = np.random.default_rng(seed)
    steps, normal = 5000, 2500
    on, at = np.zeros((steps, 6)), 0
    while at < steps:
        for one in range(6):
            lasts = int(draw.integers(15, 30))
            on[at : at + lasts, one] = 1
            at += lasts
        at += int(draw.integers(10, 30))
    faults = []
    for number, (first, end) in enumerate(stretches(draw, normal, steps, count=5, length=(60, 220))):
        on[first:end, draw.integers(6)] = 0 if number % 2 else 1
        faults.append((first, end))
    flow = on @ (draw.uniform(0.5, 2.0, (6, 3)) * (draw.random((6, 3)) < 0.6))
    flow = np.apply_along_axis(lambda one: np.convolve(one, np.exp(-np.arange(20) / 5) / 5)[:steps], 0, flow)
    return Series(SECOND, normal, np.column_stack([on, flow + 0.03 * draw.normal(size=flow.shape)]), faults)


def walks(seed: int) -> Series:
    """Four channels that wander for ever beside four that do not; two of them part, or one of the others becomes unsteady."""
    draw = np.random.default_rng(seed)
    steps, normal = 4000, 2000
    walk = np.cumsum(draw.normal(size=(steps, 2)), axis=0)
    x = np.column_stack([walk, walk * 1.5 + 1.0, driven(draw, steps, 4, causes=1, noise=0.4)])
    x[:, :4] += draw.normal(size=(steps, 4))
    faults = []
    for number, (first, end) in enumerate(stretches(draw, normal, steps, count=5, length=(50, 200))):
        if number % 2:
            x[first:end, 4 + draw.integers(4)] += 2.0 * draw.normal(size=end - first)
        else:
            x[first:end, draw.integers(4)] += draw.choice([-8.0, 8.0])
        faults.append((first, end))
    return Series(10 * SECOND, normal, x, faults)


def tails(seed: int) -> Series:
    """Ten channels of heavy-tailed noise, so that single values far off are normal; a level moves, or the spread doubles."""
    draw = np.random.default_rng(seed)
    x, faults = driven(draw, 4000, 10, causes=2, noise=0.2) + 0.3 * draw.standard_t(2.5, (4000, 10)), []
    for number, (first, end) in enumerate(stretches(draw, 1500, 4000, count=5, length=(50, 250))):
        some = draw.choice(10, 3, replace=False)
        if number % 2:
            x[first:end, some] += draw.choice([-1, 1], 3) * 1.5
        else:
            x[first:end, some] += 0.6 * draw.standard_t(2.5, (end - first, 3))
        faults.append((first, end))
    return Series(60 * SECOND, 1500, x, faults)


def regimes(seed: int) -> Series:
    """Six channels at three levels of work, one of which is seen in a twentieth of the time; then channels of two at once."""
    draw = np.random.default_rng(seed)
    steps, normal = 5000, 2500
    level, work, at = draw.normal(size=(3, 6)) * 2, np.zeros(steps, np.int64), 0
    while at < steps:
        lasts, work_now = int(draw.integers(60, 180)), int(draw.choice(3, p=[0.6, 0.35, 0.05]))
        work[at : at + lasts] = work_now
        at += lasts
    work[400:500] = 2
    x, faults = level[work] + driven(draw, steps, 6, causes=2, noise=0.2) * 0.5, []
    for first, end in stretches(draw, normal, steps, count=5, length=(40, 160)):
        some = draw.choice(6, 3, replace=False)
        other = (work[first:end] + 1 + draw.integers(2)) % 3
        x[first:end, some] += level[other][:, some] - level[work[first:end]][:, some]
        faults.append((first, end))
    return Series(5 * SECOND, normal, x, faults)


EARLIER = (shifts, couplings, rhythms, ramps, bursts, constants, actuators, walks, tails, regimes)


def points(seed: int) -> Series:
    """One channel by the hour, with days and weeks; single values are off."""
    draw = np.random.default_rng(seed)
    steps, normal = 1440, 420
    at = np.arange(steps)
    x = 20 * np.sin(2 * np.pi * at / 24) + 10 * np.sin(2 * np.pi * at / 168) + 4 * np.sin(2 * np.pi * at / 12)
    x += draw.uniform(1, 4) * draw.normal(size=steps)
    faults = []
    for first, _ in stretches(draw, normal, steps, count=8, length=(1, 2)):
        x[first] += draw.choice([-1, 1]) * draw.uniform(15, 40)
        faults.append((first, first + 1))
    return Series(3600 * SECOND, normal, x[:, None] + 100, faults)


def commands(seed: int) -> Series:
    """One noisy channel beside 24 commands that seldom come; it stands still, swings less, or stands higher."""
    draw = np.random.default_rng(seed)
    steps, normal = 6000, 2500
    sent = (draw.random((steps, 24)) < draw.choice([0, 0.005, 0.02, 0.05], 24)).astype(float)
    angle = 2 * np.pi * np.arange(steps) / draw.integers(60, 300)
    x = (np.sin(angle) + 0.3 * np.sin(3 * angle), 0.5 * np.sign(np.sin(angle)), 0.3 * wandering(draw, steps, 40))[seed % 3]
    x = x + 0.07 * draw.normal(size=steps) + 0.4 * np.convolve(sent[:, 3], np.exp(-np.arange(30) / 8))[:steps]
    faults = []
    for number, (first, end) in enumerate(stretches(draw, normal, steps, count=4, length=(40, 300))):
        part = x[first:end].copy()
        x[first:end] = (part[0], 0.4 * part + 0.2, part + 0.6, part[-1])[number]
        faults.append((first, end))
    return Series(60 * SECOND, normal, np.column_stack([x, sent]), faults)


def counters(seed: int) -> Series:
    """Eight switches in one of two orders, four strokes and a counter of pieces; a switch sticks, or all stands still."""
    draw = np.random.default_rng(seed)
    steps, normal = 8000, 3000
    x, at, orders = np.zeros((steps + 50, 13)), 0, [draw.permutation(8) for _ in range(2)]
    while at < steps:
        for one in orders[int(draw.random() < 0.3)]:
            lasts = int(draw.integers(16, 21)) if at < steps else 0
            x[at : at + lasts, one] = 1
            x[at : at + lasts, 8 + one % 4] = np.sin(np.pi * np.arange(lasts) / max(lasts, 1))
            at += lasts
        at += int(draw.integers(20, 40))
    x = x[:steps]
    x[:, 12] = np.cumsum(x[:, 0]) / 50
    faults = list(stretches(draw, normal, steps, count=4, length=(40, 200)))
    for number, (first, end) in enumerate(faults):
        if number % 2:
            x[first:end, draw.integers(8)] = 1
        else:
            x[first:end, :12] = x[first, :12]
    x[:, 8:12] += 0.02 * draw.normal(size=(steps, 4))
    return Series(SECOND // 5, normal, x, faults)


def stations(seed: int) -> Series:
    """Five tanks that fill and empty, of ten channels each, half of them switches; a level goes its way, or a switch does."""
    draw = np.random.default_rng(seed)
    steps, normal, found, switches = 9000, 4000, [], []
    for _ in range(5):
        level, on, speed = 50.0, 1.0, draw.uniform(0.5, 1.5)
        need = 1 + 0.15 * wandering(draw, steps, 80)
        levels, filling = np.zeros(steps), np.zeros(steps)
        for at in range(steps):
            on = 0.0 if level > 80 else 1.0 if level < 20 else on
            level += speed * (0.5 if on else -0.4) * max(need[at], 0.1)
            levels[at], filling[at] = level, on
        noise = draw.normal(size=(steps, 3)) * [0.2, 0.03, 0.03]
        flows = np.column_stack([levels, 2.4 * filling, (1 - filling) * need]) + noise
        slow = np.column_stack([7 + 0.1 * wandering(draw, steps, 200), 300 + 5 * wandering(draw, steps, 400)])
        found += [*flows.T, *slow.T]
        switches += [filling, 1 - filling, np.ones(steps), np.zeros(steps), np.arange(steps) // 700 % 2.0]
    x, states = np.column_stack(found), np.column_stack(switches)
    faults = list(stretches(draw, normal, steps, count=6, length=(60, 400)))
    for number, (first, end) in enumerate(faults):
        tank = 5 * int(draw.integers(5))
        if number % 3 == 0:
            states[first:end, tank + 2] = 0
        elif number % 3 == 1:
            x[first:end, tank] = x[first, tank] + np.linspace(0, draw.choice([-25, 25]), end - first)
        else:
            states[first:end, tank] = 1 - states[first, tank]
            x[first:end, tank + 1] = 2.4 * states[first, tank]
    return Series(SECOND, normal, np.column_stack([x, states]), faults)


KINDS: dict[str, Callable[[int], Series]] = {one.__name__: one for one in (*EARLIER, points, commands, counters, stations)}


def evaluate_fields(seed: int) -> list[Figure]:
    """EACH series of each kind."""
    found: list[Figure] = []
    beside: dict[str, list[float]] = {name: [] for name in ("livetwin", *SIMPLE)}
    for kind, made in KINDS.items():
        each = [made(seed * EACH + number) for number in range(EACH)]
        own = [scored(one, seed) for one in each]
        score = float(np.mean([one.vus_pr(seen.score) for one, seen in zip(each, own, strict=True)]))
        beside["livetwin"].append(score)
        for name, detector in SIMPLE.items():
            simple = float(np.mean([one.vus_pr(detector(one.values, one.normal)) for one in each]))
            beside[name].append(simple)
            found.append(Figure.beside(f"fields, {kind}, VUS-PR; {name}", score, "of 1", simple))
        found.append(Figure(f"fields, {kind}, faults with an alert", float(np.mean([one.faults for one in own])), "of 1"))
        found.append(Figure(f"fields, {kind}, false alerts", float(sum(one.false for one in own)), f"in {EACH} series"))
    means = {name: float(np.mean(each)) for name, each in beside.items()}
    found += [Figure.beside(f"fields, all kinds, VUS-PR; {name}", means["livetwin"], "of 1", means[name]) for name in SIMPLE]
    return found
