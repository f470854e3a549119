"""The guard before each attempt: every reason why a charge must not be made now."""

from collections.abc import Sequence
from datetime import datetime

from services.payments.domain.charges import Charge
from services.payments.domain.consent import (
    BillingMode,
    Mandate,
    Notice,
    RefusalReason,
    mandate_reasons,
    ordered,
    provider_reasons,
    scheme_reasons,
)
from services.payments.domain.declines import UNUSED, MethodUse
from services.payments.domain.rules import (
    AppliedRule,
    ChargeRule,
    Subject,
    applied_rules,
    binding,
    load_rules,
)


def notice_reasons(charge: Charge, notice: Notice, now: datetime) -> set[RefusalReason]:
    """Every promise of a notice that a charge at this instant would break."""
    reasons = set()
    if now < notice.charge_not_before_time:
        reasons.add(RefusalReason.EARLIER_THAN_NOTIFIED)
    automatic = charge.billing_mode is BillingMode.AUTOMATIC
    if automatic and notice.billing_mode is not BillingMode.AUTOMATIC:
        reasons.add(RefusalReason.BILLING_MODE_NOT_ANNOUNCED)
    if charge.currency != notice.currency:
        reasons.add(RefusalReason.CURRENCY_MISMATCH)
    elif charge.amount_minor > notice.amount_minor:
        reasons.add(RefusalReason.ABOVE_NOTIFIED_AMOUNT)
    return reasons


# What says nothing of a charge that no payment method pays any of.
_OF_METHODS = frozenset({
    RefusalReason.CURRENCY_NOT_CHARGEABLE, RefusalReason.AMOUNT_NOT_CHARGEABLE,
    RefusalReason.PAYMENT_METHOD_BLOCKED, RefusalReason.PAYMENT_METHOD_EXHAUSTED,
    RefusalReason.PAYMENT_METHOD_MISSING,
})  # fmt: skip


def binding_rules(charge: Charge, use: MethodUse) -> Sequence[ChargeRule]:
    """The rules of rule packs that bind a charge by its payment method; none where it is confirmed."""
    if charge.billing_mode is BillingMode.PAY_ON_NOTICE or charge.charge_rules in {None, "[]"}:
        return ()
    return binding(load_rules(charge.charge_rules or "[]"), use.brand)


def rules_applied(
    charge: Charge,
    notice: Notice | None,
    mandate: Mandate | None,
    now: datetime,
    use: MethodUse,
    last_charge_time: datetime | None,
) -> tuple[AppliedRule, ...]:
    """What the rules of rule packs say of a charge that would be made now."""
    rules = binding_rules(charge, use)
    if not rules:
        return ()
    subject = Subject(charge.amount_minor, charge.currency, notice, mandate, last_charge_time, now)
    return applied_rules(rules, subject)


def guard(
    charge: Charge,
    notice: Notice | None,
    mandate: Mandate | None,
    period_minor: int,
    now: datetime,
    use: MethodUse = UNUSED,
    last_charge_time: datetime | None = None,
) -> tuple[RefusalReason, ...]:
    """Every reason why a charge must not be made now; none at all allows it.

    A customer's own confirmation stands for the mandate, and for a notice where there was none; what a
    notice did promise holds all the same. Rule packs bind what is charged without asking. Ceilings are
    held against the whole amount, whatever credit pays of it.
    """
    reasons = provider_reasons(charge.method_minor, charge.currency)
    if notice is not None:
        reasons |= notice_reasons(charge, notice, now)
    elif charge.billing_mode is not BillingMode.PAY_ON_NOTICE:
        reasons.add(RefusalReason.NOTICE_NOT_DELIVERED)
    if charge.billing_mode is not BillingMode.PAY_ON_NOTICE:
        reasons |= mandate_reasons(
            mandate,
            charge.standing_order,
            charge.amount_minor,
            charge.currency,
            period_minor,
            now,
        )
        if mandate and notice and now < mandate.notice_over_time(notice):
            reasons.add(RefusalReason.NOTICE_TOO_RECENT)
        if charge.charge_rules is None:
            reasons.add(RefusalReason.RULES_UNKNOWN)
        applied = rules_applied(charge, notice, mandate, now, use, last_charge_time)
        reasons |= {rule.reason for rule in applied if rule.reason}
    reasons |= scheme_reasons(use.brand, charge.method_minor, charge.currency)
    if use.missing:
        reasons.add(RefusalReason.PAYMENT_METHOD_MISSING)
    elif use.blocked:
        reasons.add(RefusalReason.PAYMENT_METHOD_BLOCKED)
    elif use.exhausted_until is not None:
        reasons.add(RefusalReason.PAYMENT_METHOD_EXHAUSTED)
    return ordered(reasons if charge.method_minor else reasons - _OF_METHODS)
