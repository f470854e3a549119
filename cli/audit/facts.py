"""What is compared: rows of the four databases, and what the outside world has on record.

Amounts are in minor units, currencies in capitals, times aware.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
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
    """What a service has not told yet, and what it could not handle."""

    service: str
    unpublished_count: int
    dead_letter_count: int


@dataclass(frozen=True, slots=True)
class Facts:
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
