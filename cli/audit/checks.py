"""The comparisons. Each is a pure function of facts and names everything that does not agree."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

from cli.audit.calendar import due_times, is_plain
from cli.audit.facts import Attempt, Charge, Delivery, Facts, Order, Payment, StandingOrder
from cli.values import format_minor, format_moment

PROVIDER_CLEARING = "provider-clearing"
SUCCEEDED = "SUCCEEDED"
# An order of which money was taken, or is to be.
ENDED_STATES = {"CANCELLED", "COMPLETED"}
CYCLE_MAX = 2**31 - 1
BILLED_STATES = {"UPCOMING", "AWAITING_PAYMENT", "PAID"}
# How long the outcome of an attempt may be unknown.
UNKNOWN_MAX = timedelta(days=1)


class Kind(StrEnum):
    """In which way something does not agree."""

    # There once too often, or for no reason at all.
    DUPLICATE = "duplicate"
    MISSING = "missing"
    IMBALANCE = "imbalance"
    # There, once, and not as it has to be.
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not agree."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: how much was expected, how much was there, and what does not agree."""

    what: str
    expected: str
    found: str
    findings: tuple[Finding, ...]

    def count(self, kind: Kind) -> int:
        """How many findings are of a kind."""
        return sum(finding.kind is kind for finding in self.findings)


class Priced(Protocol):
    """Something with an amount in minor units."""

    @property
    def amount_minor(self) -> int | None: ...  # noqa: D102
    @property
    def currency(self) -> str: ...  # noqa: D102


T = TypeVar("T")
K = TypeVar("K")


def check_cycles(facts: Facts) -> Check:
    """Every cycle that fell due has exactly one order, with the calendar's own due time.

    Where dates were changed, or are of a kind that the plain calendar does not know, the cycles must
    at least follow each other without a gap or a double.
    """
    orders = _grouped(facts.orders, lambda order: order.key)
    by_standing_order = _grouped(facts.orders, lambda order: order.key[:2])
    findings = []
    due_count = 0
    known = set()
    for standing_order in facts.standing_orders:
        of_it = by_standing_order.get((standing_order.merchant, standing_order.standing_order), [])
        last, until = _last_expected(standing_order, of_it, facts.now)
        for cycle, due_time in _cycles(standing_order, of_it, facts.now):
            key = (standing_order.merchant, standing_order.standing_order, cycle)
            known.add(key)
            found = orders.get(key, [])
            if cycle <= last and (due_time is None or due_time <= until):
                due_count += 1
                findings += _exactly_one(found, f"order of cycle {_cycle(key)}")
            findings += [
                _wrong(f"cycle {_cycle(key)} was due {format_moment(order.due_time)},"
                       f" the calendar says {format_moment(due_time)}")
                for order in found
                if due_time is not None and order.due_time != due_time and not order.moved
            ]  # fmt: skip
    findings += [
        _wrong(f"order of cycle {_cycle(key)}, which the calendar does not have")
        for key in orders
        if key not in known
    ]
    return _check("cycles due / orders", due_count, len(facts.orders), findings)


def check_dates(facts: Facts) -> Check:
    """No date is billed again after its cycle was brought forward from it.

    What was brought forward is read from the log of what callers changed, and not from what the
    scheduler made of it. A cycle that its customer put on such a date is there on purpose.
    """
    billed = [order for order in facts.orders if order.state in BILLED_STATES]
    keys = {order.key for order in billed}
    used_up = {each.key: each.nominal_date for each in facts.brought_forward if each.key in keys}
    by_date = _grouped(
        [each for each in billed if each.key not in {*used_up, *facts.date_chosen}],
        lambda order: (order.key[:2], order.local_date),
    )
    findings = [
        Finding(
            Kind.DUPLICATE,
            f"{day} was brought forward as cycle {_cycle(key)},"
            f" and is billed again as cycle {order.key[2]}",
        )
        for key, day in used_up.items()
        for order in by_date.get((key[:2], day), [])
    ]
    kept = len(used_up) - len(findings)
    return _check("cycles brought forward / once", len(used_up), kept, findings)


def check_payments(facts: Facts) -> Check:
    """Every paid order has exactly one payment at the provider, of the same amount; no other has."""
    charges = _grouped(facts.charges, lambda charge: charge.order)
    succeeded = [attempt for attempt in facts.attempts if attempt.state == SUCCEEDED]
    attempts = _grouped(succeeded, lambda attempt: attempt.charge)
    captured = [payment for payment in facts.payments if payment.state == SUCCEEDED]
    payments = _grouped(captured, lambda payment: payment.key)
    paid = [order for order in facts.orders if order.state == "PAID"]
    findings = []
    for order in paid:
        of_order = [each for each in charges.get(order.name, []) if each.state == SUCCEEDED]
        findings += _exactly_one(of_order, f"succeeded charge of {order.name}")
        for charge in of_order:
            findings += _same_amount(order, charge, f"{order.name} and its charge")
    paid_names = {order.name for order in paid}
    for charge in facts.charges:
        of_charge = attempts.get(charge.name, [])
        if charge.state == SUCCEEDED:
            findings += _exactly_one(of_charge, f"succeeded attempt of {charge.name}")
            if charge.order not in paid_names:
                findings.append(_wrong(f"{charge.name} succeeded, its order is not paid"))
        elif of_charge:
            findings.append(_wrong(f"{charge.name} is {charge.state} with a succeeded attempt"))
        for attempt in of_charge:
            what = f"attempt {attempt.number} of {charge.name}"
            at_provider = payments.get(attempt.key, [])
            findings += _exactly_one(at_provider, f"payment at the provider for {what}")
            for payment in at_provider:
                findings += _same_amount(attempt, payment, f"{what} and {payment.id}")
    findings += _strangers(captured, {attempt.key for attempt in succeeded})
    findings += _unfinished(facts.attempts, facts.now)
    return _check("paid orders / charges at the provider", len(paid), len(captured), findings)


def check_refunds(facts: Facts) -> Check:
    """Every refund is the provider's own, of the same amount, and the other way round."""
    succeeded = [refund for refund in facts.refunds if refund.state == SUCCEEDED]
    booked = _grouped(succeeded, lambda refund: refund.payment)
    given = _grouped(facts.provider_refunds, lambda refund: refund.id)
    findings = []
    for refund in succeeded:
        at_provider = given.get(refund.payment, [])
        findings += _exactly_one(at_provider, f"refund at the provider for {refund.name}")
        for payment in at_provider:
            findings += _same_amount(refund, payment, f"{refund.name} and {payment.id}")
    for payment in facts.provider_refunds:
        findings += _exactly_one(booked.get(payment.id, []), f"our refund for {payment.id}")
    return _check("refunds / refunds at the provider", len(succeeded), len(given), findings)


def check_ledger(facts: Facts) -> Check:
    """The books balance, hold every charge and refund once, and agree with the provider's."""
    findings = []
    sums: dict[tuple[str, str], int] = defaultdict(int)
    clearing: dict[str, int] = defaultdict(int)
    for entry in facts.ledger_entries:
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
    findings += _same_totals(clearing, _held_by_provider(facts))
    booked = _grouped(
        {(entry.source, entry.transaction) for entry in facts.ledger_entries}, lambda pair: pair[0]
    )
    sources = [charge.name for charge in facts.charges if charge.state == SUCCEEDED]
    sources += [refund.name for refund in facts.refunds if refund.state == SUCCEEDED]
    for source in sources:
        findings += _exactly_one(booked.get(source, []), f"transaction of {source}")
    findings += [
        _wrong(f"a transaction of {source}, which has not succeeded")
        for source in booked
        if source not in set(sources)
    ]
    transactions = len({entry.transaction for entry in facts.ledger_entries})
    return _check("charges and refunds / ledger", len(sources), transactions, findings)


def check_promises(facts: Facts) -> Check:
    """Before every payment its notice was delivered, and it cost no more than the notice said."""
    charges = {charge.name: charge for charge in facts.charges}
    # A copy counts as the notice does: when the main channel did not arrive, but not of a void one.
    valid = {
        (each.merchant, each.customer, each.notice)
        for each in facts.deliveries
        if each.main and each.state != "VOIDED"
    }
    told = _grouped(
        [
            each
            for each in facts.deliveries
            if each.state == "DELIVERED" and (each.merchant, each.customer, each.notice) in valid
        ],
        lambda delivery: delivery.subject,
    )
    findings = []
    succeeded = [attempt for attempt in facts.attempts if attempt.state == SUCCEEDED]
    kept = 0
    for attempt in succeeded:
        charge = charges[attempt.charge]
        broken = _broken_promise(attempt, charge, told.get(charge.order, []))
        findings += [broken] if broken else []
        kept += not broken
    return _check("payments / after their notice, within it", len(succeeded), kept, findings)


def check_messages(facts: Facts) -> Check:
    """Every notice reached each of its channels once, and nothing else was sent."""
    messages = _grouped(facts.messages, lambda message: (message.channel, message.key))
    findings = []
    known = set()
    delivered = 0
    for delivery in facts.deliveries:
        places = [(delivery.channel, key) for key in delivery.keys]
        known.update(places)
        sent = [message for place in places for message in messages.get(place, [])]
        what = f"{delivery.channel} of {delivery.kind} {delivery.notice}"
        if delivery.state == "DELIVERED":
            delivered += 1
            findings += _exactly_one(sent, what)
        elif len(sent) > 1:
            findings += _exactly_one(sent, what)
    findings += [
        Finding(Kind.DUPLICATE, f"{channel} {key} was sent for no notice")
        for channel, key in messages
        if (channel, key) not in known
    ]
    return _check("notices / messages sent", delivered, len(facts.messages), findings)


def check_backlogs(facts: Facts) -> Check:
    """Everything has been told, and nothing could not be handled."""
    findings = []
    for backlog in facts.backlogs:
        if backlog.unpublished_count:
            text = f"{backlog.service} has {backlog.unpublished_count} events that it has not told"
            findings.append(_wrong(text))
        if backlog.dead_letter_count:
            text = f"{backlog.service} has {backlog.dead_letter_count} dead letters"
            findings.append(_wrong(text))
    left = sum(each.unpublished_count + each.dead_letter_count for each in facts.backlogs)
    return _check("events untold or dead", 0, left, findings)


def _cycles(
    standing_order: StandingOrder, orders: Sequence[Order], now: datetime
) -> Iterable[tuple[int, datetime | None]]:
    """Every cycle up to the latest that is due or has an order: some are announced beforehand.

    With its due time, where the plain calendar can tell it.
    """
    if standing_order.dates_changed or not is_plain(standing_order.schedule):
        last = max((order.key[2] for order in orders), default=0)
        if standing_order.state == "ACTIVE" and standing_order.next_cycle is not None:
            last = max(last, standing_order.next_cycle - 1)
        return ((cycle, None) for cycle in range(standing_order.billed_from_cycle, last + 1))
    until = max([now, *(order.due_time for order in orders)])
    cycles = enumerate(due_times(standing_order.schedule, until), standing_order.first_cycle)
    return (each for each in cycles if each[0] >= standing_order.billed_from_cycle)


def _last_expected(
    standing_order: StandingOrder, orders: Sequence[Order], now: datetime
) -> tuple[int, datetime]:
    """Up to which cycle, and up to when, each cycle must have its order.

    One that is paused gets the rows of what passes meanwhile when the pause ends. One that has ended
    has a row for each cycle up to then; of an erased one nothing tells when that was.
    """
    opened = max((order.key[2] for order in orders), default=0)
    if standing_order.state == "PAUSED":
        following = standing_order.next_cycle
        return (opened if following is None else following - 1), now
    if standing_order.state in ENDED_STATES:
        if standing_order.erased:
            return opened, now
        until = now if standing_order.state == "COMPLETED" else standing_order.change_time
        return standing_order.last_cycle or CYCLE_MAX, until
    return standing_order.last_cycle or CYCLE_MAX, now


def _broken_promise(attempt: Attempt, charge: Charge, told: Sequence[Delivery]) -> Finding | None:
    before = [
        each for each in told if each.deliver_time and each.deliver_time <= attempt.start_time
    ]
    promises = [each for each in before if each.kind == "ORDER_UPCOMING"]
    if not promises and (charge.billing_mode == "AUTOMATIC" or not before):
        return _wrong(f"{charge.name} was paid without a notice delivered before")
    if promises and not any(_covers(promise, attempt) for promise in promises):
        return _wrong(f"{charge.name} cost more than its notice said")
    if promises and not any(
        _covers(promise, attempt) and _is_due(promise, attempt) for promise in promises
    ):
        return _wrong(f"{charge.name} was paid before its notice allowed it")
    return None


def _covers(promise: Delivery, attempt: Attempt) -> bool:
    return (
        promise.promised_minor is not None
        and promise.promised_currency == attempt.currency
        and promise.promised_minor >= attempt.amount_minor
    )


def _is_due(promise: Delivery, attempt: Attempt) -> bool:
    """Whether a payment kept the time that a notice promised, and its lead from the delivery on."""
    if promise.not_before_time and attempt.start_time < promise.not_before_time:
        return False
    lead = promise.lead or timedelta()
    return promise.deliver_time is not None and attempt.start_time >= promise.deliver_time + lead


def _exactly_one(found: Sequence[object], what: str) -> list[Finding]:
    if not found:
        return [Finding(Kind.MISSING, f"no {what}")]
    if len(found) > 1:
        return [Finding(Kind.DUPLICATE, f"{len(found)} of: {what}")]
    return []


def _same_amount(one: Priced, other: Priced, what: str) -> list[Finding]:
    if (one.amount_minor, one.currency) == (other.amount_minor, other.currency):
        return []
    amounts = [
        "nothing" if each.amount_minor is None else format_minor(each.amount_minor, each.currency)
        for each in (one, other)
    ]
    return [Finding(Kind.IMBALANCE, f"{what}: {amounts[0]} and {amounts[1]}")]


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


def _held_by_provider(facts: Facts) -> dict[str, int]:
    """What the provider captured less what it gave back, in minor units by currency."""
    held: dict[str, int] = defaultdict(int)
    for payment in facts.payments:
        held[payment.currency] += payment.amount_minor if payment.state == SUCCEEDED else 0
    for refund in facts.provider_refunds:
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
        _wrong(f"nobody knows what became of attempt {attempt.number} of {attempt.charge}")
        for attempt in attempts
        if attempt.state == "UNKNOWN" and now - attempt.start_time >= UNKNOWN_MAX
    ]


def _grouped(values: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = defaultdict(list)
    for value in values:
        groups[key(value)].append(value)
    return groups


def _wrong(text: str) -> Finding:
    return Finding(Kind.WRONG, text)


def _cycle(key: tuple[str, str, int]) -> str:
    return f"{key[2]} of {key[0]}/{key[1]}"


def _check(what: str, expected: int, found: int, findings: list[Finding]) -> Check:
    return Check(what, str(expected), str(found), tuple(findings))
