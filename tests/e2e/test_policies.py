"""Purchases elsewhere and the merchant's settings, by the command."""

import json
from typing import Any

import pytest

from tests.e2e.conftest import Recurring

pytestmark = [pytest.mark.e2e]


def ok(recurring: Recurring, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    done = recurring.run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_purchase_that_no_standing_order_counts_is_recorded_all_the_same(
    recurring: Recurring,
) -> None:
    shown = recurring.run("purchases", "record", "nobody", "tea", "milk")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "no standing order" in shown.stdout


def test_the_policy_on_unpaid_orders_is_shown_as_it_was_set(recurring: Recurring) -> None:
    before = ok(recurring, "settings", "get")["unpaidPolicy"]
    ok(recurring, "settings", "set", "--unpaid", "wait")
    assert ok(recurring, "settings", "get")["unpaidPolicy"] == "WAIT"
    ok(recurring, "settings", "set", "--unpaid", before)
    assert ok(recurring, "settings", "get")["unpaidPolicy"] == before


def test_a_policy_is_said_in_so_many_words(recurring: Recurring) -> None:
    refused = recurring.run("settings", "set", "--unpaid", "sometimes")

    assert refused.returncode == 2
    assert "GO_ON, WAIT, PAUSE" in refused.stderr


def test_an_order_that_does_not_exist_cannot_be_confirmed(recurring: Recurring) -> None:
    refused = recurring.run("orders", "confirm", "nothing/1")

    assert refused.returncode == 1
    assert refused.stderr.startswith("ORDER_NOT_FOUND: ")
