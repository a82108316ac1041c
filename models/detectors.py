"""Detectors: all a version computes from a window, as one torch module whose tensors are what a version file holds.

In:   windows of N twins in channel units, which cells are good, calendar features.
Out:  statistics of four detectors, their surprises (-log10 p, calibrated a twin) and the fused surprise.

  forecast   the scored step against the forecast made one step before it
  shift      the mean residual of the last `horizons` steps against one forecast made before all of them: a forecast that
             the fault has not touched yet, so a small persistent change adds up
  level      the mean of the newest steps against what time of day and the other channels say, whatever the channel's own past
  pattern    the window in means of a few steps against the nearest one the type has shown
  shape      what the twin's principal components can't rebuild of its newest steps, all channels together

A row depends on its own window and its twin's tensors only.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models import attribution, calibration, level, pattern, pca
from models.attribution import Attribution
from models.network import TO_DEVIATION, Architecture, Forecaster
from models.row_products import by_component
from models.scripted import either

CLIP = 1e4  # of a scaled value


class Statistics(NamedTuple):
    """Larger is stranger; 0 where there was nothing to judge."""

    expected: Tensor  # (N, C) scaled
    spread: Tensor  # (N, C) scaled, one standard deviation
    forecast: Tensor  # (N, C)
    shift: Tensor  # (N, C)
    level: Tensor  # (N, C)
    shape: Tensor  # (N, 1)
    pattern: Tensor  # (N, 1)
    off_level: Tensor  # (N, C) scaled, with sign
    rest: Tensor  # (N, span, C) scaled: what the components can't rebuild
    pattern_fault: Tensor  # (N, C) share of each channel in the distance
    gone: Tensor  # (N, C) scaled, with sign: how far the newest bin is from the prototype's


class Forecasts(NamedTuple):
    """What the network said of the scored step: one step before it, and `horizons` steps before it of all steps since."""

    mean: Tensor  # (N, C) scaled
    log_scale: Tensor  # (N, C)
    mean_before: Tensor  # (N, horizons, C); the last is the scored step
    log_scale_before: Tensor  # (N, horizons, C)


class Surprises(NamedTuple):
    """-log10 p of each detector, in the order of DETECTORS."""

    forecast: Tensor  # (N, C)
    shift: Tensor  # (N, C)
    level: Tensor  # (N, C)
    shape: Tensor  # (N, 1)
    pattern: Tensor  # (N, 1)


DETECTORS = Surprises._fields


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes beside the network's own: steps and components of the PCA."""

    window: int
    span: int
    components: int
    prototypes: int = 0  # of the pattern detector; 0 in versions of before, which have none
    weekly: bool = False  # each day of the week has its own level


class Detectors(nn.Module):
    loc: Tensor
    scale: Tensor
    centre: Tensor
    basis: Tensor
    table_forecast: Tensor
    table_shift: Tensor
    level_weights: Tensor
    good_share: Tensor
    table_level: Tensor
    table_shape: Tensor
    prototypes: Tensor
    table_pattern: Tensor
    table_fused: Tensor
    shape_left: Tensor
    level_directions: Tensor

    def __init__(self, architecture: Architecture, layout: Layout) -> None:
        super().__init__()
        self.architecture = architecture
        self.layout = layout
        self.network = Forecaster(architecture)
        twins, channels = architecture.twins, architecture.channels
        features = layout.span * channels
        self.register_buffer("loc", torch.zeros(twins, channels))
        self.register_buffer("scale", torch.ones(twins, channels))
        self.register_buffer("centre", torch.zeros(twins, features))
        self.register_buffer("basis", by_component(torch.zeros(twins, features, layout.components)))
        self.register_buffer("level_weights", torch.zeros(twins, channels, level.feature_count(channels, weekly=layout.weekly)))
        self.register_buffer("prototypes", torch.zeros(layout.prototypes, pattern.BINS * channels))
        self.register_buffer("good_share", torch.ones(twins))  # of the steps of a twin's usual windows (`models.coverage`)
        # made from the weights by `derive`, not part of a version file
        self.register_buffer("shape_left", torch.ones(twins, attribution.PATTERNS, channels), persistent=False)
        self.register_buffer("level_directions", torch.zeros(twins, channels, channels), persistent=False)
        rising = torch.tensor(calibration.LEVELS, dtype=torch.float32)
        for name, columns in (
            ("forecast", channels),
            ("shift", channels),
            ("level", channels),
            ("shape", 1),
            ("pattern", 1),
            ("fused", 1),
        ):
            self.register_buffer(f"table_{name}", rising.repeat(twins, columns, 1))
        if not layout.prototypes:
            self.table_pattern.copy_(torch.from_numpy(calibration.muted()))

    def derive(self) -> None:
        """Make anew what follows from the weights: call it when they have changed."""
        with torch.no_grad():
            self.shape_left.copy_(attribution.left_of_change(self.basis, self.architecture.channels))
            self.level_directions.copy_(attribution.level_directions(self.level_weights, self.table_level))

    def tensors(self) -> dict[str, Tensor]:
        """All that scoring reads: what a version file holds, and what was derived from it."""
        return dict(itertools.chain(self.named_parameters(), self.named_buffers()))

    def scaled(self, rows: Tensor, values: Tensor, good: Tensor) -> Tensor:
        """(N, steps, C) in units of each twin's spread, 0 where not good."""
        x = (values - self.loc.index_select(0, rows)[:, None]) / self.scale.index_select(0, rows)[:, None]
        return torch.where(good, x, 0.0).clamp(-CLIP, CLIP)

    def statistics(self, rows: Tensor, values: Tensor, good: Tensor, now: Tensor, before: Tensor) -> Statistics:
        """Statistics of the last step of each window.

        Args:
            rows: (N,) int64.
            values: (N, window, C) channel units.
            good: (N, window, C) bool.
            now: (N, CALENDAR_FEATURES) of the scored step.
            before: (N, CALENDAR_FEATURES) of the step `horizons` - 1 earlier.
        """
        x = self.scaled(rows, values, good)
        newest, earlier = self.contexts(x), self.contexts(x, self.architecture.horizons)
        seen, seen_earlier = self.contexts(good), self.contexts(good, self.architecture.horizons)
        mean, log_scale = self.forecasts(
            torch.cat([rows, rows]), torch.cat([newest, earlier]), torch.cat([seen, seen_earlier]), torch.cat([now, before])
        )
        n = len(rows)
        return self.compared(rows, x, good, now, Forecasts(mean[:n, 0], log_scale[:n, 0], mean[n:], log_scale[n:]))

    @property
    def reach(self) -> int:
        """Steps that a forecast reads."""
        return min(self.architecture.past, self.layout.window - self.architecture.horizons)

    def contexts(self, cells: Tensor, ahead: int = 1) -> Tensor:
        """The cells (N, window, C) that a forecast of the newest `ahead` steps reads: (N, reach, C).

        The reach is the same for every `ahead`, so the forecast made for one step is, some steps later, the earlier one.
        """
        end = cells.shape[1] - ahead
        return cells[:, end - self.reach : end]

    def forecasts(self, rows: Tensor, contexts: Tensor, good: Tensor, calendar: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of the next `horizons` steps, (N, horizons, C) each, scaled."""
        missing = (0, 0, self.architecture.past - self.reach, 0)  # zeros in front
        pad = torch.nn.functional.pad
        mean, log_scale = self.network(rows, pad(contexts, missing), pad(good.to(contexts.dtype), missing), calendar)
        return mean, log_scale

    def compared(self, rows: Tensor, x: Tensor, good: Tensor, now: Tensor, made: Forecasts) -> Statistics:
        """Statistics of the last step of each scaled window, given the forecasts made of it."""
        a = self.architecture
        n, _, channels = x.shape
        x, good = x[:, -self.look :], good[:, -self.look :]
        m = good.to(x.dtype)
        expected, one_scale = made.mean, made.log_scale.exp()
        forecast = ((x[:, -1] - expected) / one_scale).abs() * m[:, -1]
        z = ((x[:, -a.horizons :] - made.mean_before) * torch.exp(-made.log_scale_before)).clamp(-50, 50) * m[:, -a.horizons :]
        count = m[:, -a.horizons :].sum(dim=1)
        shift = torch.where(count >= a.horizons / 2, z.sum(dim=1).abs() / count.clamp(min=1), torch.zeros_like(count))
        short, long, known = level.levels(x, m)
        off_level = (
            short - level.expected(self.level_weights.index_select(0, rows), short, long, now, weekly=self.layout.weekly)
        ) * known
        filled, enough = either(_filled)(x[:, -self.layout.span :], good[:, -self.layout.span :])
        rest = pca.unexplained(
            self.centre.index_select(0, rows), self.basis.transpose(1, 2).index_select(0, rows), filled.reshape(n, -1)
        ).reshape(n, -1, channels)
        rest = rest * m[:, -self.layout.span :]
        shape = torch.where(enough, (rest * rest).sum(dim=1).sum(dim=1).sqrt(), torch.zeros(n, dtype=x.dtype, device=x.device))
        strange, pattern_fault, gone = self.patterns(x, m)
        return Statistics(
            expected,
            one_scale * TO_DEVIATION,
            forecast,
            shift,
            off_level.abs(),
            shape[:, None],
            strange[:, None],
            off_level,
            rest,
            pattern_fault,
            gone,
        )

    @property
    def look(self) -> int:
        """Newest steps that are compared with forecasts, levels, components and prototypes."""
        if self.layout.prototypes:
            return self.layout.window
        return max(self.architecture.horizons, level.LONG, self.layout.span)

    def patterns(self, x: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Distance to the nearest prototype (N,), each channel's part of it (N, C), and how far off its newest bin is (N, C)."""
        if self.layout.prototypes == 0:
            nothing = torch.zeros_like(x[:, -1])
            return nothing[:, 0], nothing, nothing
        means, enough = pattern.binned(x, m)
        distance, rest = pattern.nearest(self.prototypes, means)
        return distance * enough, rest.square().sum(dim=1), rest[:, -1]

    def surprises(self, rows: Tensor, found: Statistics) -> Surprises:
        """-log10 p of each detector by the twin's tables."""
        statistics = torch.cat([getattr(found, name) for name in DETECTORS], dim=1)
        tables = torch.cat([self.table(name).index_select(0, rows) for name in DETECTORS], dim=1)
        one, channels = calibration.surprise(tables, statistics), self.architecture.channels
        return Surprises(*torch.split(one, [channels, channels, channels, 1, 1], dim=1))

    def table(self, name: str) -> Tensor:
        """Table of a detector, or `fused`: (A, columns, knots)."""
        return self.get_buffer(f"table_{name}")

    def fused(self, rows: Tensor, surprises: Surprises) -> Tensor:
        """-log10 of the calibrated p-value of the step, (N,)."""
        return calibration.surprise(self.table_fused.index_select(0, rows), strongest(surprises)[:, None])[:, 0]

    def attribution(
        self, rows: Tensor, x: Tensor, good: Tensor, made: Forecasts, found: Statistics, surprises: Surprises
    ) -> Attribution:
        """Which channels and detectors the score of each row speaks of; arguments as `compared` has them, and what came of it."""
        horizons = self.architecture.horizons
        m = good[:, -horizons:].to(x.dtype)
        off = (x[:, -1] - found.expected) * m[:, -1]
        moved = ((x[:, -horizons:] - made.mean_before) * m).sum(dim=1) / m.sum(dim=1).clamp(min=1)
        shape_fault, bent = attribution.shape_fault(found.rest, self.shape_left.index_select(0, rows), self.layout.span)
        level_fault = attribution.level_fault(found.off_level, self.level_directions.index_select(0, rows))
        return attribution.attributed(
            of_detectors(surprises),
            (surprises.forecast, surprises.shift, level_fault, shape_fault, found.pattern_fault),
            torch.stack([off, moved, found.off_level, bent, found.gone], dim=1),
        )


def of_detectors(surprises: Surprises) -> Tensor:
    """Surprise of each of DETECTORS at the channel that surprises it most, (N, D)."""
    return torch.stack([one.amax(dim=1) for one in surprises], dim=1)


def strongest(surprises: Surprises) -> Tensor:
    """One number a row before it is calibrated: the strongest detector, half of the next one beside it. (N,)"""
    ordered = torch.sort(of_detectors(surprises), dim=1, descending=True).values
    return ordered[:, 0] + 0.5 * ordered[:, 1]


def _filled(x: Tensor, good: Tensor) -> tuple[Tensor, Tensor]:
    """Bad cells carry the last good value forward; whether at least three quarters of the cells are good, (N,)."""
    if x.device.type == "cpu" and bool(good.all()):
        return x, good[:, 0, 0]  # nearly always; on another device the question costs more than it saves
    place = torch.arange(x.shape[1], device=x.device)[None, :, None].expand(x.shape)
    newest = torch.cummax(torch.where(good, place, torch.zeros_like(place)), dim=1).values
    return torch.gather(x, 1, newest), good.to(x.dtype).mean(dim=(1, 2)) >= 0.75
