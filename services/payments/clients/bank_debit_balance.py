"""What GoCardless says of its payouts: they are all that it lists of its balance.

Source: https://developer.gocardless.com/api-reference (payouts, payout items), read on 2026-11-30. An
item names the provider's own payment or refund, and has neither an id nor a time: it is known by its
place among those of its payout, and counts from when that was created. Fees are to a tenth of a minor
unit, and a payout is the rounded sum of its items; so what is rounded off one fee goes to the next.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from services.payments.clients.bank_debit import BANK_DEBIT
from services.payments.clients.bank_debit_api import LIST_PAGE_SIZE, OK, Answer, BankDebitApi
from services.payments.clients.provider import ProviderUnreachable
from services.payments.clients.provider_balance import Page
from services.payments.domain.outcomes import Unknown
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

    # A payment is listed with its payout, some working days after it was confirmed.
    listing_delay = timedelta(days=14)

    def __init__(self, api: BankDebitApi, name: str = BANK_DEBIT) -> None:
        """By the provider's name."""
        self._api = api
        self.name = name

    async def transactions(
        self, _since: datetime, _until: datetime, _after: str
    ) -> Page[BalanceTransaction]:
        """None by itself: all come with their payouts."""
        return Page((), "")

    async def payouts(self, since: datetime, until: datetime, after: str) -> Page[ProviderPayout]:
        """By the time of their creation."""
        query = {"created_at[gte]": since.isoformat(), "created_at[lt]": until.isoformat()}
        listed, cursor = await self._list("payouts", query, after)
        return Page([_payout(shown) for shown in listed], cursor)

    async def transactions_of(self, payout: str, after: str) -> Page[BalanceTransaction]:
        """By the payout's id."""
        create_time, currency = await self._created(payout)
        place = Place.read(after)
        listed, cursor = await self._list("payout_items", {"payout": payout}, place.cursor)
        transactions = []
        for shown in listed:
            moved, place = read_item(payout, currency, create_time, shown, place)
            transactions.append(moved)
        return Page(transactions, str(place._replace(cursor=cursor)))

    async def _created(self, payout: str) -> tuple[datetime, str]:
        answer = _answered(await self._api.ask("GET", f"/payouts/{payout}"))
        shown = answer.shown("payouts")
        return datetime.fromisoformat(str(shown["created_at"])), str(shown["currency"])

    async def _list(
        self, name: str, query: Mapping[str, str], after: str
    ) -> tuple[list[Mapping[str, Any]], str]:
        following = {"after": after} if after else {}
        page = {**query, "limit": str(LIST_PAGE_SIZE), **following}
        answer = _answered(await self._api.ask("GET", f"/{name}", query=page))
        listed = answer.body.get(name)
        if not isinstance(listed, list):
            raise ProviderUnreachable(f"the list of {name} has none")
        cursor = ((answer.body.get("meta") or {}).get("cursors") or {}).get("after")
        return listed, str(cursor or "")


def read_item(
    payout: str,
    currency: str,
    create_time: datetime,
    shown: Mapping[str, Any],
    place: Place,
) -> tuple[BalanceTransaction, Place]:
    """What an item says, and the place after it."""
    tenths = int(Decimal(str(shown["amount"])) * _TENTHS)
    kind = str(shown.get("type"))
    if kind in _FEES:
        tenths += place.carry_tenths
        amount_minor, fee_minor = 0, -((tenths + _HALF_TENTHS) // _TENTHS)
        place = place._replace(carry_tenths=tenths + fee_minor * _TENTHS)
    else:
        amount_minor, fee_minor = tenths // _TENTHS, 0
    place = place._replace(item_count=place.item_count + 1)
    moved = BalanceTransaction(
        NOBODY,
        NO_CUSTOMER,
        _source(shown),
        f"{payout} {place.item_count}",
        _TYPES.get(kind, BalanceType.OTHER),
        amount_minor,
        fee_minor,
        currency,
        create_time,
    )
    return moved, place


def _answered(answer: Answer | Unknown) -> Answer:
    if isinstance(answer, Unknown):
        raise ProviderUnreachable(answer.why)
    if answer.status != OK:
        raise ProviderUnreachable(f"the provider answered {answer.status}")
    return answer


def _source(shown: Mapping[str, Any]) -> str:
    """The provider's id of the refund or payment that an item is about; of others there is none."""
    links = shown.get("links") or {}
    return str(links.get("refund") or links.get("payment") or "")


def _payout(shown: Mapping[str, Any]) -> ProviderPayout:
    created = datetime.fromisoformat(str(shown["created_at"]))
    arrival = shown.get("arrival_date")
    arrive_time = (
        datetime.combine(date.fromisoformat(str(arrival)), time(), UTC) if arrival else created
    )
    return ProviderPayout(
        str(shown["id"]), int(shown["amount"]), str(shown["currency"]), arrive_time
    )
