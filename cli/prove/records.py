"""What is compared: rows of the four databases, and what the outside world has on record.

Amounts are in minor units, currencies in capitals, times aware.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

# (merchant, standing order, cycle)
OrderKey = tuple[str, str, int]
# Minor units by currency.
Amounts = Mapping[str, int]

# How the key of a message follows from the delivery that it carries out.
MESSAGE_KEY_NAMESPACE = uuid.UUID("0c4f0c1e-7f0e-5f9c-8a55-6a4f3b0e9d27")


@dataclass(frozen=True, slots=True)
class StandingOrder:
    """A template, as far as it decides which cycles there are."""

    merchant: str
    standing_order: str
    state: str
    first_cycle: int
    schedule: Mapping[str, Any]
    # When it was created, paused, resumed, cancelled or completed last.
    change_time: datetime
    # The cycles before were another system's.
    billed_from_cycle: int = 1
    # Somebody moved dates since sign-up: the schedule alone does not give them all.
    dates_changed: bool = False
    # The first cycle without an order; None: there is none to come.
    next_cycle: int | None = None
    # The last one, where the customer ended it there.
    last_cycle: int | None = None
    # Its customer was erased: when it ended is no longer known.
    erased: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """What a cycle produced."""

    key: OrderKey
    due_time: datetime
    state: str
    amount_minor: int | None
    currency: str
    # It was brought forward or deferred after it was announced.
    moved: bool = False
    local_date: date | None = None

    @property
    def name(self) -> str:
        """The resource name."""
        merchant, standing_order, cycle = self.key
        return f"merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}"


@dataclass(frozen=True, slots=True)
class Charge:
    """What was owed for an order."""

    name: str
    order: str
    state: str
    billing_mode: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at the provider."""

    charge: str
    number: int
    key: str
    state: str
    amount_minor: int
    currency: str
    payment: str
    start_time: datetime
    # Full name; empty: the customer confirmed.
    mandate: str = ""


@dataclass(frozen=True, slots=True)
class Mandate:
    """A customer's consent to be charged, for amounts in one currency."""

    name: str
    charge_ceiling_minor: int
    month_ceiling_minor: int | None
    currency: str
    valid_from_time: datetime
    valid_until_time: datetime | None
    revoke_time: datetime | None


@dataclass(frozen=True, slots=True)
class BroughtForward:
    """A cycle that its customer ordered before its date, which is used up by it."""

    key: OrderKey
    nominal_date: date


@dataclass(frozen=True, slots=True)
class Hold:
    """Units of a product that are set aside for an order, or were."""

    key: OrderKey
    product: str
    quantity: int
    state: str


@dataclass(frozen=True, slots=True)
class Stock:
    """How many units of a product catalog counts as held."""

    merchant: str
    product: str
    held_units: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that is to be done at a time, or is to be over by it."""

    service: str
    what: str
    name: str
    due_time: datetime


@dataclass(frozen=True, slots=True)
class Refund:
    """Money given back, as payments says."""

    name: str
    state: str
    amount_minor: int
    currency: str
    payment: str


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One leg of a transaction."""

    merchant: str
    transaction: str
    source: str
    account: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment or refund in the provider's own books."""

    id: str
    # Our key of the attempt; empty for refunds.
    key: str
    state: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice on its way through one channel."""

    merchant: str
    customer: str
    notice: str
    kind: str
    # What it is about, for example the name of an order.
    subject: str
    channel: str
    main: bool
    state: str
    deliver_time: datetime | None
    promised_minor: int | None
    promised_currency: str
    # How many phones the customer has bound so far; each has a key of its own.
    phone_count: int
    # What the notice promised: no charge before this time, nor sooner after its delivery than the lead.
    not_before_time: datetime | None = None
    lead: timedelta | None = None

    @property
    def keys(self) -> frozenset[str]:
        """The keys under which the gateway may know it, one a phone."""
        parts = (self.merchant, self.customer, self.notice, self.channel)
        return frozenset(
            str(uuid.uuid5(MESSAGE_KEY_NAMESPACE, "|".join((*parts, str(phone)))))
            for phone in range(self.phone_count + 1)
        )


@dataclass(frozen=True, slots=True)
class Message:
    """A message that reached the outside world, by its Idempotency-Key or Message-ID."""

    channel: str
    key: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """The events that a service has not published yet, and those that it could not handle."""

    service: str
    unpublished_count: int
    dead_letter_count: int


@dataclass(frozen=True, slots=True)
class Records:
    """Everything that the audit looks at, read at one moment of a clock that stands still."""

    now: datetime
    standing_orders: tuple[StandingOrder, ...]
    orders: tuple[Order, ...]
    charges: tuple[Charge, ...]
    attempts: tuple[Attempt, ...]
    refunds: tuple[Refund, ...]
    ledger_entries: tuple[LedgerEntry, ...]
    deliveries: tuple[Delivery, ...]
    backlogs: tuple[Backlog, ...]
    payments: tuple[Payment, ...]
    provider_refunds: tuple[Payment, ...]
    messages: tuple[Message, ...]
    mandates: tuple[Mandate, ...] = ()
    brought_forward: tuple[BroughtForward, ...] = ()
    # Cycles whose date their customer chose.
    date_chosen: frozenset[OrderKey] = frozenset()
    holds: tuple[Hold, ...] = ()
    stocks: tuple[Stock, ...] = ()
    waiting: tuple[Waiting, ...] = ()
