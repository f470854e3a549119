"""Links in notices, by which customers act on them once: what is offered, and possible. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.scheduler.domain.ids import MerchantId, OrderKey, StandingOrderId, StandingOrderKey
from services.scheduler.domain.order import (
    WITHDRAWABLE_STATES,
    Order,
    OrderState,
    awaits_confirmation,
)
from services.scheduler.domain.standing_order import LIVE_STATES, StandingOrder, State

# A notice is acted on within days; what it offers may be gone earlier.
LINK_LIFETIME = timedelta(days=30)


class LinkAction(StrEnum):
    """What a customer can do by a link."""

    SKIP = "SKIP"
    PAUSE = "PAUSE"
    RESUME = "RESUME"
    CANCEL = "CANCEL"
    CONFIRM = "CONFIRM"


# With the notice that a standing order is paused, and of a price that changes.
OFFERED_IN_PAUSE = (LinkAction.RESUME, LinkAction.CANCEL)
OFFERED_WITH_PRICE = (LinkAction.PAUSE, LinkAction.CANCEL)


class NewLink(NamedTuple):
    """A link that a notice is to have."""

    merchant: MerchantId
    standing_order: StandingOrderId
    # Of the order that the notice is about; None: it is about the standing order.
    cycle: int | None
    actions: tuple[LinkAction, ...]
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class ActionLink:
    """A link that a notice has."""

    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int | None
    # What the notice offered.
    actions: tuple[LinkAction, ...]
    expire_time: datetime
    use_time: datetime | None = None
    used_action: LinkAction | None = None

    @property
    def standing_order_key(self) -> StandingOrderKey:
        """What it is about."""
        return StandingOrderKey(self.merchant, self.standing_order)

    @property
    def order_key(self) -> OrderKey | None:
        """The order that it is about, if it is about one."""
        return None if self.cycle is None else OrderKey(*self.standing_order_key, self.cycle)


def offered_with_order(order: Order) -> tuple[LinkAction, ...]:
    """What the notice of an order in its present state offers; empty: it has no link."""
    if order.state is OrderState.PAID:
        return LinkAction.PAUSE, LinkAction.CANCEL
    if order.state not in WITHDRAWABLE_STATES:
        return ()
    word = (LinkAction.CONFIRM,) if awaits_confirmation(order) else ()
    return *word, LinkAction.SKIP, LinkAction.PAUSE, LinkAction.CANCEL


def link_of_order(order: Order, now: datetime) -> NewLink:
    """The link of an order's notice; it holds until the order is charged, however far that is."""
    charge_time = order.charge_not_before_time or order.due_time
    return NewLink(
        order.key.merchant,
        order.key.standing_order,
        order.key.cycle,
        offered_with_order(order),
        max(now + LINK_LIFETIME, charge_time),
    )


def link_of_standing_order(
    standing_order: StandingOrder, actions: Sequence[LinkAction], now: datetime
) -> NewLink:
    """The link of a notice about a standing order as a whole."""
    key = standing_order.key
    return NewLink(*key, None, tuple(actions), now + LINK_LIFETIME)


def link_uri(page_uri: str, token: str) -> str:
    """Where a link leads."""
    return page_uri.replace("{token}", token)


def possible_actions(
    link: ActionLink, standing_order: StandingOrder, order: Order | None
) -> tuple[LinkAction, ...]:
    """What of a link's offers can be done now; none by one that was used."""
    if link.use_time is not None:
        return ()
    is_live = standing_order.state in LIVE_STATES
    is_open = order is not None and order.state in WITHDRAWABLE_STATES
    possible = {
        LinkAction.SKIP: is_live and is_open,
        LinkAction.PAUSE: standing_order.state is State.ACTIVE,
        LinkAction.RESUME: standing_order.state is State.PAUSED,
        LinkAction.CANCEL: is_live,
        LinkAction.CONFIRM: order is not None and awaits_confirmation(order),
    }
    return tuple(action for action in link.actions if possible[action])
