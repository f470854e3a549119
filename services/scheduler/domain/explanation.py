"""All decisions about an order, of all services, in the order in which they led to each other.

Several of them may have one time: the clock of a sandbox stands still while work is done.
"""

from collections.abc import Callable, Sequence

from services.scheduler.domain.order import Decision

# What an attempt at the provider leads to; a decline names its attempt.
_OUTCOMES = frozenset({"PAID", "PAYMENT_DECLINED", "LAPSED", "CANCELLED"})
# Notices that come before what the customer is then charged or asked for.
_CONFIRMABLE_NOTICES = frozenset({"ORDER_UPCOMING", "PAYMENT_REQUEST"})


def in_causal_order(
    history: Sequence[Decision], attempts: Sequence[Decision], notices: Sequence[Decision]
) -> list[Decision]:
    """By time; of one time, causes before their effects.

    The history is in the order in which the scheduler wrote it. Attempts go before their outcome, an
    announcement or request goes before its delivery and the attempt, and other notices go last.
    """
    decisions = sorted(history, key=lambda decision: decision.time)
    for attempt in sorted(attempts, key=lambda decision: decision.time):
        _insert(decisions, attempt, _is_outcome)
    for notice in sorted(notices, key=lambda decision: decision.time):
        _insert(decisions, notice, _follows_notice)
    return decisions


def _is_outcome(attempt: Decision, other: Decision) -> bool:
    if other.kind == "PAYMENT_DECLINED":
        return int(other.data["attempt"]) >= int(attempt.data["number"])
    return other.kind in _OUTCOMES


def _follows_notice(notice: Decision, other: Decision) -> bool:
    if notice.data["kind"] not in _CONFIRMABLE_NOTICES:
        return False
    if other.kind == "NOTICE_DELIVERED":
        return bool(other.data["notice"] == notice.data["name"])
    return other.kind in _OUTCOMES | {"COLLECTED", "ATTEMPT"} and not (
        notice.data["kind"] == "PAYMENT_REQUEST" and other.kind == "COLLECTED"
    )


def _insert(
    decisions: list[Decision], new: Decision, follows: Callable[[Decision, Decision], bool]
) -> None:
    """Put a decision before the first that is later, or that follows from it at the same time."""
    place = next(
        (
            index
            for index, other in enumerate(decisions)
            if other.time > new.time or (other.time == new.time and follows(new, other))
        ),
        len(decisions),
    )
    decisions.insert(place, new)
