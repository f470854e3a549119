"""Phones, which customers prove to be theirs by one-time codes."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.notify.application import contacts
from services.notify.application.notices import (
    email_notice,
    old_phone_notice,
    phone_code_notice,
    shown_phone,
)
from services.notify.domain.notices import (
    Channel,
    Contact,
    CustomerKey,
    Notice,
    NoticeId,
    NoticeKey,
    Sender,
    UnbindReason,
)
from services.notify.domain.phone_changes import bind_time_of
from services.notify.domain.phone_codes import (
    CODE_DIGITS,
    CODE_LIFETIME,
    CODES_MAX_PERIOD,
    CodeBudget,
    CodeCheck,
    CodePurpose,
    PhoneCode,
    after_miss,
    check_code,
    exceeded_period,
)
from services.notify.domain.phone_numbers import check_region
from services.notify.domain.settings import NotifySettings
from services.notify.domain.templates.phones import PhoneChanged, PhoneChangePending, PhoneLapsed
from services.notify.domain.templates.phones import PhoneCode as PhoneCodeFacts
from services.notify.domain.templates.rendering import rendered_as_shipped, segments_of
from services.notify.publishers import contact_bound, contact_unbound
from services.notify.store import codes, notices
from services.notify.store import phones as phone_store
from services.notify.store import settings as settings_store
from services.notify.store.codes import CallerLimit
from services.notify.store.phones import BoundPhone, WhichPhone
from services.runtime.auth.call_context import caller
from services.runtime.db.idempotency import derived_id
from services.runtime.db.pool import Connection
from services.runtime.errors import Problem, Violations, wrong_state
from services.runtime.messaging import outbox
from services.runtime.mutations import Applied, Refused
from services.runtime.observability import metrics
from services.runtime.rpc.limits import exhausted

_codes_counter = metrics.counter(
    "recurring.phone_codes",
    "{code}",
    "One-time codes: sent, verified, given wrongly, or refused since there were too many",
    [{"outcome": outcome} for outcome in ("SENT", "VERIFIED", CodeCheck.CODE_WRONG, "REFUSED")],
)

_lapsed_counter = metrics.counter(
    "recurring.phones.lapsed",
    "{phone}",
    "Bound phones that are not proved any more, by why",
    [{"reason": reason} for reason in (UnbindReason.PHONE_SILENT, UnbindReason.NUMBER_UNASSIGNED)],
)

_CODE_PROBLEMS = {
    CodeCheck.CODE_NOT_PENDING: "no such code is waiting to be confirmed; start the binding again",
    CodeCheck.CODE_EXPIRED: "the code has expired; start the binding again",
    CodeCheck.CODE_WRONG: "the code is not the one that was sent",
}
_CODE_FIELDS = {
    CodePurpose.BIND: "code",
    CodePurpose.RELEASE: "present_phone_code",
    CodePurpose.EMAIL: "token",
}
OF_PHONES = (CodePurpose.BIND, CodePurpose.RELEASE)


@dataclass(frozen=True, slots=True)
class BindingStart:
    """A caller's wish to have a phone proved."""

    key: CustomerKey
    phone: str
    # Whether the phone that is bound gets a code, too, by which it agrees to be replaced.
    with_present_phone: bool
    request_id: str


async def start_binding(
    tx: Connection, start: BindingStart, budget: CodeBudget, now: datetime
) -> Applied[PhoneCode]:
    """Send a one-time code to a number; the codes before are void.

    Raises NOT_FOUND CONTACT_NOT_FOUND, INVALID_ARGUMENT PHONE_COUNTRY_NOT_ALLOWED, FAILED_PRECONDITION
    PHONE_NOT_BOUND, RESOURCE_EXHAUSTED CODES_TOO_MANY or CODE_BUDGET_SPENT. Of the number, nothing but
    how many codes it got decides.
    """
    key = start.key
    # The contact's lock lets one code at a time be made.
    contact = await contacts.existing(tx, key, lock=True)
    settings = await settings_store.get(tx, key.merchant)
    _require_region(start.phone, settings)
    facts = {CodePurpose.BIND: (start.phone, PhoneCodeFacts(_new_code(), settings.web_otp_host))}
    if start.with_present_phone:
        _require_bound(contact)
    if start.with_present_phone and contact.phone != start.phone:
        new_phone = shown_phone(start.phone)
        released = PhoneCodeFacts(_new_code(), settings.web_otp_host, new_phone)
        facts[CodePurpose.RELEASE] = (contact.phone, released)
    budget = budget.with_merchants_own(settings.code_spend_day_max)
    cost = sum(
        budget.prices.cost_micros(phone, _segment_count(code, contact.locale, settings))
        for phone, code in facts.values()
    )
    await _count_codes(tx, key, {phone for phone, _ in facts.values()}, cost, budget, now)
    await codes.void(tx, key, OF_PHONES)
    sent = {
        purpose: await _send(tx, start, purpose, phone, code, now)
        for purpose, (phone, code) in facts.items()
    }
    return Applied(sent[CodePurpose.BIND])


async def _send(
    tx: Connection,
    start: BindingStart,
    purpose: CodePurpose,
    phone: str,
    facts: PhoneCodeFacts,
    now: datetime,
) -> PhoneCode:
    notice = notice_key(f"phone-code-{purpose}", start.key, start.request_id)
    code_hash = codes.hash_code(tx, notice, facts.code)
    code = PhoneCode(notice, purpose, phone, code_hash, 0, now + CODE_LIFETIME)
    await notices.insert(tx, [phone_code_notice(notice, facts, now)])
    await codes.insert(tx, code, now)
    _codes_counter.add(1, {"outcome": "SENT"})
    return code


@dataclass(frozen=True, slots=True)
class Proof:
    """What a caller gives to have a phone bound."""

    key: CustomerKey
    code: str
    # Of the phone that is bound; empty: it has time to object.
    present_phone_code: str
    request_id: str


async def confirm_binding(
    tx: Connection, proof: Proof, wait: timedelta, now: datetime
) -> Applied[Contact] | Refused:
    """Bind the phone that the code proves, or announce it to the one that is bound.

    A wrong guess is refused and stays counted. Raises NOT_FOUND CONTACT_NOT_FOUND, FAILED_PRECONDITION
    CODE_NOT_PENDING or CODE_EXPIRED.
    """
    key = proof.key
    # The contact's lock lets one guess at a time be made.
    before = await contacts.existing(tx, key, lock=True)
    pending = await codes.pending(tx, key)
    given = {CodePurpose.BIND: proof.code}
    if proof.present_phone_code:
        given[CodePurpose.RELEASE] = proof.present_phone_code
    for purpose, code in given.items():
        refusal = await check_given(tx, key, purpose, pending.get(purpose), code, now)
        if refusal is not None:
            return refusal
    await codes.use(tx, key, given)
    # A code of the other purpose that nobody gave is of no use any more.
    await codes.void(tx, key, OF_PHONES)
    phone = pending[CodePurpose.BIND].phone
    is_released = len(given) > 1 and pending[CodePurpose.RELEASE].phone == before.phone
    bind_time = bind_time_of(before, phone, now, wait, is_released=is_released)
    if bind_time > now:
        return Applied(await _announce(tx, proof, before, phone, bind_time, now), before)
    [after] = await phone_store.bind(tx, [BoundPhone(before, phone)], now)
    notice = notice_key("phone-changed", key, proof.request_id)
    await notices.insert(tx, _changed_notices(before, after, notice, now))
    return Applied(after, before, [contact_bound(after, now)])


async def check_given(
    tx: Connection,
    key: CustomerKey,
    purpose: CodePurpose,
    pending: PhoneCode | None,
    code: str,
    now: datetime,
) -> Refused | None:
    """Check a code; a wrong one is counted and refused. Raises what else is wrong with it."""
    matches = pending is not None and codes.matches(tx, pending, code)
    check = check_code(pending, now, matches=matches)
    _codes_counter.add(1, {"outcome": "VERIFIED" if check is CodeCheck.RIGHT else check})
    if check is CodeCheck.RIGHT:
        return None
    problem = wrong_state(check, f"{_CODE_FIELDS[purpose]}: {_CODE_PROBLEMS[check]}")
    if pending is None or check is not CodeCheck.CODE_WRONG:
        raise problem
    await codes.count_wrong(tx, key, purpose, after_miss(pending))
    return Refused(problem)


async def _announce(
    tx: Connection,
    proof: Proof,
    before: Contact,
    phone: str,
    bind_time: datetime,
    now: datetime,
) -> Contact:
    """Store the phone that waits, and notify the owner of the one that is bound."""
    after = await phone_store.announce_phone(tx, proof.key, phone, bind_time)
    if before.proved_phone and before.pending_phone != phone:
        time_zone = before.time_zone or "UTC"
        facts = PhoneChangePending(shown_phone(phone), bind_time, time_zone)
        key = notice_key("phone-change-pending", proof.key, proof.request_id)
        await notices.insert(tx, [old_phone_notice(before, facts, key, now)])
    return after


def _changed_notices(
    before: Contact, after: Contact, key: NoticeKey, now: datetime
) -> Sequence[Notice]:
    """The notice to the phone that is not the bound one any more, if there is one."""
    facts = PhoneChanged(shown_phone(after.phone))
    if not before.phone or before.phone == after.phone:
        return []
    if before.proved_phone:
        return [old_phone_notice(before, facts, key, now)]
    # The number may be another's by now.
    return [email_notice(facts, before.email, key, now)] if before.email else []


async def cancel_change(tx: Connection, key: CustomerKey) -> Applied[Contact]:
    """Keep the phone that is bound.

    Raises NOT_FOUND CONTACT_NOT_FOUND, FAILED_PRECONDITION PHONE_CHANGE_NOT_PENDING.
    """
    before = await contacts.existing(tx, key, lock=True)
    if not before.pending_phone:
        raise wrong_state("PHONE_CHANGE_NOT_PENDING", "no other phone is about to be bound")
    await codes.void(tx, key, OF_PHONES)
    return Applied(await phone_store.cancel_change(tx, key), before)


async def unbind(
    tx: Connection, key: CustomerKey, request_id: str, wait: timedelta, now: datetime
) -> Applied[Contact]:
    """Take the bound phone from a contact; it is notified, and another one has to wait as long as ever.

    Raises NOT_FOUND CONTACT_NOT_FOUND, FAILED_PRECONDITION PHONE_NOT_BOUND.
    """
    before = await contacts.existing(tx, key, lock=True)
    if not before.phone:
        raise _not_bound()
    await codes.void(tx, key, OF_PHONES)
    was_proved = bool(before.proved_phone)
    after = await phone_store.unbind(tx, key, now + wait if was_proved else now)
    notice = notice_key("phone-changed", key, request_id)
    await notices.insert(tx, _changed_notices(before, after, notice, now))
    # Of a phone that has lapsed it was published already.
    unbound = [contact_unbound(before, UnbindReason.REQUESTED, now)] if was_proved else []
    return Applied(after, before, unbound)


async def lapse(
    tx: Connection, phones: Collection[WhichPhone], reason: UnbindReason, now: datetime
) -> None:
    """Take phones for proved no more: nothing is sent to them, charges wait, both are notified."""
    lapsed = await phone_store.lapse(tx, phones, reason, now)
    made = [
        email_notice(
            PhoneLapsed(shown_phone(contact.phone)),
            contact.email,
            notice_key("phone-lapsed", contact.key, str(contact.bind_count)),
            now,
        )
        for contact in lapsed
        if contact.email
    ]
    await notices.insert(tx, made)
    await outbox.put(tx, [contact_unbound(contact, reason, now) for contact in lapsed])
    _lapsed_counter.add(len(lapsed), {"reason": reason})


async def lapse_silent(tx: Connection, buckets: Sequence[int], now: datetime, limit: int) -> int:
    """Take a batch of phones for proved no more at which nothing arrived for long; returns how many."""
    due = await phone_store.due_silence(tx, buckets, now, limit)
    await lapse(tx, due, UnbindReason.PHONE_SILENT, now)
    return len(due)


async def apply_due_changes(
    tx: Connection, buckets: Sequence[int], now: datetime, limit: int
) -> int:
    """Bind a batch of phones that have waited long enough; returns how many were due."""
    due = await phone_store.due_changes(tx, buckets, now, limit)
    before = {contact.key: contact for contact in due}
    changes = [BoundPhone(contact, contact.pending_phone) for contact in due]
    bound = await phone_store.bind(tx, changes, now)
    made: list[Notice] = []
    for after in bound:
        key = notice_key("phone-changed", after.key, str(after.bind_count))
        made += _changed_notices(before[after.key], after, key, now)
    await notices.insert(tx, made)
    await outbox.put(tx, [contact_bound(after, now) for after in bound])
    return len(due)


def _require_bound(contact: Contact) -> None:
    if not contact.proved_phone:
        raise _not_bound()


def _not_bound() -> Problem:
    return wrong_state("PHONE_NOT_BOUND", "the customer has no bound phone")


def _require_region(phone: str, settings: NotifySettings) -> None:
    violations = Violations()
    refusal = check_region(phone, settings.phone_region_codes)
    if refusal is not None:
        violations.add("phone", refusal.message, refusal.problem)
    violations.check()


def _new_code() -> str:
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"


def _segment_count(facts: PhoneCodeFacts, locale: str, settings: NotifySettings) -> int:
    sender = Sender(settings.merchant_display_name, settings.complaint_address)
    text = rendered_as_shipped(facts, Channel.SMS, locale, "", sender).text
    return segments_of(text).segment_count


async def _count_codes(
    tx: Connection,
    key: CustomerKey,
    phones: Collection[str],
    cost_micros: int,
    budget: CodeBudget,
    now: datetime,
) -> None:
    """Count the codes of a request. Raises RESOURCE_EXHAUSTED if one is too many.

    The caller does not learn whose limit was reached (customer, number, prefix or their own), since
    others may have sent codes there.
    """
    asking = CallerLimit(caller().subject, budget.caller_hour_max)
    oldest = max(await codes.count_sent(tx, key, phones, asking, now), default=None)
    if oldest is not None and oldest + CODES_MAX_PERIOD > now:
        left_seconds = (oldest + CODES_MAX_PERIOD - now).total_seconds()
        message = "too many codes were sent within an hour"
        raise refused(exhausted("CODES_TOO_MANY", message, left_seconds))
    spent = await codes.count_spent(tx, key.merchant, len(phones), cost_micros, now)
    if (period := exceeded_period(spent, budget)) is not None:
        message = "the merchant's codes of this period have all been sent"
        raise refused(exhausted("CODE_BUDGET_SPENT", message, _left_seconds(now, period)))
    await codes.forget_sent(tx, now - CODES_MAX_PERIOD)


def refused(problem: Problem) -> Problem:
    """Count a refusal of a code that would be one too many."""
    _codes_counter.add(1, {"outcome": "REFUSED"})
    return problem


def _left_seconds(now: datetime, period: timedelta) -> float:
    """How long the hour or the day (UTC) still lasts."""
    return (period - (now - datetime(1970, 1, 1, tzinfo=UTC)) % period).total_seconds()


def notice_key(purpose: str, key: CustomerKey, request_id: str) -> NoticeKey:
    """The key of the notice of a request."""
    return NoticeKey(*key, NoticeId(str(derived_id(purpose, *key, request_id))))
