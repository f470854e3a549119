"""Purchases elsewhere and the merchant's settings, by the command."""

import json
import re
from datetime import date, timedelta
from typing import Any

import pytest

from tests.e2e.conftest import Recurring
from tests.e2e.test_commands import sign_up

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


def test_a_setting_that_is_not_given_stays_as_it_is(recurring: Recurring) -> None:
    page = "https://shop.example/o/{token}"
    before = ok(recurring, "settings", "get")["unpaidPolicy"]
    ok(recurring, "settings", "set", "--late-payment-days", "5", "--action-page", page)
    ok(recurring, "settings", "set", "--unpaid", "wait")
    shown = ok(recurring, "settings", "get")
    assert (shown["unpaidPolicy"], shown["latePaymentDays"]) == ("WAIT", 5)
    assert shown["actionPageUri"] == page

    emptied = ["--unpaid", before, "--late-payment-days", "0", "--action-page", ""]
    shown = ok(recurring, "settings", "set", *emptied)
    assert not {"latePaymentDays", "actionPageUri"} & set(shown)


def test_a_policy_is_said_in_so_many_words(recurring: Recurring) -> None:
    refused = recurring.run("settings", "set", "--unpaid", "sometimes")

    assert refused.returncode == 2
    # Where the terminal ends is where the list breaks.
    assert {"GO_ON", "WAIT", "PAUSE", "CANCEL"} <= set(re.findall(r"[A-Z_]+", refused.stderr))


def test_an_order_that_does_not_exist_cannot_be_confirmed(recurring: Recurring) -> None:
    refused = recurring.run("orders", "confirm", "nothing/1")

    assert refused.returncode == 1
    assert refused.stderr.startswith("ORDER_NOT_FOUND: ")


def test_conditions_are_said_shown_and_taken_back_in_words(recurring: Recurring) -> None:
    ok(recurring, "products", "create", "figs", "--title", "Figs")
    ok(recurring, "prices", "add", "figs", "5 EUR")
    sign_up(recurring, "gil")
    today = date.fromisoformat(ok(recurring, "clock", "show")["now"][:10])
    # Not today: late in the evening the first cycle would be prepared before it can be previewed.
    start = str(today + timedelta(days=1))
    ok(recurring, "standing-orders", "create", "--id", "gil-figs", "--customer", "gil",
       "--title", "Figs", "--item", "figs=2", "--every", "month", "--start", start, "--at", "23:59",
       "--zone", "UTC", "--condition", "total <= 9.00 EUR, else skip", "--count", "3")  # fmt: skip

    shown = recurring.run("standing-orders", "get", "gil-figs")
    assert "total <= 9.00 EUR, else skip" in shown.stdout
    previewed = recurring.run("preview", "gil-figs")
    assert "CONDITION_NOT_MET" in previewed.stdout
    assert "The total is above its ceiling." in previewed.stdout

    ok(recurring, "standing-orders", "update", "gil-figs", "--clear", "conditions")
    assert all("amount" in cycle for cycle in ok(recurring, "preview", "gil-figs"))
    ok(recurring, "standing-orders", "cancel", "gil-figs")


def test_a_condition_that_is_not_sound_is_refused_with_the_place(recurring: Recurring) -> None:
    refused = recurring.run(
        "standing-orders", "create", "--customer", "gil", "--title", "Figs", "--item", "figs",
        "--every", "month", "--start", "2090-01-01", "--zone", "UTC",
        "--condition", "totl < 3, else skip",
    )  # fmt: skip
    assert refused.returncode == 1
    assert "--condition[0].expression: it knows no 'totl'" in refused.stderr
