"""What a customer writes back on their phone, by the command."""

from datetime import date, timedelta

import pytest

from tests.e2e.conftest import Recurring
from tests.e2e.test_commands import ok, sign_up

PHONE = "+4915112345678"

pytestmark = [pytest.mark.e2e]


def test_a_customer_who_replies_skip_gets_and_pays_nothing(recurring: Recurring) -> None:
    ok(recurring, "products", "create", "plums", "--title", "Plums")
    ok(recurring, "prices", "add", "plums", "5 EUR")
    sign_up(recurring, "rea", PHONE)
    start = date.fromisoformat(ok(recurring, "clock", "show")["now"][:10]) + timedelta(days=3)
    ok(recurring, "standing-orders", "create", "--id", "rea-plums", "--customer", "rea",
       "--title", "Plums", "--item", "plums", "--every", "month", "--start", str(start),
       "--at", "12:00", "--zone", "UTC", "--mandate", "consent", "--lead", "1d")  # fmt: skip
    # On the day before it is due, whatever time it is now.
    recurring.run("clock", "advance", "60h")
    assert ok(recurring, "orders", "get", "rea-plums/1")["state"] == "UPCOMING"

    answers = ok(recurring, "sandbox", "reply", PHONE, "Skip!")
    recurring.run("clock", "advance", "2d")

    assert any("Plums" in it["body"] and "skipped" in it["body"] for it in answers)
    assert ok(recurring, "orders", "get", "rea-plums/1")["state"] == "SKIPPED"
    assert ok(recurring, "charges", "list", "rea") == []
    ok(recurring, "standing-orders", "cancel", "rea-plums")
