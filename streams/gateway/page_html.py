"""Small pieces of HTML that pages are made of. Text is escaped here; what is called `…_html` must have been.

Pure.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from streams.gateway.page_words import Tone

esc: Final = html.escape


@dataclass(frozen=True, slots=True)
class Html:
    """A finished piece of HTML, where text would be escaped."""

    text: str


Content = str | Html


def render(content: Content) -> str:
    return content.text if isinstance(content, Html) else esc(content)


def glyph(tone: Tone) -> str:
    return f'<span class="lt-g" aria-hidden="true">{tone.glyph}</span>'


def chip(tone: Tone, word: str | None = None, *, title: str = "") -> str:
    """A small label: glyph and word."""
    hint = f' title="{esc(title)}"' if title else ""
    return f'<span class="lt-chip lt-tone {tone.css}"{hint}>{glyph(tone)}{esc(word or tone.word)}</span>'


def risk_tone(risk: float) -> str:
    """CSS class of a risk.

    >>> risk_tone(0.1), risk_tone(0.4), risk_tone(0.6), risk_tone(0.9)
    ('calm', 'watch', 'high', 'critical')
    """
    return "calm" if risk < 0.3 else "watch" if risk < 0.5 else "high" if risk < 0.8 else "critical"


def risk_bar(risk: float) -> str:
    """Number and bar."""
    bar = f'<i aria-hidden="true"><b style="width:{risk:.0%}"></b></i>'
    return f'<span class="lt-risk lt-tone {risk_tone(risk)}">{bar}{risk:.2f}</span>'


def tile(
    label: Content, value: Content, note: Content = "", *, tone: Tone | None = None, mark: bool = False, small: bool = False
) -> str:
    """A figure with its name above and a note below; with `mark`, the tone's glyph before the name."""
    css = f" lt-tone {tone.css}" if tone is not None else ""
    sign = glyph(tone) if tone is not None and mark else ""
    size = ' style="font-size:16px"' if small else ""
    below = f'<div class="lt-s">{render(note)}</div>' if note else ""
    above = f'<div class="lt-k">{sign}{render(label)}</div>'
    return f'<div class="lt-tile{css}">{above}<div class="lt-v"{size}>{render(value)}</div>{below}</div>'


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Content]], *, right: Sequence[int] = (), hide_on_phone: Sequence[int] = ()
) -> str:
    """A table. `right`: columns of numbers."""

    def css(place: int) -> str:
        names = [name for name, places in (("r", right), ("lt-hide-phone", hide_on_phone)) if place in places]
        return f' class="{" ".join(names)}"' if names else ""

    head = "".join(f"<th{css(place)}>{esc(text)}</th>" for place, text in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td{css(place)}>{render(cell)}</td>" for place, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="lt-scroll"><table class="lt-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(rows: Iterable[tuple[str, Content]]) -> str:
    """Names with what they are."""
    return '<dl class="lt-kv">' + "".join(f"<dt>{esc(name)}</dt><dd>{render(value)}</dd>" for name, value in rows) + "</dl>"


def code(text: str, css: str = "") -> str:
    return f'<code class="{css}">{esc(text)}</code>' if css else f"<code>{esc(text)}</code>"


def small(content: Content, css: str = "lt-soft") -> str:
    return f'<span class="lt-small {css}">{render(content)}</span>'


def two_lines(first: Content, second: Content) -> Html:
    return Html(f"{render(first)}<br>{small(second, 'lt-muted')}")


def note(tone_css: str, content_html: str) -> str:
    return f'<div class="lt-note lt-tone {tone_css}">{content_html}</div>'


def empty(title: str, *paragraphs_html: str) -> str:
    """What is shown where nothing is yet."""
    heading = f"<h2>{esc(title)}</h2>" if title else ""
    return f'<div class="lt-empty">{heading}{"".join(f"<p>{text}</p>" for text in paragraphs_html)}</div>'


def entry(href: str, *lines_html: str) -> str:
    """A line of a list that leads somewhere."""
    return f'<a class="lt-entry" href="{esc(href)}">{"".join(lines_html)}</a>'


def row(*parts_html: str) -> str:
    return f'<span class="lt-row">{"".join(parts_html)}</span>'


def link(href: str, text: str) -> str:
    return f'<a href="{esc(href)}">{esc(text)}</a>'


def twin_href(asset: str) -> str:
    return f"/twin?asset={quote(asset, safe='')}"


def alert_href(alert_id: str) -> str:
    return f"/alerts?id={quote(alert_id, safe='')}"
