"""What changes an order, and the decision that each change leaves in its history. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from services.runtime.transitions import IllegalTransitionError
from services.scheduler.domain.charge_rules import (
    NO_RULE_LEAD,
    ChargeRule,
    asks_to_confirm,
    required_lead,
    rule_lead,
)
from services.scheduler.domain.order import (
    CONFIRMABLE_REASONS,
    CONFIRMED_BY_ORDERING_NOW,
    Decision,
    Order,
    OrderReason,
    OrderState,
    Quote,
    Stage,
    can_be_paid_late,
    in_words,
    is_cheaper,
)
from services.scheduler.domain.terms import BillingMode
from services.scheduler.domain.transitions import ORDER, OrderEvent

HELD_RECHECK = timedelta(hours=6)
# An outage of somebody else ends by itself.
TAX_RECHECK = timedelta(hours=1)
# What an order waits for as long as it takes: it is in nobody's hands who orders or sells.
PATIENT_REASONS = ((OrderReason.PREVIOUS_UNPAID,), (OrderReason.TAX_UNAVAILABLE,))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What other services said about an order that is to be prepared."""

    quote: Quote | None
    problems: tuple[OrderReason, ...] = ()
    # Why the mandate does not cover it, as payments names it.
    mandate_reasons: tuple[str, ...] = ()
    # What is off sale for good, with nothing that the customer agreed to instead.
    left_without: tuple[str, ...] = ()
    # What rule packs ask of its charge, if it is to be charged without asking. None: that is not known.
    rules: Sequence[ChargeRule] | None = None
    # How long before the charge its notice is delivered, as its mandate promises.
    mandate_lead: timedelta = timedelta()
    # What of it the customer's credit would pay, as things are.
    credit_minor: int = 0


def moved(
    order: Order,
    event: OrderEvent,
    *decisions: Decision,
    **changes: Any,  # noqa: ANN401 - fields
) -> Order:
    """An order after an event, with its decisions and new fields. Raises IllegalTransitionError.

    What it waited for before is over.
    """
    waits = {
        "collect_time": None,
        "recheck_time": None,
        "held_stage": None,
        "asks_condition": False,
    }
    state = ORDER.to(order.state, event)
    return order._replace(state=state, decisions=decisions, **{**waits, **changes})


def promised_charge_time(order: Order, now: datetime) -> datetime:
    """When an order that is announced now is charged: a late start defers it, and shortens no lead."""
    return max(order.due_time, now + order.notice_lead)


def under_rules(order: Order, evaluation: Evaluation) -> Order:
    """An order that is to be prepared, with the lead and the terms that rule packs ask for."""
    if evaluation.rules is None:
        return order
    lead = required_lead(evaluation.rules, evaluation.mandate_lead)
    order = order._replace(
        notice_lead=max(order.notice_lead, lead.lead),
        rule_lead=lead,
        evidence_is_free=rule_lead(evaluation.rules) == NO_RULE_LEAD,
    )
    quote = evaluation.quote
    if quote and asks_to_confirm(evaluation.rules, quote.amount_minor, quote.currency):
        terms = replace(order.terms, billing_mode=BillingMode.PAY_ON_NOTICE, mandate="")
        return order._replace(terms=terms)
    return order


def announced_too_late(order: Order, lead: timedelta, now: datetime) -> Order:
    """An announced order whose charge now needs an earlier notice: it is to be prepared again."""
    summary = "What it is charged by has changed and asks for an earlier notice."
    data = {
        "notice_lead_seconds": int(order.notice_lead.total_seconds()),
        "needed_lead_seconds": int(lead.total_seconds()),
    }
    return order._replace(decisions=(Decision(now, "ANNOUNCED_TOO_LATE", summary, data),))


def _rules_data(order: Order, evaluation: Evaluation, quote: Quote) -> Mapping[str, Any]:
    """What made the notice come earlier, or have the customer asked; empty: nothing did."""
    rules = [
        rule
        for rule in evaluation.rules or ()
        if rule.notice_lead == order.notice_lead
        or asks_to_confirm((rule,), quote.amount_minor, quote.currency)
    ]
    made_by: dict[str, Any] = {"rules": [rule.data for rule in rules]} if rules else {}
    if evaluation.mandate_lead and evaluation.mandate_lead == order.notice_lead:
        made_by["mandate"] = order.terms.mandate
    lead_seconds = int(order.notice_lead.total_seconds())
    return made_by and {**made_by, "notice_lead_seconds": lead_seconds}


def opened(order: Order, evaluation: Evaluation, now: datetime) -> Order:
    """An order after its preparation: UPCOMING with its price, or HELD for what is in the way."""
    quote = evaluation.quote
    if quote is None or evaluation.problems:
        why = {"mandate": order.terms.mandate, "mandate_reasons": [*evaluation.mandate_reasons]}
        data = why if evaluation.mandate_reasons else None
        return held(order, evaluation.problems, Stage.PREPARE, now, data)
    charge_not_before = promised_charge_time(order, now)
    priced = {
        "amount_minor": quote.amount_minor,
        "currency": quote.currency,
        "charge_not_before": charge_not_before.isoformat(),
        "lines": [line._asdict() for line in quote.lines],
        **({"credit_minor": evaluation.credit_minor} if evaluation.credit_minor else {}),
        **_rules_data(order, evaluation, quote),
    }
    summary = "Priced and announced; this amount is the most that it can cost."
    if asks_to_confirm(evaluation.rules or (), quote.amount_minor, quote.currency):
        summary += " By a rule pack the customer confirms it."
    return moved(
        order,
        OrderEvent.ANNOUNCE,
        Decision(now, "PREPARED", summary, priced),
        reasons=(),
        lines=quote.lines,
        currency=quote.currency,
        notified_minor=quote.amount_minor,
        charge_not_before_time=charge_not_before,
        announcement_count=order.announcement_count + 1,
        credit_minor=evaluation.credit_minor,
    )


def held(
    order: Order,
    reasons: Sequence[OrderReason],
    stage: Stage,
    now: datetime,
    data: Mapping[str, Any] | None = None,
    *,
    asks_condition: bool = False,
) -> Order:
    """An order that waits for something to be put right, or LAPSED once its window is over.

    One that waits for nothing but the payment of the order before, or for a tax service that gives no
    answer, waits for as long as that takes.
    """
    distinct = tuple(dict.fromkeys(reasons))
    if now >= order.hold_until_time and distinct not in PATIENT_REASONS:
        summary = f"This was not put right: {in_words(reasons)}."
        lapsed = _reasoned(now, "LAPSED", summary, reasons, data)
        reasons = (*distinct, OrderReason.HOLD_EXPIRED)
        return moved(order, OrderEvent.LAPSE, lapsed, reasons=reasons)
    # Looking again and finding the same is no news.
    same = (order.state, order.reasons, order.asks_condition) == (
        OrderState.HELD,
        distinct,
        asks_condition,
    )
    news = () if same else (_reasoned(now, "HELD", _held_summary(distinct), reasons, data),)
    return moved(
        order,
        OrderEvent.HOLD,
        *news,
        reasons=distinct,
        recheck_time=_recheck_time(order, distinct, now),
        held_stage=stage,
        asks_condition=asks_condition,
    )


def _recheck_time(order: Order, reasons: tuple[OrderReason, ...], now: datetime) -> datetime:
    if reasons == (OrderReason.TAX_UNAVAILABLE,):
        return now + TAX_RECHECK
    recheck = now + HELD_RECHECK
    return min(recheck, order.hold_until_time) if order.hold_until_time > now else recheck


def _held_summary(reasons: tuple[OrderReason, ...]) -> str:
    if CONFIRMABLE_REASONS.intersection(reasons):
        return f"The customer is asked whether they want it all the same: {in_words(reasons)}."
    if reasons == (OrderReason.PREVIOUS_UNPAID,):
        return "It waits for the payment of the order before."
    return f"This is in the way: {in_words(reasons)}."


def confirmed(order: Order, now: datetime) -> Order:
    """An order that the customer wants all the same: it is checked again, without asking again."""
    confirmable = CONFIRMABLE_REASONS | (
        {OrderReason.CONDITION_NOT_MET} if order.asks_condition else set()
    )
    agreed = tuple(reason for reason in order.reasons if reason in confirmable)
    return order._replace(
        recheck_time=now,
        confirmed_reasons=(*order.confirmed_reasons, *agreed),
        decisions=(_reasoned(now, "CONFIRMED", "The customer wants it all the same.", agreed),),
    )


def brought_forward(order: Order, local_date: date, now: datetime) -> Order:
    """An announced order that the customer wants at once: it is prepared again, without a lead."""
    return moved(
        order,
        OrderEvent.HOLD,
        Decision(now, "ORDERED_NOW", "The customer asked for it at once."),
        reasons=(),
        local_date=local_date,
        moved_from_date=None,
        due_time=now,
        notice_lead=timedelta(),
        recheck_time=now,
        held_stage=Stage.PREPARE,
        confirmed_reasons=(*order.confirmed_reasons, *CONFIRMED_BY_ORDERING_NOW),
    )


def restored(order: Order, now: datetime) -> Order:
    """A cycle that the customer left out and wants again: it is prepared and announced again."""
    decision = Decision(now, "RESTORED", "The customer wants the cycle after all.")
    return moved(
        order,
        OrderEvent.RESTORE,
        decision,
        reasons=(),
        recheck_time=now,
        held_stage=Stage.PREPARE,
        # Distinguishes what was asked of others before it was left out from what is asked from now on.
        announcement_count=order.announcement_count + 1,
    )


def skipped(
    order: Order, reason: OrderReason, now: datetime, data: Mapping[str, Any] | None = None
) -> Order:
    """An order of a cycle that is left out."""
    summary = {
        OrderReason.SKIPPED_BY_CUSTOMER: "The customer left this cycle out.",
        OrderReason.PAUSED: "The standing order was paused.",
        OrderReason.MISSED: "The cycle passed unbilled; only the latest one is caught up.",
        OrderReason.DATE_EXCLUDED: "The schedule leaves this date out.",
        OrderReason.PURCHASED_ELSEWHERE: "The customer bought a product of it elsewhere.",
        OrderReason.PRODUCT_UNAVAILABLE: "A product is off sale, and nothing was agreed on instead.",
    }[reason]
    decision = _reasoned(now, "SKIPPED", summary, (reason,), data)
    return moved(order, OrderEvent.SKIP, decision, reasons=(reason,))


def left_out_without(order: Order, products: Sequence[str], now: datetime) -> Order:
    """An order whose products are off sale for good, with nothing agreed on instead."""
    data = {"left_without": [*products]}
    return skipped(order, OrderReason.PRODUCT_UNAVAILABLE, now, data)


def cancelled(order: Order, reason: OrderReason, now: datetime) -> Order:
    """An order that ended since its standing order was cancelled or paused."""
    summary = f"The order was cancelled: {in_words((reason,))}."
    decision = _reasoned(now, "CANCELLED", summary, (reason,))
    return moved(order, OrderEvent.CANCEL, decision, reasons=(reason,))


def collected(
    order: Order, quote: Quote | None, problems: Sequence[OrderReason], now: datetime
) -> Order:
    """An order at its due time: to be paid, never above what was notified, or HELD."""
    if quote is None or problems or order.notified_minor is None:
        return held(order, problems, Stage.COLLECT, now)
    amount_minor, lines = order.notified_minor, order.lines
    summary = "The notified amount is charged."
    if is_cheaper(order, quote):
        amount_minor, lines = quote.amount_minor, quote.lines
        summary = "The price fell since the notice; the lower one is charged."
    data = {
        "amount_minor": amount_minor,
        "currency": order.currency,
        "notified_minor": order.notified_minor,
        "quoted_minor": quote.amount_minor,
    }
    decision = Decision(now, "COLLECTED", summary, data)
    changes = {"lines": lines, "amount_minor": amount_minor, "charge_rules": quote.rules}
    return moved(order, OrderEvent.COLLECT, decision, reasons=(), **changes)


def notice_delivered(
    order: Order, notice: str, deliver_time: datetime, not_before: datetime, now: datetime
) -> Order:
    """An announced order whose notice was delivered: it is collected when was promised."""
    data = {"notice": notice, "charge_not_before": not_before.isoformat()}
    summary = "The notice was delivered; no charge before the promised time."
    return order._replace(
        notice_time=deliver_time,
        charge_not_before_time=not_before,
        collect_time=max(not_before, order.due_time),
        decisions=(Decision(now, "NOTICE_DELIVERED", summary, data),),
    )


def paid(order: Order, pay_time: datetime, data: Mapping[str, Any], now: datetime) -> Order:
    """An order whose payment succeeded."""
    decision = Decision(now, "PAID", "The payment succeeded.", data)
    return moved(order, OrderEvent.PAY, decision, pay_time=pay_time)


def paid_late(order: Order, pay_time: datetime, data: Mapping[str, Any], now: datetime) -> Order:
    """An order that had lapsed and was paid all the same. Raises IllegalTransitionError."""
    if not can_be_paid_late(order):
        raise IllegalTransitionError(f"{order.key} is {order.state}, and is not paid late")
    summary = f"The payment succeeded late; the order had lapsed: {in_words(order.reasons)}."
    decision = _reasoned(now, "PAID", summary, (OrderReason.PAID_LATE,), data)
    changes = {"reasons": (OrderReason.PAID_LATE,), "late_payment_until_time": None}
    return moved(order, OrderEvent.PAY_LATE, decision, pay_time=pay_time, **changes)


def payment_declined(order: Order, data: Mapping[str, Any], now: datetime) -> Order:
    """An order of which an attempt was declined; payments goes on trying."""
    decision = Decision(now, "PAYMENT_DECLINED", "An attempt was declined.", data)
    return order._replace(decisions=(decision,))


def unpaid(
    order: Order,
    reason: OrderReason,
    data: Mapping[str, Any],
    now: datetime,
    late_payment_until_time: datetime | None = None,
) -> Order:
    """An order that ended without payment; until the time, if there is one, it can be paid late."""
    # What the guard or the provider had against it, in words; empty where they said nothing.
    codes = [*data.get("guard", ()), *filter(None, (data.get("decline_code"),))]
    details = f" ({', '.join(code.lower().replace('_', ' ') for code in codes)})" if codes else ""
    summary = f"The order ended without payment: {in_words((reason,))}{details}."
    if late_payment_until_time is not None:
        summary += " By the merchant's settings it can be paid late."
        data = {**data, "late_payment_until": late_payment_until_time.isoformat()}
    decision = _reasoned(now, "LAPSED", summary, (reason,), data)
    changes = {"reasons": (reason,), "late_payment_until_time": late_payment_until_time}
    return moved(order, OrderEvent.LAPSE, decision, **changes)


def late_payment_ended(order: Order, data: Mapping[str, Any], now: datetime) -> Order:
    """An order that had lapsed and was not paid late either: it is over for good."""
    decision = Decision(now, "LATE_PAYMENT_ENDED", "It was not paid late either.", data)
    return order._replace(late_payment_until_time=None, decisions=(decision,))


def mandate_changed(order: Order, mandate: str, now: datetime) -> Order:
    """An order that awaits payment and is charged under another mandate from its next attempt on."""
    summary = "The mandate was changed; the next attempt is made under the new one."
    decision = Decision(now, "MANDATE_CHANGED", summary, {"mandate": mandate})
    return order._replace(terms=replace(order.terms, mandate=mandate), decisions=(decision,))


def under_mandate(order: Order, mandate: str, now: datetime) -> Order:
    """An announced order that is charged under another mandate than the one it was announced with."""
    summary = "The mandate of the notice does not cover it any more; the present one is used."
    data = {"announced_mandate": order.terms.mandate, "mandate": mandate}
    return order._replace(
        terms=replace(order.terms, mandate=mandate),
        decisions=(*order.decisions, Decision(now, "MANDATE_REPLACED", summary, data)),
    )


def _reasoned(
    now: datetime,
    kind: str,
    summary: str,
    reasons: Sequence[OrderReason],
    data: Mapping[str, Any] | None = None,
) -> Decision:
    return Decision(now, kind, summary, {"reasons": [*map(str, reasons)], **(data or {})})
