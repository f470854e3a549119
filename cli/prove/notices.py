"""Checks of notices: delivered before the payment, kept by it, and sent once."""

from collections.abc import Sequence
from datetime import timedelta

from cli.prove.findings import (
    SUCCEEDED,
    Check,
    Finding,
    Kind,
    exactly_one,
    grouped,
    new_check,
    wrong,
)
from cli.prove.records import Attempt, Charge, Delivery, Records


def check_promises(records: Records) -> Check:
    """Before every payment its notice was delivered, and it cost no more than the notice said."""
    charges = {charge.name: charge for charge in records.charges}
    # A copy counts as the notice does: when the main channel did not arrive, but not of a void one.
    valid = {
        (each.merchant, each.customer, each.notice)
        for each in records.deliveries
        if each.main and each.state != "VOIDED"
    }
    delivered = grouped(
        [
            each
            for each in records.deliveries
            if each.state == "DELIVERED" and (each.merchant, each.customer, each.notice) in valid
        ],
        lambda delivery: delivery.subject,
    )
    findings = []
    succeeded = [attempt for attempt in records.attempts if attempt.state == SUCCEEDED]
    kept = 0
    for attempt in succeeded:
        charge = charges[attempt.charge]
        broken = _broken_promise(attempt, charge, delivered.get(charge.order, []))
        findings += [broken] if broken else []
        kept += not broken
    return new_check("payments / after their notice, within it", len(succeeded), kept, findings)


def check_messages(records: Records) -> Check:
    """Every notice reached each of its channels once, and nothing else was sent."""
    messages = grouped(records.messages, lambda message: (message.channel, message.key))
    findings = []
    known = set()
    delivered = 0
    for delivery in records.deliveries:
        places = [(delivery.channel, key) for key in delivery.keys]
        known.update(places)
        sent = [message for place in places for message in messages.get(place, [])]
        what = f"{delivery.channel} of {delivery.kind} {delivery.notice}"
        if delivery.state == "DELIVERED":
            delivered += 1
            findings += exactly_one(sent, what)
        elif len(sent) > 1:
            findings += exactly_one(sent, what)
    findings += [
        Finding(Kind.DUPLICATE, f"{channel} {key} was sent for no notice")
        for channel, key in messages
        if (channel, key) not in known
    ]
    return new_check("notices / messages sent", delivered, len(records.messages), findings)


def _broken_promise(
    attempt: Attempt, charge: Charge, delivered: Sequence[Delivery]
) -> Finding | None:
    before = [
        each for each in delivered if each.deliver_time and each.deliver_time <= attempt.start_time
    ]
    promises = [each for each in before if each.kind == "ORDER_UPCOMING"]
    if not promises and (charge.billing_mode == "AUTOMATIC" or not before):
        return wrong(f"{charge.name} was paid without a notice delivered before")
    if promises and not any(_covers(promise, attempt) for promise in promises):
        return wrong(f"{charge.name} cost more than its notice said")
    if promises and not any(
        _covers(promise, attempt) and _is_due(promise, attempt) for promise in promises
    ):
        return wrong(f"{charge.name} was paid before its notice allowed it")
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
