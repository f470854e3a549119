"""What the provider says of its balance: transactions and payouts, page by page.

Source: https://docs.stripe.com/api/balance_transactions/list, https://docs.stripe.com/api/payouts/list
and https://docs.stripe.com/reports/reporting-categories, read on 2026-11-30. A transaction says whose
it is by the metadata of the payment or refund that it is about, which is ours.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from services.payments.clients.provider import reached
from services.payments.clients.provider_balance import Page
from services.payments.clients.stripe import STRIPE
from services.payments.clients.stripe_api import stripe_api
from services.payments.domain.provider_amounts import from_provider
from services.payments.domain.provider_balance import (
    NO_CUSTOMER,
    NOBODY,
    BalanceTransaction,
    BalanceType,
    ProviderPayout,
)
from services.payments.names import CHARGE, REFUND
from services.runtime.http_client import HttpClient

# By what the provider reports them as.
_TYPES = {
    "charge": BalanceType.CHARGE,
    # A debit is listed when it is submitted, and taken off again if its bank sends it back.
    "charge_failure": BalanceType.CHARGE,
    "refund": BalanceType.REFUND,
    "refund_failure": BalanceType.REFUND_FAILURE,
    "dispute": BalanceType.DISPUTE,
    "dispute_reversal": BalanceType.DISPUTE_REVERSAL,
}
_PAYOUT = "payout"


class StripeBalance:
    """Asks Stripe, or what looks like it."""

    listing_delay = timedelta()

    def __init__(self, http: HttpClient, base_url: str, api_key: str, name: str = STRIPE) -> None:
        """By the provider's name."""
        self.name = name
        self._api = stripe_api(http, base_url, api_key)

    async def transactions(
        self, since: datetime, until: datetime, after: str
    ) -> Page[BalanceTransaction]:
        """By the time of their creation, which is in whole seconds."""
        return await self._transactions(_created(since, until), after)

    async def transactions_of(self, payout: str, after: str) -> Page[BalanceTransaction] | None:
        """By the payout's id, once the provider says that all of them have it."""
        paid_out = reached(await self._api.get(f"/payouts/{payout}")) if not after else None
        if paid_out is not None and paid_out.get("reconciliation_status") == "in_progress":
            return None
        return await self._transactions({"payout": payout}, after)

    async def payouts(self, since: datetime, until: datetime, after: str) -> Page[ProviderPayout]:
        """By the time of their creation."""
        listed, next_after = reached(
            await self._api.page("/payouts", _created(since, until), after)
        )
        return Page([_payout(shown) for shown in listed], next_after)

    async def _transactions(self, query: Mapping[str, str], after: str) -> Page[BalanceTransaction]:
        expand = {"expand[0]": "data.source", "expand[1]": "data.source.payment_intent"}
        listed, next_after = reached(
            await self._api.page("/balance_transactions", {**query, **expand}, after)
        )
        return Page(
            [_transaction(shown) for shown in listed if shown.get("type") != _PAYOUT], next_after
        )


def _created(since: datetime, until: datetime) -> dict[str, str]:
    return {
        "created[gte]": str(int(since.timestamp())),
        "created[lt]": str(int(until.timestamp())),
    }


def _transaction(shown: Mapping[str, Any]) -> BalanceTransaction:
    currency = str(shown["currency"]).upper()
    kind = _TYPES.get(str(shown.get("reporting_category")), BalanceType.OTHER)
    merchant, customer, source = _owner(shown)
    return BalanceTransaction(
        merchant,
        customer,
        source,
        str(shown["id"]),
        kind,
        from_provider(int(shown["amount"]), currency),
        from_provider(int(shown["fee"]), currency),
        currency,
        datetime.fromtimestamp(int(shown["created"]), UTC),
        *_converted(shown),
    )


def _converted(shown: Mapping[str, Any]) -> tuple[int, str] | tuple[None, None]:
    """What a transaction was in the currency of its charge or refund, if it was converted.

    An account has a balance in some currencies alone, and converts what it charges in others.
    """
    source = shown.get("source")
    if shown.get("exchange_rate") is None or not isinstance(source, dict):
        return None, None
    amount, currency = source.get("amount"), str(source.get("currency")).upper()
    try:
        came_minor = from_provider(abs(amount), currency) if type(amount) is int else None
    except ValueError:
        # The account may be used by others, who charge in what we have no prices in.
        came_minor = None
    if came_minor is None:
        return None, None
    return came_minor if int(shown["amount"]) > 0 else -came_minor, currency


def _owner(shown: Mapping[str, Any]) -> tuple[Any, Any, str]:
    """Whose a transaction is, and of which charge or refund; nobody's where it says nothing of ours."""
    source = shown.get("source")
    if not isinstance(source, dict):
        return NOBODY, NO_CUSTOMER, str(source or "")
    found = [source, source.get("payment_intent")]
    for about in found:
        metadata = about.get("metadata") if isinstance(about, dict) else None
        if not isinstance(metadata, dict):
            continue
        for name, pattern in (("refund", REFUND), ("charge", CHARGE)):
            try:
                key = pattern.key(str(metadata.get(name)))
            except ValueError:
                continue
            return key.merchant, key.customer, key.name
    return NOBODY, NO_CUSTOMER, str(source.get("id", ""))


def _payout(shown: Mapping[str, Any]) -> ProviderPayout:
    currency = str(shown["currency"]).upper()
    return ProviderPayout(
        str(shown["id"]),
        from_provider(int(shown["amount"]), currency),
        currency,
        datetime.fromtimestamp(int(shown["arrival_date"]), UTC),
    )
