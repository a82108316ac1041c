"""A store in plain Python, one dictionary: what the real ones are compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from streams.history import HistoryBlock
from streams.stores.port import TwinHistory, TwinSnapshot


def _none(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


class Reference:
    """One block and position a (asset, time); the last one written counts. Epochs are not its matter."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, int], tuple[HistoryBlock, int]] = {}

    def write(self, block: HistoryBlock) -> None:
        for nth, asset in enumerate(block.asset):
            self._steps[asset, int(block.time_ns[nth])] = (block, nth)

    def blocks(self) -> Iterator[HistoryBlock]:
        """What is kept, one block a step."""
        for block, nth in self._steps.values():
            one = slice(nth, nth + 1)
            yield HistoryBlock(
                type=block.type,
                channels=block.channels,
                partition=block.partition,
                epoch=block.epoch,
                asset=block.asset[one],
                time_ns=block.time_ns[one],
                values=block.values[one],
                quality=block.quality[one],
                expected=block.expected[one],
                spread=block.spread[one],
                score=block.score[one],
                risk=block.risk[one],
                version=block.version[one],
            )

    def _of(self, asset: str) -> list[tuple[int, HistoryBlock, int]]:
        return sorted((time_ns, block, nth) for (name, time_ns), (block, nth) in self._steps.items() if name == asset)

    def span(self, asset: str) -> tuple[int, int] | None:
        times = [time_ns for name, time_ns in self._steps if name == asset]
        return (min(times), max(times)) if times else None

    def at(self, time_ns: int) -> list[TwinSnapshot]:
        found = []
        for asset in sorted({name for name, _ in self._steps}):
            times = [time for name, time in self._steps if name == asset and time <= time_ns]
            if times:
                block, nth = self._steps[asset, max(times)]
                values = {name: _none(value) for name, value in zip(block.channels, block.values[nth], strict=True)}
                quality = {name: int(bits) for name, bits in zip(block.channels, block.quality[nth], strict=True)}
                found.append(
                    TwinSnapshot(asset, block.type, max(times), values, quality, float(block.risk[nth]), block.version[nth])
                )
        return found

    def assert_same_history(self, found: TwinHistory, asset: str, *, from_ns: int, to_ns: int, points: int) -> None:
        span = self.span(asset)
        times = sorted(time for name, time in self._steps if name == asset and from_ns <= time < to_ns)
        if span is None or not times:
            assert found.risk.time_ns == []
            return
        from_ns, to_ns = max(from_ns, span[0]), min(to_ns, span[1] + 1)
        if len(times) <= points:
            buckets = [[time] for time in times]
        else:
            width = -(-(to_ns - from_ns) // points)
            numbers = sorted({(time - from_ns) // width for time in times})
            buckets = [[time for time in times if (time - from_ns) // width == number] for number in numbers]
        ends = [bucket[-1] for bucket in buckets]
        steps = [[self._steps[asset, time] for time in bucket] for bucket in buckets]
        assert found.risk.time_ns == ends
        assert found.risk.version == [bucket[-1][0].version[bucket[-1][1]] for bucket in steps]
        _same(found.risk.risk, [max(block.risk[nth] for block, nth in bucket) for bucket in steps])
        _same(found.risk.score, [max(block.score[nth] for block, nth in bucket) for bucket in steps])
        for column, series in enumerate(found.channels):
            assert series.channel == steps[0][0][0].channels[column]
            assert series.time_ns == ends

            def cells(name: str, column: int = column) -> list[list[float]]:
                return [[float(getattr(block, name)[nth, column]) for block, nth in bucket] for bucket in steps]

            _same(series.value, [_over(np.mean, bucket) for bucket in cells("values")])
            _same(series.low, [_over(np.min, bucket) for bucket in cells("values")])
            _same(series.high, [_over(np.max, bucket) for bucket in cells("values")])
            _same(series.expected, [_over(np.mean, bucket) for bucket in cells("expected")])
            _same(series.spread, [_over(np.mean, bucket) for bucket in cells("spread")])
            bits = [int(np.bitwise_or.reduce([block.quality[nth, column] for block, nth in bucket])) for bucket in steps]
            assert series.quality == bits


def _over(measure: object, numbers: list[float]) -> float:
    finite = [number for number in numbers if math.isfinite(number)]
    return float(measure(finite)) if finite else math.nan  # type: ignore[operator]


def _same(found: list[float] | list[float | None], expected: list[float]) -> None:
    np.testing.assert_allclose([math.nan if number is None else number for number in found], expected, rtol=1e-6, atol=1e-6)
