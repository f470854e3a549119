"""Verdicts of the guard: what it said of a charge, and what it compared the charge with."""

from dataclasses import dataclass
from datetime import datetime

from services.payments.domain.charges import Charge, present_method
from services.payments.domain.consent import BillingMode, Mandate, Notice, RefusalReason
from services.payments.domain.keys import (
    ChargeId,
    ChargeKey,
    CustomerId,
    MandateId,
    MerchantId,
    PaymentMethodId,
)
from services.payments.domain.provider_amounts import SOURCE as PROVIDER_SOURCE
from services.payments.domain.rules import load_applied

# The permits of an attempt: one lets it be sent, the other lets it be sent once more under its key.
SENDING, RESENDING = 1, 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guard said of one sending of one attempt. One without reasons is its permit."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    # The attempt that it permits, or would have; from 1.
    number: int
    permit: int
    decide_time: datetime
    # Every reason why not.
    reasons: tuple[RefusalReason, ...]
    billing_mode: BillingMode
    # What the payment method is charged: without what is paid by credit.
    amount_minor: int
    currency: str
    payment_method: PaymentMethodId
    # Id of the mandate that it was held against, and which version; none: the customer confirmed.
    mandate: MandateId | None = None
    mandate_version: int | None = None
    charge_ceiling_minor: int | None = None
    period_ceiling_minor: int | None = None
    # What the mandate had paid, or might be paying, in the period, and since when that counted; none:
    # it has no such ceiling.
    spent_minor: int | None = None
    period_start_time: datetime | None = None
    # When the mandate was charged last, or may have been, where a rule asks for that.
    last_charge_time: datetime | None = None
    # Name of the notice that it was held against, and what that promised.
    notice: str | None = None
    notice_amount_minor: int | None = None
    notice_currency: str | None = None
    charge_not_before_time: datetime | None = None
    deliver_time: datetime | None = None
    # What rule packs said, as JSON (`rules.load_applied`).
    applied_rules: str = "[]"

    @property
    def charge_key(self) -> ChargeKey:
        """The charge that it is about."""
        return ChargeKey(self.merchant, self.customer, self.charge)


_OF_NOTICES = frozenset({
    RefusalReason.NOTICE_NOT_DELIVERED, RefusalReason.ABOVE_NOTIFIED_AMOUNT,
    RefusalReason.EARLIER_THAN_NOTIFIED, RefusalReason.BILLING_MODE_NOT_ANNOUNCED,
})  # fmt: skip
_OF_METHODS = frozenset({
    RefusalReason.PAYMENT_METHOD_BLOCKED, RefusalReason.PAYMENT_METHOD_EXHAUSTED,
    RefusalReason.PAYMENT_METHOD_MISSING,
})  # fmt: skip
_OF_THE_PROVIDER = frozenset({
    RefusalReason.CURRENCY_NOT_CHARGEABLE, RefusalReason.AMOUNT_NOT_CHARGEABLE,
})  # fmt: skip


def causes(verdict: Verdict) -> list[tuple[RefusalReason, str]]:
    """Each reason of a verdict with the source of its rule: a law, or what the notice said."""
    by_rule = {rule.reason: rule.source for rule in load_applied(verdict.applied_rules)}
    return [(reason, by_rule.get(reason) or _source(reason, verdict)) for reason in verdict.reasons]


def _source(reason: RefusalReason, verdict: Verdict) -> str:
    if reason in _OF_NOTICES:
        return verdict.notice or "no notice"
    if reason in _OF_METHODS:
        return f"payment method {verdict.payment_method}" if verdict.payment_method else "none"
    if reason in _OF_THE_PROVIDER:
        return PROVIDER_SOURCE
    if reason is RefusalReason.RULES_UNKNOWN:
        return "rule packs"
    return f"mandate {verdict.mandate}" if verdict.mandate else "no mandate"


def verdict_on(
    charge: Charge,
    number: int,
    permit: int,
    reasons: tuple[RefusalReason, ...],
    notice: Notice | None,
    mandate: Mandate | None,
    period_minor: int,
    last_charge_time: datetime | None,
    now: datetime,
) -> Verdict:
    """What the guard said of a charge, with all that it was given."""
    mandate_key = charge.mandate_key
    limited = mandate if mandate and mandate.period_ceiling_minor is not None else None
    return Verdict(
        *charge.key,
        number=number,
        permit=permit,
        decide_time=now,
        reasons=reasons,
        billing_mode=charge.billing_mode,
        amount_minor=charge.method_minor,
        currency=charge.currency,
        payment_method=present_method(charge, mandate),
        mandate=mandate_key.mandate if mandate_key else None,
        mandate_version=mandate.version if mandate else None,
        charge_ceiling_minor=mandate.charge_ceiling_minor if mandate else None,
        period_ceiling_minor=mandate.period_ceiling_minor if mandate else None,
        spent_minor=period_minor if limited else None,
        period_start_time=limited.period(now).first if limited else None,
        last_charge_time=last_charge_time,
        notice=notice.notice if notice else None,
        notice_amount_minor=notice.amount_minor if notice else None,
        notice_currency=notice.currency if notice else None,
        charge_not_before_time=notice.charge_not_before_time if notice else None,
        deliver_time=notice.deliver_time if notice else None,
        applied_rules=charge.applied_rules,
    )
