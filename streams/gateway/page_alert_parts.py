"""What an open alert shows, as HTML: its evidence, what stands beside it in the fleet, what people said.

Pure.
"""

from __future__ import annotations

from typing import Final

from streams.evidence_words import fault_words, sentence
from streams.gateway.alert_context import AlertContext, EventAnswer, NeighbourAnswer, SimilarAnswer
from streams.gateway.page_html import (
    Content,
    Html,
    alert_href,
    code,
    entry,
    esc,
    facts,
    link,
    risk_bar,
    small,
    table,
    twin_href,
)
from streams.gateway.page_words import clock, condition_words
from streams.gateway.times import NS_PER_S
from streams.records import Alert
from streams.wording import duration, number, unit
from twin.time import parse_time

DETECTOR: Final = {
    "forecast": "the forecast of one step",
    "shift": "a shift against an earlier forecast",
    "level": "a level off for hours",
    "shape": "channels that do not go together",
    "limit": "a limit of the type",
    "stuck": "a sensor that repeats itself",
    "out-of-range": "a value that the sensor can't have measured",
    "wrong-unit": "a number in another unit",
    "silent": "nothing that came",
}
_LEAST_SHARE: Final = 0.1  # of a channel or detector that is worth a line


def state_words(alert: Alert) -> str:
    """HTML: active or cleared, and what was said of it."""
    words: list[str] = [alert.state]
    if alert.acknowledged:
        words.append("acknowledged")
    if alert.false_alarm:
        words.append("false alarm")
    if alert.shelved_until_ns is not None:
        words.append(f"shelved until {clock(alert.shelved_until_ns, seconds=False)}")
    return esc(", ".join(words))


def evidence(alert: Alert) -> str:
    """Why: sentences, the channels, and from what that can be computed again."""
    found = alert.evidence
    channels = table(
        ("Channel", "Seen", "Expected", "Unit", "Share"),
        (
            (
                one.name,
                number(one.seen),
                number(one.expected) + (f" ± {number(one.spread, 2)}" if one.spread is not None else ""),
                unit(one.unit),
                f"{one.contribution:.0%}",
            )
            for one in found.channels
        ),
        right=(1, 2, 4),
    )
    said = [sentence(one, alone=len(found.channels) == 1) for one in found.channels if one.contribution >= _LEAST_SHARE]
    why = "".join(f"<div>{esc(_whole(one))}</div>" for one in said or [found.summary] if one)
    still = f"still active, {duration(alert.updated_ns - alert.onset_ns)} long at its last change"
    rows: list[tuple[str, Content]] = [
        ("State", Html(state_words(alert))),
        ("Since", f"{clock(alert.onset_ns)} UTC"),
        ("Until", f"{clock(alert.cleared_ns)} UTC" if alert.cleared_ns is not None else still),
        ("Highest risk", Html(risk_bar(alert.risk))),
        ("Seen by", _detectors(found.detectors)),
        ("Model version", Html(code(found.model_version)) if found.model_version else "none: a limit of the type"),
        ("Weights", Html(code((found.weights_sha256 or "–")[:16]))),
        ("From the log", f"partition {found.partition}, offsets {found.first_offset:,} to {found.last_offset:,}"),
        ("Alert id", Html(f"{code(alert.id)}, revision {alert.revision}")),
    ]
    if found.likely_fault is not None:
        rows.insert(5, ("Looks like", fault_words(found.likely_fault)))
    if not found.detectors:
        rows = [row for row in rows if row[0] != "Seen by"]
    if alert.acknowledged_by:
        rows.insert(1, ("Acknowledged by", alert.acknowledged_by))
    return f"{_block('Why', why) if why else ''}<div><h3>Evidence, strongest channel first</h3>{channels}</div>{facts(rows)}"


def _whole(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _detectors(shares: dict[str, float]) -> str:
    """
    >>> _detectors({"level": 0.25, "shift": 0.75, "shape": 0.001})
    'a shift against an earlier forecast 75%, a level off for hours 25%'
    """
    ordered = sorted(shares.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{DETECTOR.get(name, name)} {share:.0%}" for name, share in ordered if share >= _LEAST_SHARE)


def beside(alert: Alert, context: AlertContext) -> str:
    """Neighbours, what happened close in time, earlier alerts."""
    moving = "".join(_neighbour(one, alert) for one in context.neighbours)
    still = (
        f"None of its {context.neighbours_known} neighbours." if context.neighbours_known else "It has no declared neighbours."
    )
    happened = "".join(
        f"<div>{link('/models', f'Version {one.version}')} took over {_when(one.time, alert)}.</div>" for one in context.swaps
    ) + "".join(_event(one, alert) for one in context.events)
    before = duration(int(context.looked_back_s) * NS_PER_S)
    nothing = f"No other model version took over in the {before} before, and no event was declared."
    earlier = "".join(_similar(one, alert) for one in context.similar)
    return (
        _block("Neighbours that move too", moving or small(still))
        + _block("Close in time", happened or small(nothing))
        + _block("Earlier alerts that looked like this", earlier or small("None of this type that is still known."))
    )


def remarks(alert: Alert) -> str:
    lines = "".join(
        f"<div><b>{esc(one.by)}</b> {small(clock(one.time_ns), 'lt-muted')}<br>{esc(one.text)}</div>" for one in alert.comments
    )
    return _block("Remarks", lines) if lines else ""


def _block(title: str, content_html: str) -> str:
    return f"<div class='lt-stack' style='gap:6px'><h3>{esc(title)}</h3>{content_html}</div>"


def _neighbour(one: NeighbourAnswer, alert: Alert) -> str:
    arrow = f"{one.relationship} →" if one.direction == "out" else f"→ {one.relationship}"
    risk = risk_bar(one.risk) if one.risk is not None else ""
    title = f"<span class='lt-row'>{small(arrow, 'lt-muted')} {link(twin_href(one.asset), one.name)} {risk}</span>"
    if one.alert is None or one.onset is None:
        return f"<div>{title}</div>"
    told = link(alert_href(one.alert), one.summary or condition_words(one.condition or ""))
    return f"<div>{title}{small(Html(f'{told}, {esc(_when(one.onset, alert))}'))}</div>"


def _event(one: EventAnswer, alert: Alert) -> str:
    where = "" if one.asset == alert.asset else f" at {link(twin_href(one.asset), one.asset)}"
    text = f": {esc(one.text)}" if one.text else ""
    return f"<div><b>{esc(one.kind)}</b>{where}, {esc(_when(one.time, alert))}{text}</div>"


def _similar(one: SimilarAnswer, alert: Alert) -> str:
    ended = (
        "still active" if one.cleared is None else f"cleared after {duration(parse_time(one.cleared) - parse_time(one.onset))}"
    )
    said = [ended, "a false alarm" if one.false_alarm else "", f"taken by {one.acknowledged_by}" if one.acknowledged_by else ""]
    comment = f"<br>{esc(one.comment)}" if one.comment else ""
    title = f"<b>{esc(one.name)}</b> {small(clock(parse_time(one.onset), seconds=False), 'lt-muted')}"
    lines = small(Html(f"{esc(f'{one.similarity:.0%} alike: ' + ', '.join(word for word in said if word))}{comment}"))
    return entry(alert_href(one.id), f"<span>{title}</span>", lines)


def _when(time: str, alert: Alert) -> str:
    """How long before or after the alert's onset."""
    apart = parse_time(time) - alert.onset_ns
    if apart == 0:
        return "at the same step"
    return f"{duration(abs(apart))} {'before' if apart < 0 else 'after'}"
