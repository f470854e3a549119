"""When the protection of a standing order's prices ends, and what changes it. Pure functions."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from services.scheduler.domain.price_agreements import (
    LAST_CYCLE,
    PriceAgreement,
    with_agreement,
)
from services.scheduler.domain.standing_order import StandingOrder

# More cycles than there can be between the notice of an end and the end.
CYCLES_LOOKED_AT_MAX = 400


def at_sign_up(standing_order: StandingOrder) -> StandingOrder:
    """A new standing order with the protection that it asks for, from its first cycle on."""
    if standing_order.price_protection is None or standing_order.price_agreements:
        return standing_order
    agreement = PriceAgreement(
        standing_order.next_cycle or 1, standing_order.update_time, standing_order.price_protection
    )
    return replace(standing_order, price_agreements=(agreement,))


def agreed_anew(
    standing_order: StandingOrder, protection: Mapping[str, Any] | None, now: datetime
) -> StandingOrder:
    """A standing order with another protection from its next cycle without an order on."""
    first_cycle = standing_order.next_cycle or LAST_CYCLE
    agreement = PriceAgreement(first_cycle, now, protection)
    return replace(
        standing_order,
        price_protection=protection,
        price_agreements=with_agreement(standing_order.price_agreements, agreement),
    )


def asks_anew(standing_order: StandingOrder, protection: Mapping[str, Any] | None) -> bool:
    """Whether a protection is another one, or one that is over and is wanted again."""
    if protection != standing_order.price_protection:
        return True
    agreement = standing_order.price_agreement
    if protection is None or agreement is None:
        return False
    at = standing_order.next_due_time or agreement.agree_time
    return agreement.is_over(standing_order.next_cycle, at)


def under_schedule(standing_order: StandingOrder, now: datetime) -> StandingOrder:
    """A standing order whose dates have moved, with its protection if that survives it."""
    agreement = standing_order.price_agreement
    if agreement is None or agreement.protection is None or agreement.survives_schedule_changes:
        return standing_order
    return agreed_anew(standing_order, None, now)


def used_cycle_count(standing_order: StandingOrder, agreement: PriceAgreement) -> int:
    """Of the cycles that an agreement applies to, how many have an order."""
    following = standing_order.next_cycle or max(agreement.first_cycle, agreement.last_cycle + 1)
    used = max(following - agreement.first_cycle, 0)
    if not agreement.last_cycle:
        return used
    return min(used, max(agreement.last_cycle + 1 - agreement.first_cycle, 0))


def remaining_cycle_count(standing_order: StandingOrder, agreement: PriceAgreement) -> int:
    """How many cycles to come are protected, where that is known by their number."""
    if not agreement.last_cycle or standing_order.next_cycle is None:
        return 0
    first = max(standing_order.next_cycle, agreement.first_cycle)
    return max(agreement.last_cycle + 1 - first, 0)


def is_over(standing_order: StandingOrder, now: datetime) -> bool:
    """Whether no cycle to come is protected any more."""
    agreement = standing_order.price_agreement
    return agreement is None or agreement.is_over(standing_order.next_cycle, now)


def first_unprotected_time(standing_order: StandingOrder) -> datetime | None:
    """When the first cycle is due that the present protection does not reach; None: there is none."""
    agreement, cycle = standing_order.price_agreement, standing_order.next_cycle
    if agreement is None or cycle is None:
        return None
    if agreement.last_cycle:
        date_ = standing_order.date(max(agreement.last_cycle + 1, cycle))
        return date_.due_at if date_ else None
    for following in range(cycle, cycle + CYCLES_LOOKED_AT_MAX):
        date_ = standing_order.date(following)
        if date_ is None:
            return None
        if agreement.is_over(following, date_.due_at):
            return date_.due_at
    return None
