"""Dashboards are up to date; each alert has a runbook, and a test that fires it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.prometheus import (
    ALERTS,
    DASHBOARDS,
    EXPORTED_BY_OTHERS,
    ROOT,
    alert_queries,
    dashboard_queries,
    metrics_in,
    rules,
)

ALERT_RULES = [rule for rule in rules() if "alert" in rule]


def test_the_dashboards_are_what_their_source_gives() -> None:
    command = [sys.executable, "-m", "deploy.dashboards", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("file", sorted(DASHBOARDS.glob("*.json")), ids=lambda file: str(file.stem))
def test_every_panel_has_room_of_its_own_and_is_wide_enough_to_be_read(file: Path) -> None:
    panels = [panel for panel in json.loads(file.read_text())["panels"] if panel["type"] != "row"]
    places = [panel["gridPos"] for panel in panels]
    assert min(place["w"] for place in places) >= 6
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_what_an_alert_asks_for_is_on_a_dashboard() -> None:
    recorded = {str(rule["record"]) for rule in rules() if "record" in rule}
    asked = metrics_in(alert_queries()) - EXPORTED_BY_OTHERS - recorded
    assert asked - metrics_in(dashboard_queries()) == set()


@pytest.mark.parametrize("rule", ALERT_RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    runbook = ROOT / rule["annotations"]["runbook"]
    assert runbook.is_file()
    # Whoever is woken looks for the alert's name.
    assert f"`{rule['alert']}`" in runbook.read_text()


def test_every_alert_is_fired_by_a_test() -> None:
    tests = yaml.safe_load((ALERTS / "recurring_test.yaml").read_text())["tests"]
    fired = {
        check["alertname"]
        for test in tests
        for check in test["alert_rule_test"]
        if check["exp_alerts"]
    }
    assert {rule["alert"] for rule in ALERT_RULES} == fired


def test_names_of_series_are_distinguished_from_names_of_labels() -> None:
    query = (
        'sum by (rpc_method) (rate(rpc_server_calls_total{rpc_status=~"A|B"}[5m])) > recurring:x:y'
    )
    assert metrics_in([query]) == {"rpc_server_calls_total", "recurring:x:y"}
