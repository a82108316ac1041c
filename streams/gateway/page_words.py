"""Words, tones and numbers as people see them: what health and risk are called, how a value is written.

Pure. Colour never stands alone: every tone has a glyph and a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from streams.records import Alert, TwinState
from streams.wording import number, unit

WAITING: Final = "waiting"


@dataclass(frozen=True, slots=True)
class Tone:
    """How one condition looks: a CSS class, a glyph, a word, and colours for charts (light, dark)."""

    css: str
    glyph: str
    word: str
    light: str
    dark: str

    def colour(self, dark: bool) -> str:
        return self.dark if dark else self.light


HEALTH: Final[dict[str, Tone]] = {
    "ok": Tone("calm", "●", "OK", "#2b8a66", "#4fc08d"),
    "learning": Tone("learning", "◐", "Learning", "#5b5fc7", "#9a9df5"),
    "warning": Tone("watch", "▲", "Warning", "#c98a12", "#e5ac3f"),
    "alarm": Tone("critical", "◆", "Alarm", "#c22f3c", "#f4707a"),
    "silent": Tone("silent", "○", "Silent", "#8b94a0", "#6c7686"),
    WAITING: Tone("silent", "◌", "Waiting", "#c2c8d0", "#3d4654"),
}
HEALTH_MEANING: Final[dict[str, str]] = {
    "ok": "Behaves as its model expects.",
    "learning": "Its model is still learning what is normal. Until then it raises nothing.",
    "warning": "Stranger than usual, not yet an alarm.",
    "alarm": "An alert is open: not what its model expects, past a limit, a bad sensor, or silent.",
    "silent": "No readings, while others go on.",
    WAITING: "Declared, but no reading has arrived yet.",
}
SEVERITY: Final[dict[str, Tone]] = {
    "critical": Tone("critical", "◆", "Critical", "#c22f3c", "#f4707a"),
    "major": Tone("high", "◆", "Major", "#c4501b", "#f08a4b"),
    "minor": Tone("watch", "▲", "Minor", "#c98a12", "#e5ac3f"),
    "warning": Tone("watch", "△", "Warning", "#c98a12", "#e5ac3f"),
    "indeterminate": Tone("silent", "○", "Indeterminate", "#8b94a0", "#6c7686"),
}
DECISION: Final[dict[str, Tone]] = {
    "champion": Tone("calm", "★", "Promoted", "#2b8a66", "#4fc08d"),
    "refused": Tone("critical", "✕", "Refused", "#c22f3c", "#f4707a"),
    "challenger": Tone("learning", "◐", "Challenger", "#5b5fc7", "#9a9df5"),
    "retired": Tone("silent", "○", "Retired", "#8b94a0", "#6c7686"),
    "rolled-back": Tone("high", "↩", "Rolled back", "#c4501b", "#f08a4b"),
}
OTHER: Final = Tone("silent", "○", "Other", "#8b94a0", "#6c7686")


@dataclass(frozen=True, slots=True)
class QualityMark:
    """How a cell that is not good looks: a word, a sentence, a glyph, and the same shape for ECharts."""

    word: str
    meaning: str
    glyph: str
    symbol: str


QUALITY: Final[dict[str, QualityMark]] = {
    "out-of-range": QualityMark("Out of range", "outside what the sensor can say", "▲", "triangle"),
    "stuck": QualityMark("Stuck", "the sensor repeats itself", "■", "rect"),
    "spike": QualityMark("Spike", "a jump that no neighbouring reading shares", "◆", "diamond"),
    "gap": QualityMark("Gap", "no reading came; the value was filled in", "○", "emptyCircle"),
    "wrong-unit": QualityMark(
        "Wrong unit", "looks like another unit", "✕", "path://M1,0L5,4L9,0L10,1L6,5L10,9L9,10L5,6L1,10L0,9L4,5L0,1Z"
    ),
    "missing": QualityMark("Missing", "no reading came, and nothing to fill in", "–", "none"),
}


def health_of(state: TwinState | None) -> str:
    return WAITING if state is None else state.health


def quality_words(quality: Mapping[str, str]) -> str:
    """Channels whose last reading is not good, and why.

    >>> quality_words({"flow": "good", "level": "stuck", "temp": "wrong-unit"})
    'level: stuck, temp: wrong unit'
    """
    return ", ".join(f"{name}: {QUALITY[word].word.lower()}" for name, word in quality.items() if word in QUALITY)


def condition(alert: Alert) -> str:
    """What an alert is about, in words.

    >>> condition_words("anomaly"), condition_words("limit:level:low"), condition_words("stuck:flow")
    ('unusual behaviour', 'level below its limit', 'flow sensor stuck')
    >>> condition_words("out-of-range:level"), condition_words("wrong-unit:level"), condition_words("silent")
    ('level out of its range', 'level in a wrong unit', 'nothing comes any more')
    """
    return condition_words(alert.condition)


def condition_words(name: str) -> str:
    match name.split(":"):
        case ["anomaly"]:
            return "unusual behaviour"
        case ["limit", channel, "low"]:
            return f"{channel} below its limit"
        case ["limit", channel, "high"]:
            return f"{channel} above its limit"
        case ["stuck", channel]:
            return f"{channel} sensor stuck"
        case ["out-of-range", channel]:
            return f"{channel} out of its range"
        case ["wrong-unit", channel]:
            return f"{channel} in a wrong unit"
        case ["silent"]:
            return "nothing comes any more"
    return name


def headline(alert: Alert) -> str:
    """One line of evidence: what the strongest detector says; seen against expected where that is the forecast.

    The forecast made one step before follows what lasts, so beside another detector it would say that nothing is off.
    """
    evidence = alert.evidence
    if evidence.summary and (not evidence.channels or evidence.channels[0].detector != "forecast"):
        return evidence.summary
    if not evidence.channels:
        return condition(alert)
    top = evidence.channels[0]
    short = unit(top.unit)
    seen = f"{top.name} {number(top.seen)} {short}".strip()
    if top.expected is None:
        return seen
    return f"{seen}, expected {number(top.expected)} {short}".strip() + off_by(top.seen, top.expected, top.spread)


def off_by(seen: float | None, expected: float | None, spread: float | None) -> str:
    """How far apart in spreads; nothing when that is not known.

    >>> off_by(1.0, 3.0, 0.5), off_by(1.0, None, 0.5)
    (' (−4.0 σ)', '')
    """
    if seen is None or expected is None or not spread:
        return ""
    return f" ({(seen - expected) / spread:+.1f} σ)".replace("-", "−")


def clock(time_ns: int | None, *, seconds: bool = True) -> str:
    """Event time for people, UTC.

    >>> clock(1_767_225_600_000_000_000)
    '2026-01-01 00:00:00'
    """
    if time_ns is None:
        return "–"
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")
