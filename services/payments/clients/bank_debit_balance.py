"""What GoCardless says of its payouts: they are all that it lists of its balance.

Source: https://developer.gocardless.com/api-reference (payouts, payout items), read on 2026-11-30. An
item names the provider's own payment or refund, and has neither an id nor a time: it is known by its
place among those of its payout, and counts from when that was created. Fees are to a tenth of a minor
unit, and a payout is the rounded sum of its items; so what is rounded off one fee goes to the next.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from services.payments.clients.bank_debit_api import BANK_DEBIT, object_in
from services.payments.clients.provider import ProviderUnreachable, reached
from services.payments.clients.provider_api import ProviderApi, Shown
from services.payments.clients.provider_balance import Page
from services.payments.domain.provider_balance import (
    NO_CUSTOMER,
    NOBODY,
    BalanceTransaction,
    BalanceType,
    ProviderPayout,
)

_TYPES = {
    "payment_paid_out": BalanceType.CHARGE,
    "payment_failed": BalanceType.DISPUTE,
    "payment_charged_back": BalanceType.DISPUTE,
    "payment_refunded": BalanceType.REFUND,
    "refund": BalanceType.REFUND,
    "refund_funds_returned": BalanceType.REFUND_FAILURE,
}
_FEES = frozenset({"gocardless_fee", "app_fee", "surcharge_fee"})
_TENTHS = 10
_HALF_TENTHS = 5


class Place(NamedTuple):
    """How far the items of a payout are read: what the next page comes after."""

    cursor: str = ""
    # How many were read.
    item_count: int = 0
    # What was rounded off the fees until here, in tenths of a minor unit.
    carry_tenths: int = 0

    @classmethod
    def read(cls, text: str) -> "Place":
        """As `str` has written it; the beginning where that is empty."""
        if not text:
            return cls()
        cursor, item_count, carry_tenths = text.split()
        return cls(cursor, int(item_count), int(carry_tenths))

    def __str__(self) -> str:
        return f"{self.cursor} {self.item_count} {self.carry_tenths}" if self.cursor else ""


class BankDebitBalance:
    """Asks GoCardless, or what looks like it."""

    name = BANK_DEBIT
    # A payment is listed with its payout, some working days after it was confirmed.
    listing_delay = timedelta(days=14)

    def __init__(self, api: ProviderApi) -> None:
        self._api = api

    async def transactions(
        self, _since: datetime, _until: datetime, _after: str
    ) -> Page[BalanceTransaction]:
        """None by itself: all come with their payouts."""
        return Page((), "")

    async def payouts(self, since: datetime, until: datetime, after: str) -> Page[ProviderPayout]:
        """By the time of their creation."""
        query = {"created_at[gte]": since.isoformat(), "created_at[lt]": until.isoformat()}
        listed, cursor = reached(await self._api.page("/payouts", query, after))
        return Page([_payout(shown) for shown in listed], cursor)

    async def transactions_of(self, payout: str, after: str) -> Page[BalanceTransaction]:
        """By the payout's id."""
        paid_out = reached(await self._api.get(f"/payouts/{payout}"))
        if paid_out is None:
            raise ProviderUnreachable("the provider does not know its payout")
        place = Place.read(after)
        listed, cursor = reached(
            await self._api.page("/payout_items", {"payout": payout}, place.cursor)
        )
        transactions = []
        for shown in listed:
            moved, place = read_item(paid_out, shown, place)
            transactions.append(moved)
        return Page(transactions, str(place._replace(cursor=cursor)))


def read_item(payout: Shown, shown: Shown, place: Place) -> tuple[BalanceTransaction, Place]:
    """What an item of a payout says, and the place after it."""
    tenths = int(Decimal(str(shown["amount"])) * _TENTHS)
    kind, links = str(shown.get("type")), object_in(shown, "links")
    amount_minor, fee_minor = tenths // _TENTHS, 0
    if kind in _FEES:
        tenths += place.carry_tenths
        amount_minor, fee_minor = 0, -((tenths + _HALF_TENTHS) // _TENTHS)
        place = place._replace(carry_tenths=tenths + fee_minor * _TENTHS)
    place = place._replace(item_count=place.item_count + 1)
    moved = BalanceTransaction(
        NOBODY,
        NO_CUSTOMER,
        # The provider's id of the refund or payment that it is about; of others there is none.
        str(links.get("refund") or links.get("payment") or ""),
        f"{payout['id']} {place.item_count}",
        _TYPES.get(kind, BalanceType.OTHER),
        amount_minor,
        fee_minor,
        str(payout["currency"]),
        datetime.fromisoformat(str(payout["created_at"])),
    )
    return moved, place


def _payout(shown: Shown) -> ProviderPayout:
    arrived = datetime.fromisoformat(str(shown.get("arrival_date") or shown["created_at"]))
    # A date is one in UTC.
    arrive_time = arrived if arrived.tzinfo else arrived.replace(tzinfo=UTC)
    return ProviderPayout(
        str(shown["id"]), int(shown["amount"]), str(shown["currency"]), arrive_time
    )
