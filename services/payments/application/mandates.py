"""Mandates: consents recorded, checked and ended."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from services.payments.application import payment_methods
from services.payments.clients.rule_packs import RulePacks
from services.payments.domain.consent import (
    Mandate,
    PauseReason,
    RefusalReason,
    mandate_reasons,
    month_of,
    ordered,
)
from services.payments.domain.keys import MandateKey
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
from services.payments.store import disputes as dispute_store
from services.payments.store import mandates as store
from services.payments.store import payment_methods as payment_method_store
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import Violations, already_exists, not_found, wrong_state
from services.runtime.money import Money
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag


class MandateCheck(NamedTuple):
    """Whether a mandate covers an amount at a time, beside what is planned for its month."""

    key: MandateKey
    amount: Money
    charge_time: datetime
    planned_minor: int
    # What rule packs ask of its charge, by payment scheme.
    rules: ChargeRules = ()


class CheckedMandate(NamedTuple):
    """Why a mandate does not cover an amount, and the scheme that it is charged by."""

    reasons: tuple[RefusalReason, ...]
    # None: one that no rule pack is about.
    scheme: PaymentScheme | None


async def check_rules(
    database: Database, rule_packs: RulePacks | None, mandate: Mandate, region_code: str
) -> None:
    """Refuse a mandate that breaks what rule packs ask for where the customer is.

    Raises INVALID_ARGUMENT, and ConnectionError where nobody can be asked: nothing passes unchecked.
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
                "mandate.valid_until_time",
                f"must be set, since {rule.rule_pack} asks for it ({rule.source})",
                "MANDATE_WITHOUT_END",
            )
    violations.check()


async def create(tx: Connection, mandate: Mandate) -> Applied[Mandate]:
    """Record a consent.

    Raises NOT_FOUND PAYMENT_METHOD_NOT_FOUND, ALREADY_EXISTS MANDATE_ALREADY_EXISTS,
    FAILED_PRECONDITION PAYMENT_METHOD_DETACHED.
    """
    await payment_methods.check_scope(tx, mandate)
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


async def pause(
    tx: Connection, key: MandateKey, wanted_etag: str, now: datetime
) -> Applied[Mandate]:
    """Stop charges under a mandate until it is resumed. Raises as `_allowing`."""
    before = await _allowing(tx, key, wanted_etag, MandateEvent.PAUSE, now)
    if before.pause_time is not None:
        return Applied(before, before=before)
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
    connection: Connection, checks: Sequence[MandateCheck], *, in_turn: bool
) -> list[CheckedMandate]:
    """Why each mandate does not cover its amount, with one statement for all,
    and one for what is disputed.

    In turn: each is checked against what those before it would take of the same month. Where rules ask
    when mandates were used last, one more statement says so.
    """
    months = [store.MandateMonth(*check.key, *month_of(check.charge_time)) for check in checks]
    mandates = await store.with_totals(connection, months)
    bound = [
        mandate_rules(check.rules, mandate.brand) if mandate else ()
        for check, mandate in zip(checks, mandates, strict=True)
    ]
    used = await store.last_charge_times(
        connection,
        {check.key for check, rules in zip(checks, bound, strict=True) if lapsing_mandates(rules)},
    )
    disputed = await dispute_store.stopped(connection, {check.key for check in checks})
    taken_minor: Counter[store.MandateMonth] = Counter()
    results = []
    for check, month, mandate, rules in zip(checks, months, mandates, bound, strict=True):
        amount = check.amount
        spent_minor = (mandate and mandate.total_minor) or 0
        total_minor = spent_minor + check.planned_minor + taken_minor[month]
        reasons = mandate_reasons(
            mandate, amount.amount_minor, amount.currency, total_minor, check.charge_time
        )
        if mandate and check.key in disputed:
            reasons.add(RefusalReason.MANDATE_DISPUTED)
        if mandate and mandate.method_missing:
            reasons.add(RefusalReason.PAYMENT_METHOD_MISSING)
        elif mandate and mandate.method_blocked:
            reasons.add(RefusalReason.PAYMENT_METHOD_BLOCKED)
        subject = Subject(
            amount.amount_minor,
            amount.currency,
            None,
            mandate,
            used.get(check.key),
            check.charge_time,
        )
        reasons |= {rule.reason for rule in applied_rules(rules, subject) if rule.reason}
        if in_turn and not reasons:
            taken_minor[month] += amount.amount_minor
        scheme = scheme_of(mandate.brand) if mandate else None
        results.append(CheckedMandate(ordered(reasons), scheme))
    return results
