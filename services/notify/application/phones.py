"""Phones, which customers prove to be theirs by one-time codes."""

import secrets
from datetime import UTC, datetime, timedelta

from services.notify.application import contacts
from services.notify.application.notices import phone_changed_notice, phone_code_notice
from services.notify.domain.notices import Channel, Contact, CustomerKey, NoticeId, NoticeKey
from services.notify.domain.phone_codes import (
    CODE_DIGITS,
    CODE_LIFETIME,
    CODES_MAX_PERIOD,
    CodeBudget,
    CodeCheck,
    PhoneCode,
    after_miss,
    check_code,
    exceeded_period,
)
from services.notify.domain.phone_numbers import check_region
from services.notify.domain.settings import NotifySettings
from services.notify.domain.templates.phones import PhoneCode as PhoneCodeFacts
from services.notify.domain.templates.rendering import rendered_as_shipped, segments_of
from services.notify.publishers import contact_bound
from services.notify.store import codes, notices
from services.notify.store import contacts as contact_store
from services.notify.store import settings as settings_store
from services.notify.store.codes import CallerLimit
from services.runtime.auth.call_context import caller
from services.runtime.db.idempotency import derived_id
from services.runtime.db.pool import Connection
from services.runtime.errors import Violations, wrong_state
from services.runtime.mutations import Applied, Refused
from services.runtime.observability import metrics
from services.runtime.rpc.limits import exhausted

_codes_counter = metrics.counter(
    "recurring.phone_codes",
    "{code}",
    "One-time codes: sent, verified, given wrongly, or refused since there were too many",
    [{"outcome": outcome} for outcome in ("SENT", "VERIFIED", CodeCheck.CODE_WRONG, "REFUSED")],
)

_CODE_PROBLEMS = {
    CodeCheck.CODE_NOT_PENDING: "no code is waiting to be confirmed; start the binding again",
    CodeCheck.CODE_EXPIRED: "the code has expired; start the binding again",
    CodeCheck.CODE_WRONG: "the code is not the one that was sent",
}


async def start_binding(
    tx: Connection, key: CustomerKey, phone: str, request_id: str, budget: CodeBudget, now: datetime
) -> Applied[PhoneCode]:
    """Send a one-time code to a number; the code before is void.

    Raises NOT_FOUND CONTACT_NOT_FOUND, INVALID_ARGUMENT PHONE_COUNTRY_NOT_ALLOWED, RESOURCE_EXHAUSTED
    CODES_TOO_MANY or CODE_BUDGET_SPENT. Of the number, nothing but how many codes it got decides.
    """
    # The contact's lock lets one code at a time be made.
    contact = await contacts.existing(tx, key, lock=True)
    settings = await settings_store.get(tx, key.merchant)
    _require_region(phone, settings)
    code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"
    facts = PhoneCodeFacts(code, settings.web_otp_host)
    text = rendered_as_shipped(facts, Channel.SMS, contact.locale, "").text
    own_budget = budget.with_merchants_own(settings.code_spend_day_max)
    cost = own_budget.prices.cost_micros(phone, segments_of(text).segment_count)
    await _count_code(tx, key, phone, cost, own_budget, now)
    notice = _notice_key("phone-code", key, request_id)
    sent = PhoneCode(notice, phone, codes.hash_code(tx, notice, code), 0, now + CODE_LIFETIME)
    await codes.void(tx, key)
    await notices.insert(tx, [phone_code_notice(notice, facts, now)])
    await codes.insert(tx, sent, now)
    _codes_counter.add(1, {"outcome": "SENT"})
    return Applied(sent)


async def confirm_binding(
    tx: Connection, key: CustomerKey, code: str, request_id: str, now: datetime
) -> Applied[Contact] | Refused:
    """Bind the phone that the code proves; a wrong guess is refused and stays counted.

    Raises NOT_FOUND CONTACT_NOT_FOUND, FAILED_PRECONDITION CODE_NOT_PENDING or CODE_EXPIRED.
    """
    # The contact's lock lets one guess at a time be made.
    before = await contacts.existing(tx, key, lock=True)
    pending = await codes.pending(tx, key)
    check = check_code(
        pending, now, matches=pending is not None and codes.matches(tx, pending, code)
    )
    _codes_counter.add(1, {"outcome": "VERIFIED" if check is CodeCheck.RIGHT else check})
    if pending is not None and check is CodeCheck.CODE_WRONG:
        await codes.count_wrong(tx, key, after_miss(pending))
        return Refused(wrong_state(check, _CODE_PROBLEMS[check]))
    if check is not CodeCheck.RIGHT:
        raise wrong_state(check, _CODE_PROBLEMS[check])
    after = await contact_store.bind(tx, key, await codes.use(tx, key), now)
    if before.phone and before.phone != after.phone:
        notice = _notice_key("phone-changed", key, request_id)
        await notices.insert(tx, [phone_changed_notice(before, after, notice, now)])
    return Applied(after, before, [contact_bound(after, now)])


def _require_region(phone: str, settings: NotifySettings) -> None:
    violations = Violations()
    refusal = check_region(phone, settings.phone_region_codes)
    if refusal is not None:
        violations.add("phone", refusal.message, refusal.problem)
    violations.check()


async def _count_code(
    tx: Connection,
    key: CustomerKey,
    phone: str,
    cost_micros: int,
    budget: CodeBudget,
    now: datetime,
) -> None:
    """Count a code. Raises RESOURCE_EXHAUSTED if it is one too many.

    The caller does not learn whose limit was reached (customer, number, prefix or their own), since
    others may have sent codes there.
    """
    asking = CallerLimit(caller().subject, budget.caller_hour_max)
    oldest = max(await codes.count_sent(tx, key, phone, asking, now), default=None)
    if oldest is not None and oldest + CODES_MAX_PERIOD > now:
        _codes_counter.add(1, {"outcome": "REFUSED"})
        left_seconds = (oldest + CODES_MAX_PERIOD - now).total_seconds()
        message = "too many codes were sent within an hour"
        raise exhausted("CODES_TOO_MANY", message, left_seconds)
    spent = await codes.count_spent(tx, key.merchant, cost_micros, now)
    if (period := exceeded_period(spent, budget)) is not None:
        _codes_counter.add(1, {"outcome": "REFUSED"})
        message = "the merchant's codes of this period have all been sent"
        raise exhausted("CODE_BUDGET_SPENT", message, _left_seconds(now, period))
    await codes.forget_sent(tx, now - CODES_MAX_PERIOD)


def _left_seconds(now: datetime, period: timedelta) -> float:
    """How long the hour or the day (UTC) still lasts."""
    return (period - (now - datetime(1970, 1, 1, tzinfo=UTC)) % period).total_seconds()


def _notice_key(purpose: str, key: CustomerKey, request_id: str) -> NoticeKey:
    return NoticeKey(*key, NoticeId(str(derived_id(purpose, *key, request_id))))
