"""What the ledger says of charges and refunds."""

from dataclasses import dataclass
from datetime import datetime

from services.payments.domain.charges import Charge
from services.payments.domain.keys import CustomerId, MerchantId, derived_key
from services.payments.domain.refunds import Refund

PROVIDER_CLEARING = "provider-clearing"
MERCHANT_PAYABLE = "merchant-payable"


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg of a booking: a positive amount is a debit, a negative one a credit."""

    account: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Booking:
    """A transaction of the ledger; one source is booked once a kind."""

    merchant: MerchantId
    customer: CustomerId
    # Name of the charge or refund.
    source: str
    kind: str
    legs: tuple[Leg, ...]
    book_time: datetime

    @property
    def transaction(self) -> str:
        """Its id, the same for the same source and kind."""
        return derived_key(self.source, self.kind)


def book_charge(charge: Charge, now: datetime) -> Booking:
    """The provider owes us what the customer paid; we owe it to the merchant."""
    return Booking(
        charge.merchant,
        charge.customer,
        charge.key.name,
        "CHARGE",
        _transfer(charge.amount_minor, charge.currency, PROVIDER_CLEARING, MERCHANT_PAYABLE),
        now,
    )


def book_refund(refund: Refund, now: datetime) -> Booking:
    """The reverse of a charge, for the part that was given back."""
    return Booking(
        refund.merchant,
        refund.customer,
        refund.key.name,
        "REFUND",
        _transfer(refund.amount_minor, refund.currency, MERCHANT_PAYABLE, PROVIDER_CLEARING),
        now,
    )


def _transfer(amount_minor: int, currency: str, debit: str, credit: str) -> tuple[Leg, ...]:
    return Leg(debit, amount_minor, currency), Leg(credit, -amount_minor, currency)
