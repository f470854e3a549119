"""`python -m deploy.dashboards [--check]`: write the dashboards, or see whether they are fresh."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deploy.dashboards.panels import SERVICES, Panel, Row, service_rows, suite_rows

FOLDER = Path(__file__).resolve().parent
COLUMNS = 24
PANEL_HEIGHT = 8
# More of them side by side cannot be read.
PANELS_PER_LINE_MAX = 4
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def main(arguments: Sequence[str]) -> int:
    """Write the files; returns 1 if they were only to be checked and are not fresh."""
    made = {"suite": dashboard("suite", "Recurring", suite_rows())}
    for service in SERVICES:
        made[service] = dashboard(service, f"Recurring: {service}", service_rows(service))
    stale = [
        name
        for name, text in made.items()
        if not (file := FOLDER / f"{name}.json").exists() or file.read_text() != text
    ]
    if "--check" in arguments:
        for name in stale:
            print(f"{name}.json is not fresh: python -m deploy.dashboards", file=sys.stderr)
        return bool(stale)
    for name in stale:
        (FOLDER / f"{name}.json").write_text(made[name])
    return 0


def dashboard(uid: str, title: str, rows: Sequence[Row]) -> str:
    """A dashboard as Grafana imports it."""
    return json.dumps(
        {
            "uid": f"recurring-{uid}",
            "title": title,
            "tags": ["recurring"],
            "schemaVersion": 39,
            "editable": False,
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "templating": {
                "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
            },
            "links": [
                {"type": "dashboards", "tags": ["recurring"], "title": "Recurring",
                 "asDropdown": True, "keepTime": True},
            ],
            "panels": list(_laid_out(rows)),
        },
        indent=1,
    ) + "\n"  # fmt: skip


def _laid_out(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Each row with a title above it and its panels side by side, on as many lines as they need."""
    number, top = 0, 0
    for row in rows:
        number += 1
        grid_position = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "gridPos": grid_position,
            "panels": [],
        }
        top += 1
        lines = -(-len(row.panels) // PANELS_PER_LINE_MAX)
        per_line = -(-len(row.panels) // lines)
        width = COLUMNS // per_line
        for place, panel in enumerate(row.panels):
            number += 1
            line, column = divmod(place, per_line)
            grid_position = {
                "x": column * width,
                "y": top + line * PANEL_HEIGHT,
                "w": width,
                "h": PANEL_HEIGHT,
            }
            yield _panel(number, panel, grid_position)
        top += lines * PANEL_HEIGHT


def _panel(number: int, panel: Panel, grid_position: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.bad_from is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.bad_from}]
        defaults |= {
            "thresholds": {"mode": "absolute", "steps": steps},
            "custom": {"thresholdsStyle": {"mode": "line"}},
        }
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": grid_position,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + place_), "expr": query, "legendFormat": legend,
             "datasource": SOURCE}
            for place_, (query, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
