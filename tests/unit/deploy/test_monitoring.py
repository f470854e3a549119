"""Dashboards are up to date; each alert has a runbook, and a test that fires it."""

import subprocess
import sys

import pytest
import yaml

from tests.prometheus import ALERTS, ROOT, metrics_in, rules

ALERT_RULES = [rule for rule in rules() if "alert" in rule]


def test_the_dashboards_are_what_their_source_gives() -> None:
    command = [sys.executable, "-m", "deploy.dashboards", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


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
