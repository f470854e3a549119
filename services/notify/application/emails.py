"""E-mail addresses, which customers prove to be theirs by links."""

from datetime import datetime

from services.notify.application import contacts
from services.notify.application.notices import email_notice
from services.notify.application.phones import check_given, notice_key, refused
from services.notify.domain.notices import Contact, CustomerKey
from services.notify.domain.phone_codes import (
    CODES_MAX_PERIOD,
    LINK_LIFETIME,
    CodeCheck,
    CodePurpose,
    PhoneCode,
)
from services.notify.domain.templates.phones import CODE_LEFT_OUT, EmailLink
from services.notify.store import codes, notices
from services.notify.store import contacts as contact_store
from services.notify.store import settings as settings_store
from services.notify.store.codes import CallerLimit
from services.runtime.auth.call_context import caller
from services.runtime.crypto.link_tokens import new_link_token
from services.runtime.db.pool import Connection
from services.runtime.errors import wrong_state
from services.runtime.mutations import Applied, Refused
from services.runtime.rpc.limits import exhausted


async def start_binding(
    tx: Connection, key: CustomerKey, request_id: str, caller_hour_max: int, now: datetime
) -> Applied[PhoneCode]:
    """Send a link to the address of a contact; the one before is void.

    Raises NOT_FOUND CONTACT_NOT_FOUND, FAILED_PRECONDITION EMAIL_NOT_SET or EMAIL_PAGE_NOT_SET,
    RESOURCE_EXHAUSTED CODES_TOO_MANY.
    """
    contact = await contacts.existing(tx, key, lock=True)
    settings = await settings_store.get(tx, key.merchant)
    if not contact.email:
        raise wrong_state("EMAIL_NOT_SET", "the contact has no e-mail address")
    if not settings.email_page_uri:
        raise wrong_state("EMAIL_PAGE_NOT_SET", "NotifySettings.email_page_uri names no page")
    asking = CallerLimit(caller().subject, caller_hour_max)
    oldest = max(await codes.count_link(tx, key, contact.email, asking, now), default=None)
    if oldest is not None and oldest + CODES_MAX_PERIOD > now:
        left_seconds = (oldest + CODES_MAX_PERIOD - now).total_seconds()
        raise refused(
            exhausted("CODES_TOO_MANY", "too many links were sent within an hour", left_seconds)
        )
    token = new_link_token()
    notice = notice_key("email-link", key, request_id)
    token_hash = codes.hash_code(tx, notice, token)
    code = PhoneCode(notice, CodePurpose.EMAIL, contact.email, token_hash, 0, now + LINK_LIFETIME)
    sent = email_notice(
        EmailLink(settings.email_link(key.customer, CODE_LEFT_OUT)),
        contact.email,
        notice,
        now,
        lifetime=LINK_LIFETIME,
        secret_text=settings.email_link(key.customer, token),
    )
    await codes.void(tx, key, [CodePurpose.EMAIL])
    await notices.insert(tx, [sent])
    await codes.insert(tx, code, now)
    return Applied(code)


async def confirm_binding(
    tx: Connection, key: CustomerKey, token: str, now: datetime
) -> Applied[Contact] | Refused:
    """Take the address for proved that the token's link went to; a wrong guess stays counted.

    Raises NOT_FOUND CONTACT_NOT_FOUND, FAILED_PRECONDITION CODE_NOT_PENDING or CODE_EXPIRED.
    """
    before = await contacts.existing(tx, key, lock=True)
    pending = (await codes.pending(tx, key)).get(CodePurpose.EMAIL)
    refusal = await check_given(tx, key, CodePurpose.EMAIL, pending, token, now)
    if refusal is not None:
        return refusal
    if pending is None or pending.phone != before.email:
        raise wrong_state(CodeCheck.CODE_NOT_PENDING, "the address has been changed since")
    await codes.use(tx, key, [CodePurpose.EMAIL])
    return Applied(await contact_store.bind_email(tx, key, now), before)
