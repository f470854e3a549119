"""What a customer agrees to with an order, beside its items, its date and its price."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class BillingMode(StrEnum):
    """How a customer pays."""

    AUTOMATIC = "AUTOMATIC"
    PAY_ON_NOTICE = "PAY_ON_NOTICE"


@dataclass(frozen=True, slots=True)
class Terms:
    """How an order is named and paid. Once it is announced, they are those of its notice."""

    title: str
    billing_mode: BillingMode
    # Empty for PAY_ON_NOTICE.
    mandate: str
    # PAY_ON_NOTICE: how long a request to pay lasts.
    payment_window: timedelta
    # IANA zone of the dates that the customer reads.
    time_zone: str
