"""A newcomer's way from a product to a paid order, by the command alone."""

import json
import re
from typing import Any

import pytest

from tests.e2e.conftest import Recurring

pytestmark = [pytest.mark.e2e]

PHONE = "+447700900999"


def ok(recurring: Recurring, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    done = recurring.run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sign_up(recurring: Recurring, customer: str) -> None:
    ok(recurring, "contacts", "set", customer, "--name", "Eve", "--email", "eve@example.com")
    ok(recurring, "phone", "bind", customer, PHONE)
    recurring.run("clock", "settle")
    body = ok(recurring, "sandbox", "inbox", PHONE)[-1]["body"]
    code = re.search(r"\b\d{6}\b", body)
    assert code is not None
    ok(recurring, "phone", "confirm", customer, code[0])
    ok(recurring, "payment-methods", "add", customer, "card", "--token", "pm_card_visa")
    ok(recurring, "mandates", "create", customer, "consent", "--payment-method", "card",
       "--ceiling", "50 EUR", "--text", "Charge me for tea.")  # fmt: skip


def test_a_newcomer_comes_from_a_product_to_a_paid_order(recurring: Recurring) -> None:
    ok(recurring, "products", "create", "tea", "--title", "Green tea", "--stock-tracked")
    ok(recurring, "prices", "add", "tea", "4.20 EUR")
    ok(recurring, "stock", "adjust", "tea", "--by", "5")
    sign_up(recurring, "eve")
    now = ok(recurring, "clock", "show")["now"]
    ok(recurring, "standing-orders", "create", "--id", "eve-tea", "--customer", "eve",
       "--title", "My tea", "--item", "tea=2", "--every", "10 days", "--start", now[:10],
       "--at", "23:59", "--zone", "UTC", "--mandate", "consent", "--lead", "1h")  # fmt: skip
    [first, *_] = ok(recurring, "preview", "eve-tea", "--cycles", "2")
    assert first["amount"] == {"currencyCode": "EUR", "units": "8", "nanos": 400_000_000}

    ok(recurring, "clock", "advance", "2d")

    [order] = ok(recurring, "orders", "list", "eve-tea")
    assert (order["state"], order["dueTime"]) == ("PAID", first["dueTime"])
    kinds = [each["kind"] for each in ok(recurring, "orders", "explain", "eve-tea/1")["decisions"]]
    assert kinds.index("PREPARED") < kinds.index("COLLECTED") < kinds.index("PAID")
    [charge] = ok(recurring, "charges", "list", "eve")
    assert charge["state"] == "SUCCEEDED"
    assert ok(recurring, "stock", "get", "tea")["onHandUnits"] == "3"
    ok(recurring, "refunds", "create", "eve/eve-tea-1", "--amount", "1 EUR", "--note", "torn")
    recurring.run("clock", "settle")
    [refund] = ok(recurring, "refunds", "list", "eve/eve-tea-1")
    assert refund["state"] == "SUCCEEDED"
    notices = [each["kind"] for each in ok(recurring, "notices", "list", "eve")]
    assert {"ORDER_UPCOMING", "RECEIPT", "REFUND"} <= set(notices)
    assert ok(recurring, "standing-orders", "cancel", "eve-tea")["state"] == "CANCELLED"
    assert recurring.run("audit").returncode == 0


def test_people_get_tables(recurring: Recurring) -> None:
    shown = recurring.run("status")
    assert shown.returncode == 0
    assert shown.stdout.count("serving") == 6


def test_a_refusal_says_what_is_wrong_with_every_field(recurring: Recurring) -> None:
    refused = recurring.run(
        "standing-orders", "create", "--customer", "eve", "--title", "", "--item", "tea=0",
        "--every", "month", "--start", "2100-01-01", "--zone", "Mars/Phobos",
    )  # fmt: skip
    assert refused.returncode == 1
    assert refused.stdout == ""
    for field in ("title", "items[0].quantity", "schedule.time_zone"):
        assert f"standing_order.{field}: " in refused.stderr
    assert "TIME_ZONE_UNKNOWN" in refused.stderr


def test_what_does_not_exist_is_said_by_its_reason(recurring: Recurring) -> None:
    missing = recurring.run("products", "get", "nothing")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.startswith("PRODUCT_NOT_FOUND: ")


def test_another_merchants_things_are_out_of_reach(recurring: Recurring) -> None:
    refused = recurring.run("products", "list", "--merchant", "somebody-else")
    assert refused.returncode == 1
    assert refused.stderr.startswith("MERCHANT_FORBIDDEN: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("prices", "add", "tea", "four euros"),
        ("clock", "advance", "soon"),
        ("clock", "advance"),
        ("orders", "get", "without-a-cycle"),
        ("standing-orders", "list", "--state", "ASLEEP"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_a_usage_error(
    recurring: Recurring, arguments: tuple[str, ...]
) -> None:
    refused = recurring.run(*arguments)
    assert refused.returncode == 2
    assert "Usage: " in refused.stderr


def test_events_are_printed_as_they_pass(recurring: Recurring) -> None:
    with recurring.running("events", "watch", "--type", "PriceChangeScheduled") as watching:
        assert watching.stdout is not None
        # The first line says that it listens.
        assert "listening" in watching.stdout.readline()
        ok(recurring, "products", "create", "cocoa", "--title", "Cocoa")
        ok(recurring, "prices", "add", "cocoa", "3 EUR")
        assert "Cocoa: 3.00 EUR" in watching.stdout.readline()


def test_what_callers_changed_is_shown_and_a_token_is_made_for_whom_it_may(
    recurring: Recurring,
) -> None:
    ok(recurring, "products", "create", "cocoa", "--title", "Cocoa")
    [entry, *_] = ok(recurring, "audit-log", "catalog", "--limit", "1")
    assert (entry["method"], entry["subject"]) == ("CreateProduct", "demo-platform")
    token = ok(recurring, "token", "--scope", "products:read", "--subject", "auditor")
    assert token.count(".") == 2
