"""The provider's payouts, and the items that they are made of.

Source: https://developer.gocardless.com/api-reference (payouts, payout items), read on 2026-11-30. A
payment costs 1 % and 20 units of its currency, at most 400, to a tenth of a unit. What it cost is given
back if its bank takes the money back. What has come until a midnight (UTC) is paid out then, in one
payout a currency, once there is something to pay. The items are summed, and rounded at the end.
"""

import sqlite3
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from sandbox.bank.books import DAY_SECONDS, PAID_OUT_DAYS, SETTLED_DAYS, Row, timestamp
from sandbox.bank.errors import misused

# In tenths of a unit: a percent is a tenth of the amount.
FEE_TENTHS = "min(amount / 10 + 200, 4000)"
_ITEM_PARAMETERS = frozenset({"payout", "limit", "after"})

# What has moved until a time: a payment's item is followed by what it costs.
_ENTER = f"""
WITH moved (id, type, payment, refund, tenths, fee, currency, created) AS (
    SELECT id || ' paid', 'payment_paid_out', id, NULL, amount * 10, -{FEE_TENTHS}, currency,
           charged + {PAID_OUT_DAYS * DAY_SECONDS}
    FROM bank_payments WHERE confirms IS NOT NULL AND cancelled IS NULL
    UNION ALL
    SELECT id || ' failed', 'payment_failed', id, NULL, -amount * 10, {FEE_TENTHS}, currency,
           fails + {SETTLED_DAYS * DAY_SECONDS}
    FROM bank_payments WHERE confirms IS NOT NULL AND fails IS NOT NULL AND cancelled IS NULL
    UNION ALL
    SELECT id || ' charged back', 'payment_charged_back', id, NULL, -amount * 10, {FEE_TENTHS},
           currency, charged_back + {SETTLED_DAYS * DAY_SECONDS}
    FROM bank_payments WHERE charged_back IS NOT NULL AND cancelled IS NULL
    UNION ALL
    SELECT id || ' paid again', 'payment_paid_out', id, NULL, amount * 10, -{FEE_TENTHS}, currency,
           chargeback_cancelled
    FROM bank_payments WHERE chargeback_cancelled IS NOT NULL AND cancelled IS NULL
    UNION ALL
    SELECT id, 'payment_refunded', payment, id, -amount * 10, NULL, currency, paid FROM bank_refunds
)
INSERT OR IGNORE INTO bank_payout_items (id, type, payment, refund, tenths, currency, created)
SELECT id, type, payment, refund, tenths, currency, created FROM moved WHERE created <= :now
UNION ALL
SELECT id || ' fee', 'gocardless_fee', payment, NULL, fee, currency, created FROM moved
WHERE created <= :now AND fee IS NOT NULL
ORDER BY 7, 1
"""  # noqa: S608 - numbers of our own
_UNPAID = """
SELECT currency, sum(tenths) AS tenths,
       sum(CASE type WHEN 'gocardless_fee' THEN -tenths ELSE 0 END) AS fee_tenths
FROM bank_payout_items WHERE payout IS NULL AND created < ?
GROUP BY currency HAVING sum(tenths) >= 5
"""


def catch_up(db: sqlite3.Connection, now: int) -> None:
    """Enter what has moved until now, and pay out what is to be paid out until now."""
    db.execute(_ENTER, {"now": now})
    unpaid = "SELECT min(created) FROM bank_payout_items WHERE payout IS NULL"
    first = db.execute(unpaid).fetchone()[0]
    last = db.execute("SELECT max(created) FROM bank_payouts").fetchone()[0]
    if first is None:
        return
    # A day that was looked at stays as it is.
    midnight = max(
        (first // DAY_SECONDS + 1) * DAY_SECONDS, 0 if last is None else last + DAY_SECONDS
    )
    while midnight <= now:
        for currency, tenths, fee_tenths in db.execute(_UNPAID, (midnight,)).fetchall():
            _pay_out(db, currency, tenths, fee_tenths, midnight)
        midnight += DAY_SECONDS


def _pay_out(
    db: sqlite3.Connection, currency: str, tenths: int, fee_tenths: int, midnight: int
) -> None:
    day = datetime.fromtimestamp(midnight, UTC).strftime("%Y%m%d")
    payout = f"PO{day}{currency}"
    db.execute(
        "INSERT INTO bank_payouts (id, amount, deducted_fees, currency, created)"
        " VALUES (?, ?, ?, ?, ?)",
        (payout, _rounded(tenths), _rounded(fee_tenths), currency, midnight),
    )
    db.execute(
        "UPDATE bank_payout_items SET payout = ?"
        " WHERE payout IS NULL AND currency = ? AND created < ?",
        (payout, currency, midnight),
    )


def describe_payout(row: Row) -> dict[str, Any]:
    """A payout as the API shows it."""
    return {
        "id": row["id"],
        "amount": row["amount"],
        "arrival_date": timestamp(row["created"])[:10],
        "created_at": timestamp(row["created"]),
        "currency": row["currency"],
        "deducted_fees": row["deducted_fees"],
        "payout_type": "merchant",
        "reference": "SANDBOX",
        "status": "paid",
        "metadata": {},
        "links": {"creditor": "CR_sandbox", "creditor_bank_account": "BA_sandbox"},
    }


def describe_item(row: Row) -> dict[str, Any]:
    """An item as the API shows it: it has no id."""
    sign, tenths = "-" if row["tenths"] < 0 else "", abs(row["tenths"])
    refund = {} if row["refund"] is None else {"refund": row["refund"]}
    return {
        "amount": f"{sign}{tenths // 10}.{tenths % 10}",
        "type": row["type"],
        "taxes": [],
        "links": {"payment": row["payment"], **refund},
    }


def read_items_query(request: web.Request) -> tuple[str, int]:
    """Of which payout, and after which item."""
    payout, after = request.query.get("payout"), request.query.get("after", "PI0")
    if not payout or (unknown := request.query.keys() - _ITEM_PARAMETERS):
        raise misused("payout: give one" if not payout else f"unknown parameters {sorted(unknown)}")
    if not after.removeprefix("PI").isdecimal():
        raise misused("after: give the cursor of the page before")
    return payout, int(after.removeprefix("PI"))


def _rounded(tenths: int) -> int:
    return (tenths + 5) // 10
