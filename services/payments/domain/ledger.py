"""What the ledger says of charges and refunds.

A transfer debits one account and credits another with the same amount, so that whatever is booked
balances.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from services.payments.domain.accounts import (
    BANK,
    CREDIT_GRANTED,
    CUSTOMER_CREDIT,
    DISPUTES,
    PROVIDER_CLEARING,
    RECEIVABLE,
    REFUNDS,
    REVENUE,
    tax_account,
)
from services.payments.domain.charges import Charge
from services.payments.domain.credit import CreditTransaction, CreditType
from services.payments.domain.disputes import Dispute
from services.payments.domain.keys import CustomerId, MerchantId, derived_key
from services.payments.domain.lines import load_lines
from services.payments.domain.refunds import Refund

T = TypeVar("T")

# What comes after the kind of what is booked back.
_FAILURE = "_FAILURE"
_CREDIT = "CREDIT"
# What is given back of a sale as credit, at once; a kind begins so.
_CREDIT_NOTE = "CREDIT_NOTE"
_TO_CREDIT = "CREDIT_NOTE_TO_CREDIT"
# What credit is given for, or used for.
_CREDIT_FOR = {
    # No money stands for it.
    CreditType.GOODWILL: CREDIT_GRANTED,
    CreditType.CORRECTION: CREDIT_GRANTED,
    # The merchant has the money, or had it.
    CreditType.OVERPAYMENT: BANK,
    CreditType.PAYOUT: BANK,
    CreditType.REFUND_KEPT: REFUNDS,
    # It pays what a customer owes, or is what is owed to them.
    CreditType.CHARGE: RECEIVABLE,
    CreditType.REFUND: RECEIVABLE,
}
# A day is closed so long after its end.
CLOSE_DELAY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Transfer:
    """An amount that one account is debited and another credited with, so that both balance."""

    merchant: MerchantId
    customer: CustomerId
    # Name of the charge or refund that is booked.
    source: str
    # What is booked of the source, which is booked once.
    kind: str
    debit_account: str
    credit_account: str
    amount_minor: int
    currency: str
    # When it is booked, or as soon after that as a day is open.
    book_time: datetime
    # When it happened, if that was before.
    occur_time: datetime | None = None

    @property
    def transaction(self) -> str:
        """The id of what is booked, the same for the same source and kind."""
        return derived_key(self.source, self.kind)


def book_charge(charge: Charge, now: datetime) -> Iterator[Transfer]:
    """What was sold is owed, and is paid: the provider holds it for the merchant.

    What credit pays of it is booked with the change of the credit.
    The sale is whatever of the amount is no tax, so that both sides balance whatever the lines say.
    """
    owner = (charge.merchant, charge.customer, charge.key.name)
    paid_minor, currency = charge.method_minor, charge.currency
    taxes = taxes_of(charge)
    net_minor = charge.amount_minor - sum(taxes.values())
    if paid_minor:
        yield Transfer(*owner, "CHARGE", PROVIDER_CLEARING, RECEIVABLE, paid_minor, currency, now)
    if net_minor:
        yield Transfer(*owner, "SALE", RECEIVABLE, REVENUE, net_minor, currency, now)
    for account, tax_minor in taxes.items():
        kind = f"SALE {account}"
        yield Transfer(*owner, kind, RECEIVABLE, account, tax_minor, currency, now)


def book_refund(
    refund: Refund, charge: Charge, given_back: Mapping[str, int], now: datetime
) -> Iterator[Transfer]:
    """The reverse of a charge, for what its payment method is given back, of the sale and of each tax.

    `given_back` is what was given back of the charge before, by account. The sale and each tax give
    back the same part of what they still have, so that nothing is left of any once all is given back.
    """
    owner = (refund.merchant, refund.customer, refund.key.name)
    back_minor, currency = refund.method_minor, refund.currency
    yield Transfer(*owner, "REFUND", RECEIVABLE, PROVIDER_CLEARING, back_minor, currency, now)
    yield from _credit_note(_CREDIT_NOTE, back_minor, refund, charge, given_back, now)


def book_refund_to_credit(
    refund: Refund, charge: Charge, given_back: Mapping[str, int], now: datetime
) -> Iterator[Transfer]:
    """The reverse of a charge, for what became credit: that is booked with the change of the credit."""
    yield from _credit_note(_TO_CREDIT, refund.credit_minor, refund, charge, given_back, now)


def _credit_note(
    kind: str,
    amount_minor: int,
    refund: Refund,
    charge: Charge,
    given_back: Mapping[str, int],
    now: datetime,
) -> Iterator[Transfer]:
    owner, currency = (refund.merchant, refund.customer, refund.key.name), refund.currency
    taxes = taxes_of(charge)
    kept = {**taxes, REFUNDS: charge.amount_minor - sum(taxes.values())}
    for account in kept:
        kept[account] -= given_back.get(account, 0)
    for account, minor in shares(amount_minor, kept).items():
        of_account = kind if account == REFUNDS else f"{kind} {account}"
        yield Transfer(*owner, of_account, account, RECEIVABLE, minor, currency, now)


def shares(amount_minor: int, kept: Mapping[T, int]) -> dict[T, int]:
    """An amount as parts of what accounts keep, none above it; the largest remainders round up."""
    kept_minor = sum(kept.values())
    parts = {account: amount_minor * minor // kept_minor for account, minor in kept.items()}
    largest_first = sorted(kept, key=lambda account: -(amount_minor * kept[account] % kept_minor))
    for account in largest_first[: amount_minor - sum(parts.values())]:
        parts[account] += 1
    return {account: minor for account, minor in parts.items() if minor}


def credit_note_parts(transfers: Iterable[Transfer], *, to_credit: bool) -> dict[str, int]:
    """What the credit note of a refund gives back of the sale and of each tax, by account.

    Of what went to the payment method, or of what became credit.
    """
    notes = [it for it in transfers if it.credit_account == RECEIVABLE]
    return {
        it.debit_account: it.amount_minor
        for it in notes
        if it.kind.startswith(_CREDIT_NOTE) and it.kind.startswith(_TO_CREDIT) is to_credit
    }


def comes_back(transfer: Transfer) -> bool:
    """Whether a transfer of a refund is reversed if that comes back: what became credit stays."""
    return transfer.kind != _CREDIT and not transfer.kind.startswith(_TO_CREDIT)


def reverse(transfer: Transfer, now: datetime) -> Transfer:
    """What was booked, the other way round: what it was booked of came back."""
    return replace(
        transfer,
        kind=f"{transfer.kind}{_FAILURE}",
        debit_account=transfer.credit_account,
        credit_account=transfer.debit_account,
        book_time=now,
        occur_time=None,
    )


def given_back_by(transfers: Iterable[Transfer]) -> Counter[str]:
    """What transfers give back of a sale and its taxes, by account."""
    given_back: Counter[str] = Counter()
    for transfer in transfers:
        if transfer.credit_account == RECEIVABLE:
            given_back[transfer.debit_account] += transfer.amount_minor
    return given_back


def taxes_of(charge: Charge) -> dict[str, int]:
    """What is charged of each tax, by account."""
    taxes: Counter[str] = Counter()
    for line in load_lines(charge.lines):
        for tax in line.taxes:
            account = tax_account(charge.region_code, tax.tax_rate, tax.rate_ppm)
            taxes[account] += tax.amount_minor
    return {account: minor for account, minor in taxes.items() if minor}


def book_credit(transaction: CreditTransaction, now: datetime) -> Transfer:
    """A change of what is owed to a customer as credit, against what it was given or used for."""
    other = _CREDIT_FOR[transaction.type]
    given = transaction.amount_minor > 0
    return Transfer(
        transaction.merchant,
        transaction.customer,
        transaction.source or transaction.key.name,
        _CREDIT,
        other if given else CUSTOMER_CREDIT,
        CUSTOMER_CREDIT if given else other,
        abs(transaction.amount_minor),
        transaction.currency,
        now,
    )


def book_dispute(before: Dispute | None, dispute: Dispute, now: datetime) -> Iterator[Transfer]:
    """What a dispute's change has moved: what the provider took for the payer's bank, or gave back."""
    owner = (dispute.merchant, dispute.customer, dispute.name)
    amount_minor, currency = dispute.amount_minor, dispute.currency
    if dispute.withdraw_time is not None and (before is None or before.withdraw_time is None):
        kind = "DISPUTE_WITHDRAWAL"
        yield Transfer(*owner, kind, DISPUTES, PROVIDER_CLEARING, amount_minor, currency, now)
    if dispute.reinstate_time is not None and (before is None or before.reinstate_time is None):
        kind = "DISPUTE_REINSTATEMENT"
        yield Transfer(*owner, kind, PROVIDER_CLEARING, DISPUTES, amount_minor, currency, now)


def last_closed_date(now: datetime) -> date:
    """The last day (UTC) that is to be closed by now."""
    return (now - CLOSE_DELAY).astimezone(UTC).date() - timedelta(days=1)
