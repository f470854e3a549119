"""Keys as the array parameters of statements over sets."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from services.payments.domain.keys import (
    ChargeKey,
    CustomerId,
    CustomerKey,
    MandateKey,
    MerchantId,
    PaymentMethodKey,
)


class OfCharge(Protocol):
    """A row that belongs to a charge."""

    @property
    def merchant(self) -> MerchantId: ...  # noqa: D102

    @property
    def customer(self) -> CustomerId: ...  # noqa: D102

    @property
    def charge(self) -> str: ...  # noqa: D102


class ChargeRow(NamedTuple):
    """The key of a charge."""

    merchant: MerchantId
    customer: CustomerId
    charge: str


class TimeRow(NamedTuple):
    """When something comes next; None if nothing does."""

    time: datetime | None


def owner(key: CustomerKey) -> dict[str, str]:
    """The columns of one customer."""
    return {"merchant": key.merchant, "customer": key.customer}


def owners(keys: Sequence[CustomerKey]) -> dict[str, list[str]]:
    """The columns of many customers."""
    return {
        "merchant": [key.merchant for key in keys],
        "customer": [key.customer for key in keys],
    }


def charges(keys: Iterable[ChargeKey]) -> dict[str, list[str]]:
    """The columns of distinct charges, in the order in which rows are locked."""
    distinct = sorted(set(keys))
    return {**owners([key.owner for key in distinct]), "charge": [key.charge for key in distinct]}


def mandates(keys: Iterable[MandateKey]) -> dict[str, list[str]]:
    """The columns of distinct mandates."""
    distinct = set(keys)
    return {**owners([key.owner for key in distinct]), "mandate": [key.mandate for key in distinct]}


def payment_methods(keys: Iterable[PaymentMethodKey]) -> dict[str, list[str]]:
    """The columns of distinct payment methods."""
    distinct = sorted(set(keys))
    return {
        **owners([key.owner for key in distinct]),
        "payment_method": [key.payment_method for key in distinct],
    }


def charge_of(row: OfCharge) -> ChargeKey:
    """The charge that a row belongs to."""
    return ChargeKey(CustomerKey(row.merchant, row.customer), row.charge)
