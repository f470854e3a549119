"""A newcomer's way from a product to a paid order, by the command alone."""

import hashlib
import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import tzdata

from tests.e2e.conftest import Recurring

pytestmark = [pytest.mark.e2e]

PHONE = "+447700900999"


def ok(recurring: Recurring, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    done = recurring.run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sign_up(recurring: Recurring, customer: str, phone: str = PHONE) -> None:
    ok(recurring, "contacts", "set", customer, "--name", "Eve", "--email", "eve@example.com")
    ok(recurring, "phone", "bind", customer, phone)
    recurring.run("clock", "settle")
    body = ok(recurring, "sandbox", "inbox", phone)[-1]["body"]
    code = re.search(r"\b\d{8}\b", body)
    assert code is not None
    ok(recurring, "phone", "confirm", customer, code[0])
    ok(recurring, "payment-methods", "add", customer, "card", "--token", "pm_card_visa")
    ok(recurring, "mandates", "create", customer, "consent", "--payment-method", "card",
       "--ceiling", "50 EUR", "--text", "Charge me for tea.")  # fmt: skip


def it_says_how_the_forecast_turned_out(recurring: Recurring, forecast: Path) -> None:
    against = ("books", "forecast", "--against", str(forecast))
    [tea] = [it for it in ok(recurring, *against) if it["product"] == "tea"]
    assert int(tea["units more"]) == int(tea["units sold"]) - int(tea["units forecast"])
    assert int(tea["units sold"]) >= 2
    table = recurring.run(*against, "--csv").stdout
    assert table.startswith("currency,product,units_sold,sold,units_forecast,forecast\nEUR,")


def it_shows_and_saves_the_statement_of_its_month(
    recurring: Recurring,
    charge: dict[str, Any],
    folder: Path,
) -> None:
    command = ("documents", "statement", "eve", charge["attempts"][0]["endTime"][:7])
    entries = ok(recurring, *command)["entries"]
    assert [it["type"] for it in entries][:2] == ["INVOICE", "PAYMENT"]
    file = folder / "statement.html"
    saved = ok(recurring, *command, "--format", "html", "--output", str(file))
    assert hashlib.sha256(file.read_bytes()).hexdigest() == saved["sha256"]
    refused = recurring.run("documents", "statement", "eve", "never")
    assert (refused.returncode, "name" in refused.stderr) == (1, True)


def test_a_newcomer_comes_from_a_product_to_a_paid_order(
    recurring: Recurring, tmp_path: Path
) -> None:
    ok(recurring, "products", "create", "tea", "--title", "Green tea", "--stock-tracked")
    ok(recurring, "prices", "add", "tea", "4.20 EUR")
    ok(recurring, "stock", "adjust", "tea", "--by", "5")
    sign_up(recurring, "eve")
    today = date.fromisoformat(ok(recurring, "clock", "show")["now"][:10])
    # Not today: late in the evening the first cycle would be prepared before it can be previewed.
    tomorrow = str(today + timedelta(days=1))
    ok(recurring, "standing-orders", "create", "--id", "eve-tea", "--customer", "eve",
       "--title", "My tea", "--item", "tea=2", "--every", "10 days", "--start", tomorrow,
       "--at", "23:59", "--zone", "UTC", "--mandate", "consent", "--lead", "1h")  # fmt: skip
    forecast = tmp_path / "then.json"
    forecast.write_text(json.dumps(ok(recurring, "forecast")))
    [first, *_] = ok(recurring, "preview", "eve-tea", "--cycles", "2")
    assert first["amount"] == {"currencyCode": "EUR", "units": "8", "nanos": 400_000_000}

    ok(recurring, "clock", "advance", "2d")

    [order] = ok(recurring, "orders", "list", "eve-tea")
    assert (order["state"], order["dueTime"]) == ("PAID", first["dueTime"])
    kinds = [
        decision["kind"]
        for decision in ok(recurring, "orders", "explain", "eve-tea/1")["decisions"]
    ]
    assert kinds.index("PREPARED") < kinds.index("COLLECTED") < kinds.index("PAID")
    [charge] = ok(recurring, "charges", "list", "eve")
    assert charge["state"] == "SUCCEEDED"
    assert ok(recurring, "stock", "get", "tea")["onHandUnits"] == "3"
    ok(recurring, "refunds", "create", "eve/eve-tea-1", "--amount", "1 EUR", "--note", "torn")
    recurring.run("clock", "settle")
    [refund] = ok(recurring, "refunds", "list", "eve/eve-tea-1")
    assert refund["state"] == "SUCCEEDED"
    since = ("--from", str(today))
    [sales] = [it for it in ok(recurring, "books", "sales", *since) if it["title"] == "Green tea"]
    assert sales["netAmount"] == charge["amount"]
    assert "8.40 EUR" in recurring.run("books", "forecast", *since).stdout
    for report in ("tax", "receivables", "recovered"):
        assert recurring.run("books", report).returncode == 0
    it_says_how_the_forecast_turned_out(recurring, forecast)
    it_shows_and_saves_the_statement_of_its_month(recurring, charge, tmp_path)
    notices = [notice["kind"] for notice in ok(recurring, "notices", "list", "eve")]
    assert {"ORDER_UPCOMING", "RECEIPT", "REFUND"} <= set(notices)
    about = ("--about", "eve-tea", "--kind", "order-upcoming", "--state", "delivered")
    upcoming = ok(recurring, "notices", "list", "eve", *about)
    assert {notice["kind"] for notice in upcoming} == {"ORDER_UPCOMING"}
    assert not [it for it in ok(recurring, "notices", "list") if "/customers/eve/" in it["name"]]
    assert ok(recurring, "standing-orders", "cancel", "eve-tea")["state"] == "CANCELLED"
    assert recurring.run("prove", "--full").returncode == 0


def test_a_merchant_writes_its_own_words_for_a_message(recurring: Recurring) -> None:
    draft = ("--text", "Merci: {{ amount }}")
    tried = ok(recurring, "notices", "templates", "preview", "receipt",
               "--template", "receipt-sms-fr", *draft)  # fmt: skip
    assert tried["smsText"].startswith("Merci: ")
    assert ok(recurring, "notices", "templates", "list") == []
    ok(recurring, "notices", "templates", "set", "receipt-sms-fr", *draft)
    ok(recurring, "notices", "templates", "set", "receipt-sms-fr", "--text", "Reçu: {{ amount }}")
    first = ok(recurring, "notices", "templates", "get", "receipt-sms-fr", "--version", "1")
    assert first["text"] == "Merci: {{ amount }}"
    recurring.run("notices", "templates", "delete", "receipt-sms-fr")
    assert ok(recurring, "notices", "templates", "list") == []
    both = recurring.run("notices", "templates", "set", "receipt-sms-fr", *draft, "--file", "-")
    assert (both.returncode, "by --text or by --file" in both.stderr) == (1, True)


def test_a_service_is_booked_on_its_day_or_moved_off_a_full_one(recurring: Recurring) -> None:
    ok(recurring, "products", "create", "visit", "--title", "Visit", "--capacity-by-day")
    ok(recurring, "prices", "add", "visit", "25 EUR")
    ok(recurring, "stock", "capacity", "set", "visit", "1,1,1,1,1,1,1")
    today = date.fromisoformat(ok(recurring, "clock", "show")["now"][:10])
    due, next_day = today + timedelta(days=3), today + timedelta(days=4)
    changed = ok(
        recurring, "stock", "capacity", "except", "visit", "--on", str(due), "--slots", "0"
    )
    assert changed == ok(recurring, "stock", "capacity", "show", "visit")
    ok(recurring, "contacts", "set", "ivy", "--name", "Ivy", "--email", "ivy@example.com")
    ok(recurring, "phone", "bind", "ivy", "+447700900777")
    recurring.run("clock", "settle")
    code = re.search(r"\b\d{8}\b", ok(recurring, "sandbox", "inbox", "+447700900777")[-1]["body"])
    assert code is not None
    ok(recurring, "phone", "confirm", "ivy", code[0])
    ok(recurring, "standing-orders", "create", "--id", "ivy-visit", "--customer", "ivy",
       "--title", "Cleaning", "--item", "visit", "--every", "week", "--start", str(due),
       "--at", "12:00", "--zone", "UTC", "--lead", "1d", "--slot-days-after", "2")  # fmt: skip
    ok(recurring, "clock", "advance", "3d")
    [order] = ok(recurring, "orders", "list", "ivy-visit")
    assert order["movedFromDate"] == {"year": due.year, "month": due.month, "day": due.day}
    day, *_ = [
        day for day in ok(recurring, "stock", "capacity", "days", "visit") if day.get("orders")
    ]
    assert day["date"]["day"] == next_day.day
    assert ok(recurring, "stock", "hold", "ivy-visit/1")["booking"]["state"] == "HELD"
    assert ok(recurring, "standing-orders", "cancel", "ivy-visit")["state"] == "CANCELLED"
    recurring.run("clock", "settle")
    assert ok(recurring, "stock", "hold", "ivy-visit/1")["booking"]["state"] == "ENDED"
    proof = recurring.run("prove", "--full")
    assert proof.returncode == 0, proof.stdout


def test_people_get_tables(recurring: Recurring) -> None:
    shown = recurring.run("status")
    assert shown.returncode == 0
    assert shown.stdout.count("serving") == 6
    assert f"zone data of this command: {tzdata.IANA_VERSION}" in shown.stdout


def test_a_preview_reads_the_locked_zone_data(recurring: Recurring) -> None:
    ok(recurring, "products", "create", "chicory", "--title", "Cocoa")
    ok(recurring, "prices", "add", "chicory", "4.20 EUR")
    sign_up(recurring, "vic")
    ok(recurring, "standing-orders", "create", "--id", "vic-chicory", "--customer", "vic",
       "--title", "Cocoa", "--item", "chicory=1", "--every", "week", "--start", "2031-01-15",
       "--at", "10:00", "--zone", "America/Vancouver", "--mandate", "consent")  # fmt: skip
    [first] = ok(recurring, "preview", "vic-chicory", "--cycles", "1")
    # British Columbia keeps daylight time from 2026 on; data before 2026b say 18:00Z.
    assert first["dueTime"] == "2031-01-15T17:00:00Z"


@pytest.mark.parametrize(
    ("title", "item", "zone", "wrong"),
    [
        # The contract's rules for a field that is given, all at once,
        ("T" * 61, "tea=0", "UTC", ["--title: ", "--item[0].quantity: "]),
        # then what is left out, and what only a calendar knows.
        ("", "tea", "Mars/Phobos", ["--title: ", "--zone: "]),
    ],
    ids=["form", "meaning"],
)
def test_a_refusal_says_what_is_wrong_with_every_option(
    recurring: Recurring, title: str, item: str, zone: str, wrong: list[str]
) -> None:
    refused = recurring.run(
        "standing-orders", "create", "--customer", "eve", "--title", title, "--item", item,
        "--every", "month", "--start", "2100-01-01", "--zone", zone,
    )  # fmt: skip
    assert (refused.returncode, refused.stdout) == (1, "")
    for field in wrong:
        assert f"  {field}" in refused.stderr


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


def test_a_price_is_tried_before_it_is_added(recurring: Recurring) -> None:
    ok(recurring, "products", "create", "sencha", "--title", "Sencha")
    ok(recurring, "prices", "add", "sencha", "4.20 EUR")
    sign_up(recurring, "ida")
    today = date.fromisoformat(ok(recurring, "clock", "show")["now"][:10])
    ok(recurring, "standing-orders", "create", "--id", "ida-sencha", "--customer", "ida",
       "--title", "Sencha", "--item", "sencha=2", "--every", "10 days",
       "--start", str(today + timedelta(days=5)), "--zone", "UTC", "--mandate", "consent")  # fmt: skip
    answer = ok(recurring, "prices", "preview-change", "sencha", "3.20 EUR")
    [group] = answer["groups"]
    assert (group["timing"], group["standingOrderCount"]) == ("AT_ONCE", 1)
    assert [answer[field]["units"] for field in ("grossRevenue", "previousGrossRevenue")] == [
        "19",
        "25",
    ]
    ok(recurring, "prices", "add", "sencha", "5.20 EUR", "--id", "dear",
       "--from", str(today + timedelta(days=1)))  # fmt: skip
    shown = recurring.run("prices", "preview-change", "sencha/dear")
    assert "after their notice" in shown.stdout


def test_a_quote_is_explained_line_by_line(recurring: Recurring) -> None:
    ok(recurring, "products", "create", "oolong", "--title", "Oolong")
    ok(recurring, "prices", "add", "oolong", "10 EUR", "--id", "first", "--tier", "5=9 EUR",
       "--tier-mode", "volume", "--subscriber-discount", "10")  # fmt: skip
    ok(recurring, "promotions", "create", "autumn", "--title", "Autumn", "--percent-off", "10",
       "--code", "AUTUMN")  # fmt: skip
    ok(recurring, "tax", "add", "FR", "vat", "20")
    shown = recurring.run("prices", "quote", "oolong=5", "--region", "FR", "--promotion", "AUTUMN")
    lines = [re.split(r"  +", line.strip()) for line in shown.stdout.splitlines() if line.strip()]
    assert [line[:2] for line in lines] == [
        ["Oolong (oolong)"],
        ["list price, 5 x 10.00 EUR", "50.00 EUR"],
        ["quantity tier", "-5.00 EUR"],
        ["discount for standing orders", "-4.50 EUR"],
        ["promotion", "-4.05 EUR"],
        ["before taxes", "30.37 EUR"],
        ["VAT 20 %", "6.08 EUR"],
        ["to pay", "36.45 EUR"],
        ["36.45 EUR to pay, 13.55 EUR saved against the list prices"],
    ]


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
    ok(recurring, "products", "create", "mate", "--title", "Mate")
    [entry, *_] = ok(recurring, "audit-log", "catalog", "--limit", "1")
    assert (entry["method"], entry["subject"]) == ("CreateProduct", "demo-platform")
    token = ok(recurring, "token", "--scope", "products:read", "--subject", "auditor")
    assert token.count(".") == 2
    of_ada = ok(recurring, "token", "--customer", "ada")
    claims = jwt.decode(of_ada, options={"verify_signature": False})
    assert (claims["customer"], claims["scope"]) == ("ada", "customer")


def test_a_card_is_replaced_and_declines_follow_the_policy(recurring: Recurring) -> None:
    sign_up(recurring, "ivy")
    ok(recurring, "payment-methods", "add", "ivy", "spare", "--token", "pm_card_mastercard")
    spare = ok(recurring, "payment-methods", "set-fallback", "ivy/spare", "1")
    assert spare["fallbackOrder"] == 1
    ok(recurring, "payment-methods", "replace", "ivy/card", "next", "--token", "pm_card_visa")
    assert ok(recurring, "mandates", "get", "ivy/consent")["paymentMethod"].endswith("/next")
    assert ok(recurring, "payment-methods", "set-default", "ivy/spare")["defaultMethod"]
    assert ok(recurring, "payment-methods", "detach", "ivy/spare")["state"] == "DETACHED"
    policy = ok(recurring, "dunning", "set", "--retry-days", "2,4", "--weekdays", "mon-fri",
                "--hour", "9", "--await-new-method")  # fmt: skip
    assert (policy["schedule"], policy["retryDays"], policy["retryHour"]) == ("CUSTOM", [2, 4], 9)
    restored = ok(recurring, "dunning", "set", "--schedule", "standard", "--weekdays", "mon-sun",
                  "--any-hour", "--no-await-new-method")  # fmt: skip
    assert (restored["retryDays"], "weekdays" in restored) == ([1, 3, 5], False)
