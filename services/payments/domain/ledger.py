"""What the ledger says of charges and refunds."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from services.payments.domain.charges import Charge
from services.payments.domain.credit import CreditTransaction, CreditType
from services.payments.domain.keys import CustomerId, MerchantId, derived_key
from services.payments.domain.refunds import Refund

PROVIDER_CLEARING = "provider-clearing"
MERCHANT_PAYABLE = "merchant-payable"
# What customers have of credit; what a customer has is the part of it with the customer's name.
CUSTOMER_CREDIT = "customer-credit"
# What credit that nobody paid for has cost the merchant.
CREDIT_GRANTED = "credit-granted"

# A day is closed so long after its end.
CLOSE_DELAY = timedelta(hours=1)


class AccountType(StrEnum):
    """On which side of the books an account stands."""

    ASSET = "ASSET"
    LIABILITY = "LIABILITY"
    INCOME = "INCOME"
    EXPENSE = "EXPENSE"


ACCOUNT_TYPES = {
    PROVIDER_CLEARING: AccountType.ASSET,
    MERCHANT_PAYABLE: AccountType.LIABILITY,
    CUSTOMER_CREDIT: AccountType.LIABILITY,
    CREDIT_GRANTED: AccountType.EXPENSE,
}
# Credit that no money stands for; for all other, the merchant has the money, or had it.
_UNFUNDED = frozenset({CreditType.GOODWILL, CreditType.CORRECTION})


@dataclass(frozen=True, slots=True)
class Transfer:
    """An amount that one account is debited and another credited with, so that both balance."""

    merchant: MerchantId
    customer: CustomerId
    # Name of the charge or refund.
    source: str
    # What is booked of the source, which is booked once.
    kind: str
    debit_account: str
    credit_account: str
    amount_minor: int
    currency: str
    book_time: datetime

    @property
    def transaction(self) -> str:
        """The id of what is booked, the same for the same source and kind."""
        return derived_key(self.source, self.kind)


def book_charge(charge: Charge, now: datetime) -> Transfer:
    """The provider owes us what the customer paid; we owe it to the merchant."""
    return Transfer(
        charge.merchant,
        charge.customer,
        charge.key.name,
        "CHARGE",
        PROVIDER_CLEARING,
        MERCHANT_PAYABLE,
        charge.amount_minor,
        charge.currency,
        now,
    )


def book_refund(refund: Refund, now: datetime) -> Transfer:
    """The reverse of a charge, for the part that was given back."""
    return Transfer(
        refund.merchant,
        refund.customer,
        refund.key.name,
        "REFUND",
        MERCHANT_PAYABLE,
        PROVIDER_CLEARING,
        refund.amount_minor,
        refund.currency,
        now,
    )


def book_refund_failure(refund: Refund, now: datetime) -> Transfer:
    """The reverse of a refund that came back: the provider owes us again what it took for it."""
    return Transfer(
        refund.merchant,
        refund.customer,
        refund.key.name,
        "REFUND_FAILURE",
        PROVIDER_CLEARING,
        MERCHANT_PAYABLE,
        refund.amount_minor,
        refund.currency,
        now,
    )


def book_credit(transaction: CreditTransaction, now: datetime) -> Transfer:
    """A change of what is owed to a customer as credit, against what it was given or used for."""
    unfunded = transaction.type in _UNFUNDED
    other = CREDIT_GRANTED if unfunded else MERCHANT_PAYABLE
    given = transaction.amount_minor > 0
    return Transfer(
        transaction.merchant,
        transaction.customer,
        transaction.source or transaction.key.name,
        "CREDIT",
        other if given else CUSTOMER_CREDIT,
        CUSTOMER_CREDIT if given else other,
        abs(transaction.amount_minor),
        transaction.currency,
        now,
    )


def last_closed_date(now: datetime) -> date:
    """The last day (UTC) that is to be closed by now."""
    return (now - CLOSE_DELAY).astimezone(UTC).date() - timedelta(days=1)
