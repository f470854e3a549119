"""Checks of payments, refunds and the ledger against the provider's own record."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from cli.prove.findings import (
    SUCCEEDED,
    Check,
    Finding,
    Kind,
    exactly_one,
    grouped,
    new_check,
    same_amount,
    wrong,
)
from cli.prove.records import Attempt, Payment, Records
from cli.values import format_minor

PROVIDER_CLEARING = "provider-clearing"
# How long the outcome of an attempt may be unknown.
UNKNOWN_MAX = timedelta(days=1)


def check_payments(records: Records) -> Check:
    """Every paid order has exactly one payment at the provider, of the same amount; no other has."""
    charges = grouped(records.charges, lambda charge: charge.order)
    succeeded = [attempt for attempt in records.attempts if attempt.state == SUCCEEDED]
    attempts = grouped(succeeded, lambda attempt: attempt.charge)
    captured = [payment for payment in records.payments if payment.state == SUCCEEDED]
    payments = grouped(captured, lambda payment: payment.key)
    paid = [order for order in records.orders if order.state == "PAID"]
    findings = []
    for order in paid:
        of_order = [each for each in charges.get(order.name, []) if each.state == SUCCEEDED]
        findings += exactly_one(of_order, f"succeeded charge of {order.name}")
        for charge in of_order:
            findings += same_amount(order, charge, f"{order.name} and its charge")
    paid_names = {order.name for order in paid}
    for charge in records.charges:
        of_charge = attempts.get(charge.name, [])
        if charge.state == SUCCEEDED:
            findings += exactly_one(of_charge, f"succeeded attempt of {charge.name}")
            if charge.order not in paid_names:
                findings.append(wrong(f"{charge.name} succeeded, its order is not paid"))
        elif of_charge:
            findings.append(wrong(f"{charge.name} is {charge.state} with a succeeded attempt"))
        for attempt in of_charge:
            what = f"attempt {attempt.number} of {charge.name}"
            at_provider = payments.get(attempt.key, [])
            findings += exactly_one(at_provider, f"payment at the provider for {what}")
            for payment in at_provider:
                findings += same_amount(attempt, payment, f"{what} and {payment.id}")
    findings += _strangers(captured, {attempt.key for attempt in succeeded})
    findings += _unfinished(records.attempts, records.now)
    return new_check("paid orders / charges at the provider", len(paid), len(captured), findings)


def check_refunds(records: Records) -> Check:
    """Every refund is the provider's own, of the same amount, and the other way round."""
    succeeded = [refund for refund in records.refunds if refund.state == SUCCEEDED]
    booked = grouped(succeeded, lambda refund: refund.payment)
    given = grouped(records.provider_refunds, lambda refund: refund.id)
    findings = []
    for refund in succeeded:
        at_provider = given.get(refund.payment, [])
        findings += exactly_one(at_provider, f"refund at the provider for {refund.name}")
        for payment in at_provider:
            findings += same_amount(refund, payment, f"{refund.name} and {payment.id}")
    for payment in records.provider_refunds:
        findings += exactly_one(booked.get(payment.id, []), f"our refund for {payment.id}")
    return new_check("refunds / refunds at the provider", len(succeeded), len(given), findings)


def check_ledger(records: Records) -> Check:
    """The books balance, hold every charge and refund once, and agree with the provider's."""
    findings = []
    sums: dict[tuple[str, str], int] = defaultdict(int)
    clearing: dict[str, int] = defaultdict(int)
    for entry in records.ledger_entries:
        sums[entry.transaction, entry.currency] += entry.amount_minor
        if entry.account == PROVIDER_CLEARING:
            clearing[entry.currency] += entry.amount_minor
    findings += [
        Finding(
            Kind.IMBALANCE, f"transaction {transaction} is off by {format_minor(off, currency)}"
        )
        for (transaction, currency), off in sums.items()
        if off
    ]
    findings += _same_totals(clearing, _held_by_provider(records))
    booked = grouped(
        {(entry.source, entry.transaction) for entry in records.ledger_entries},
        lambda pair: pair[0],
    )
    sources = [charge.name for charge in records.charges if charge.state == SUCCEEDED]
    sources += [refund.name for refund in records.refunds if refund.state == SUCCEEDED]
    for source in sources:
        findings += exactly_one(booked.get(source, []), f"transaction of {source}")
    findings += [
        wrong(f"a transaction of {source}, which has not succeeded")
        for source in booked
        if source not in set(sources)
    ]
    transactions = len({entry.transaction for entry in records.ledger_entries})
    return new_check("charges and refunds / ledger", len(sources), transactions, findings)


def _same_totals(ours: Mapping[str, int], theirs: Mapping[str, int]) -> list[Finding]:
    return [
        Finding(
            Kind.IMBALANCE,
            f"{PROVIDER_CLEARING} holds {format_minor(ours.get(currency, 0), currency)},"
            f" the provider {format_minor(theirs.get(currency, 0), currency)}",
        )
        for currency in sorted({*ours, *theirs})
        if ours.get(currency, 0) != theirs.get(currency, 0)
    ]


def _held_by_provider(records: Records) -> dict[str, int]:
    """What the provider captured less what it gave back, in minor units by currency."""
    held: dict[str, int] = defaultdict(int)
    for payment in records.payments:
        held[payment.currency] += payment.amount_minor if payment.state == SUCCEEDED else 0
    for refund in records.provider_refunds:
        held[refund.currency] -= refund.amount_minor
    return held


def _strangers(captured: Sequence[Payment], keys: set[str]) -> list[Finding]:
    """Payments at the provider that no succeeded attempt of ours knows."""
    return [
        Finding(
            Kind.DUPLICATE,
            f"{payment.id} took {format_minor(payment.amount_minor, payment.currency)}"
            " for no succeeded attempt",
        )
        for payment in captured
        if payment.key not in keys
    ]


def _unfinished(attempts: Iterable[Attempt], now: datetime) -> list[Finding]:
    return [
        wrong(f"nobody knows what became of attempt {attempt.number} of {attempt.charge}")
        for attempt in attempts
        if attempt.state == "UNKNOWN" and now - attempt.start_time >= UNKNOWN_MAX
    ]
