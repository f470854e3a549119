"""Which events make earlier notices untrue. Pure.

A notice is about a subject: an order, a standing order or a product. An event about the same subject
voids what of its notices has not gone out, whichever of them arrives first: what counts is when they
occurred. Events that occurred at one instant are taken in the order in which they arrive.
"""

from collections.abc import Mapping
from types import MappingProxyType

from services.notify.domain.notices import NoticeKind

_UNTIL_PAID = frozenset({
    NoticeKind.ORDER_UPCOMING, NoticeKind.ORDER_HELD, NoticeKind.PAYMENT_REQUEST,
    NoticeKind.PAYMENT_DECLINED, NoticeKind.PAYMENT_ACTION_REQUIRED, NoticeKind.PAYMENT_REMINDER,
    NoticeKind.PAYMENT_OVERDUE,
})  # fmt: skip
_ATTEMPTS = frozenset({
    NoticeKind.PAYMENT_REQUEST, NoticeKind.PAYMENT_DECLINED, NoticeKind.PAYMENT_ACTION_REQUIRED,
    NoticeKind.PAYMENT_REMINDER, NoticeKind.PAYMENT_OVERDUE,
})  # fmt: skip

# A StandingOrderChanged that was cancelled or completed.
STANDING_ORDER_ENDED = "StandingOrderEnded"

# The name of an event -> the kinds of notices about its subject that it voids. A hold does not void
# the announcement: an order that is held before its payment goes on with it.
SUPERSEDES: Mapping[str, frozenset[NoticeKind]] = MappingProxyType({
    "OrderUpcoming": frozenset({
        NoticeKind.ORDER_UPCOMING, NoticeKind.ORDER_HELD, NoticeKind.ORDER_SKIPPED,
    }),
    "OrderHeld": frozenset({NoticeKind.ORDER_HELD}) | _ATTEMPTS,
    "OrderSkipped": _UNTIL_PAID,
    "OrderConfirmed": _UNTIL_PAID,
    "OrderLapsed": _UNTIL_PAID,
    "OrderCancelled": _UNTIL_PAID,
    "PaymentRequested": frozenset({NoticeKind.ORDER_HELD}) | _ATTEMPTS,
    "PaymentActionRequired": _ATTEMPTS,
    "PaymentRequestReminder": frozenset({NoticeKind.PAYMENT_REMINDER}),
    "PaymentDeclined": frozenset({
        NoticeKind.PAYMENT_DECLINED, NoticeKind.PAYMENT_ACTION_REQUIRED,
    }),
    "PaymentRefused": _ATTEMPTS,
    "PaymentSucceeded": _UNTIL_PAID,
    "PaymentAbandoned": _ATTEMPTS,
    "PaymentOverdue": _UNTIL_PAID,
    "PaymentWithdrawn": _ATTEMPTS | {NoticeKind.ORDER_UPCOMING},
    "DisputeClosed": frozenset({NoticeKind.DISPUTE_OPENED, NoticeKind.DISPUTE_CLOSED}),
    "StandingOrderChanged": frozenset({NoticeKind.STANDING_ORDER_CHANGED}),
    STANDING_ORDER_ENDED: frozenset({
        NoticeKind.STANDING_ORDER_CHANGED, NoticeKind.PRICE_PROTECTION_ENDING,
        NoticeKind.PROMOTION_ENDING,
    }),
    "SubscriberPriceChangeScheduled": frozenset({
        NoticeKind.PRICE_CHANGE, NoticeKind.PRICE_CHANGE_WITHDRAWN,
    }),
    "SubscriberPriceChangeWithdrawn": frozenset({NoticeKind.PRICE_CHANGE}),
    "PriceProtectionEnding": frozenset({NoticeKind.PRICE_PROTECTION_ENDING}),
    "PromotionEnding": frozenset({NoticeKind.PROMOTION_ENDING}),
})  # fmt: skip

# After these nothing that they void is ever true again, whatever its time: clocks of services differ.
FINAL = frozenset({"OrderConfirmed", "OrderLapsed", "OrderCancelled", "PaymentSucceeded"})
