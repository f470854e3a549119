"""How the provider departs from its ideal, as Stripe does.

It searches late, forgets keys, gives money back late, and finds out after days that it could not; its
webhooks come late, twice and out of order.
"""

from datetime import timedelta
from typing import Any

from aiohttp import web

from sandbox.record import Record, bad_request

SECONDS_MAX = 10**9
SEARCH_LAG = "search_lag_seconds"
LIST_LAG = "list_lag_seconds"
KEY_RETENTION = "keys_forgotten_after_seconds"
REFUND_PENDING = "refunds_pending_seconds"
REFUND_FAILURE = "refunds_fail_after_seconds"
# So long after a payout was made, not all of its transactions are listed as its own.
PAYOUT_GATHERING = "payouts_gathered_after_seconds"
WEBHOOK_LAG = "webhooks_late_seconds"
WEBHOOK_REPEAT = "webhooks_repeated_after_seconds"
# The event that says that something was created comes so long after those that follow it.
WEBHOOK_DISORDER = "webhooks_created_late_seconds"
# Of each page of balance transactions: so many of the newest charges are left out, listed twice, or
# have another amount; and the list ends after so many rows. Beside so many stands a debit of the same
# payment that its bank sent back before: Stripe lists debits when it submits them, and what fails of
# them once more (https://support.stripe.com/questions/changes-to-balance-transaction-behavior-for-debit-payment-methods).
LIST_DROPS = "balance_list_drops"
LIST_REPEATS = "balance_list_repeats"
LIST_CHANGES = "balance_list_changes"
LIST_RETURNS = "balance_list_returned_debits"
LIST_CUT = "balance_list_ends_after"
# What comes to the balance in another currency is converted to USD, at so many thousandths.
SETTLED_IN_USD = "balance_settled_in_usd_at_thousandths"
NAMES = (
    SEARCH_LAG, LIST_LAG, KEY_RETENTION, REFUND_PENDING, REFUND_FAILURE, PAYOUT_GATHERING, WEBHOOK_LAG,
    WEBHOOK_REPEAT, WEBHOOK_DISORDER, LIST_DROPS, LIST_REPEATS, LIST_CHANGES, LIST_RETURNS, LIST_CUT,
    SETTLED_IN_USD,
)  # fmt: skip


class Behavior:
    """What is switched on at the moment; survives a restart."""

    def __init__(self, record: Record) -> None:
        self._record = record
        rows = record.read("SELECT name, seconds FROM provider_behavior")
        self._seconds = {str(row["name"]): int(row["seconds"]) for row in rows}

    @property
    def search_lag_seconds(self) -> int:
        """How long a new PaymentIntent is not found by a search."""
        return self._seconds.get(SEARCH_LAG, 0)

    @property
    def list_lag_seconds(self) -> int:
        """How long a new PaymentIntent or refund is missing from the lists."""
        return self._seconds.get(LIST_LAG, 0)

    def falsified(self, listed: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
        """A page of balance transactions as it is shown, and whether the list ends with it."""
        charges = [each for each in listed if each["type"] == "charge"]
        shown = []
        for each in listed:
            number = charges.index(each) if each in charges else SECONDS_MAX
            if number < self._seconds.get(LIST_DROPS, 0):
                continue
            if number < self._seconds.get(LIST_CHANGES, 0):
                each = {**each, "amount": each["amount"] + 1, "net": each["net"] + 1}  # noqa: PLW2901
            if number < self._seconds.get(LIST_REPEATS, 0):
                shown.append({**each, "id": f"{each['id']}_again"})
            shown.append(each)
            if number < self._seconds.get(LIST_RETURNS, 0):
                shown += _returned_debit(each)
        cut = self._seconds.get(LIST_CUT)
        return shown[:cut], cut is not None

    @property
    def usd_rate(self) -> int | None:
        """At how many thousandths all that moves is converted to USD; None: it is not."""
        return self._seconds.get(SETTLED_IN_USD)

    def refund_times(self, created: int) -> dict[str, int | None]:
        """When a refund made now is no longer pending, and when it fails, if it does (unix time)."""
        fails = self._seconds.get(REFUND_FAILURE)
        return {
            "settles": created + self._seconds.get(REFUND_PENDING, 0),
            "fails": None if fails is None else created + fails,
        }

    def is_gathering(self, created: int, now: int) -> bool:
        """Whether the transactions of a payout made at a time (unix) are not all its own yet."""
        return now < created + self._seconds.get(PAYOUT_GATHERING, 0)

    def webhook_delay_seconds(self, kind: str) -> int:
        """How long after its time an event is sent."""
        disorder = self._seconds.get(WEBHOOK_DISORDER, 0) if kind.endswith(".created") else 0
        return self._seconds.get(WEBHOOK_LAG, 0) + disorder

    @property
    def webhook_repeat_seconds(self) -> int | None:
        """How long after it was taken an event is sent again, once; None: it is not."""
        return self._seconds.get(WEBHOOK_REPEAT)

    @property
    def key_retention(self) -> timedelta | None:
        """How long an Idempotency-Key is remembered; None: for ever."""
        seconds = self._seconds.get(KEY_RETENTION)
        return None if seconds is None else timedelta(seconds=seconds)

    def routes(self) -> list[web.RouteDef]:
        """Routes that show and switch it."""

        async def show(_: web.Request) -> web.Response:
            return web.json_response({name: self._seconds.get(name) for name in NAMES})

        async def put(request: web.Request) -> web.Response:
            try:
                wanted = dict(await request.json())
            except (ValueError, TypeError):
                wanted = {}
            for name, seconds in wanted.items():
                known = name in NAMES
                if not known or not (seconds is None or _is_seconds(seconds)):
                    raise bad_request(f"body: give seconds, or null, for any of {', '.join(NAMES)}")
            for name, seconds in wanted.items():
                await self._switch(name, seconds)
            return await show(request)

        return [web.get("/provider/behavior", show), web.put("/provider/behavior", put)]

    async def _switch(self, name: str, seconds: int | None) -> None:
        if seconds is None:
            await self._record.execute("DELETE FROM provider_behavior WHERE name = ?", name)
            self._seconds.pop(name, None)
            return
        statement = "INSERT OR REPLACE INTO provider_behavior (name, seconds) VALUES (?, ?)"
        await self._record.execute(statement, name, seconds)
        self._seconds[name] = seconds


def _returned_debit(charge: dict[str, Any]) -> list[dict[str, Any]]:
    """A debit that came before a charge, and that it failed, the newest first."""
    debit = {**charge, "id": f"{charge['id']}_debit", "type": "payment", "fee": 0}
    debit["net"] = debit["amount"]
    failure = {
        **debit,
        "id": f"{charge['id']}_failure",
        "type": "payment_failure_refund",
        "reporting_category": "charge_failure",
        "amount": -debit["amount"],
        "net": -debit["net"],
    }
    return [failure, debit]


def _is_seconds(value: object) -> bool:
    return type(value) is int and 0 < value <= SECONDS_MAX
