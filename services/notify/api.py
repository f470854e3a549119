"""Notify's RPCs: validate, decide, store, answer."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import grpc
from recurring.notify.v1 import notify_pb2, notify_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify import events
from services.notify.domain import (
    CODE_DIGITS,
    CODE_LIFE,
    CODES_MAX,
    CODES_MAX_PERIOD,
    Channel,
    CodeCheck,
    Contact,
    CustomerKey,
    Delivery,
    Notice,
    NoticeKind,
    PhoneCode,
    check_code,
    hash_code,
    mask_phone,
)
from services.notify.store import codes, contacts, notices
from services.notify.templates import kinds
from services.notify.templates.examples import EXAMPLE_DISPLAY_NAME, EXAMPLES
from services.notify.templates.wording import DISPLAY_NAME_MAX_CHARACTERS, render
from services.runtime import outbox, telemetry
from services.runtime.access import SCOPE_PLATFORM, SCOPE_SUITE, caller
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.errors import (
    Problem,
    Violations,
    etag_mismatch,
    not_found,
    wrong_state,
)
from services.runtime.requests import Mutation, derived_id, mutation
from services.runtime.wire import NamePattern, etag, read_page, to_timestamp

MERCHANT = NamePattern("merchants/{merchant}")
EMAIL_MAX_CHARACTERS = 254
SUBJECT_RESOURCE_MAX_CHARACTERS = 300
BATCH_MAX_CUSTOMERS = 500
SALT_BYTES = 16

# RFC 5321's common form, without quoted local parts.
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
_CODE = re.compile(rf"[0-9]{{{CODE_DIGITS}}}")

SCOPES = {
    "UpdateContact": SCOPE_PLATFORM,
    "GetContact": SCOPE_PLATFORM,
    "ListContacts": SCOPE_PLATFORM,
    "StartPhoneBinding": SCOPE_PLATFORM,
    "ConfirmPhoneBinding": SCOPE_PLATFORM,
    "ListNotices": SCOPE_PLATFORM,
    "GetNotice": SCOPE_PLATFORM,
    "PreviewNotice": SCOPE_PLATFORM,
    "BatchCheckContacts": SCOPE_SUITE,
}

_CODE_PROBLEMS = {
    CodeCheck.CODE_NOT_PENDING: "no code is waiting to be confirmed; start the binding again",
    CodeCheck.CODE_EXPIRED: "the code has expired; start the binding again",
    CodeCheck.CODE_WRONG: "the code is not the one that was sent",
}


class Servicer(notify_pb2_grpc.NotifyServiceServicer):
    """Answers recurring.notify.v1.NotifyService; each method's contract is in its proto."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self._clock = clock

    # --- contacts -------------------------------------------------------------------------------

    @mutation(notify_pb2.Contact)
    async def UpdateContact(
        self, request: notify_pb2.UpdateContactRequest, tx: AsyncConnection
    ) -> notify_pb2.Contact:
        """Create or change a contact."""
        wanted = request.contact
        violations = Violations()
        key = _read_contact_name(violations, "contact.name", wanted.name)
        paths = _read_mask(violations, request)
        violations.check()
        caller().check(key.merchant)
        present = await contacts.one(tx, key, lock=True)
        if wanted.etag and wanted.etag != (etag(present.version) if present else None):
            raise etag_mismatch(wanted.name)
        if present is not None:
            changed = _changed(present, wanted, paths)
            _check_contact(changed)
            return _contact_message(await contacts.update(tx, changed))
        if not request.allow_missing:
            raise not_found("CONTACT_NOT_FOUND", wanted.name)
        # What is created takes all that is given, whatever the mask (AIP-134).
        new = _changed(_no_contact(key, self._clock.now()), wanted, _ALL_PATHS)
        _check_contact(new)
        created = await contacts.insert(tx, new)
        if created is None:
            # Somebody created it in this instant.
            created = await contacts.update(tx, new)
        return _contact_message(created)

    async def GetContact(
        self, request: notify_pb2.GetContactRequest, _context: object
    ) -> notify_pb2.Contact:
        """Get a contact."""
        key = _read_contact_key(request.name)
        async with self.database.read() as connection:
            return _contact_message(await _existing(connection, key))

    async def ListContacts(
        self, request: notify_pb2.ListContactsRequest, _context: object
    ) -> notify_pb2.ListContactsResponse:
        """List a merchant's contacts by customer."""
        merchant = _read_merchant(request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self.database.read() as connection:
            found = await contacts.of_merchant(connection, merchant, after, page.size + 1)
        shown = found[: page.size]
        return notify_pb2.ListContactsResponse(
            contacts=[_contact_message(contact) for contact in shown],
            next_page_token=(
                page.token((shown[-1].key.customer,)) if len(found) > page.size else ""
            ),
        )

    # --- binding a phone ------------------------------------------------------------------------

    @mutation(notify_pb2.StartPhoneBindingResponse)
    async def StartPhoneBinding(
        self, request: notify_pb2.StartPhoneBindingRequest, tx: AsyncConnection
    ) -> notify_pb2.StartPhoneBindingResponse:
        """Send a one-time code to a number."""
        violations = Violations()
        key = _read_contact_name(violations, "name", request.name)
        violations.require(
            "phone",
            "must be an E.164 number, for example +491701234567",
            met=_PHONE.fullmatch(request.phone) is not None,
        )
        violations.check()
        caller().check(key.merchant)
        now = self._clock.now()
        await _existing(tx, key, lock=True)
        if await codes.count_since(tx, key, now - CODES_MAX_PERIOD) >= CODES_MAX:
            raise Problem(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "CODES_TOO_MANY",
                f"{CODES_MAX} codes were sent within an hour; try again later",
            )
        notice_id = str(derived_id("phone-code", key.merchant, key.customer, request.request_id))
        code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"
        salt = secrets.token_bytes(SALT_BYTES)
        expire_time = now + CODE_LIFE
        await codes.void(tx, key)
        await notices.insert(tx, [_code_notice(key, notice_id, code, now)])
        sent = PhoneCode(notice_id, request.phone, salt, hash_code(code, salt), 0, expire_time)
        await codes.insert(tx, key, sent, now)
        return notify_pb2.StartPhoneBindingResponse(expire_time=to_timestamp(expire_time))

    async def ConfirmPhoneBinding(
        self, request: notify_pb2.ConfirmPhoneBindingRequest, _context: object
    ) -> notify_pb2.Contact:
        """Prove with the code that the number is the customer's.

        Not a `mutation`, which undoes all that a refused call did: a wrong guess must be counted.
        """
        violations = Violations()
        key = _read_contact_name(violations, "name", request.name)
        violations.require(
            "code", f"must be {CODE_DIGITS} digits", met=_CODE.fullmatch(request.code) is not None
        )
        violations.check()
        caller().check(key.merchant)
        once = Mutation(request, request.request_id)
        async with self.database.begin() as tx:
            # The contact's lock lets one guess at a time be made.
            await _existing(tx, key, lock=True)
            before = await once.replay(tx, notify_pb2.Contact)
            if before is not None:
                return before
            code = await codes.pending(tx, key)
            check = check_code(code, request.code, self._clock.now())
            if check is CodeCheck.RIGHT and code is not None:
                phone = code.phone
                return await once.once(
                    tx, notify_pb2.Contact, lambda tx: self._bind(tx, key, phone)
                )
            if check is CodeCheck.CODE_WRONG:
                await codes.count_wrong(tx, key)
        raise wrong_state(check, _CODE_PROBLEMS[check])

    async def _bind(self, tx: AsyncConnection, key: CustomerKey, phone: str) -> notify_pb2.Contact:
        now = self._clock.now()
        await codes.use(tx, key)
        contact = await contacts.bind(tx, key, phone, now)
        await outbox.put(tx, [events.contact_bound(contact, now)])
        return _contact_message(contact)

    # --- notices --------------------------------------------------------------------------------

    async def ListNotices(
        self, request: notify_pb2.ListNoticesRequest, _context: object
    ) -> notify_pb2.ListNoticesResponse:
        """List a customer's notices, the oldest first."""
        violations = Violations()
        key = CustomerKey(*events.CUSTOMER.read(violations, "parent", request.parent))
        violations.require(
            "subject_resource",
            f"must be a resource name of at most {SUBJECT_RESOURCE_MAX_CHARACTERS} characters",
            met=_is_line(request.subject_resource, 0, SUBJECT_RESOURCE_MAX_CHARACTERS),
        )
        violations.check()
        caller().check(key.merchant)
        page = read_page(request, keys=1)
        after = int(page.after[0]) if page.after else 0
        async with self.database.read() as connection:
            found = await notices.of_customer(
                connection, key, request.subject_resource, after, page.size + 1
            )
        shown = found[: page.size]
        return notify_pb2.ListNoticesResponse(
            notices=[_notice_message(notice) for _, notice in shown],
            next_page_token=page.token((str(shown[-1][0]),)) if len(found) > page.size else "",
        )

    async def GetNotice(
        self, request: notify_pb2.GetNoticeRequest, _context: object
    ) -> notify_pb2.Notice:
        """Get a notice."""
        violations = Violations()
        merchant, customer, notice_id = events.NOTICE.read(violations, "name", request.name)
        violations.check()
        caller().check(merchant)
        async with self.database.read() as connection:
            notice = await notices.one(connection, CustomerKey(merchant, customer), notice_id)
        if notice is None:
            raise not_found("NOTICE_NOT_FOUND", request.name)
        return _notice_message(notice)

    async def PreviewNotice(
        self, request: notify_pb2.PreviewNoticeRequest, _context: object
    ) -> notify_pb2.PreviewNoticeResponse:
        """What a kind of notice says, with made-up facts."""
        known = {notify_pb2.NoticeKind.Value(kind): kind for kind in NoticeKind}
        violations = Violations()
        (merchant,) = MERCHANT.read(violations, "parent", request.parent)
        violations.require("kind", "must be a kind of notice", met=request.kind in known)
        violations.check()
        caller().check(merchant)
        texts = render(EXAMPLES[known[request.kind]], EXAMPLE_DISPLAY_NAME)
        return notify_pb2.PreviewNoticeResponse(
            sms_text=texts.sms, email_subject=texts.email_subject, email_text=texts.email
        )

    # --- for the suite --------------------------------------------------------------------------

    async def BatchCheckContacts(
        self, request: notify_pb2.BatchCheckContactsRequest, _context: object
    ) -> notify_pb2.BatchCheckContactsResponse:
        """Whether customers can be told, many at once."""
        violations = Violations()
        violations.require(
            "customers",
            f"must have 1 to {BATCH_MAX_CUSTOMERS} entries",
            met=1 <= len(request.customers) <= BATCH_MAX_CUSTOMERS,
        )
        violations.check()
        keys = [
            CustomerKey(*events.CUSTOMER.read(violations, f"customers[{index}]", name))
            for index, name in enumerate(request.customers)
        ]
        violations.check()
        for merchant in {key.merchant for key in keys}:
            caller().check(merchant)
        async with self.database.read() as connection:
            found = await contacts.by_key(connection, keys)
        return notify_pb2.BatchCheckContactsResponse(
            results=[
                notify_pb2.ContactCheckResult(phone_bound=bool(key in found and found[key].phone))
                for key in keys
            ]
        )


async def _existing(
    connection: AsyncConnection, key: CustomerKey, *, lock: bool = False
) -> Contact:
    contact = await contacts.one(connection, key, lock=lock)
    if contact is None:
        raise not_found("CONTACT_NOT_FOUND", events.CONTACT.format(key.merchant, key.customer))
    return contact


# --- wire to domain ----------------------------------------------------------------------------

_ALL_PATHS = frozenset({
    "display_name", "email", "preferences.sms_receipts_muted", "preferences.email_muted",
})  # fmt: skip


def _read_merchant(name: str) -> str:
    violations = Violations()
    (merchant,) = MERCHANT.read(violations, "parent", name)
    violations.check()
    caller().check(merchant)
    return merchant


def _read_contact_name(violations: Violations, field: str, name: str) -> CustomerKey:
    return CustomerKey(*events.CONTACT.read(violations, field, name))


def _read_contact_key(name: str) -> CustomerKey:
    violations = Violations()
    key = _read_contact_name(violations, "name", name)
    violations.check()
    caller().check(key.merchant)
    return key


def _read_mask(violations: Violations, request: notify_pb2.UpdateContactRequest) -> frozenset[str]:
    """The fields to change: those of the mask, or all that are set (AIP-134)."""
    given = set(request.update_mask.paths)
    if not given:
        contact = request.contact
        given = {name for name in ("display_name", "email") if getattr(contact, name)}
        given |= {"preferences"} if contact.HasField("preferences") else set()
    expanded = set()
    for path in given:
        below = {known for known in _ALL_PATHS if path in {known, known.partition(".")[0], "*"}}
        violations.require("update_mask", f"{path!r} cannot be changed here", met=bool(below))
        expanded |= below
    return frozenset(expanded)


def _changed(contact: Contact, wanted: notify_pb2.Contact, paths: frozenset[str]) -> Contact:
    """The contact with the fields of the paths as they are wanted."""
    given = {
        "display_name": wanted.display_name,
        "email": wanted.email,
        "preferences.sms_receipts_muted": wanted.preferences.sms_receipts_muted,
        "preferences.email_muted": wanted.preferences.email_muted,
    }
    changes = {path.rpartition(".")[2]: value for path, value in given.items() if path in paths}
    return replace(contact, **changes)  # type: ignore[arg-type]


def _no_contact(key: CustomerKey, now: datetime) -> Contact:
    return Contact(
        key=key,
        display_name="",
        email="",
        phone="",
        bind_time=None,
        bind_count=0,
        sms_receipts_muted=False,
        email_muted=False,
        create_time=now,
        version=1,
    )


def _check_contact(contact: Contact) -> None:
    violations = Violations()
    violations.require(
        "contact.display_name",
        f"must have 1 to {DISPLAY_NAME_MAX_CHARACTERS} printable characters",
        met=_is_line(contact.display_name, 1, DISPLAY_NAME_MAX_CHARACTERS),
    )
    violations.require(
        "contact.email",
        f"must be empty or a mail address of at most {EMAIL_MAX_CHARACTERS} characters",
        met=not contact.email
        or (
            len(contact.email) <= EMAIL_MAX_CHARACTERS
            and _EMAIL.fullmatch(contact.email) is not None
        ),
    )
    violations.check()


def _is_line(text: str, least: int, most: int) -> bool:
    return least <= len(text) <= most and text.isprintable() and (not least or bool(text.strip()))


def _code_notice(key: CustomerKey, notice_id: str, code: str, now: datetime) -> Notice:
    """The SMS with a code; what is kept of it leaves the code out."""
    shown = render(kinds.PhoneCode(kinds.CODE_LEFT_OUT), "")
    delivery: Delivery = replace(
        events.pending_delivery(Channel.SMS, shown, now, now + CODE_LIFE, main=True),
        secret_text=render(kinds.PhoneCode(code), "").sms,
    )
    return Notice(
        key=key,
        notice=notice_id,
        kind=NoticeKind.PHONE_CODE,
        subject_resource="",
        promise=None,
        traceparent=telemetry.current_traceparent(),
        create_time=now,
        deliveries=(delivery,),
    )


# --- domain to wire ----------------------------------------------------------------------------


def _contact_message(contact: Contact) -> notify_pb2.Contact:
    message = notify_pb2.Contact(
        name=events.CONTACT.format(contact.key.merchant, contact.key.customer),
        display_name=contact.display_name,
        email=contact.email,
        masked_phone=mask_phone(contact.phone),
        preferences=notify_pb2.Contact.Preferences(
            sms_receipts_muted=contact.sms_receipts_muted, email_muted=contact.email_muted
        ),
        create_time=to_timestamp(contact.create_time),
        etag=etag(contact.version),
    )
    if contact.bind_time is not None:
        message.bind_time.CopyFrom(to_timestamp(contact.bind_time))
    return message


def _notice_message(notice: Notice) -> notify_pb2.Notice:
    return notify_pb2.Notice(
        name=events.notice_name(notice),
        kind=notify_pb2.NoticeKind.Value(notice.kind),
        subject_resource=notice.subject_resource,
        deliveries=_delivery_messages(notice.deliveries),
        create_time=to_timestamp(notice.create_time),
    )


def _delivery_messages(deliveries: Sequence[Delivery]) -> list[notify_pb2.Notice.Delivery]:
    return [
        notify_pb2.Notice.Delivery(
            channel=notify_pb2.Channel.Value(delivery.channel),
            state=notify_pb2.Notice.Delivery.State.Value(delivery.state),
            text=delivery.text,
            attempt_count=delivery.attempt_count,
            deliver_time=(
                to_timestamp(delivery.deliver_time) if delivery.deliver_time is not None else None
            ),
            failure_code=delivery.failure_code,
        )
        for delivery in deliveries
    ]
