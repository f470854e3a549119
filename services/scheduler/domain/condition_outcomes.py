"""What the outcome of conditions makes of an order: it goes on, is left out, held or deferred."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from services.runtime.quiet_hours import announce_time
from services.scheduler.domain import calendar
from services.scheduler.domain.conditions import Action, Outcome
from services.scheduler.domain.order import (
    HOLD_WINDOW,
    Decision,
    Order,
    OrderReason,
    OrderState,
    Quote,
    Stage,
    is_cheaper,
)
from services.scheduler.domain.order_lifecycle import (
    Evaluation,
    held,
    left_out_without,
    moved,
    opened,
    under_rules,
)
from services.scheduler.domain.standing_order import (
    StandingOrder,
    following_due_time,
)
from services.scheduler.domain.transitions import OrderEvent

# Blackouts may last for good: a deferred order looks no further for a day.
DEFER_SEARCH_MAX_DAYS = 366
_NOT_MET = (OrderReason.CONDITION_NOT_MET,)


class Evaluated(NamedTuple):
    """An order, with its substitutes, and what was said about it."""

    order: Order
    evaluation: Evaluation
    outcome: Outcome


def prepared(
    order: Order,
    evaluation: Evaluation,
    outcome: Outcome,
    standing_order: StandingOrder,
    now: datetime,
) -> Order:
    """An order after its preparation, as conditions allow, with the standing order's present terms."""
    order = under_rules(order._replace(terms=standing_order.terms), evaluation)
    if evaluation.left_without:
        done = left_out_without(order, evaluation.left_without, now)
    elif outcome.action is not None:
        done = stopped(order, outcome, standing_order, Stage.PREPARE, now)
    else:
        done = passed(opened(order, evaluation, now), outcome, now)
    if not order.decisions:
        return done
    # That a substitute was taken was decided before.
    return done._replace(decisions=(*order.decisions, *done.decisions))


def passed(order: Order, outcome: Outcome, now: datetime) -> Order:
    """An order that went on, with the word that its conditions hold added to what was decided."""
    if not outcome.condition_count or not order.decisions:
        return order
    data = {"condition_count": outcome.condition_count}
    decision = Decision(
        now, "CONDITIONS_HOLD", "Every condition of the standing order holds.", data
    )
    return order._replace(decisions=(decision, *order.decisions))


def as_charged(order: Order, quote: Quote) -> Quote:
    """What an announced order will be charged at: the quote, or what was notified if that is less."""
    if order.notified_minor is None or is_cheaper(order, quote):
        return quote
    return Quote(order.notified_minor, order.currency, order.lines, quote.rules, quote.services)


def stopped(
    order: Order, outcome: Outcome, standing_order: StandingOrder, stage: Stage, now: datetime
) -> Order:
    """An order that does not go on as it is."""
    match outcome.action:
        case Action.HOLD_AND_ASK:
            waiting = held(order, _NOT_MET, stage, now, asks_condition=True)
            return _explained(waiting, outcome)
        case Action.DEFER:
            return _deferred(order, outcome, standing_order, now)
        case _:
            # A substitute that could have been taken was taken before.
            return _left_out(order, outcome, now)


def deferred_to(
    order: Order, outcome: Outcome, standing_order: StandingOrder, now: datetime
) -> Order | None:
    """The order at its later date, or the first one after it that the schedule allows.

    None if that would meet or pass the next cycle, or if none of a year's days is allowed.
    """
    schedule, zone = standing_order.schedule, standing_order.schedule.time_zone
    base = max(order.local_date, calendar.utc_to_local_date(now, zone))
    first = base + timedelta(days=outcome.decisive.condition.otherwise.defer_days)
    days = (first + timedelta(days=later) for later in range(DEFER_SEARCH_MAX_DAYS))
    day = next((day for day in days if calendar.is_allowed(schedule, day)), None)
    if day is None:
        return None
    due_time = calendar.local_to_utc(day, schedule.local_time, zone)
    following = following_due_time(standing_order, order.key.cycle)
    if following is not None and due_time >= following:
        return None
    hold_until = due_time + HOLD_WINDOW
    return order._replace(
        local_date=day,
        due_time=due_time,
        hold_until_time=min(hold_until, following) if following else hold_until,
        moved_from_date=None,
    )


def _deferred(
    order: Order, outcome: Outcome, standing_order: StandingOrder, now: datetime
) -> Order:
    later = deferred_to(order, outcome, standing_order, now)
    if later is None:
        return _left_out(order, outcome, now)
    begins = announce_time(later.due_time - order.notice_lead, order.terms.time_zone)
    data = {
        **_data(outcome),
        "local_date": later.local_date.isoformat(),
        "due_time": later.due_time.isoformat(),
    }
    words = f"{outcome.decisive.words} It is deferred to {later.local_date}."
    return moved(
        later,
        OrderEvent.HOLD,
        Decision(now, "DEFERRED", words, data),
        reasons=_NOT_MET,
        # Too late to announce it in time: it is checked again on the day and charged after a lead.
        recheck_time=begins if begins > now else later.due_time,
        held_stage=Stage.PREPARE,
    )


def _left_out(order: Order, outcome: Outcome, now: datetime) -> Order:
    words = f"{outcome.decisive.words} The cycle is left out."
    decision = Decision(now, "SKIPPED", words, _data(outcome))
    return moved(order, OrderEvent.SKIP, decision, reasons=_NOT_MET)


def _explained(order: Order, outcome: Outcome) -> Order:
    """A held or lapsed order whose history says which condition it was."""
    answer = "The customer is asked." if order.state is OrderState.HELD else "Nobody said yes."
    words = f"{outcome.decisive.words} {answer}"
    return order._replace(
        decisions=tuple(
            decision._replace(summary=words, data={**decision.data, **_data(outcome)})
            for decision in order.decisions
        ),
    )


def _data(outcome: Outcome) -> dict[str, object]:
    return {
        "reasons": [str(reason) for reason in _NOT_MET],
        "conditions": [dict(unmet.data) for unmet in outcome.unmet],
    }


def words(outcome: Outcome) -> Sequence[str]:
    """Which conditions do not hold, for people."""
    return [unmet.words for unmet in outcome.unmet]
