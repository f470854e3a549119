"""What the ledger says of charges, refunds, disputes and credit."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from services.payments.domain.accounts import (
    BANK,
    CREDIT_GRANTED,
    CUSTOMER_CREDIT,
    DEFERRED_REVENUE,
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
from services.payments.domain.lines import load_lines
from services.payments.domain.refunds import Refund
from services.payments.domain.revenue import RECOGNIZED_PART, Deferral, given_back_parts
from services.payments.domain.transfers import Transfer, shares

# The sale of a charge among its taxes; and what accounts bear what is given back of it.
_SALE = "sale"
_SALE_ACCOUNTS = (REFUNDS, DEFERRED_REVENUE)
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
_WITHDRAWAL = "DISPUTE_WITHDRAWAL"
_REINSTATEMENT = "DISPUTE_REINSTATEMENT"
# A day is closed so long after its end.
CLOSE_DELAY = timedelta(hours=1)


def book_charge(charge: Charge, now: datetime, *, defers: bool = False) -> Iterator[Transfer]:
    """What was sold is owed, and is paid: the provider holds it for the merchant.

    What credit pays of it is booked with the change of the credit.
    The sale is whatever of the amount is no tax, so that both sides balance whatever the lines say; it
    is revenue, or deferred.
    """
    owner = (charge.merchant, charge.customer, charge.key.name)
    paid_minor, currency = charge.method_minor, charge.currency
    net_minor = net_minor_of(charge)
    if paid_minor:
        yield Transfer(*owner, "CHARGE", PROVIDER_CLEARING, RECEIVABLE, paid_minor, currency, now)
    if net_minor:
        sold = DEFERRED_REVENUE if defers else REVENUE
        yield Transfer(*owner, "SALE", RECEIVABLE, sold, net_minor, currency, now)
    for account, tax_minor in taxes_of(charge).items():
        kind = f"SALE {account}"
        yield Transfer(*owner, kind, RECEIVABLE, account, tax_minor, currency, now)


def book_refund(
    refund: Refund,
    charge: Charge,
    given_back: Mapping[str, int],
    now: datetime,
    deferral: Deferral | None = None,
) -> Iterator[Transfer]:
    """The reverse of a charge, for what its payment method is given back, of the sale and of each tax.

    `given_back` is what was given back of the charge before, by account. The sale and each tax give
    back the same part of what they still have, so that nothing is left of any once all is given back;
    of the sale, so do what is deferred and what is recognized.
    """
    owner = (refund.merchant, refund.customer, refund.key.name)
    back_minor, currency = refund.method_minor, refund.currency
    yield Transfer(*owner, "REFUND", RECEIVABLE, PROVIDER_CLEARING, back_minor, currency, now)
    yield from _credit_note(_CREDIT_NOTE, back_minor, refund, charge, given_back, now, deferral)


def book_refund_to_credit(
    refund: Refund,
    charge: Charge,
    given_back: Mapping[str, int],
    now: datetime,
    deferral: Deferral | None = None,
) -> Iterator[Transfer]:
    """The reverse of a charge, for what became credit: that is booked with the change of the credit."""
    back_minor = refund.credit_minor
    yield from _credit_note(_TO_CREDIT, back_minor, refund, charge, given_back, now, deferral)


def _credit_note(
    kind: str,
    amount_minor: int,
    refund: Refund,
    charge: Charge,
    given_back: Mapping[str, int],
    now: datetime,
    deferral: Deferral | None,
) -> Iterator[Transfer]:
    owner, currency = (refund.merchant, refund.customer, refund.key.name), refund.currency
    parts = shares(amount_minor, _kept(charge, given_back))
    of_sale = given_back_parts(deferral, parts.pop(_SALE, 0))
    for account, minor in {**of_sale, **parts}.items():
        of_account = kind if account == REFUNDS else f"{kind} {account}"
        yield Transfer(*owner, of_account, account, RECEIVABLE, minor, currency, now)


def _kept(charge: Charge, given_back: Mapping[str, int]) -> dict[str, int]:
    """What a charge still has of its sale and of each tax."""
    given_back_net_minor = sum(given_back.get(account, 0) for account in _SALE_ACCOUNTS)
    kept = {_SALE: net_minor_of(charge) - given_back_net_minor}
    for account, tax_minor in taxes_of(charge).items():
        kept[account] = tax_minor - given_back.get(account, 0)
    return kept


def credit_note_parts(transfers: Iterable[Transfer], *, to_credit: bool) -> dict[str, int]:
    """What the credit note of a refund gives back of the sale and of each tax, by account.

    Of what went to the payment method, or of what became credit. What is given back of the sale counts
    as `refunds`, whether it was recognized or not.
    """
    parts: Counter[str] = Counter()
    for it in transfers:
        of_note = it.kind.startswith(_CREDIT_NOTE) and it.kind.startswith(_TO_CREDIT) is to_credit
        if of_note and it.credit_account == RECEIVABLE:
            account = it.debit_account
            parts[REFUNDS if account in _SALE_ACCOUNTS else account] += it.amount_minor
    return dict(parts)


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


def net_minor_of(charge: Charge) -> int:
    """What is charged that is no tax."""
    return charge.amount_minor - sum(taxes_of(charge).values())


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


def book_withdrawal(
    dispute: Dispute,
    charge: Charge,
    given_back: Mapping[str, int],
    now: datetime,
    deferral: Deferral | None = None,
) -> Iterator[Transfer]:
    """What the provider took for the payer's bank.

    What is deferred of it will not be earned; the rest is an expense, that of the sale by itself where
    a part of the sale is deferred. `given_back` is what refunds gave back of the charge, by account.
    """
    owner = (dispute.merchant, dispute.customer, dispute.name)
    left_minor, currency = dispute.amount_minor, dispute.currency
    if deferral is not None:
        kept = _kept(charge, given_back)
        part_minor = min(dispute.amount_minor, sum(kept.values()))
        # Rounded up, so that nothing of the sale is left once all of the charge was taken.
        net_minor = -(-kept[_SALE] * part_minor // max(1, sum(kept.values())))
        sold_minor = deferral.deferred_minor + max(0, deferral.recognized_minor)
        parts = given_back_parts(deferral, min(net_minor, sold_minor))
        for account, part, suffix in (
            (DEFERRED_REVENUE, parts.get(DEFERRED_REVENUE, 0), f" {DEFERRED_REVENUE}"),
            (DISPUTES, parts.get(REFUNDS, 0), RECOGNIZED_PART),
        ):
            if part:
                kind = _WITHDRAWAL + suffix
                yield Transfer(*owner, kind, account, PROVIDER_CLEARING, part, currency, now)
                left_minor -= part
    if left_minor:
        yield Transfer(*owner, _WITHDRAWAL, DISPUTES, PROVIDER_CLEARING, left_minor, currency, now)


def book_reinstatement(withdrawal: Iterable[Transfer], now: datetime) -> Iterator[Transfer]:
    """What the provider gave back of a dispute: each account has what was withdrawn from it."""
    for it in withdrawal:
        if it.kind.startswith(_WITHDRAWAL):
            kind = it.kind.replace(_WITHDRAWAL, _REINSTATEMENT)
            yield replace(reverse(it, now), kind=kind)


def last_closed_date(now: datetime) -> date:
    """The last day (UTC) that is to be closed by now."""
    return (now - CLOSE_DELAY).astimezone(UTC).date() - timedelta(days=1)
