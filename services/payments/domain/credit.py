"""What customers have of credit, and what changes it. Pure."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.payments.domain.bank_debits import least_debited_minor
from services.payments.domain.charges import Charge
from services.payments.domain.keys import (
    CreditKey,
    CreditTransactionId,
    CreditTransactionKey,
    CustomerId,
    MerchantId,
)
from services.payments.domain.provider_amounts import (
    UnsupportedCurrencyError,
    least_minor,
    step_minor,
)
from services.payments.domain.refunds import Refund
from services.runtime.money import AMOUNT_MINOR_MAX


class CreditType(StrEnum):
    """Why the credit of a customer changed."""

    GOODWILL = "GOODWILL"
    OVERPAYMENT = "OVERPAYMENT"
    REFUND_KEPT = "REFUND_KEPT"
    CORRECTION = "CORRECTION"
    PAYOUT = "PAYOUT"
    CHARGE = "CHARGE"
    REFUND = "REFUND"


GIVING_TYPES = frozenset({
    CreditType.GOODWILL, CreditType.OVERPAYMENT, CreditType.REFUND_KEPT, CreditType.CORRECTION,
})  # fmt: skip
TAKING_TYPES = frozenset({CreditType.PAYOUT, CreditType.CORRECTION})


@dataclass(frozen=True, slots=True)
class CreditTransaction:
    """A change of a customer's credit."""

    merchant: MerchantId
    customer: CustomerId
    credit_transaction: CreditTransactionId
    type: CreditType
    # Above 0: given to the customer.
    amount_minor: int
    currency: str
    # Name of the charge that it paid, or of the refund that it was given for; else empty.
    source: str
    create_time: datetime
    # What the customer had in the currency after it; known once it is stored.
    balance_after_minor: int = 0
    # Its place in the list of the customer's; known once it is stored.
    position: uuid.UUID | None = None

    @property
    def key(self) -> CreditTransactionKey:
        """Which it is."""
        return CreditTransactionKey(self.merchant, self.customer, self.credit_transaction)

    @property
    def credit_key(self) -> CreditKey:
        """Which credit it changes."""
        return CreditKey(self.merchant, self.customer, self.currency)


@dataclass(frozen=True, slots=True)
class Credit:
    """What a customer has in one currency."""

    merchant: MerchantId
    customer: CustomerId
    currency: str
    balance_minor: int
    # What charges would use whose outcome is not known yet.
    reserved_minor: int

    @property
    def key(self) -> CreditKey:
        """Which it is."""
        return CreditKey(self.merchant, self.customer, self.currency)

    @property
    def available_minor(self) -> int:
        """What the next charge may use."""
        return self.balance_minor - self.reserved_minor

    def is_too_high(self, given_minor: int) -> bool:
        """Whether so much more would be above the maximum of an amount."""
        return self.balance_minor + given_minor > AMOUNT_MINOR_MAX


def use_credit(charge: Charge, now: datetime) -> CreditTransaction:
    """What a charge that succeeded has used of its customer's credit."""
    return CreditTransaction(
        *charge.customer_key,
        _derived_id(charge.key.name),
        CreditType.CHARGE,
        -charge.credit_minor,
        charge.currency,
        source=charge.key.name,
        create_time=now,
    )


def give_refund(refund: Refund, now: datetime) -> CreditTransaction:
    """What a refund gives as credit."""
    return CreditTransaction(
        refund.merchant,
        refund.customer,
        _derived_id(refund.key.name),
        CreditType.REFUND,
        refund.credit_minor,
        refund.currency,
        source=refund.key.name,
        create_time=now,
    )


def _derived_id(source: str) -> CreditTransactionId:
    """The id of what a charge or refund has changed, the same for the same one.

    It is longer than those that callers choose: else somebody could take it before.
    """
    return CreditTransactionId(hashlib.sha256(source.encode()).hexdigest())


def credit_share(amount_minor: int, available_minor: int, currency: str, brand: str = "") -> int:
    """How much of an amount credit pays: all that is available, before a payment method pays the rest.

    Neither the provider nor the scheme of a bank debit takes a rest below its minimum, or between its
    steps: then credit pays less, so that the rest can be charged by a method of this brand. Of an
    amount that nobody could charge, credit pays the whole or nothing.
    """
    if available_minor >= amount_minor:
        return amount_minor
    try:
        step, least = step_minor(currency), max(least_minor(currency), least_debited_minor(brand))
    except UnsupportedCurrencyError:
        return 0
    rest_minor = max(amount_minor - available_minor, least)
    rest_minor = -(-rest_minor // step) * step
    return max(0, amount_minor - rest_minor)
