"""Declines, sorted by what can follow them, and how often a payment method may be declined. Pure.

Sources, read on 2026-11-28: https://docs.stripe.com/declines/codes and
https://docs.stripe.com/declines/card (codes, `advice_code`); of bank debits, the causes of failures in
https://developer.gocardless.com/api-reference#events (read on 2026-11-30); the networks' rules on
authorization reattempts as https://support.checkout.com/hc/en-us/articles/25482040901394 and
https://developers.tabapay.com/docs/excessive-retry-rules give them (Visa category 1; from 19 May 2025
20 reattempts in 30 days; Mastercard 10 in 24 hours and 35 in 30 days, advice 03 and 21). For any other
brand the stricter rule of the two holds; whatever the amount.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

DAY = timedelta(hours=24)
MONTH = timedelta(days=30)
# So many declines of one payment method, over all orders, in so long a time, and no more attempts.
_VISA_DECLINES = ((20, MONTH),)
_MASTERCARD_DECLINES = ((10, DAY), (35, MONTH))
_STRICTEST = ((10, DAY), (20, MONTH))
_CAPS = {"visa": _VISA_DECLINES, "mastercard": _MASTERCARD_DECLINES}
# The numbers of declines that any of them asks about.
COUNTED_DECLINES = (10, 20, 35)
# The provider has the card, and does not take it any more.
DETACHED = "payment_method_detached"
# The card or account is gone, or its holder has ended our permission: no order will ever be paid by it.
STOPPING_CODES = frozenset({
    "authorisation_disputed", "bank_account_closed", "bank_account_transferred", "card_not_supported",
    "direct_debit_not_enabled", "do_not_try_again", "expired_card", "fraudulent", "incorrect_number",
    "invalid_account", "invalid_bank_details", "invalid_number", "lost_card", "mandate_cancelled",
    "mandate_expired", "mandate_is_inactive", "merchant_blacklist",
    "new_account_information_available", "pickup_card", "restricted_card",
    "revocation_of_all_authorizations", "revocation_of_authorization", "security_violation",
    "stolen_card", "stop_payment_order", "transaction_not_allowed", DETACHED,
})  # fmt: skip
NEVER_AGAIN_ADVICE = "do_not_try_again"
# What only the merchant sees: it would warn a thief, or accuse an honest customer. Customers see
# a decline without a reason (https://docs.stripe.com/declines/codes).
_CONFIDENTIAL_CODES = frozenset({"fraudulent", "lost_card", "merchant_blacklist", "stolen_card"})
_WITHOUT_REASON = "generic_decline"
# The holder ended our permission, or the charge makes no sense with any card.
_NEVER_CODES = frozenset({
    "amount_not_chargeable", "authorisation_disputed", "currency_not_supported", "fraudulent",
    "merchant_blacklist", "not_permitted", "payment_stopped", "revocation_of_all_authorizations",
    "revocation_of_authorization", "security_violation", "service_not_allowed", "stop_payment_order",
})  # fmt: skip
# The card is good, but its issuer waits for its holder.
AUTHENTICATION_REQUIRED = "authentication_required"
_ASK_CODES = frozenset({AUTHENTICATION_REQUIRED, "payment_intent_authentication_failure"})


class DeclineClass(StrEnum):
    """What can follow a decline."""

    # No attempt, with whatever payment method.
    NEVER = "NEVER"
    # Another attempt with the same payment method.
    LATER = "LATER"
    # An attempt with another payment method.
    NEW_METHOD = "NEW_METHOD"
    # An attempt once the customer has acted, or with another payment method.
    ASK_CUSTOMER = "ASK_CUSTOMER"


def classify(code: str, advice: str = "") -> DeclineClass:
    """What can follow a decline, by the names that the provider has for it."""
    if code in _NEVER_CODES:
        return DeclineClass.NEVER
    if stops_method(code, advice):
        return DeclineClass.NEW_METHOD
    return DeclineClass.ASK_CUSTOMER if code in _ASK_CODES else DeclineClass.LATER


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
    # Which provider that is.
    provider: str = ""


UNUSED = MethodUse()
NO_METHOD_USE = MethodUse(missing=True)


def method_use(
    *,
    blocked: bool,
    busy_until: datetime | None,
    decline_times: Sequence[datetime | None],
    now: datetime,
    missing: bool = False,
    expire_time: datetime | None = None,
    brand: str = "",
    provider: str = "",
) -> MethodUse:
    """The use of a method.

    The decline times are those of its tenth last decline and so on, as COUNTED_DECLINES says.
    """
    times = dict(zip(COUNTED_DECLINES, decline_times, strict=True))
    ends = [
        declined + window
        for count, window in _CAPS.get(brand, _STRICTEST)
        if (declined := times[count]) is not None and declined + window > now
    ]
    expired = expire_time is not None and now >= expire_time
    exhausted_until = max(ends, default=None)
    return MethodUse(blocked, busy_until, exhausted_until, missing, expired, brand, provider)


def code_for_customer(code: str) -> str:
    """The code of a decline as its customer may see it."""
    return _WITHOUT_REASON if code in _CONFIDENTIAL_CODES else code


def stops_method(code: str, advice: str) -> bool:
    """Whether a decline ends the use of its payment method for all orders."""
    return code in STOPPING_CODES or advice == NEVER_AGAIN_ADVICE
