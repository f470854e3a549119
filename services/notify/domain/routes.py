"""By which of two SMS gateways a message goes: never by both. Pure.

What the first may have, waits for its answer. The second gets what the first has refused, and what is
new while the first is left alone.
"""

from datetime import datetime
from enum import StrEnum

from services.notify.domain.notices import Attempt, Delivery, Progress, Verdict
from services.notify.domain.transitions import DeliveryState


class Route(StrEnum):
    """A gateway of a channel. A delivery that waits names the one that alone may try it."""

    PRIMARY = "PRIMARY"
    SECONDARY = "SECONDARY"


def route_of(delivery: Delivery, *, primary_is_away: bool) -> Route:
    """The gateway that a delivery goes by, where there are two."""
    if delivery.gateway in set(Route):
        return Route(delivery.gateway)
    if delivery.attempt_count > 0:
        # Of a time with one gateway, which may have it.
        return Route.PRIMARY
    return Route.SECONDARY if primary_is_away else Route.PRIMARY


def routed(
    delivery: Delivery, route: Route, attempt: Attempt, came_to: Progress, now: datetime
) -> Progress:
    """What an attempt by one of two gateways came to, with the one that may try it next."""
    if came_to.state is not DeliveryState.PENDING:
        return came_to
    if attempt.verdict is Verdict.NOT_TRIED:
        return came_to._replace(gateway=delivery.gateway)
    if not attempt.is_refused:
        return came_to._replace(gateway=route)
    if route is Route.PRIMARY:
        return came_to._replace(gateway=Route.SECONDARY, next_attempt_time=now)
    return came_to._replace(gateway=Route.PRIMARY)
