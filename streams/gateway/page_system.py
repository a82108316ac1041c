"""The system itself: roles, broker, historian, refused records, how to feed and to read it by script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from streams.gateway.api_system import overview
from streams.gateway.gateway import Gateway
from streams.gateway.page_html import Content, Html, chip, code, esc, small, table, tile, two_lines
from streams.gateway.page_shell import explain, markup, panel, set_content, shell
from streams.gateway.page_words import HEALTH, OTHER, Tone
from streams.gateway.times import NS_PER_S
from streams.wording import duration, number

_ROLE_TONES: Final = {
    "running": Tone("calm", "●", "Running", "", ""),
    "backoff": Tone("critical", "◆", "Restarting", "", ""),
    "stopped": Tone("silent", "○", "Stopped", "", ""),
}
_COMES_TONES: Final = {
    False: Tone("calm", "●", "Comes in", "", ""),
    True: Tone("watch", "▲", "Nothing comes", "", ""),
}
_LAG_TONES: Final = {
    "keeps-up": Tone("calm", "●", "Keeps up", "", ""),
    "behind": Tone("watch", "▲", "Behind", "", ""),
    "nobody": Tone("critical", "◆", "Nobody at work", "", ""),
}
_ROLE_WORDS: Final = {
    "kafka": "the log that everything meets on",
    "processor": "folds telemetry into twins, scores them, raises signals",
    "trainer": "fine-tunes the models and decides which version serves",
    "alerting": "turns signals into alerts",
    "gateway": "this page, HTTP and, with DuckDB, the historian",
    "historian": "writes closed steps into the store",
    "feed": "the demo feed",
}
_GOOD, _WATCH, _BAD = HEALTH["ok"], HEALTH["warning"], HEALTH["alarm"]
_MUCH_LAG: Final = 10_000  # records


def build(gateway: Gateway, request: Request) -> None:
    with shell(gateway, request, active="system", title="System", subtitle="Is everything running, and how to reach it"):
        explain(
            "What these parts do",
            "Readings go through Kafka to a <b>processor</b>, which keeps the twins and scores them. The <b>trainer</b> "
            "teaches the "
            "models, <b>alerting</b> keeps the alerts, the <b>historian</b> writes history. A role that crashes is started "
            "again by "
            "itself and goes on where it was.",
            "A record that can't be used is never dropped silently: it goes to <b>dead-letter</b> with the reason, and is "
            "listed below.",
        )
        SystemPage(gateway).build(str(request.base_url).rstrip("/"))


class SystemPage:
    """Panels that are filled every two seconds."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def build(self, address: str) -> None:
        with ui.element("div").classes("lt-stack"):
            self._tiles = markup("", classes="lt-tiles wide")
            with panel("Roles"):
                self._roles = markup("")
            with panel("How far each role is behind"):
                self._lag = markup("")
            with panel("What comes in", note="by the wall clock"):
                self._arrivals = markup("")
            with panel("Refused records") as controls:
                with controls:
                    markup(code(self._gateway.topics.dead_letter, "lt-muted"), tag="span")
                self._dead = markup("")
            with panel("Feed it and read it by script"), ui.element("div").classes("lt-body lt-stack"):
                markup(_scripts(address, self._gateway.topics.prefix))
        ui.timer(0.05, self._tick, once=True)
        ui.timer(2.0, self._tick)

    async def _tick(self) -> None:
        found = await overview(self._gateway)
        set_content(self._tiles, _tiles(found))
        set_content(self._roles, _roles(found["roles"]))
        set_content(self._lag, _lag(found["lag"]))
        set_content(self._arrivals, _arrivals(found["arrivals"], self._gateway.views.type_name))
        set_content(self._dead, _dead_letters(found["dead_letters"]["newest"]))


def _tiles(found: dict[str, Any]) -> str:
    broker, views, historian, size = found["broker"], found["views"], found["historian"], found["store_size_bytes"]
    refused = found["dead_letters"]["count"]
    entries: list[tuple[str, str, str, Tone]] = [
        ("Kafka", "answers" if broker["reachable"] else "away", broker["address"], _GOOD if broker["reachable"] else _BAD),
        (
            "Live views",
            "up to date" if views["caught_up"] else "catching up",
            f"{views['records']:,} records read",
            _GOOD if views["caught_up"] else _WATCH,
        ),
    ]
    arrivals = found["arrivals"] or []
    quiet = {one["type"] for one in arrivals if one["quiet"]}
    if arrivals:
        told = f"nothing of {len(quiet)} of {len({one['type'] for one in arrivals})} types" if quiet else "from all types"
        still = "stand still" if all(one["quiet"] for one in arrivals) else "come in"
        entries.append(("Readings", still, told, _WATCH if quiet else _GOOD))
    if historian is None:
        apart = (found["lag"] or {}).get("historian")
        if apart is None:
            entries.append(("Historian", "elsewhere", "runs as its own role", OTHER))
        else:
            lag, members = sum(apart["records"].values()), apart["members"]
            told = f"{members} on their own" if members else "nobody at work: history waits in Kafka"
            entries.append(("Historian lag", f"{lag:,} records", told, _WATCH if not members or lag > _MUCH_LAG else _GOOD))
    else:
        lag = sum(historian["lag"].values())
        waiting = historian["waiting_for"]
        told = f"waits: {waiting}" if waiting else f"{historian['rows_written']:,} rows written"
        entries.append(("Historian lag", f"{lag:,} records", told, _WATCH if waiting or lag > _MUCH_LAG else _GOOD))
    store = f"{size / 2**20:,.1f} MiB" if size is not None else "away"
    entries.append(("Store", store, "history of twins and alerts", _GOOD if size is not None else _BAD))
    scoring = found["scoring"]
    if scoring is not None and scoring["wh_per_million_steps"] is not None:
        told = f"{scoring['scored_steps']:,} steps in {number(scoring['cpu_s'])} s of CPU, estimated"
        entries.append(("Energy a million steps", f"{number(scoring['wh_per_million_steps'])} Wh", told, OTHER))
    entries.append(("Refused records", f"{refused:,}", "kept in dead-letter", _WATCH if refused else _GOOD))
    return "".join(tile(name, value, told, tone=tone, mark=True, small=True) for name, value, told, tone in entries)


def _roles(roles: dict[str, dict[str, Any]]) -> str:
    known = {name: role for name, role in roles.items() if isinstance(role, dict)}
    if not known:
        words = "Nobody supervises roles on this machine: they were started one by one, or elsewhere."
        return f'<div class="lt-body">{small(words)}</div>'
    rows = [_role(name, role) for name, role in known.items()]
    return table(("Role", "State", "Since", "Restarts", "Last exit", "Process"), rows, right=(3, 5), hide_on_phone=(2, 4, 5))


def _role(name: str, role: dict[str, Any]) -> tuple[Content, ...]:
    words = next((text for kind, text in _ROLE_WORDS.items() if name.startswith(kind)), "")
    last = role.get("last_exit")
    return (
        two_lines(Html(f"<b>{esc(name)}</b>"), words),
        Html(chip(_ROLE_TONES.get(str(role.get("state")), OTHER))),
        str(role.get("since") or "–")[:19].replace("T", " "),
        str(role.get("restarts", 0)),
        "–" if last is None else str(last),
        str(role.get("pid") or "–"),
    )


def _lag(roles: dict[str, dict[str, Any]] | None) -> str:
    if roles is None:
        return f'<div class="lt-body">{small("Not known: the broker has not answered yet.")}</div>'
    rows = []
    for name, role in roles.items():
        behind, members = sum(role["records"].values()), role["members"]
        topics = ", ".join(f"{topic} {records:,}" for topic, records in role["records"].items() if records)
        state = "nobody" if members == 0 else "behind" if behind > _MUCH_LAG else "keeps-up"
        rows.append(
            (
                two_lines(Html(f"<b>{esc(name)}</b>"), _ROLE_WORDS.get(name, "")),
                Html(chip(_LAG_TONES[state])),
                str(members),
                f"{behind:,}",
                topics or "–",
            )
        )
    return table(("Role", "State", "Processes", "Records to do", "Where"), rows, right=(2, 3), hide_on_phone=(2, 4))


def _arrivals(arrivals: list[dict[str, Any]] | None, type_name: Callable[[str], str]) -> str:
    """A row a type; where only some of its partitions are quiet, those are named."""
    if not arrivals:
        words = "No twin has sent anything yet." if arrivals is not None else "Not known: the views are still being read."
        return f'<div class="lt-body">{small(words)}</div>'
    rows = []
    for kind in dict.fromkeys(one["type"] for one in arrivals):
        mine = [one for one in arrivals if one["type"] == kind]
        quiet = [one for one in mine if one["quiet"]]
        shown, twins = quiet or mine, f"{sum(one['twins'] for one in mine):,}"
        where = f"partitions {', '.join(str(one['partition']) for one in quiet)}" if 0 < len(quiet) < len(mine) else ""
        rows.append(
            (
                two_lines(Html(f"<b>{esc(type_name(kind))}</b>"), where),
                Html(chip(_COMES_TONES[bool(quiet)])),
                f"{sum(one['twins'] for one in quiet):,} of {twins}" if quiet else twins,
                max(one["last_came"] for one in shown)[:19].replace("T", " "),
                duration(int(min(one["expected_within_s"] for one in shown)) * NS_PER_S),
            )
        )
    return table(("Type", "State", "Twins", "Newest came", "Too long from"), rows, right=(2,), hide_on_phone=(2, 4))


def _dead_letters(newest: list[dict[str, Any]]) -> str:
    if not newest:
        return f'<div class="lt-body">{small("None: everything that came could be used.")}</div>'
    rows = [
        (
            one["time"][:19].replace("T", " "),
            one["key"][:60],
            Html(code(one["reason"])),
            Html(f'<div class="lt-why lt-small">{esc(one["message"][:300])}</div>'),
            f"{one['topic']} {one['partition']}:{one['offset']}",
        )
        for one in newest[:15]
    ]
    return table(("Arrived", "Key", "Reason", "Message", "From"), rows, hide_on_phone=(0, 4))


def _scripts(address: str, prefix: str) -> str:
    reading = '{"asset": "pump-1", "time": "2026-01-01T00:00:00Z", "flow": 1.2}'
    commands = (
        f"# a reading over HTTP; the same JSON goes to the topic {prefix}telemetry, keyed by asset\n"
        f"curl -H \"Content-Type: application/json\" \\\n  -d '{reading}' \\\n  {address}/v1/telemetry\n\n"
        f"# active alerts; the whole contract is on the topic {prefix}alerts\n"
        f"curl '{address}/v1/alerts?state=active'\n\n"
        f"# every change as it happens\ncurl -N {address}/v1/stream"
    )
    links = " · ".join(
        f'<a href="{path}">{name}</a>'
        for path, name in (
            ("/openapi.json", "OpenAPI 3.1"),
            ("/asyncapi.json", "AsyncAPI 3"),
            ("/metrics", "metrics"),
            ("/readyz", "readiness"),
            ("/v1/system", "this page as JSON"),
        )
    )
    more = small(Html(f"Contracts and figures: {links}"))
    return f'<pre class="lt-code">{esc(commands)}</pre><p style="margin-top:10px">{more}</p>'
