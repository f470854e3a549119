"""recurring.notify.v1.NotifyService; each method's contract is in its proto."""

import secrets
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from google.rpc.error_details_pb2 import ErrorInfo
from recurring.notify.v1 import notify_pb2, notify_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.api.requests import (
    read_contact,
    read_customer,
    read_fields,
    read_kind,
    read_mask,
    read_merchant,
    read_notice,
    read_phone,
    require_name,
)
from services.notify.api.responses import contact_message, notice_message
from services.notify.application.notices import code_notice, phone_changed_notice
from services.notify.domain.notices import Contact, CustomerKey, NoticeId, new_contact
from services.notify.domain.phone_codes import (
    CODE_DIGITS,
    CODE_LIFE,
    CODES_MAX,
    CODES_MAX_PERIOD,
    DEFAULT_BUDGET,
    CodeBudget,
    CodeCheck,
    PhoneCode,
    check_code,
    hash_code,
)
from services.notify.domain.phone_numbers import EVERY_COUNTRY, NumberPolicies
from services.notify.domain.templates.examples import EXAMPLE_DISPLAY_NAME, EXAMPLES
from services.notify.domain.templates.wording import render
from services.notify.names import contact_name
from services.notify.publishers import contact_bound
from services.notify.store import codes, contacts, gauges, notices
from services.runtime.auth.authenticator import Access
from services.runtime.db import audit
from services.runtime.db.idempotency import Mutation, derived_id, forget_answers, mutation
from services.runtime.db.pool import Database
from services.runtime.errors import Violations, etag_mismatch, not_found, wrong_state
from services.runtime.messaging import outbox
from services.runtime.resource_names import require_within
from services.runtime.rpc.conversions import etag, to_timestamp
from services.runtime.rpc.limits import exhausted
from services.runtime.rpc.paging import read_page
from services.runtime.workers.clock import Clock

SALT_BYTES = 16

READ, WRITE = "contacts:read", "contacts:write"
# Method -> who may call it. What is not named here is closed to all.
ACCESS = {
    "UpdateContact": Access(WRITE),
    "GetContact": Access(READ),
    "ListContacts": Access(READ),
    "EraseCustomer": Access(WRITE),
    "StartPhoneBinding": Access(WRITE),
    "ConfirmPhoneBinding": Access(WRITE),
    "ListNotices": Access(READ, services=("scheduler",)),
    "GetNotice": Access(READ),
    "PreviewNotice": Access(READ),
    "BatchCheckContacts": Access(services=("scheduler",)),
    "ListAuditEntries": Access("audit:read"),
}

_CODE_PROBLEMS = {
    CodeCheck.CODE_NOT_PENDING: "no code is waiting to be confirmed; start the binding again",
    CodeCheck.CODE_EXPIRED: "the code has expired; start the binding again",
    CodeCheck.CODE_WRONG: "the code is not the one that was sent",
}


class Servicer(notify_pb2_grpc.NotifyServiceServicer):
    """Answers recurring.notify.v1.NotifyService; each method's contract is in its proto."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        numbers: NumberPolicies = EVERY_COUNTRY,
        budget: CodeBudget = DEFAULT_BUDGET,
    ) -> None:
        self.database = database
        self._clock = clock
        self._numbers = numbers
        self._budget = budget

    # --- contacts -------------------------------------------------------------------------------

    @mutation(notify_pb2.Contact)
    async def UpdateContact(
        self, request: notify_pb2.UpdateContactRequest, tx: AsyncConnection
    ) -> notify_pb2.Contact:
        """Create or change a contact."""
        wanted = request.contact
        key = read_contact(wanted.name)
        violations = Violations()
        fields = read_fields(wanted)
        mask = read_mask(violations, request)
        violations.check()
        present = await contacts.one(tx, key, lock=True)
        if wanted.etag and wanted.etag != (etag(present.version) if present else None):
            raise etag_mismatch(wanted.name)
        if present is None and not request.allow_missing:
            raise not_found("CONTACT_NOT_FOUND", wanted.name)
        if present is None:
            # What is created takes all that is given, whatever the mask (AIP-134).
            mask = frozenset(fields)
        if "display_name" in mask:
            require_name(violations, fields)
            violations.check()
        changes = {name: value for name, value in fields.items() if name in mask}
        if present is None:
            new = replace(new_contact(key, self._clock.now()), **changes)  # type: ignore[arg-type]
            # Nothing is inserted if somebody has created it in this instant: then it is changed.
            created = await contacts.insert(tx, new) or await contacts.update(tx, new)
            return contact_message(created)
        audit.before(contact_message(present))
        changed = replace(present, **changes)  # type: ignore[arg-type]
        return contact_message(await contacts.update(tx, changed))

    async def GetContact(
        self, request: notify_pb2.GetContactRequest, _context: object
    ) -> notify_pb2.Contact:
        """Get a contact."""
        key = read_contact(request.name)
        async with self.database.read() as connection:
            return contact_message(await _existing(connection, key))

    async def ListContacts(
        self, request: notify_pb2.ListContactsRequest, _context: object
    ) -> notify_pb2.ListContactsResponse:
        """List a merchant's contacts by customer."""
        merchant = read_merchant(request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self.database.read() as connection:
            found = await contacts.of_merchant(connection, merchant, after, page.limit)
        shown, token = page.cut(found, contact_message, lambda contact: (contact.key.customer,))
        return notify_pb2.ListContactsResponse(contacts=shown, next_page_token=token)

    @mutation(notify_pb2.EraseCustomerResponse)
    async def EraseCustomer(
        self, request: notify_pb2.EraseCustomerRequest, tx: AsyncConnection
    ) -> notify_pb2.EraseCustomerResponse:
        """Erase what is known of a customer."""
        key = read_customer(request.name)
        # First the contact, whose lock whoever binds a phone or changes it waits for.
        await contacts.delete(tx, key)
        await codes.delete(tx, key)
        await notices.erase_texts(tx, key)
        await forget_answers(tx, key.merchant, [contact_name(key)])
        return notify_pb2.EraseCustomerResponse()

    # --- binding a phone ------------------------------------------------------------------------

    @mutation(notify_pb2.StartPhoneBindingResponse)
    async def StartPhoneBinding(
        self, request: notify_pb2.StartPhoneBindingRequest, tx: AsyncConnection
    ) -> notify_pb2.StartPhoneBindingResponse:
        """Send a one-time code to a number."""
        key = read_contact(request.name)
        phone = read_phone(request.phone, self._numbers.of(key.merchant))
        now = self._clock.now()
        # The contact's lock lets one code at a time be made.
        await _existing(tx, key, lock=True)
        await _count_code(tx, key, phone, now, self._budget)
        notice_id = NoticeId(
            str(derived_id("phone-code", key.merchant, key.customer, request.request_id))
        )
        code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"
        salt = secrets.token_bytes(SALT_BYTES)
        sent = PhoneCode(notice_id, phone, salt, hash_code(code, salt), 0, now + CODE_LIFE)
        await codes.void(tx, key)
        await notices.insert(tx, [code_notice(key, notice_id, code, now)])
        await codes.insert(tx, key, sent, now)
        gauges.code("SENT")
        return notify_pb2.StartPhoneBindingResponse(expire_time=to_timestamp(sent.expire_time))

    async def ConfirmPhoneBinding(
        self, request: notify_pb2.ConfirmPhoneBindingRequest, _context: object
    ) -> notify_pb2.Contact:
        """Prove with the code that the number is the customer's.

        Not a `mutation`, which undoes all that a refused call did: a wrong guess must be counted.
        """
        key = read_contact(request.name)
        once = Mutation(request, request.request_id)
        if (answered := await once.answered(self.database, notify_pb2.Contact)) is not None:
            return answered
        async with self.database.begin() as tx:
            # The contact's lock lets one guess at a time be made.
            await _existing(tx, key, lock=True)
            before = await once.replay(tx, notify_pb2.Contact)
            if before is not None:
                return before
            code = await codes.pending(tx, key)
            check = check_code(code, request.code, self._clock.now())
            gauges.code("VERIFIED" if check is CodeCheck.RIGHT else check)
            if check is CodeCheck.RIGHT:
                return await once.once(
                    tx, notify_pb2.Contact, lambda tx: self._bind(tx, key, request.request_id)
                )
            if check is CodeCheck.CODE_WRONG:
                await codes.count_wrong(tx, key)
                await audit.put(tx, request, uuid.UUID(request.request_id), ErrorInfo(reason=check))
        raise wrong_state(check, _CODE_PROBLEMS[check])

    async def _bind(
        self, tx: AsyncConnection, key: CustomerKey, request_id: str
    ) -> notify_pb2.Contact:
        now = self._clock.now()
        before = await _existing(tx, key)
        audit.before(contact_message(before))
        contact = await contacts.bind(tx, key, await codes.use(tx, key), now)
        if before.phone and before.phone != contact.phone:
            notice_id = NoticeId(
                str(derived_id("phone-changed", key.merchant, key.customer, request_id))
            )
            await notices.insert(tx, [phone_changed_notice(before, contact, notice_id, now)])
        await outbox.put(tx, [contact_bound(contact, now)])
        return contact_message(contact)

    # --- notices --------------------------------------------------------------------------------

    async def ListNotices(
        self, request: notify_pb2.ListNoticesRequest, _context: object
    ) -> notify_pb2.ListNoticesResponse:
        """List a customer's notices, the oldest first."""
        key = read_customer(request.parent)
        violations = Violations()
        require_within(violations, "subject_resource", request.subject_resource, key.merchant)
        violations.check()
        page = read_page(request, keys=1)
        after = page.after_position()
        async with self.database.read() as connection:
            found = await notices.of_customer(
                connection, key, request.subject_resource, after, page.limit
            )
        shown, token = page.cut(
            found, lambda placed: notice_message(placed[1]), lambda placed: (str(placed[0]),)
        )
        return notify_pb2.ListNoticesResponse(notices=shown, next_page_token=token)

    async def GetNotice(
        self, request: notify_pb2.GetNoticeRequest, _context: object
    ) -> notify_pb2.Notice:
        """Get a notice."""
        key, notice_id = read_notice(request.name)
        async with self.database.read() as connection:
            notice = await notices.one(connection, key, notice_id)
        if notice is None:
            raise not_found("NOTICE_NOT_FOUND", request.name)
        return notice_message(notice)

    async def PreviewNotice(
        self, request: notify_pb2.PreviewNoticeRequest, _context: object
    ) -> notify_pb2.PreviewNoticeResponse:
        """What a kind of notice says, with made-up facts."""
        read_merchant(request.parent)
        texts = render(EXAMPLES[read_kind(request.kind)], EXAMPLE_DISPLAY_NAME)
        return notify_pb2.PreviewNoticeResponse(
            sms_text=texts.sms, email_subject=texts.email_subject, email_text=texts.email
        )

    # --- audit ----------------------------------------------------------------------------------

    async def ListAuditEntries(
        self, request: notify_pb2.ListAuditEntriesRequest, _context: object
    ) -> notify_pb2.ListAuditEntriesResponse:
        """List what callers changed."""
        return await audit.answer(self.database, request, notify_pb2.ListAuditEntriesResponse)

    # --- for the suite --------------------------------------------------------------------------

    async def BatchCheckContacts(
        self, request: notify_pb2.BatchCheckContactsRequest, _context: object
    ) -> notify_pb2.BatchCheckContactsResponse:
        """Whether customers can be told, many at once."""
        keys = [read_customer(name) for name in request.customers]
        async with self.database.read() as connection:
            bound = await contacts.have_phones(connection, keys)
        return notify_pb2.BatchCheckContactsResponse(
            results=[notify_pb2.ContactCheckResult(phone_bound=one) for one in bound]
        )


async def _count_code(
    tx: AsyncConnection, key: CustomerKey, phone: str, now: datetime, budget: CodeBudget
) -> None:
    """Count a code. Raises RESOURCE_EXHAUSTED if it is one too many.

    Whether the customer, the number or its neighbours had theirs nobody is told, since others may
    have sent codes there.
    """
    oldest = max(await codes.count_sent(tx, key, phone, now), default=None)
    if oldest is not None and oldest + CODES_MAX_PERIOD > now:
        gauges.code("REFUSED")
        left_seconds = (oldest + CODES_MAX_PERIOD - now).total_seconds()
        message = f"{CODES_MAX} codes were sent within an hour"
        raise exhausted("CODES_TOO_MANY", message, left_seconds)
    hour, day = await codes.count_spent(tx, key.merchant, now)
    if day > budget.day_max or hour > budget.hour_max:
        gauges.code("REFUSED")
        period = timedelta(days=1) if day > budget.day_max else timedelta(hours=1)
        message = "the merchant's codes of this period have all been sent"
        raise exhausted("CODE_BUDGET_SPENT", message, _seconds_left(now, period))
    await codes.forget_sent(tx, now - CODES_MAX_PERIOD)


def _seconds_left(now: datetime, period: timedelta) -> float:
    """How long the hour or the day (UTC) still lasts."""
    return (period - (now - datetime(1970, 1, 1, tzinfo=UTC)) % period).total_seconds()


async def _existing(
    connection: AsyncConnection, key: CustomerKey, *, lock: bool = False
) -> Contact:
    contact = await contacts.one(connection, key, lock=lock)
    if contact is None:
        raise not_found("CONTACT_NOT_FOUND", contact_name(key))
    return contact
