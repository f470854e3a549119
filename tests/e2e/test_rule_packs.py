"""A merchant looks up what is asked of charges, and adds to it."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Recurring

pytestmark = [pytest.mark.e2e]


def ok(recurring: Recurring, *arguments: str) -> str:
    done = recurring.run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_merchant_reads_and_extends_the_rule_packs(recurring: Recurring, tmp_path: Path) -> None:
    assert "sepa-core" in ok(recurring, "rule-packs", "list")
    india = ok(recurring, "rule-packs", "get", "in-rbi-e-mandate")
    assert "the customer confirms charges above 15,000.00 INR" in india
    assert "RBI, Processing of e-mandates for recurring transactions, 16 June 2022" in india

    binding = ("rule-packs", "binding", "--region", "CH", "--scheme", "visa")
    assert "eu-consumers" not in ok(recurring, *binding)
    assert "CH" in ok(recurring, "rule-packs", "add-regions", "eu-consumers", "CH")
    assert "notice of an increase at least 30 days before" in ok(recurring, *binding)
    ok(recurring, "rule-packs", "remove-regions", "eu-consumers", "CH")
    assert "eu-consumers" not in ok(recurring, *binding)

    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"id": "lead", "debitNoticeLead": "172800s"}]))
    assert "a notice 2d before a charge" in ok(recurring, "rule-packs", "set-own", str(rules))
    assert "own" in ok(recurring, *binding)
    rules.write_text('[{"id": "lead", "debitNoticeLeed": "1s"}]')
    refused = recurring.run("rule-packs", "set-own", str(rules))
    assert refused.returncode == 1
    assert "debitNoticeLeed" in refused.stderr
    rules.write_text("[]")
    ok(recurring, "rule-packs", "set-own", str(rules))
