"""All that a version makes of windows at once: one module, run as Python or recorded (`models/recorded.py`).

In:   rows of known twins with their windows, in each twin's order.
Out:  forecasts, contributions and scores side by side, before they are rounded.

The forecast made before a step is, `horizons` - 1 steps later, the earlier one that the shift detector asks for. Where both
steps are in one call, and the cells it reads are bit for bit the same, it is made once: a backlog costs half.

`forward` keeps to what TorchScript can compile: that is what lets it run without the interpreter's lock.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.detectors import DETECTORS, Detectors, Forecasts
from models.network import TO_DEVIATION
from models.passes import CHUNK, CONTEXTS, MANY, chunk_size, filled, pass_size

# columns: C each, one of the score, one a detector of the mix
BLOCKS = ("expected", "spread", "score")
REASONS = (
    "before",
    "before_spread",
    "contribution",
    "off",
    "leading",
    "mix",
)  # behind them, where asked for: why a row is strange
ROUNDED = 6  # the first ones: others compare them


def block_widths(channels: int, *, explained: bool) -> dict[str, int]:
    """Columns of each of BLOCKS, and of REASONS.

    >>> block_widths(2, explained=False)
    {'expected': 2, 'spread': 2, 'score': 1}
    >>> sum(block_widths(2, explained=True).values())
    20
    """
    return {name: {"mix": len(DETECTORS), "score": 1}.get(name, channels) for name in (*BLOCKS, *(REASONS if explained else ()))}


class Forecast(nn.Module):
    """One pass of the network."""

    def __init__(self, detectors: Detectors) -> None:
        super().__init__()
        self.detectors = detectors

    def forward(self, rows: Tensor, contexts: Tensor, good: Tensor, calendar: Tensor) -> tuple[Tensor, Tensor]:
        return self.detectors.forecasts(rows, contexts, good, calendar)


class Scale(nn.Module):
    """Windows in units of each twin's spread, and which cells count."""

    def __init__(self, detectors: Detectors) -> None:
        super().__init__()
        self.detectors = detectors

    def forward(self, rows: Tensor, windows: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        good = torch.isfinite(windows) & (quality == 0)
        return self.detectors.scaled(rows, windows, good), good


class Compare(nn.Module):
    """One chunk of rows beside their forecasts: (N, columns of BLOCKS), and of REASONS where it explains.

    What explains is asked of few rows: those in alarm. The other columns are the same bits with it and without.
    """

    def __init__(self, detectors: Detectors, *, explains: bool) -> None:
        super().__init__()
        self.detectors, self.explains = detectors, explains

    def forward(
        self,
        rows: Tensor,
        x: Tensor,
        good: Tensor,
        now: Tensor,
        mean: Tensor,
        log_scale: Tensor,
        mean_before: Tensor,
        log_scale_before: Tensor,
    ) -> Tensor:
        d, made = self.detectors, Forecasts(mean, log_scale, mean_before, log_scale_before)
        found = d.compared(rows, x, good, now, made)
        surprises = d.surprises(rows, found)
        loc, scale = d.loc.index_select(0, rows), d.scale.index_select(0, rows)
        blocks = [found.expected * scale + loc, found.spread * scale, d.fused(rows, surprises)[:, None]]
        if self.explains:
            why = d.attribution(rows, x, good, made, found, surprises)
            blocks += [
                mean_before[:, -1] * scale + loc,
                log_scale_before[:, -1].exp() * TO_DEVIATION * scale,
                why.contribution,
                why.off * scale,
                why.leading,
                why.mix,
            ]
        return torch.cat(blocks, dim=1)


class ScoringPass(nn.Module):
    """Windows of any number of rows to scores, in passes of fixed sizes.

    Args:
        widths: contexts that may be in one pass of the network, rising (`models.passes.same_widths`).
        reach: steps that a forecast reads.
        lag: steps from the scored one back to the first of the earlier forecast.
        look: newest steps that are compared with forecasts.
    """

    def __init__(
        self,
        scale: nn.Module,
        forecast: nn.Module,
        compare: nn.Module,
        explain: nn.Module,
        *,
        widths: list[int],
        reach: int,
        lag: int,
        look: int,
        period_ns: int,
    ) -> None:
        super().__init__()
        self.scale, self.forecast, self.compare, self.explain = scale, forecast, compare, explain
        self.widths, self.reach, self.lag, self.look, self.period_ns = widths, reach, lag, look, period_ns
        self.contexts, self.chunk, self.many = CONTEXTS, CHUNK, MANY

    def forward(
        self, rows: Tensor, windows: Tensor, quality: Tensor, time_ns: Tensor, now: Tensor, before: Tensor, explained: bool
    ) -> Tensor:
        """(N, columns of BLOCKS), and of REASONS where `explained`.

        Args:
            rows: (N,) int64.
            windows: (N, window, C) channel units.
            quality: (N, window, C).
            time_ns: (N,).
            now: (N, CALENDAR_FEATURES) of the scored step.
            before: (N, CALENDAR_FEATURES) of the first step of the earlier forecast.
            explained: whether what explains is asked for.
        """
        n, lag, reach = rows.shape[0], self.lag, self.reach
        xs: list[Tensor] = []
        goods: list[Tensor] = []
        for start in range(0, n, self.many):  # so many at once stay in the processor's cache
            end = start + self.many
            scaled, counted = self.scale(rows[start:end], windows[start:end], quality[start:end])
            xs.append(scaled)
            goods.append(counted)
        x, good = torch.cat(xs), torch.cat(goods)
        end = x.shape[1] - 1
        contexts, seen = x[:, end - reach : end], good[:, end - reach : end]
        earlier, seen_earlier = x[:, end - lag - reach : end - lag], good[:, end - lag - reach : end - lag]
        source = torch.full([n], -1, dtype=torch.int64, device=rows.device)  # whose first forecast is a row's earlier one
        if n > lag:
            near = (rows[lag:] == rows[: n - lag]) & (time_ns[lag:] == time_ns[: n - lag] + lag * self.period_ns)
            mine, other = earlier[lag:], contexts[: n - lag]
            cells = (mine == other) & (mine.signbit() == other.signbit()) & (seen_earlier[lag:] == seen[: n - lag])
            same = near & cells.flatten(1).all(dim=1)
            kept = torch.nonzero(same)[:, 0]
            source[kept + lag] = kept
        own = torch.nonzero(source < 0)[:, 0]
        total = n + own.shape[0]
        source[own] = torch.arange(n, total, device=rows.device)
        all_rows, all_contexts = torch.cat([rows, rows[own]]), torch.cat([contexts, earlier[own]])
        all_seen, calendar = torch.cat([seen, seen_earlier[own]]), torch.cat([now, before[own]])
        means: list[Tensor] = []
        log_scales: list[Tensor] = []
        start = 0
        while start < total:
            size = pass_size(total - start, self.widths, self.contexts)
            count = min(size, total - start)
            mean, log_scale = self.forecast(
                filled(all_rows, start, count, size),
                filled(all_contexts, start, count, size),
                filled(all_seen, start, count, size),
                filled(calendar, start, count, size),
            )
            means.append(mean[:count])
            log_scales.append(log_scale[:count])
            start += size
        mean, log_scale = torch.cat(means), torch.cat(log_scales)
        first_mean, first_log_scale = mean[:n, 0], log_scale[:n, 0]
        early_mean, early_log_scale = mean[source], log_scale[source]
        newest, seen_newest = x[:, -self.look :], good[:, -self.look :]
        found: list[Tensor] = []
        start = 0
        while start < n:
            size = chunk_size(n - start, self.chunk, self.many)
            count = min(size, n - start)
            of, date = filled(rows, start, count, size), filled(now, start, count, size)
            cells, counted = filled(newest, start, count, size), filled(seen_newest, start, count, size)
            one, one_scale = filled(first_mean, start, count, size), filled(first_log_scale, start, count, size)
            many, many_scale = filled(early_mean, start, count, size), filled(early_log_scale, start, count, size)
            if explained:
                scores = self.explain(of, cells, counted, date, one, one_scale, many, many_scale)
            else:
                scores = self.compare(of, cells, counted, date, one, one_scale, many, many_scale)
            found.append(scores[:count])
            start += size
        return torch.cat(found)


def scoring_pass(detectors: Detectors, *, widths: list[int], period_ns: int) -> ScoringPass:
    """The pass of one version, as Python."""
    return ScoringPass(
        Scale(detectors),
        Forecast(detectors),
        Compare(detectors, explains=False),
        Compare(detectors, explains=True),
        widths=widths,
        reach=detectors.reach,
        lag=detectors.architecture.horizons - 1,
        look=detectors.look,
        period_ns=period_ns,
    )
