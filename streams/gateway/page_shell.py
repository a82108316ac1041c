"""The frame of every page: navigation, title, event clock, light or dark; and small parts that pages share.

In:   the gateway, which page is shown.
Out:  a context in which the page builds its content, and `Look`, which tells charts whether it is dark.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fastapi import Request
from nicegui import ui

from streams.gateway.gateway import Gateway
from streams.gateway.page_words import Tone, clock

STATIC: Final = Path(__file__).parent / "static"
_STYLE: Final = hashlib.sha256((STATIC / "page.css").read_bytes()).hexdigest()[:10]


def _icon(path: str) -> str:
    return (
        '<svg class="lt-icon" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" '
        f'stroke-linejoin="round" aria-hidden="true">{path}</svg>'
    )


LOGO: Final = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" aria-hidden="true"><circle cx="9" cy="12" '
    'r="6.5"/>'
    '<circle cx="15" cy="12" r="6.5" stroke-dasharray="2.6 2.4"/></svg>'
)
_ITEMS: Final = (  # name, path, word, drawing
    (
        "fleet",
        "/",
        "Fleet",
        '<circle cx="5" cy="6" r="2.4"/><circle cx="19" cy="7" r="2.4"/><circle cx="12" cy="18" r="2.4"/>'
        '<path d="M7.3 6.3l9.3.5M6.3 8.1l4.5 7.8M17.8 9.2l-4.6 6.7"/>',
    ),
    (
        "alerts",
        "/alerts",
        "Alerts",
        '<path d="M12 4a5 5 0 0 1 5 5c0 5 2 6 2 7H5c0-1 2-2 2-7a5 5 0 0 1 5-5zM10 19.5a2.2 2.2 0 0 0 4 0"/>',
    ),
    ("models", "/models", "Models", '<path d="M4 18l5-6 4 3 7-9"/><path d="M16 6h4v4"/>'),
    ("demo", "/demo", "Demo", '<path d="M13 3L5 14h6l-1 7 8-11h-6z"/>'),
    (
        "system",
        "/system",
        "System",
        '<rect x="4" y="4.5" width="16" height="6" rx="1.5"/><rect x="4" y="13.5" width="16" height="6" rx="1.5"/>'
        '<path d="M8 7.5h.01M8 16.5h.01"/>',
    ),
)
_THEME_WORDS: Final = {None: "Theme: system", True: "Theme: dark", False: "Theme: light"}
FAVICON: Final = LOGO.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ').replace("currentColor", "#1c63c7")

# tell the server what the eye sees: charts are drawn on a canvas and know no CSS
_SCHEME_SCRIPT: Final = """
const query = window.matchMedia('(prefers-color-scheme: dark)');
emitEvent('lt-scheme', query.matches);
query.addEventListener('change', event => emitEvent('lt-scheme', event.matches));
"""


@dataclass
class Look:
    """Light or dark, as the visitor sees it now. Charts register to be drawn again when it changes."""

    chosen: bool | None  # None: as the system says
    system_dark: bool
    _redraws: list[Callable[[], None]] = field(default_factory=list)

    @property
    def dark(self) -> bool:
        return self.system_dark if self.chosen is None else self.chosen

    def on_change(self, redraw: Callable[[], None]) -> None:
        self._redraws.append(redraw)

    def set(self, *, chosen: bool | None, system_dark: bool) -> None:
        before = self.dark
        self.chosen, self.system_dark = chosen, system_dark
        if self.dark != before:
            for redraw in self._redraws:
                redraw()


def markup(content: str, *, tag: str = "div", classes: str = "") -> ui.html:
    """Trusted HTML: whatever came from a record must have been escaped."""
    return ui.html(content, sanitize=False, tag=tag).classes(classes)


@contextmanager
def shell(gateway: Gateway, request: Request, *, active: str, title: str, subtitle: str) -> Iterator[Look]:
    cookie = request.cookies.get("livetwin-theme")
    look = Look({"dark": True, "light": False}.get(cookie or ""), request.cookies.get("livetwin-scheme") == "dark")
    ui.page_title(f"{title} · livetwin")
    ui.add_head_html(
        f'<link rel="stylesheet" href="/assets/page.css?v={_STYLE}"><meta name="description" content="Live digital twins '
        'that keep learning">'
        "<script>document.cookie='livetwin-scheme='+(matchMedia('(prefers-color-scheme: "
        "dark)').matches?'dark':'light')+';path=/;SameSite=Lax'</script>"
    )
    dark = ui.dark_mode(look.chosen)
    buttons: list[ui.html] = []

    def choose() -> None:
        chosen = {None: True, True: False, False: None}[look.chosen]
        dark.value = chosen
        word = {None: "auto", True: "dark", False: "light"}[chosen]
        ui.run_javascript(f"document.cookie='livetwin-theme={word};path=/;max-age=31536000;SameSite=Lax'")
        look.set(chosen=chosen, system_dark=look.system_dark)
        for button in buttons:
            button.set_content(_theme_label(chosen))

    ui.on("lt-scheme", lambda event: look.set(chosen=look.chosen, system_dark=bool(event.args)))
    ui.run_javascript(_SCHEME_SCRIPT)
    markup('<a class="lt-skip" href="#content">Skip to content</a>')
    with ui.element("div").classes("lt-shell"):
        with ui.element("nav").classes("lt-nav").props('aria-label="Pages"'):
            markup(f'<a class="lt-brand" href="/">{LOGO}<span>livetwin</span></a>', tag="span")
            counts = _navigation(active)
            with ui.element("div").classes("lt-foot"):
                buttons.append(_theme_button(choose, look, ""))
                status = markup("", classes="lt-small lt-muted")
        with ui.element("div").classes("lt-main").props('id="content" tabindex="-1"'):
            with ui.element("header").classes("lt-head"):
                markup(f"<h1>{html.escape(title)}</h1><p>{html.escape(subtitle)}</p>", classes="lt-titles")
                event_clock = markup("", classes="lt-clock")
                buttons.append(_theme_button(choose, look, "lt-theme-top"))
            notice = markup("", classes="lt-notice")
            tick = _ticker(gateway, counts, status, event_clock, notice)
            tick()
            yield look
    ui.timer(1.0, tick)


def _navigation(active: str) -> ui.html:
    counts: ui.html | None = None
    for name, path, label, icon in _ITEMS:
        current = ' aria-current="page"' if name == active else ""
        with ui.element("a").classes("lt-item").props(f'href="{path}"{current}'):
            markup(_icon(icon), tag="span").style("display:flex")
            markup(label, tag="span")
            if name == "alerts":
                counts = markup("", tag="span", classes="lt-count")
    assert counts is not None
    return counts


def _theme_button(choose: Callable[[], None], look: Look, classes: str) -> ui.html:
    with (
        ui.element("button")
        .classes(f"lt-theme {classes}")
        .props('type="button" aria-label="Change between system, dark and light theme"') as button
    ):
        label = markup(_theme_label(look.chosen), tag="span").style("display:inline-flex;gap:8px;align-items:center")
    button.on("click", choose)
    return label


def _theme_label(chosen: bool | None) -> str:
    return (
        _icon('<circle cx="12" cy="12" r="8"/><path d="M12 4v16a8 8 0 0 0 0-16z" fill="currentColor"/>')
        + f"<span>{_THEME_WORDS[chosen]}</span>"
    )


def _ticker(gateway: Gateway, counts: ui.html, status: ui.html, event_clock: ui.html, notice: ui.html) -> Callable[[], None]:
    """What changes on every page: open alerts, the newest event time, whether the broker answers."""

    def tick() -> None:
        views, follow = gateway.views, gateway.follower.status
        unseen = sum(not alert.acknowledged for alert in views.alerts.active())
        text = f'{unseen}<span class="lt-visually-hidden"> not acknowledged</span>' if unseen else ""
        _set(counts, text)
        live = follow.reachable and follow.caught_up
        word, css = ("live", "calm") if live else ("catching up", "learning") if follow.reachable else ("broker away", "critical")
        if live and gateway.arrivals.stands_still:
            word, css = "nothing comes in", "watch"
        newest = f"event time {clock(views.twins.newest_ns)} UTC" if views.twins.newest_ns is not None else "nothing received yet"
        _set(
            event_clock,
            f'<span class="lt-tone {css}"><span class="lt-g" '
            f'aria-hidden="true">{"●" if live else "○"}</span></span><span>{word} · {newest}</span>',
        )
        _set(status, f"{len(views.twins):,} twins")
        problem = ""
        if not follow.reachable:
            reason = html.escape(follow.problem or "")
            problem = (
                f'<div class="lt-note lt-tone critical" style="margin-bottom:14px" role="status">Kafka at '
                f"{html.escape(gateway.bootstrap)} does not "
                f"answer ({reason}). What is shown is the last that was known; it goes on by itself when Kafka is back.</div>"
            )
        _set(notice, problem)

    return tick


def _set(element: ui.html, content: str) -> None:
    if element.content != content:
        element.set_content(content)


set_content = _set


def explain(summary: str, *paragraphs: str, opened: bool = False) -> None:
    """A foldable text for someone new to this. Paragraphs are HTML."""
    text = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    markup(
        f'<details class="lt-explain"{" open" if opened else ""}><summary>{summary}</summary><div '
        f'class="lt-text">{text}</div></details>'
    )


@contextmanager
def panel(title: str, *, note: str = "") -> Iterator[ui.element]:
    """A framed part of the page with a heading; yields the place right of the heading for controls."""
    with ui.element("section").classes("lt-panel"):
        with ui.element("header"):
            markup(html.escape(title), tag="h2")
            if note:
                markup(html.escape(note), tag="span", classes="lt-muted lt-small")
            controls = ui.element("div").classes("lt-row")
        yield controls


def legend(tones: dict[str, Tone], meaning: dict[str, str]) -> str:
    """HTML: what each colour and glyph means."""
    entries = "".join(
        f'<span class="lt-tone {tone.css}" title="{html.escape(meaning.get(key, ""))}"><span class="lt-g" '
        f'aria-hidden="true">{tone.glyph}</span>{tone.word}</span>'
        for key, tone in tones.items()
    )
    return f'<div class="lt-legend">{entries}</div>'
