"""What becomes of SCHEDULED charges whose time has come."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from services.payments.domain.charges import (
    NO_METHOD,
    AbandonReason,
    Charge,
    abandon,
    begin_attempt,
    expire,
    is_expired,
    method_key,
    pay_by_credit,
    present_method,
    refuse,
    retry_later,
)
from services.payments.domain.consent import BillingMode, Mandate, Notice, RefusalReason
from services.payments.domain.credit import credit_share
from services.payments.domain.declines import (
    DAY,
    NO_METHOD_USE,
    UNUSED,
    DeclineClass,
    MethodUse,
    classify,
)
from services.payments.domain.dunning import STANDARD, DunningPolicy
from services.payments.domain.guard import binding_rules, guard, rules_applied
from services.payments.domain.keys import (
    ChargeKey,
    CreditKey,
    CustomerKey,
    MandateKey,
    MerchantId,
    PaymentMethodId,
    PaymentMethodKey,
)
from services.payments.domain.outcomes import RETRY_DELAY_FIRST
from services.payments.domain.payment_methods import first_valid
from services.payments.domain.rules import dump_applied, notice_over_time
from services.payments.domain.transitions import ChargeState, MandateEvent
from services.payments.domain.verdicts import SENDING, Verdict, verdict_on

# How long a charge waits for word that its notice was delivered, from when it was first decided.
NOTICE_WAIT = timedelta(hours=24)
# What another payment method of the customer would put right.
_LACKS_METHOD = frozenset({
    RefusalReason.PAYMENT_METHOD_BLOCKED, RefusalReason.PAYMENT_METHOD_MISSING,
    RefusalReason.PAYMENT_METHOD_EXHAUSTED,
})  # fmt: skip
# What a charge that has its notice only has to wait for.
_TOO_EARLY = frozenset({RefusalReason.EARLIER_THAN_NOTIFIED, RefusalReason.NOTICE_TOO_RECENT})


def decide(
    charge: Charge,
    notice: Notice | None,
    mandate: Mandate | None,
    period_minor: int,
    now: datetime,
    use: MethodUse = UNUSED,
    last_charge_time: datetime | None = None,
    policy: DunningPolicy = STANDARD,
    credit_minor: int = 0,
) -> Charge:
    """What becomes of a SCHEDULED charge whose time has come.

    `credit_minor` is what the customer has of credit: it pays first. IN_FLIGHT: an attempt begins, for
    the rest. SUCCEEDED: the credit was enough. SCHEDULED: it waits for what time alone can bring, the
    word that the notice was delivered or the instant that the notice promised. Else it is over.
    """
    if charge.withdrawn:
        return abandon(charge, AbandonReason.WITHDRAWN, now)
    if is_expired(charge, now):
        return expire(charge, now)
    # Credit pays no request to which the customer has not agreed yet.
    usable_minor = credit_minor if _is_agreed(charge) else 0
    share_minor = credit_share(charge.amount_minor, usable_minor, charge.currency, use.brand)
    paid = _paid_by(charge, share_minor)
    if not paid.method_minor:
        # Whatever its method is doing.
        use = UNUSED
    reasons = guard(paid, notice, mandate, period_minor, now, use, last_charge_time)
    applied = rules_applied(charge, notice, mandate, now, use, last_charge_time)
    charge = charge._replace(awaited_method=NO_METHOD, applied_rules=dump_applied(applied))
    paid = _paid_by(charge, share_minor)
    waiting = _waiting(charge, reasons, notice, mandate, use, now)
    if waiting is not None:
        return waiting
    if paid.method_minor and _awaits_method(charge, mandate, reasons, policy):
        return retry_later(charge, policy, now)
    if not reasons:
        return _pay(paid, notice, mandate, now)
    return refuse(charge, reasons, notice, now)


def _is_agreed(charge: Charge) -> bool:
    """Whether a charge is automatic or, if it is a request, was confirmed with a payment method."""
    return charge.billing_mode is BillingMode.AUTOMATIC or charge.payment_method != NO_METHOD


def _paid_by(charge: Charge, credit_minor: int) -> Charge:
    """The charge with what credit pays of it; a copy costs more than most of the guard does."""
    if credit_minor == charge.credit_minor:
        return charge
    return charge._replace(credit_minor=credit_minor)


def _pay(charge: Charge, notice: Notice | None, mandate: Mandate | None, now: datetime) -> Charge:
    """The charge that is allowed: paid by credit alone, or with an attempt for the rest."""
    if not charge.method_minor:
        return pay_by_credit(charge, notice, now)
    return begin_attempt(charge, notice, mandate, now)


def _awaits_method(
    charge: Charge,
    mandate: Mandate | None,
    reasons: tuple[RefusalReason, ...],
    policy: DunningPolicy,
) -> bool:
    """Whether a declined charge lacks another payment method, and nothing else, and may wait for it."""
    declined = charge.decline_code != "" and charge.billing_mode is BillingMode.AUTOMATIC
    if not declined or not policy.awaits_new_method or not _LACKS_METHOD.issuperset(reasons):
        return False
    # What nobody has put in its place would be declined again.
    unfit = classify(charge.decline_code) is not DeclineClass.LATER
    same_method = present_method(charge, mandate) == charge.payment_method
    return bool(reasons) or (unfit and same_method)


def _waiting(
    charge: Charge,
    reasons: tuple[RefusalReason, ...],
    notice: Notice | None,
    mandate: Mandate | None,
    use: MethodUse,
    now: datetime,
) -> Charge | None:
    """The charge, if time alone can bring what it lacks; None if nothing is lacking, or more."""
    if not reasons and use.busy_until is not None:
        until = max(use.busy_until, now + RETRY_DELAY_FIRST)
        method = present_method(charge, mandate)
        return _wait(charge, until, now)._replace(awaited_method=method)
    if notice is not None and reasons and _TOO_EARLY.issuperset(reasons):
        leads = [notice_over_time(rule, notice) for rule in binding_rules(charge, use)]
        leads += [mandate.notice_over_time(notice)] if mandate else []
        return _wait(charge, max((notice.charge_not_before_time, *leads)), now)
    # The limit of a day ends soon enough to wait for; that of a month does not.
    soon, ends = use.exhausted_until, now + DAY
    if soon is not None and soon <= ends and reasons == (RefusalReason.PAYMENT_METHOD_EXHAUSTED,):
        return _wait(charge, soon, now)
    if reasons == (RefusalReason.NOTICE_NOT_DELIVERED,):
        until = charge.notice_wait_until_time or now + NOTICE_WAIT
        if now < until:
            return _wait(charge, until, now)._replace(notice_wait_until_time=until)
    return None


def _wait(charge: Charge, until: datetime, now: datetime) -> Charge:
    """Look at the charge again at an instant, or when its request ends."""
    if charge.expire_time is not None:
        until = min(until, charge.expire_time)
    return charge._replace(next_attempt_time=until, update_time=now)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the guard compares a batch of charges with."""

    notices: Mapping[ChargeKey, Notice]
    mandates: Mapping[MandateKey, Mandate]
    # What mandates have paid, or may be paying, in the present period.
    spent_minor: Mapping[MandateKey, int]
    uses: Mapping[PaymentMethodKey, MethodUse]
    # When mandates were charged last, or may have been, where a rule asks for that.
    last_charge_times: Mapping[MandateKey, datetime] = field(default_factory=dict)
    # All that customers are charged by under mandates that name no method, in their order.
    orders: Mapping[CustomerKey, Sequence[PaymentMethodKey]] = field(default_factory=dict)
    # What follows a decline, where merchants have said so.
    policies: Mapping[MerchantId, DunningPolicy] = field(default_factory=dict)
    # What customers have of credit, and no other charge has reserved.
    credit_minor: Mapping[CreditKey, int] = field(default_factory=dict)

    def mandate_of(self, charge: Charge) -> Mandate | None:
        """The mandate that a charge is made under, with the method that is charged now."""
        key = charge.mandate_key
        mandate = self.mandates.get(key) if key else None
        if mandate is None or mandate.payment_method is not None:
            return mandate
        return replace(mandate, payment_method=self._method_of(charge))

    def _method_of(self, charge: Charge) -> PaymentMethodId | None:
        """What makes a charge under a mandate without a method: its fallback, or the first valid."""
        customer, fallback = charge.customer_key, charge.fallback_method
        order = self.orders.get(customer, ())
        key = PaymentMethodKey(*customer, fallback)
        if fallback and key in order:
            use = self.uses.get(key, UNUSED)
            if not (use.blocked or use.missing or use.exhausted_until):
                return fallback
        return first_valid(order, self.uses, charge.amount_minor, charge.currency)

    def use_of(self, charge: Charge) -> MethodUse:
        """The use of what a charge would be made by."""
        mandate = self.mandate_of(charge)
        return use_of(self.uses, method_key(charge, mandate), mandate)

    def last_charge_time_of(self, charge: Charge) -> datetime | None:
        """When its mandate was used last, where a rule asks for that."""
        return self.last_charge_times.get(charge.mandate_key) if charge.mandate_key else None


def use_of(
    uses: Mapping[PaymentMethodKey, MethodUse],
    method: PaymentMethodKey | None,
    mandate: Mandate | None,
) -> MethodUse:
    """The use of what a charge would be made by; a mandate without any method allows nothing."""
    if method is None:
        return UNUSED if mandate is None else NO_METHOD_USE
    return uses.get(method, UNUSED)


def lapsed_mandates(
    decided: Iterable[Charge], mandates: Mapping[MandateKey, Mandate], now: datetime
) -> list[Mandate]:
    """The mandates that have lapsed, as the decisions have found out: they stay so."""
    found = {
        charge.mandate_key
        for charge in decided
        if charge.state is ChargeState.REFUSED
        and RefusalReason.MANDATE_LAPSED in charge.refusal_reasons
    }
    return [
        replace(mandate, lapse_time=now)
        for key, mandate in mandates.items()
        if key in found and mandate.may(MandateEvent.LAPSE, now)
    ]


class Decision(NamedTuple):
    """What becomes of a charge, and the guard's verdict that led there; none where it only waits."""

    charge: Charge
    verdict: Verdict | None


def decide_all(charges: Iterable[Charge], evidence: Evidence, now: datetime) -> Iterator[Decision]:
    """Decide charges one after the other, each against what those before it have taken."""
    spent_minor: Counter[MandateKey | None] = Counter(evidence.spent_minor)
    credit_minor: Counter[CreditKey] = Counter(evidence.credit_minor)
    uses = dict(evidence.uses)
    for charge in charges:
        notice, mandate = evidence.notices.get(charge.key), evidence.mandate_of(charge)
        method = method_key(charge, mandate)
        use = use_of(uses, method, mandate)
        period_minor = spent_minor[charge.mandate_key]
        last_charge_time = evidence.last_charge_time_of(charge)
        policy = evidence.policies.get(charge.merchant, STANDARD)
        available_minor = credit_minor[charge.credit_key]
        decided = decide(
            charge,
            notice,
            mandate,
            period_minor,
            now,
            use,
            last_charge_time,
            policy,
            available_minor,
        )
        credit_minor[charge.credit_key] -= decided.credit_minor
        if decided.state is ChargeState.IN_FLIGHT:
            spent_minor[charge.mandate_key] += decided.method_minor
            if method in uses:
                uses[method] = replace(use, busy_until=now)
        yield Decision(
            decided, _verdict(charge, decided, notice, mandate, period_minor, last_charge_time, now)
        )


def _verdict(
    charge: Charge,
    decided: Charge,
    notice: Notice | None,
    mandate: Mandate | None,
    period_minor: int,
    last_charge_time: datetime | None,
    now: datetime,
) -> Verdict | None:
    if decided.state not in {ChargeState.IN_FLIGHT, ChargeState.REFUSED}:
        return None
    return verdict_on(
        decided,
        charge.attempt_count + 1,
        SENDING,
        decided.refusal_reasons,
        notice,
        mandate,
        period_minor,
        last_charge_time,
        now,
    )
