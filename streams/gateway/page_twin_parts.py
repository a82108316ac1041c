"""What stands around the charts of a twin, as HTML: its health, values against expectations, alerts, what is known of it.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from streams.gateway.fleet_question import address_of
from streams.gateway.page_html import (
    Content,
    Html,
    alert_href,
    chip,
    code,
    entry,
    esc,
    facts,
    link,
    risk_bar,
    row,
    small,
    table,
    tile,
    twin_href,
)
from streams.gateway.page_words import (
    HEALTH,
    HEALTH_MEANING,
    QUALITY,
    SEVERITY,
    QualityMark,
    Tone,
    clock,
    condition,
    headline,
    health_of,
    quality_words,
)
from streams.gateway.views import LiveViews
from streams.records import Alert, TwinState
from streams.stores.port import TwinHistory
from streams.wording import number, unit
from twin.quality import word as quality_word
from twin.types import Channel, TwinType

_ALERTS: Final = 12
_NEIGHBOURS: Final = 24
_FAR: Final = 3.0  # spreads


def summary(state: TwinState | None) -> str:
    health = health_of(state)
    parts = [chip(HEALTH[health], title=HEALTH_MEANING[health]), small(HEALTH_MEANING[health])]
    if state is not None:
        poor = quality_words(state.quality)
        if poor:
            parts.append(small(Html(f"{chip(HEALTH['warning'], 'Poor readings')} {esc(poor)}; not judged")))
        parts.append(small(Html(f"risk {risk_bar(state.risk)}")))
        version = f"model version {code(state.model_version)}" if state.model_version else "no model version yet"
        parts.append(small(Html(f"{version} · step of {clock(state.time_ns)} UTC"), "lt-muted"))
    return "".join(parts)


def values_now(state: TwinState | None, kind: TwinType | None, spreads: Mapping[str, float]) -> str:
    """A tile a channel: what is seen, what was expected, how many spreads apart, and what is wrong with the reading."""
    tiles = []
    channels = {channel.name: channel for channel in kind.channels} if kind is not None else {}
    for name, value in state.values.items() if state is not None else ():
        assert state is not None
        expected, quality = state.expected.get(name), state.quality.get(name, "good")
        told: Content = "expected –" if expected is None else f"expected {number(expected)}"
        tone = HEALTH["ok"]
        spread = spreads.get(name)
        if expected is not None and value is not None and spread and quality == "good":
            off = (value - expected) / spread
            words = f"{told}, {off:+.1f} σ".replace("-", "−")
            far = abs(off) >= _FAR
            tone = SEVERITY["major"] if far else tone
            told = Html(f'<span class="lt-tone high"><span class="lt-g">▲</span> {esc(words)}</span>') if far else words
        label: Content = name
        channel = channels.get(name)
        mark = QUALITY.get(quality)
        if mark is not None:
            label = Html(f"{esc(name)} {chip(_tone(mark))}")
            told = Html(f"{told.text if isinstance(told, Html) else esc(told)}<br>{esc(_wrong(quality, channel))}")
        shown = Html(f"{number(value)} <small>{esc(unit(channel.unit if channel is not None else None))}</small>")
        tiles.append(tile(label, shown, told, tone=tone))
    return "".join(tiles)


def _wrong(quality: str, channel: Channel | None) -> str:
    """What is wrong, in a sentence.

    >>> _wrong("out-of-range", Channel("level", unit="metre", minimum=0.0)), _wrong("stuck", None)
    ('Outside what the sensor can say, 0 m or more.', 'The sensor repeats itself.')
    """
    meaning = QUALITY[quality].meaning
    if quality == "out-of-range" and channel is not None:
        meaning += f", {_range(channel.minimum, channel.maximum, unit(channel.unit))}"
    return meaning[0].upper() + meaning[1:] + "."


def _range(low: float | None, high: float | None, short: str) -> str:
    """
    >>> _range(0.0, 10.0, "m"), _range(None, 10.0, "")
    ('0 to 10 m', '10 or less')
    """
    if low is not None and high is not None:
        return f"{number(low)} to {number(high)} {short}".strip()
    bound, word = (low, "or more") if low is not None else (high, "or less")
    return " ".join(part for part in (number(bound), short, word) if part)


def marked(history: TwinHistory) -> str:
    """Readings of poor quality in what is drawn: which channel, what is wrong, how often, when last."""
    rows: list[Sequence[Content]] = []
    for series in history.channels:
        words = [quality_word(bits) for bits in series.quality]
        for quality, mark in QUALITY.items():
            times = [time_ns for time_ns, found in zip(series.time_ns, words, strict=True) if found == quality]
            if times:
                what = Html(f"{chip(_tone(mark))} {small(mark.meaning)}")
                often = f"{len(times):,} of {len(words):,}"
                rows.append((series.channel, what, often, clock(max(times), seconds=False)))
    if not rows:
        return f'<div class="lt-body">{small("None: every reading in this period is good.")}</div>'
    return table(("Channel", "What is wrong", "Points drawn", "Last (UTC)"), rows, right=(2,), hide_on_phone=(2,))


def _tone(mark: QualityMark) -> Tone:
    return Tone("watch", mark.glyph, mark.word, HEALTH["warning"].light, HEALTH["warning"].dark)


def twin_alerts(alerts: Sequence[Alert]) -> str:
    entries = []
    for alert in alerts[:_ALERTS]:
        began = clock(alert.onset_ns, seconds=False)
        span = f"since {began}" if alert.cleared_ns is None else f"{began} to {clock(alert.cleared_ns, seconds=False)}"
        span += " · acknowledged" if alert.acknowledged else ""
        span += " · false alarm" if alert.false_alarm else ""
        cleared = small("cleared", "lt-muted") if alert.state == "cleared" else ""
        title = row(chip(SEVERITY[alert.severity]), f"<b>{esc(condition(alert))}</b>", cleared)
        entries.append(entry(alert_href(alert.id), title, small(headline(alert)), small(span, "lt-muted")))
    return "".join(entries) or f"<div>{small('None so far.')}</div>"


def about(views: LiveViews, asset: str, state: TwinState | None) -> str:
    declared = views.definitions.fleet.get(asset)
    dtmi = declared.type if declared is not None else state.type if state is not None else ""
    fleet, kind = views.definitions.fleet, views.definitions.types.get(dtmi)
    of_type = address_of("/", {"type": kind.slug}) if kind is not None else "/"
    rows: list[tuple[str, Content]] = [
        ("Id", Html(code(asset))),
        ("Type", Html(f"{link(of_type, views.type_name(dtmi))}<br>{code(dtmi)}")),
    ]
    units = {term.name: unit(term.unit) for term in kind.properties} if kind is not None else {}
    since = {name: at_ns for at_ns, changed in fleet.changes(asset) for name in changed}
    for name, value in fleet.properties(asset).items():
        shown = f"{number(value) if isinstance(value, float) else value} {units.get(name, '')}".strip()
        rows.append((name, f"{shown} since {clock(since[name], seconds=False)}" if name in since else shown))
    near = fleet.neighbours(asset)
    rows += [(name, Html(shown)) for name, shown in _edges(views, asset, near)]
    around = link(address_of("/", {"from": asset, "depth": "2"}), "on the map")
    rows.append(("Neighbours", Html(f"{len(near)}, {around}") if near else "none declared"))
    if state is not None:
        rows.append(("From", f"partition {state.partition}, offset {state.offset:,}"))
    path = f"/v1/twins/{quote(asset, safe='')}"
    rows.append(("As JSON", Html(f"{link(path, 'twin')}, {link(f'{path}/history', 'history')}")))
    if kind is not None:
        rows.append(("For others", Html(link(f"{path}/td", "W3C WoT Thing Description"))))
    return facts(rows)


def _edges(views: LiveViews, asset: str, near: Iterable[str]) -> Iterator[tuple[str, str]]:
    """By relationship: to whom it leads from here, and from whom it comes."""
    fleet = views.definitions.fleet
    declared = fleet.get(asset)
    ends: dict[str, list[str]] = {}
    for edge in declared.relationships if declared is not None else ():
        ends.setdefault(f"{edge.name} →", []).append(edge.target)
    for other in sorted(near):
        of_other = fleet.get(other)
        for edge in of_other.relationships if of_other is not None else ():
            if edge.target == asset:
                ends.setdefault(f"→ {edge.name}", []).append(other)
    for name, others in ends.items():
        links = ", ".join(link(twin_href(one), views.display_name(one)) for one in others[:_NEIGHBOURS])
        yield name, links + (f" and {len(others) - _NEIGHBOURS} more" if len(others) > _NEIGHBOURS else "")


def last_spreads(history: TwinHistory | None) -> dict[str, float]:
    """What the model expects as its own error, of the newest step that has one."""
    found: dict[str, float] = {}
    for series in history.channels if history is not None else ():
        newest = next((spread for spread in reversed(series.spread) if spread), None)
        if newest is not None:
            found[series.channel] = newest
    return found


def _sample(drawing: str, word: str) -> str:
    return f'<span><svg viewBox="0 0 12 12" aria-hidden="true">{drawing}</svg>{word}</span>'


LEGEND: Final = (
    '<div class="lt-legend">'
    + _sample('<path d="M0 6h12" stroke="#3d7fe0" stroke-width="2"/>', "seen")
    + _sample(
        '<rect y="1" width="12" height="10" fill="#2b8a66" opacity=".25"/><path d="M0 6h12" stroke="#2b8a66" '
        'stroke-dasharray="2 2"/>',
        "expected, ± 3 σ",
    )
    + _sample('<rect width="12" height="12" fill="#c22f3c" opacity=".3"/>', "alert")
    + _sample('<path d="M6 0v12" stroke="#7b7fe0" stroke-width="1.6"/>', "another model version took over")
    + "".join(
        f'<span class="lt-tone watch"><span class="lt-g" aria-hidden="true">{mark.glyph}</span>{mark.word.lower()}</span>'
        for mark in QUALITY.values()
        if mark.symbol != "none"
    )
    + "</div>"
)
