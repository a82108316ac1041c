"""All dashboards of a fleet as files that Grafana provisions.

In:   twin types, the address of livetwin's page.
Out:  `FOLDER/<uid>.json`, Grafana's classic dashboard format. A file whose content stays the same is not touched.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.alerts_dashboard import alerts_dashboard
from deploy.grafana.fleet_dashboard import fleet_dashboard
from deploy.grafana.frame import Fleet
from deploy.grafana.models_dashboard import models_dashboard
from deploy.grafana.panels import COLUMNS
from deploy.grafana.system_dashboard import system_dashboard
from deploy.grafana.twin_dashboard import twin_dashboard
from twin.errors import LivetwinError


class ExportFailed(LivetwinError):
    """The dashboards could not be written; a retry helps once the folder can be written."""

    retriable = True


def dashboards(fleet: Fleet) -> list[Dashboard]:
    """Fleet, alerts, models, system, and one of each twin type."""
    whole = (fleet_dashboard, alerts_dashboard, models_dashboard, system_dashboard)
    return [*(make(fleet) for make in whole), *(twin_dashboard(kind, fleet) for kind in fleet.types)]


def rendered(fleet: Fleet) -> dict[str, str]:
    """Each dashboard's JSON by its uid. Panels have an id of their own, counted from 1."""
    found = {}
    for made in dashboards(fleet):
        shown = made.build()
        for number, panel in enumerate(shown.panels or [], start=1):
            panel.id_val = number
        plain = json.loads(json.dumps(shown, cls=JSONEncoder))
        _place(plain["panels"])
        _leave_out_what_grafana_12_has_not(plain)
        found[str(shown.uid)] = json.dumps(plain, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    return found


def _place(panels: list[dict[str, Any]]) -> None:
    """From left to right, on a new line where the width is used up; a row has a line of its own."""
    x = y = tallest = 0
    for panel in panels:
        at = panel["gridPos"]
        width, height = (COLUMNS, 1) if panel["type"] == "row" else (at["w"], at["h"])
        if x + width > COLUMNS:
            x, y, tallest = 0, y + tallest, 0
        panel["gridPos"] = {"x": x, "y": y, "w": width, "h": height}
        x, tallest = x + width, max(tallest, height)


def _leave_out_what_grafana_12_has_not(dashboard: dict[str, Any]) -> None:
    """The library also writes fields of other releases, with their defaults."""
    for variable in dashboard.get("templating", {}).get("list", []):
        for name in ("auto", "auto_count", "auto_min"):  # of interval variables
            variable.pop(name, None)
    for panel in dashboard["panels"]:
        if panel["type"] == "table":
            panel["options"].pop("footer", None)


def export(fleet: Fleet, folder: Path) -> list[Path]:
    """Write what changed, remove dashboards of ours that are no longer made; the paths of all that are made.

    Raises:
        ExportFailed: the folder can't be written; files that were written stay.
    """
    wanted = {folder / f"{uid}.json": text for uid, text in rendered(fleet).items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in wanted.items():
            if not path.exists() or path.read_text() != text:
                fresh = path.with_suffix(".new")
                fresh.write_text(text)
                os.replace(fresh, path)  # Grafana never reads half a file
        for path in folder.glob("livetwin-*.json"):
            if path not in wanted:
                path.unlink()
    except OSError as error:
        raise ExportFailed(f"dashboards not all written to {folder}: {error}") from error
    return sorted(wanted)
