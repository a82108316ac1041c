"""What tests write to stores: history blocks by hand, from a seed or by Hypothesis; alerts; swaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams.history import HistoryBlock
from streams.model_records import Serving, Switch
from streams.records import Alert, Evidence

SECOND_NS = 1_000_000_000
PUMP = "dtmi:test:Pump;1"
TANK = "dtmi:test:Tank;1"
CHANNELS = {PUMP: ("flow", "power"), TANK: ("level",)}


def plain_block(
    type_: str,
    assets: Sequence[str],
    steps: Iterable[int],
    *,
    values: NDArray[np.float32] | None = None,
    expected: NDArray[np.float32] | None = None,
    spread: NDArray[np.float32] | None = None,
    channels: tuple[str, ...] = (),
    partition: int = 0,
    epoch: int = 1,
    log: str = "",
    written_ms: int = 0,
) -> HistoryBlock:
    """Each asset at each step; with as many assets as steps, the pairs of them."""
    steps = list(steps)
    if len(assets) == len(steps) > 1:
        pairs = list(zip(assets, steps, strict=True))
    else:
        pairs = [(asset, step) for step in steps for asset in assets]
    names = channels or CHANNELS[type_]
    shape = (len(pairs), len(names))
    filled = np.ones(shape, np.float32)
    return HistoryBlock(
        type=type_,
        channels=names,
        partition=partition,
        epoch=epoch,
        asset=tuple(asset for asset, _ in pairs),
        time_ns=np.array([step * SECOND_NS for _, step in pairs], np.int64),
        values=filled if values is None else values,
        quality=np.zeros(shape, np.uint8),
        expected=filled if expected is None else expected,
        spread=filled if spread is None else spread,
        score=np.ones(len(pairs), np.float32),
        risk=np.zeros(len(pairs), np.float32),
        version=("1",) * len(pairs),
        log=log,
        written_ms=written_ms,
    )


def block(type_: str, assets: Sequence[str], steps: Iterable[int], *, seed: int, **more: Any) -> HistoryBlock:
    """Numbers from a seed, every field different."""
    plain = plain_block(type_, assets, steps, **more)
    return filled_from(plain, seed)


def filled_from(plain: HistoryBlock, seed: int) -> HistoryBlock:
    rng = np.random.default_rng(seed)
    shape = plain.values.shape

    def numbers() -> NDArray[np.float32]:
        found = rng.normal(20, 5, shape).astype(np.float32)
        found[rng.random(shape) < 0.15] = np.nan
        return found

    return HistoryBlock(
        type=plain.type,
        channels=plain.channels,
        partition=plain.partition,
        epoch=plain.epoch,
        asset=plain.asset,
        time_ns=plain.time_ns,
        values=numbers(),
        quality=rng.integers(0, 64, shape).astype(np.uint8),
        expected=numbers(),
        spread=numbers(),
        score=rng.gamma(1, 1, shape[0]).astype(np.float32),
        risk=rng.random(shape[0]).astype(np.float32),
        version=tuple(rng.choice(["", "1", "2"], shape[0]).tolist()),
        log=plain.log,
        written_ms=plain.written_ms,
    )


@st.composite
def blocks(draw: st.DrawFn, types: Sequence[str] = (PUMP, TANK)) -> HistoryBlock:
    """Assets a0, a2, … are pumps and a1, a3, … tanks (all pumps, if only pumps are drawn)."""
    type_ = draw(st.sampled_from(types))
    stride = len(types)
    assets = [f"a{n}" for n in range(types.index(type_), 4, stride)]
    pairs = draw(st.lists(st.tuples(st.sampled_from(assets), st.integers(0, 60)), min_size=1, max_size=25, unique=True))
    seed = draw(st.integers(0, 2**32))
    drawn_assets, steps = [asset for asset, _ in pairs], [step for _, step in pairs]
    return block(type_, drawn_assets, steps, seed=seed)


def alert(id_: str, revision: int, *, asset: str = "p1", onset_s: int = 10, cleared_s: int | None = None) -> Alert:
    return Alert(
        id=id_,
        revision=revision,
        asset=asset,
        type=PUMP,
        condition="anomaly",
        severity="major",
        state="active" if cleared_s is None else "cleared",
        onset_ns=onset_s * SECOND_NS,
        updated_ns=(cleared_s or onset_s) * SECOND_NS,
        cleared_ns=None if cleared_s is None else cleared_s * SECOND_NS,
        risk=0.9,
        evidence=Evidence(channels=[], model_version="1", weights_sha256="ab", partition=0, first_offset=1, last_offset=2),
    )


def serving(name: str, partition: int, epoch: int, time_ns: int, versions: list[str]) -> Serving:
    switches = [Switch(offset=10 * nth, version=version, sha256="ab", uri="file:///m") for nth, version in enumerate(versions)]
    return Serving(name=name, partition=partition, epoch=epoch, switches=switches, time_ns=time_ns)
