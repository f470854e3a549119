"""Changes of prices, and what each means to the standing orders that repeat the product. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple

from services.scheduler.domain.forecast import coming_orders
from services.scheduler.domain.ids import (
    CustomerId,
    CustomerKey,
    MerchantId,
    StandingOrderId,
    StandingOrderKey,
)
from services.scheduler.domain.order import Order
from services.scheduler.domain.standing_order import StandingOrder, State

# A walk looks again each midnight (UTC) for standing orders that were added behind it. The last time is
# so long after the price came into force.
LAST_WALK_DELAY = timedelta(hours=1)
# A price that is further ahead concerns nobody yet: no rule asks for so early a notice.
WALK_AHEAD_MAX = timedelta(days=366)
# Who pays a new price only later is notified when that is so near.
NOTICE_LEAD_MAX = timedelta(days=90)
DELIVERY_ALLOWANCE = timedelta(days=1)
# How far ahead the first cycle at a new price is looked for: a lock lasts at most 1000 cycles.
LOOK_AHEAD = timedelta(days=3660)


class PriceChangeKey(NamedTuple):
    """Which version of which product's price."""

    merchant: MerchantId
    product: str
    price: str


class RecipientKey(NamedTuple):
    """Identifies a recipient: a standing order may be one of several prices, and of each again."""

    merchant: MerchantId
    standing_order: StandingOrderId
    product: str
    price: str
    announce_time: datetime


class NewPriceChange(NamedTuple):
    """A version of a price, as the catalog announces it or takes it back."""

    merchant: MerchantId
    product: str
    price: str
    title: str
    effective_time: datetime
    announce_time: datetime
    withdraw_time: datetime | None


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A version of a price, and how far the walk over the product's standing orders has come."""

    merchant: MerchantId
    product: str
    price: str
    # What customers call the product.
    title: str
    effective_time: datetime
    # A correction announces it again.
    announce_time: datetime
    # Set: it will not take effect.
    withdraw_time: datetime | None
    after_time: datetime
    after_key: str
    version: int
    # Whether there is nobody to look at: no standing order with the product was added since.
    is_at_end: bool = False

    @property
    def key(self) -> PriceChangeKey:
        """Which it is."""
        return PriceChangeKey(self.merchant, self.product, self.price)


class Impact(NamedTuple):
    """What a price changes for a standing order: its product's units in an order, from a cycle on."""

    first_cycle: int
    first_due_time: datetime
    amount_minor: int
    previous_minor: int
    currency: str
    # So long before that cycle the customer is notified.
    notice_lead: timedelta = NOTICE_LEAD_MAX


class Holding(StrEnum):
    """What keeps an amount from rising, as the catalog names it."""

    INCREASE_NOT_YET_NOTIFIED = "INCREASE_NOT_YET_NOTIFIED"
    PRICE_LOCK = "PRICE_LOCK"
    PRICE_CAP = "PRICE_CAP"


class Assessment(NamedTuple):
    """What a price means to a standing order, from which date on, and what it was held by."""

    # None: nothing.
    impact: Impact | None = None
    # The local date of the first cycle that is another amount.
    first_date: date | None = None
    # What kept the amount from rising until then, or limits it; None: nothing.
    held_by: Holding | None = None


@dataclass(frozen=True, slots=True)
class Recipient:
    """A standing order whose customer is notified of a price change, if it concerns them."""

    merchant: MerchantId
    standing_order: StandingOrderId
    product: str
    price: str
    customer: CustomerId
    # What customers call the product.
    title: str
    effective_time: datetime
    announce_time: datetime
    # When it is looked at.
    notify_time: datetime

    @property
    def key(self) -> StandingOrderKey:
        """Its standing order."""
        return StandingOrderKey(self.merchant, self.standing_order)

    @property
    def recipient_key(self) -> RecipientKey:
        """Which recipient it is."""
        return RecipientKey(
            self.merchant, self.standing_order, self.product, self.price, self.announce_time
        )

    @property
    def change_key(self) -> PriceChangeKey:
        """The price change."""
        return PriceChangeKey(self.merchant, self.product, self.price)

    @property
    def announcement(self) -> tuple[MerchantId, str, str, datetime]:
        """The price change, as it was announced."""
        return *self.change_key, self.announce_time

    @property
    def customer_key(self) -> tuple[CustomerKey, str, str]:
        """Of which there is one notice: the customer and the price."""
        return CustomerKey(self.merchant, self.customer), self.product, self.price


def by_customer(recipients: Sequence[Recipient]) -> list[list[Recipient]]:
    """Those that one notice is for, together."""
    ordered = sorted(recipients, key=lambda one: (one.customer_key, one.standing_order))
    return [list(group) for _, group in groupby(ordered, key=lambda one: one.customer_key)]


def next_walk_time(change: PriceChange, now: datetime) -> datetime | None:
    """When a walk that has come to its end goes on; None: it is over.

    Whoever signs up before a price is in force has the one before it.
    """
    last_walk_time = change.effective_time + LAST_WALK_DELAY
    if change.withdraw_time is not None or last_walk_time <= now:
        return None
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    next_time = max(today + timedelta(days=1), change.effective_time - WALK_AHEAD_MAX)
    return min(next_time, last_walk_time)


def notice_lead(min_days: int, max_days: int) -> timedelta:
    """How long before the first cycle at a new price its customer is notified, by what rules ask for.

    There is a day for the delivery, even if a rule wants the notice no earlier than another one does.
    """
    most = timedelta(days=max_days) if max_days else NOTICE_LEAD_MAX
    return max(min(most, NOTICE_LEAD_MAX), timedelta(days=min_days) + DELIVERY_ALLOWANCE)


def notify_time(impact: Impact, now: datetime) -> datetime | None:
    """When the customer is to be notified, if that is not now."""
    later = impact.first_due_time - impact.notice_lead
    return later if later > now else None


def first_order(
    standing_order: StandingOrder,
    product: str,
    from_time: datetime,
    after_cycle: int,
    now: datetime,
) -> Order | None:
    """The first coming order with a product that is due from an instant on, after a cycle."""
    for order in _coming(standing_order, from_time, now):
        is_late_enough = order.due_time >= from_time and order.key.cycle > after_cycle
        if is_late_enough and any(item.product == product for item in order.items):
            return order
    return None


def _coming(standing_order: StandingOrder, from_time: datetime, now: datetime) -> Iterator[Order]:
    if standing_order.state is State.PAUSED and standing_order.resume_time is None:
        # It may be resumed at any time.
        standing_order = replace(standing_order, resume_time=now)
    # No zone is further from UTC than a day.
    first = from_time.date() - timedelta(days=1)
    return coming_orders(standing_order, first, first + LOOK_AHEAD, now)
