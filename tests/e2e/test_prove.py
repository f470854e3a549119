"""The proof on a stack: silent on ordinary histories."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.e2e.conftest import Recurring
from tests.e2e.test_commands import ok, sign_up
from tests.unit.cli.test_prove_statement import new_keys

pytestmark = [pytest.mark.e2e]


def proved(recurring: Recurring) -> dict[str, list[str]]:
    """The clauses that do not hold, with what breaks them."""
    done = recurring.run("prove", "--full", "--json")
    assert done.stdout, done.stderr
    counts = {
        clause["clause"]: clause["violations"] for clause in json.loads(done.stdout)["clauses"]
    }
    broken = {clause: count for clause, count in counts.items() if count}
    assert done.returncode == bool(broken)
    return broken


def test_a_proof_is_silent_on_ordinary_histories(
    recurring: Recurring,
) -> None:
    ok(recurring, "products", "create", "oats", "--title", "Oats", "--stock-tracked")
    ok(recurring, "prices", "add", "oats", "4.20 EUR")
    ok(recurring, "stock", "adjust", "oats", "--by", "100")
    sign_up(recurring, "odo")
    start = date.fromisoformat(ok(recurring, "clock", "show")["now"][:10]) + timedelta(days=2)
    create = ("standing-orders", "create", "--customer", "odo", "--title", "Oats", "--item", "oats",
              "--zone", "UTC", "--start", str(start), "--mandate", "consent", "--lead", "1h",
              "--at", "12:00", "--allow-duplicate")  # fmt: skip
    ok(recurring, *create, "--id", "gil-swallowed", "--every", "2 days")
    ok(recurring, *create, "--id", "gil-titled", "--every", "week", "--on", "mon-fri")
    ok(recurring, *create, "--id", "gil-now", "--every", "week")
    ok(recurring, *create, "--id", "gil-moved", "--every", "week")
    ok(recurring, "cycles", "order-now", "gil-now")
    ok(recurring, "cycles", "change", "gil-moved", "1", "--date", str(start + timedelta(days=3)))
    ok(recurring, "cycles", "skip", "gil-moved", "2")
    recurring.run("clock", "advance", "3d")
    ok(recurring, "standing-orders", "pause", "gil-swallowed")
    ok(recurring, "standing-orders", "pause", "gil-titled")
    recurring.run("clock", "advance", "7d")
    assert proved(recurring) == {}
    outcomes = ok(recurring, "orders", "list", "gil-moved")
    assert {order["cycle"]: order["state"] for order in outcomes} == {1: "PAID", 2: "SKIPPED"}
    ok(recurring, "standing-orders", "update", "gil-titled", "--title", "Rolled oats")
    ok(recurring, "standing-orders", "cancel", "gil-swallowed")
    assert proved(recurring) == {}

    ok(recurring, "standing-orders", "cancel", "gil-titled")
    ok(recurring, "standing-orders", "cancel", "gil-now")
    ok(recurring, "standing-orders", "cancel", "gil-moved")
    recurring.run("clock", "advance", "2d")
    erased = recurring.run("customers", "erase", "odo")
    assert erased.returncode == 0, erased.stderr
    recurring.run("clock", "advance", "2d")
    assert proved(recurring) == {}


def test_a_proof_holds_while_the_clock_is_advanced(recurring: Recurring) -> None:
    ok(recurring, "products", "create", "rice", "--title", "Rice", "--stock-tracked")
    ok(recurring, "prices", "add", "rice", "3.10 EUR")
    ok(recurring, "stock", "adjust", "rice", "--by", "1000")
    sign_up(recurring, "pia")
    start = date.fromisoformat(ok(recurring, "clock", "show")["now"][:10]) + timedelta(days=1)
    for number in range(6):
        ok(
            recurring, "standing-orders", "create", "--customer", "pia", "--title", "Rice",
            "--item", "rice", "--zone", "UTC", "--start", str(start), "--mandate", "consent",
            "--lead", "1h", "--at", "12:00", "--allow-duplicate", "--id", f"rice-{number}",
            "--every", "day",
        )  # fmt: skip
    proofs = 0
    with recurring.running("clock", "advance", "4d") as advancing:
        while advancing.poll() is None:
            assert proved(recurring) == {}
            proofs += 1
    assert advancing.returncode == 0
    assert proofs > 1
    assert proved(recurring) == {}


def test_a_merchant_keeps_a_signed_statement(recurring: Recurring, tmp_path: Path) -> None:
    private, public = new_keys(tmp_path, "proof")
    file = tmp_path / "demo.json"
    signed = recurring.run("prove", "--full", "--merchant", "demo", "--statement", str(file),
                           "--signing-key", str(private))  # fmt: skip
    assert signed.returncode == 0, signed.stdout + signed.stderr
    verified = recurring.run("prove", "verify", str(file), "--key", str(public))
    assert "signed: every clause held of demo at" in verified.stdout, verified.stderr
    assert recurring.run("prove", "--statement", str(file)).returncode != 0
