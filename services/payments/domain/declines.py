"""Declines after which a payment method is never tried again, and how often others may be. Pure.

Sources, read on 2026-11-28: https://docs.stripe.com/declines/codes and
https://docs.stripe.com/declines/card (codes, `advice_code`); the networks' rules on authorization
reattempts as https://support.checkout.com/hc/en-us/articles/25482040901394 and
https://developers.tabapay.com/docs/excessive-retry-rules give them (Visa category 1; from 19 May 2025
20 reattempts in 30 days; Mastercard 10 in 24 hours and 35 in 30 days, advice 03 and 21). Of the two
networks the stricter rule holds, whatever the brand and the amount.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

# So many declines of one payment method, over all orders, in so long a time, and no more attempts.
DAY_DECLINES_MAX = 10
DAY = timedelta(hours=24)
MONTH_DECLINES_MAX = 20
MONTH = timedelta(days=30)
# The card or account is gone, or its holder has ended our permission: no order will ever be paid by it.
STOPPING_CODES = frozenset({
    "card_not_supported", "do_not_try_again", "expired_card", "fraudulent", "incorrect_number",
    "invalid_account", "invalid_number", "lost_card", "merchant_blacklist",
    "new_account_information_available", "pickup_card", "restricted_card",
    "revocation_of_all_authorizations", "revocation_of_authorization", "security_violation",
    "stolen_card", "stop_payment_order", "transaction_not_allowed",
})  # fmt: skip
NEVER_AGAIN_ADVICE = "do_not_try_again"


@dataclass(frozen=True, slots=True)
class MethodUse:
    """What is being done with a payment method, over all orders, and what may not be."""

    # Declined for good.
    blocked: bool = False
    # An attempt is under way: until when its outcome is looked for. There is one at a time, so that the
    # orders of a dead card make one attempt in all.
    busy_until: datetime | None = None
    # As often as the networks allow: until when.
    exhausted_until: datetime | None = None
    # Detached, or there never was one.
    missing: bool = False
    # Past its month; the provider may take it all the same.
    expired: bool = False
    # As the provider names it.
    brand: str = ""


UNUSED = MethodUse()
NO_METHOD_USE = MethodUse(missing=True)


def method_use(
    *,
    blocked: bool,
    busy_until: datetime | None,
    day_limit_time: datetime | None,
    month_limit_time: datetime | None,
    now: datetime,
    missing: bool = False,
    expire_time: datetime | None = None,
    brand: str = "",
) -> MethodUse:
    """The use of a method.

    The limit times are those of its last declines but DAY_DECLINES_MAX - 1 and MONTH_DECLINES_MAX - 1.
    """
    ends = [
        declined + window
        for declined, window in ((day_limit_time, DAY), (month_limit_time, MONTH))
        if declined is not None and declined + window > now
    ]
    expired = expire_time is not None and now >= expire_time
    exhausted_until = max(ends, default=None)
    return MethodUse(blocked, busy_until, exhausted_until, missing, expired, brand)


def stops_method(code: str, advice: str) -> bool:
    """Whether a decline ends the use of its payment method for all orders."""
    return code in STOPPING_CODES or advice == NEVER_AGAIN_ADVICE
