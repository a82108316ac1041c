"""Weeks of single-channel series with a daily rhythm in which something changes: like a benchmark's, with the change known.

In:   which change, a seed.
Out:  `Scenario`s. The same seed gives the same noise with and without the change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.eval.learning_scenario import Injected, Plan, Scenario, Span, drift_plan
from twin.block import StepBlock
from twin.fleet import TwinDeclaration
from twin.quality import Quality
from twin.types import NS_PER_S

Floats = NDArray[np.float64]
MONDAY_NS = 1_767_571_200 * NS_PER_S
TYPE = "dtmi:livetwin:eval:Series;1"
CHANNEL = "value"
SLOT_HOURS, FAULT_HOURS = 4, 2
AT_ONCE = 2
_NOISE, _NOISE_MEMORY_H, _WANDER, _WANDER_MEMORY_H = 0.05, 0.2, 0.15, 6.0  # shares of the day's amplitude


def _interface(step_s: int) -> Mapping[str, Any]:
    return {
        "@context": ["dtmi:dtdl:context;3", "dtmi:livetwin:extension:stream;1"],
        "@id": TYPE,
        "@type": "Interface",
        "displayName": "Series",
        "samplingPeriod": f"PT{step_s}S",
        "lateness": f"PT{2 * step_s}S",
        "maxAhead": None,
        "onDelay": "PT0S",
        "offDelay": "PT30M",
        "contents": [{"@type": "Telemetry", "name": CHANNEL, "schema": "double"}],
    }


# (share of the drift that is there (T,), hour of day (T,), days since it began (T,)) → factor on noise, and what is added
_Changed = Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]


def _level(on: Floats, hour: Floats, days: Floats) -> tuple[Floats, Floats]:
    """A step up by one and a half amplitudes."""
    return np.ones_like(on), 1.5 * on


def _trend(on: Floats, hour: Floats, days: Floats) -> tuple[Floats, Floats]:
    """A rise by a third of the amplitude a day, for as long as it lasts."""
    return np.ones_like(on), on * days / 3


def _rhythm(on: Floats, hour: Floats, days: Floats) -> tuple[Floats, Floats]:
    """The day's wave comes four hours later and gets a second peak."""
    wave = np.sin(2 * np.pi * (hour - 4) / 24) + 0.5 * np.sin(4 * np.pi * hour / 24)
    return np.ones_like(on), on * (wave - np.sin(2 * np.pi * hour / 24))


def _variance(on: Floats, hour: Floats, days: Floats) -> tuple[Floats, Floats]:
    """Noise three times as large."""
    return 1 + 2 * on, np.zeros_like(on)


CHANGES: Mapping[str, _Changed] = {
    "level shift": _level,
    "growing trend": _trend,
    "new daily rhythm": _rhythm,
    "more variance": _variance,
}


def series_scenario(name: str, *, seed: int, step_s: int = 300, twins: int = 6, plan: Plan | None = None) -> Scenario:
    """One change, by its name in CHANGES, of all series at once.

    Args:
        plan: None: `drift_plan`.
    """
    plan = plan or drift_plan(86_400 // step_s)
    assets = tuple(f"series-{number}" for number in range(twins))
    random = np.random.default_rng(seed)
    amplitude, centre = np.exp(random.uniform(0, 3, twins)), random.uniform(-50, 50, twins)
    noise = _wandering(random, twins, plan.end, step_s, _NOISE, _NOISE_MEMORY_H)
    noise += _wandering(random, twins, plan.end, step_s, _WANDER, _WANDER_MEMORY_H)
    steps = np.arange(plan.end)
    hour = steps * step_s / 3600 % 24
    until = plan.drifted_until
    on = ((steps >= plan.drifted.start) & (steps < until)).astype(float)
    days = (steps - plan.drifted.start) / plan.steps_a_day
    faults, disturbance = _faults(assets, plan, step_s, random)

    def shown(on: Floats, disturbance: Floats) -> dict[str, StepBlock]:
        larger, added = CHANGES[name](on, hour, days)
        unit = np.sin(2 * np.pi * hour / 24) + added + larger * noise + disturbance
        values = (centre[:, None] + amplitude[:, None] * unit).astype(np.float32)[:, :, None]
        good = np.full(values.shape, int(Quality.GOOD), np.uint8)
        return {TYPE: StepBlock(assets, (CHANNEL,), MONDAY_NS // NS_PER_S // step_s, step_s * NS_PER_S, values, good)}

    return Scenario(
        name=name,
        interfaces=(_interface(step_s),),
        declarations=tuple(TwinDeclaration(asset=asset, type=TYPE) for asset in assets),
        plan=plan,
        blocks=shown(on, disturbance),
        undrifted=shown(np.zeros(plan.end), np.zeros_like(disturbance)),
        settled=shown((steps < until).astype(float), np.zeros_like(disturbance)),
        faults=tuple(faults),
    )


def _wandering(random: np.random.Generator, twins: int, steps: int, step_s: int, sigma: float, memory_h: float) -> Floats:
    """AR(1) noise, (twins, steps)."""
    keep = np.exp(-step_s / (memory_h * 3600))
    draws = random.standard_normal((twins, steps)) * sigma * np.sqrt(1 - keep**2)
    found = np.empty_like(draws)
    now = sigma * random.standard_normal(twins)
    for step in range(steps):
        now = keep * now + draws[:, step]
        found[:, step] = now
    return np.asarray(found)


def _faults(assets: tuple[str, ...], plan: Plan, step_s: int, random: np.random.Generator) -> tuple[list[Injected], Floats]:
    """Offsets of half to one and a half amplitudes, or a value that freezes far off the usual, for two hours each."""
    found: list[Injected] = []
    disturbance = np.zeros((len(assets), plan.end))
    an_hour = 3600 // step_s
    for span in (plan.faults, plan.returned_faults):
        if span is None:
            continue
        for start in range(span.start, span.stop - SLOT_HOURS * an_hour + 1, SLOT_HOURS * an_hour):
            for row in random.permutation(len(assets))[:AT_ONCE].tolist():
                kind = ("offset", "burst")[int(random.integers(2))]
                size = float(random.uniform(0.5, 1.5)) * float(random.choice([-1.0, 1.0]))
                stop = start + FAULT_HOURS * an_hour
                draws = random.standard_normal(stop - start)
                disturbance[row, start:stop] = size if kind == "offset" else size * draws
                found.append(Injected(assets[row], kind, Span(start, stop)))
    return found, disturbance
