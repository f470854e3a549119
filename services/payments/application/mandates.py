"""Mandates: consents recorded, checked and ended."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from services.payments.application import payment_methods
from services.payments.application.mandate_terms import changed_events
from services.payments.clients.rule_packs import RulePacks
from services.payments.domain.amendments import Amendment, Terms, terms_of, widened_fields
from services.payments.domain.consent import (
    Mandate,
    PauseReason,
    RefusalReason,
    mandate_reasons,
    ordered,
    provider_reasons,
    scheme_reasons,
)
from services.payments.domain.credit import credit_share
from services.payments.domain.keys import CreditKey, MandateKey
from services.payments.domain.rules import (
    ChargeRules,
    PaymentScheme,
    Subject,
    applied_rules,
    lapsing_mandates,
    mandate_rules,
    scheme_of,
)
from services.payments.domain.transitions import MandateEvent, MandateState
from services.payments.store import attempts as attempt_store
from services.payments.store import credit as credit_store
from services.payments.store import disputes as dispute_store
from services.payments.store import document_settings as document_settings_store
from services.payments.store import mandate_amendments as amendment_store
from services.payments.store import mandates as store
from services.payments.store import payment_methods as payment_method_store
from services.payments.store.encrypted import amendment_aad
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import Violations, already_exists, not_found, wrong_state
from services.runtime.money import Money
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag


class MandateCheck(NamedTuple):
    """Whether a mandate covers an amount at a time."""

    key: MandateKey
    # Id of what it is charged for.
    standing_order: str
    amount: Money
    charge_time: datetime
    # What rule packs ask of its charge, by payment scheme.
    rules: ChargeRules = ()

    @property
    def credit_key(self) -> CreditKey:
        """Which credit of the customer would pay first."""
        return CreditKey(self.key.merchant, self.key.customer, self.amount.currency)


class CheckedMandate(NamedTuple):
    """Why a mandate does not cover an amount, and the scheme that it is charged by."""

    reasons: tuple[RefusalReason, ...]
    # None: one that no rule pack is about.
    scheme: PaymentScheme | None = None
    # Whether what is charged under it has a ceiling together with other charges.
    has_period_ceiling: bool = False
    # How early it promises the notice of a charge.
    lead_seconds: int = 0
    # What of the amount the customer's credit would pay; None: nothing, or it is not covered.
    credit: Money | None = None


class WantedTerms(NamedTuple):
    """What is to become of a mandate's terms."""

    key: MandateKey
    # By the field of `Terms`.
    terms: Mapping[str, Any]
    # Of the ceilings that are given.
    currencies: frozenset[str]


# By mandate, what else is to be charged and has not been yet.
PlannedCharges = Mapping[MandateKey, Sequence[tuple[datetime, Money]]]


async def check_rules(
    database: Database,
    rule_packs: RulePacks | None,
    mandate: Mandate,
    region_code: str,
    field: str = "mandate",
) -> None:
    """Refuse a mandate that breaks what rule packs ask for where the customer is.

    `field` is where a request has its terms. Raises INVALID_ARGUMENT, and ConnectionError where nobody
    can be asked: nothing passes unchecked.
    """
    if rule_packs is None:
        raise ConnectionError("there is no catalog to ask")
    brand = ""
    if mandate.method_key is not None:
        async with database.read() as connection:
            methods = await payment_method_store.by_key(connection, [mandate.method_key])
        brand = next((method.brand for method in methods.values()), "")
    violations = Violations()
    for rule in await rule_packs.binding(mandate.merchant, region_code, scheme_of(brand)):
        if rule.mandate_ends and mandate.valid_until_time is None:
            violations.add(
                f"{field}.valid_until_time",
                f"must be set, since {rule.rule_pack} asks for it ({rule.source})",
                "MANDATE_WITHOUT_END",
            )
        if 0 < mandate.lead_seconds < (rule.notice_lead_seconds or 0):
            violations.add(
                f"{field}.lead",
                f"must be at least {rule.notice_lead_seconds} s, since {rule.rule_pack} asks for it"
                f" ({rule.source})",
                "SHORTER_THAN_RULES",
            )
    violations.check()


async def check_amended(
    database: Database, rule_packs: RulePacks | None, wanted: WantedTerms, region_code: str
) -> None:
    """As `check_rules`, of a mandate as it would be. Raises NOT_FOUND MANDATE_NOT_FOUND."""
    async with database.read() as connection:
        present = await existing(connection, wanted.key)
    amended = replace(present, **wanted.terms)
    await check_rules(database, rule_packs, amended, region_code, "terms")


async def create(tx: Connection, mandate: Mandate) -> Applied[Mandate]:
    """Record a consent; the zone of one that names none is the merchant's at this time.

    Raises NOT_FOUND PAYMENT_METHOD_NOT_FOUND, ALREADY_EXISTS MANDATE_ALREADY_EXISTS,
    FAILED_PRECONDITION PAYMENT_METHOD_DETACHED or CURRENCY_NOT_CHARGEABLE.
    """
    await payment_methods.check_scope(tx, mandate)
    if not mandate.time_zone:
        mandate = replace(mandate, time_zone=await _merchants_zone(tx, mandate.key))
    if not await store.insert(tx, mandate):
        raise already_exists("MANDATE_ALREADY_EXISTS", mandate.key.name)
    return Applied(mandate)


async def confirm(
    tx: Connection, key: MandateKey, evidence: bytes, wanted_etag: str, now: datetime
) -> Applied[Mandate]:
    """Record a customer's consent to a PENDING mandate. Raises as `_allowing`."""
    before = await _allowing(tx, key, wanted_etag, MandateEvent.CONFIRM, now)
    if not before.is_pending:
        return Applied(before, before=before)
    return await _saved(tx, before, replace(before, is_pending=False, evidence=evidence))


async def amend(
    tx: Connection, wanted: WantedTerms, evidence: bytes, wanted_etag: str, now: datetime
) -> Applied[Mandate]:
    """Change what a customer has agreed to; what widens it needs evidence of a new consent.

    The evidence is in the clear, and is encrypted for the version that it makes.
    Raises as `_allowing`, FAILED_PRECONDITION CONSENT_REQUIRED or CURRENCY_MISMATCH, INVALID_ARGUMENT.
    """
    before = await _allowing(tx, wanted.key, wanted_etag, MandateEvent.AMEND, now)
    former = terms_of(before)
    terms = former._replace(**wanted.terms)
    if not terms.time_zone:
        terms = terms._replace(time_zone=await _merchants_zone(tx, wanted.key))
    if terms == former:
        return Applied(before, before=before)
    if wanted.currencies - {before.currency}:
        raise wrong_state("CURRENCY_MISMATCH", f"the mandate is in {before.currency}")
    _check_validity(before, terms, now)
    widened = widened_fields(former, terms)
    if widened and not evidence:
        names = ",".join(widened)
        raise wrong_state(
            "CONSENT_REQUIRED",
            f"evidence must be set, since more is allowed: {names}",
            fields=names,
        )
    bound_by = await store.notice_terms(tx, [before.customer_key])
    after = await store.amend(tx, replace(before, **terms._asdict()))
    encrypted = tx.keyring.encrypt(evidence, *amendment_aad(after.key, after.version))
    amendment = Amendment(*after.key, after.version, now, encrypted, **former._asdict())
    await amendment_store.insert(tx, amendment)
    events = await changed_events(tx, bound_by, now)
    return Applied(after, before=before, events=events)


async def _merchants_zone(tx: Connection, key: MandateKey) -> str:
    """Where a merchant's days are, unless something says otherwise."""
    return (await document_settings_store.get(tx, key.merchant)).time_zone


def _check_validity(before: Mandate, terms: Terms, now: datetime) -> None:
    """Require a mandate to end later than it begins, and later than now."""
    end = terms.valid_until_time
    violations = Violations()
    violations.require(
        "terms.valid_until_time",
        "must be later than valid_from_time, and not past",
        met=end is None or end > max(before.valid_from_time, now),
    )
    violations.require(
        "terms.period_ceiling",
        "must be set where it has rolling_days",
        met=terms.period_days is None or terms.period_ceiling_minor is not None,
    )
    violations.check()


async def pause(
    tx: Connection, key: MandateKey, wanted_etag: str, now: datetime
) -> Applied[Mandate]:
    """Stop charges under a mandate until it is resumed. Raises as `_allowing`.

    One that a dispute has paused is not resumed any more when that is won.
    """
    before = await _allowing(tx, key, wanted_etag, MandateEvent.PAUSE, now)
    if before.pause_reason is PauseReason.REQUESTED:
        return Applied(before, before=before)
    if before.pause_time is not None:
        return await _saved(tx, before, replace(before, pause_reason=PauseReason.REQUESTED))
    await attempt_store.end_actions_under(tx, [key], now)
    return await _saved(tx, before, _paused(before, PauseReason.REQUESTED, now))


async def pause_all(
    tx: Connection, keys: Iterable[MandateKey], reason: PauseReason, now: datetime
) -> set[MandateKey]:
    """Stop charges under those of the mandates that are ACTIVE; returns which.

    Locks mandates: after charges, and before payment methods and attempts.
    """
    mandates = await store.by_key(tx, keys, lock=True)
    active = [mandate for mandate in mandates.values() if mandate.state(now) is MandateState.ACTIVE]
    await attempt_store.end_actions_under(tx, [mandate.key for mandate in active], now)
    await store.save(tx, [_paused(mandate, reason, now) for mandate in active])
    return {mandate.key for mandate in active}


async def resume_all(
    tx: Connection, keys: Iterable[MandateKey], reason: PauseReason, now: datetime
) -> set[MandateKey]:
    """Let those of the mandates be charged again that were paused for a reason; returns which."""
    mandates = await store.by_key(tx, keys, lock=True)
    paused = [mandate for mandate in mandates.values() if mandate.pause_reason is reason]
    resumed = [mandate for mandate in paused if mandate.state(now) is MandateState.PAUSED]
    await store.save(tx, [replace(m, pause_time=None, pause_reason=None) for m in resumed])
    return {mandate.key for mandate in resumed}


async def resume(
    tx: Connection, key: MandateKey, wanted_etag: str, now: datetime
) -> Applied[Mandate]:
    """Let a PAUSED mandate be charged again. Raises as `_allowing`."""
    before = await _allowing(tx, key, wanted_etag, MandateEvent.RESUME, now)
    if before.pause_time is None:
        return Applied(before, before=before)
    return await _saved(tx, before, replace(before, pause_time=None, pause_reason=None))


async def revoke(
    tx: Connection, key: MandateKey, wanted_etag: str, now: datetime
) -> Applied[Mandate]:
    """End a consent: whoever begins an attempt holds the lock that this waits for.

    Raises as `_allowing`, but for MANDATE_STATE.
    """
    before = await _allowing(tx, key, wanted_etag, MandateEvent.REVOKE, now)
    if before.revoke_time is not None:
        return Applied(before, before=before)
    await attempt_store.end_actions_under(tx, [key], now)
    return await _saved(tx, before, replace(before, revoke_time=now))


def _paused(mandate: Mandate, reason: PauseReason, now: datetime) -> Mandate:
    return replace(mandate, pause_time=now, pause_reason=reason)


async def _saved(tx: Connection, before: Mandate, after: Mandate) -> Applied[Mandate]:
    [saved] = await store.save(tx, [after])
    return Applied(saved, before=before)


async def _allowing(
    tx: Connection, key: MandateKey, wanted_etag: str, event: MandateEvent, now: datetime
) -> Mandate:
    """A mandate to which something may happen, locked.

    Raises NOT_FOUND MANDATE_NOT_FOUND, ABORTED if the etag is another version's, FAILED_PRECONDITION
    MANDATE_STATE.
    """
    mandate = await existing(tx, key, lock=True)
    check_etag(wanted_etag, mandate.version, key.name)
    if not mandate.may(event, now):
        raise wrong_state("MANDATE_STATE", f"it is {mandate.state(now)}")
    return mandate


async def existing(connection: Connection, key: MandateKey, *, lock: bool = False) -> Mandate:
    """A mandate. Raises NOT_FOUND MANDATE_NOT_FOUND."""
    mandate = (await store.by_key(connection, [key], lock=lock)).get(key)
    if mandate is None:
        raise not_found("MANDATE_NOT_FOUND", key.name)
    return mandate


async def check(
    connection: Connection,
    checks: Sequence[MandateCheck],
    planned: PlannedCharges,
    *,
    in_turn: bool,
) -> list[CheckedMandate]:
    """Why each mandate does not cover its amount, with one statement for all, one for what is disputed,
    one for credit and, where there are ceilings of periods, one for what was charged in them.

    In turn: each is checked against what those before it would take of its period. Where rules ask
    when mandates were used last, one more statement says so.
    """
    keys = {check.key for check in checks}
    mandates = await store.with_methods(connection, keys)
    periods = [_period(check, mandates.get(check.key)) for check in checks]
    spent_minor = await store.period_totals_minor(connection, [it for it in periods if it])
    disputed = await dispute_store.stopped(connection, keys)
    used = await _last_charge_times(connection, checks, mandates)
    taken = {key: list(charges) for key, charges in planned.items()}
    credit_minor = await _credit_left_minor(connection, checks, planned)
    results = []
    for check, period in zip(checks, periods, strict=True):
        mandate = mandates.get(check.key)
        if mandate is None:
            results.append(CheckedMandate((RefusalReason.MANDATE_NOT_FOUND,)))
            continue
        mandate = replace(mandate, is_disputed=check.key in disputed)
        charges = taken.setdefault(check.key, [])
        total_minor = 0
        if period is not None:
            total_minor = spent_minor[period] + _planned_minor(mandate, charges, check.charge_time)
        minor, currency = check.amount.amount_minor, check.amount.currency
        left_minor = max(0, credit_minor.get(check.credit_key, 0))
        share_minor = credit_share(minor, left_minor, currency, mandate.brand)
        last_charge_time = used.get(check.key)
        reasons = _reasons(check, mandate, total_minor, last_charge_time, minor - share_minor)
        checked = CheckedMandate(
            ordered(reasons), scheme_of(mandate.brand), period is not None, mandate.lead_seconds
        )
        if not reasons:
            if share_minor:
                checked = checked._replace(credit=Money(share_minor, currency))
            if in_turn:
                charges.append((check.charge_time, check.amount))
                credit_minor[check.credit_key] = left_minor - share_minor
        results.append(checked)
    return results


async def _credit_left_minor(
    connection: Connection, checks: Sequence[MandateCheck], planned: PlannedCharges
) -> dict[CreditKey, int]:
    """What customers have of credit, less what is planned: that is charged before."""
    found = await credit_store.by_key(connection, {check.credit_key for check in checks})
    left_minor = {key: credit.available_minor for key, credit in found.items()}
    for mandate, charges in planned.items():
        for _, amount in charges:
            key = CreditKey(mandate.merchant, mandate.customer, amount.currency)
            if key in left_minor:
                left_minor[key] -= amount.amount_minor
    return left_minor


def _period(check: MandateCheck, mandate: Mandate | None) -> store.MandatePeriod | None:
    """The period of a check whose ceiling counts; None: there is no such ceiling."""
    if mandate is None or mandate.period_ceiling_minor is None:
        return None
    return store.MandatePeriod(*check.key, *mandate.period(check.charge_time))


def _planned_minor(
    mandate: Mandate, charges: Iterable[tuple[datetime, Money]], at: datetime
) -> int:
    """What of planned charges counts together with one at an instant."""
    period = mandate.planned_period(at)
    return sum(
        amount.amount_minor
        for charge_time, amount in charges
        if amount.currency == mandate.currency and period.has(charge_time)
    )


async def _last_charge_times(
    connection: Connection,
    checks: Sequence[MandateCheck],
    mandates: Mapping[MandateKey, store.MandateWithMethod],
) -> Mapping[MandateKey, datetime]:
    """When those mandates were used last that lapse by a rule."""
    lapsing = {
        check.key
        for check in checks
        if check.key in mandates
        and lapsing_mandates(mandate_rules(check.rules, mandates[check.key].brand))
    }
    return await store.last_charge_times(connection, lapsing)


def _reasons(
    check: MandateCheck,
    mandate: store.MandateWithMethod,
    total_minor: int,
    last_charge_time: datetime | None,
    method_minor: int,
) -> set[RefusalReason]:
    """Every reason why a mandate does not cover a check of which a payment method pays so much."""
    minor, currency, at = check.amount.amount_minor, check.amount.currency, check.charge_time
    reasons = mandate_reasons(mandate, check.standing_order, minor, currency, total_minor, at)
    if mandate.method_missing:
        reasons.add(RefusalReason.PAYMENT_METHOD_MISSING)
    elif mandate.method_blocked:
        reasons.add(RefusalReason.PAYMENT_METHOD_BLOCKED)
    # Of what credit pays whole, nothing is charged.
    if method_minor:
        reasons |= provider_reasons(method_minor, currency)
        reasons |= scheme_reasons(mandate.brand, method_minor, currency)
    subject = Subject(minor, currency, None, mandate, last_charge_time, at)
    rules = mandate_rules(check.rules, mandate.brand)
    return reasons | {rule.reason for rule in applied_rules(rules, subject) if rule.reason}
