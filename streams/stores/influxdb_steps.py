"""Rows of a measurement as steps of twins, and steps in buckets of time.

In:   rows that InfluxDB answered, with the columns that `columns` names.
Out:  arrays; series and snapshots of `streams.stores.port`.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.stores.influxdb_catalog import TypeFields
from streams.stores.influxdb_lines import KINDS, LONE_FIELDS, QUALITY, STEP_FIELDS, original, plain
from streams.stores.influxdb_server import Rows, identifier, literal
from streams.stores.port import ChannelSeries, RiskSeries, TwinHistory, TwinSnapshot
from twin.quality import Quality

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Steps:
    """N steps of one twin by time, C channels; NaN where there is no number."""

    channels: list[str]
    time_ns: NDArray[np.int64]
    values: Floats  # (N, C)
    expected: Floats
    spread: Floats
    quality: NDArray[np.int64]
    risk: Floats
    score: Floats
    version: list[str]


def columns(keys: Sequence[str]) -> str:
    """What to select of channels with these keys."""
    wanted = [*STEP_FIELDS, *(key + suffix for suffix in (*KINDS, QUALITY) for key in keys)]
    return ", ".join(identifier(name) for name in wanted)


def select(source: str, known: TypeFields, channels: Sequence[str], asset: str, from_ns: int, to_ns: int) -> str:
    """The query for steps of one twin with from_ns <= time < to_ns."""
    return (
        f"SELECT {columns([known.keys[channel] for channel in channels])} FROM {source} "
        f'WHERE "asset" = {literal(plain(asset))} AND time >= {from_ns} AND time < {to_ns}'
    )


def steps(rows: Rows, known: TypeFields, channels: Sequence[str]) -> Steps:
    """Steps of these channels that are whole: a step whose line is being written is left out until all of it is there.

    That is seen by its number of fields, so only where all channels are asked for; else by the fields that every line has.
    """
    keys = [known.keys[channel] for channel in channels]
    at = {name: nth for nth, name in enumerate(rows.columns)}
    # (columns, N): transposed once, then each column is one list
    table: list[Sequence[object]] = list(zip(*rows.values, strict=True)) if rows.values else [() for _ in rows.columns]

    def numbers(names: Sequence[str]) -> Floats:
        found = [np.array(table[at[name]], float) for name in names]  # None becomes NaN
        return np.column_stack(found) if found else np.empty((len(rows.values), 0))

    kinds = [numbers([key + suffix for key in keys]) for suffix in KINDS]
    quality = numbers([key + QUALITY for key in keys])
    lone = numbers(["risk", "score"])
    absent = [str(words or "") for words in table[at["absent"]]]
    fields = np.array(table[at["fields"]], float)
    _blank(kinds, lone, absent, keys)
    whole = np.isfinite(fields) & np.array([words is not None for words in table[at["absent"]]], bool)
    if len(channels) == len(known.keys):
        there = sum((np.isfinite(matrix).sum(axis=1) for matrix in (*kinds, quality, lone)), np.full(len(fields), LONE_FIELDS))
        whole &= there >= np.nan_to_num(fields)
    single = [np.asarray(matrix[whole], np.float32).astype(float) for matrix in (*kinds, lone)]  # what was written were float32
    return Steps(
        channels=list(channels),
        time_ns=np.array(table[at["time"]], np.int64)[whole],
        values=single[0],
        expected=single[1],
        spread=single[2],
        quality=np.where(np.isfinite(quality[whole]), quality[whole], float(Quality.MISSING)).astype(np.int64),
        risk=np.nan_to_num(single[3][:, 0]),
        score=single[3][:, 1],
        version=[str(word or "") for word, there in zip(table[at["version"]], whole, strict=True) if there],
    )


def _blank(kinds: list[Floats], lone: Floats, absent: list[str], keys: list[str]) -> None:
    """Remove numbers that an earlier write of a step left behind where its newest one has none."""
    rows_of: dict[str, list[int]] = {}
    for row, words in enumerate(absent):
        if words:
            rows_of.setdefault(words, []).append(row)
    place = {key + suffix: (matrix, nth) for matrix, suffix in zip(kinds, KINDS, strict=True) for nth, key in enumerate(keys)}
    place |= {"risk": (lone, 0), "score": (lone, 1)}
    for words, rows in rows_of.items():
        for word in words.split("\t"):
            if word.startswith("*"):
                kinds[KINDS.index(word[1:])][rows] = np.nan
            elif word in place:
                matrix, nth = place[word]
                matrix[rows, nth] = np.nan


def snapshot(found: Steps, nth: int, asset: str, type_: str) -> TwinSnapshot:
    return TwinSnapshot(
        asset=original(asset),
        type=type_,
        time_ns=int(found.time_ns[nth]),
        values=dict(zip(found.channels, _or_none(found.values[nth]), strict=True)),
        quality=dict(zip(found.channels, found.quality[nth].tolist(), strict=True)),
        risk=float(found.risk[nth]),
        version=found.version[nth],
    )


def downsampled(asset: str, found: Steps, *, from_ns: int, to_ns: int, points: int) -> TwinHistory:
    """Steps in at most `points` equal buckets of time; each by itself when there are no more."""
    count = len(found.time_ns)
    if count <= points:
        starts = np.arange(count)
    else:
        width = max(1, -(-(to_ns - from_ns) // points))
        bucket = (found.time_ns - from_ns) // width
        starts = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
    if not count:
        empty = [ChannelSeries(name, [], [], [], [], [], [], []) for name in found.channels]
        return TwinHistory(asset, empty, RiskSeries([], [], [], []))
    ends = np.append(starts[1:], count) - 1
    times = found.time_ns[ends].tolist()
    means = [_mean(matrix, starts) for matrix in (found.values, found.expected, found.spread)]
    low, high = np.fmin.reduceat(found.values, starts), np.fmax.reduceat(found.values, starts)
    quality = np.bitwise_or.reduceat(found.quality, starts)
    series = [
        ChannelSeries(
            name,
            list(times),
            _or_none(means[0][:, nth]),
            _or_none(low[:, nth]),
            _or_none(high[:, nth]),
            _or_none(means[1][:, nth]),
            _or_none(means[2][:, nth]),
            quality[:, nth].tolist(),
        )
        for nth, name in enumerate(found.channels)
    ]
    risk, score = np.fmax.reduceat(found.risk, starts), np.fmax.reduceat(found.score, starts)
    versions = [found.version[end] for end in ends]
    return TwinHistory(asset, series, RiskSeries(times, risk.tolist(), _or_none(score), versions))


def _mean(matrix: Floats, starts: NDArray[np.int64]) -> Floats:
    """Mean of the finite numbers of each bucket; NaN without one."""
    finite = np.isfinite(matrix)
    counted = np.add.reduceat(finite.astype(np.int64), starts)
    summed = np.add.reduceat(np.where(finite, matrix, 0.0), starts)
    return np.asarray(np.divide(summed, counted, out=np.full_like(summed, np.nan), where=counted > 0))


def _or_none(numbers: Floats) -> list[float | None]:
    return [number if finite else None for number, finite in zip(numbers.tolist(), np.isfinite(numbers).tolist(), strict=True)]
