"""What the scheduler tells, and what it does when notices arrive and payments end."""

from services.scheduler.events.endings import end_finished
from services.scheduler.events.facts import (
    line_messages,
    order_facts,
    payment_mandate_changed,
    payment_withdrawn,
    standing_order_changed,
)
from services.scheduler.events.handlers import ORDER, pause_gone, subscriptions

__all__ = [
    "ORDER",
    "end_finished",
    "line_messages",
    "order_facts",
    "pause_gone",
    "payment_mandate_changed",
    "payment_withdrawn",
    "standing_order_changed",
    "subscriptions",
]
