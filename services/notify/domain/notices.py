"""Whom a notice reaches, by what channel, and how often it is tried. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, NewType, Protocol

from services.notify.domain.sms_prices import NO_SMS, SmsUsage
from services.notify.domain.transitions import DELIVERY, DeliveryEvent, DeliveryState

MerchantId = NewType("MerchantId", str)
CustomerId = NewType("CustomerId", str)
NoticeId = NewType("NoticeId", str)

# Pauses before the attempts after the first; the last one repeats.
RETRY_PAUSES = (
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=1),
)
# So long after a request whose answer was lost, its gateway knows whether it had it.
UNKNOWN_PAUSE = timedelta(minutes=1)
DELIVERY_LIFETIME = timedelta(hours=24)

FAILURE_NO_CHANNEL = "NO_CHANNEL"
FAILURE_CODE_VOID = "CODE_VOID"
FAILURE_UNREADABLE = "UNREADABLE"
# It waits for the morning of whoever gets it.
WAITING_QUIET_HOURS = "QUIET_HOURS"
# It waits for a message that says it with others, since the customer has had those of a day.
WAITING_DIGEST = "DIGEST"
# The phone did not take the last messages, and is left alone for now.
FAILURE_PHONE_UNREACHABLE = "PHONE_UNREACHABLE"
VOID_SUPERSEDED = "SUPERSEDED"
VOID_EXPIRED = "EXPIRED"
# The answer to a reply of the customer says it.
VOID_ANSWERED = "ANSWERED"
# A gateway took the message and never said what became of it.
FAILURE_NO_RECEIPT = "NO_RECEIPT"
# It waits for a gateway that has taken no message for a while.
FAILURE_GATEWAY_AWAY = "GATEWAY_AWAY"

# How long a phone is left alone after the first message that it did not take; doubles with each more.
SMS_RETRY_PAUSE = timedelta(hours=12)
SMS_RETRY_PAUSE_MAX = timedelta(days=7)


# A gateway is asked about a message after as long as it has had it, between these.
RECEIPT_POLL_MIN = timedelta(minutes=1)
RECEIPT_POLL_MAX = timedelta(hours=1)
# At least so long after a gateway took it, a message may still arrive.
RECEIPT_WAIT_MIN = timedelta(minutes=10)


class Channel(StrEnum):
    """A way to a customer."""

    SMS = "SMS"
    EMAIL = "EMAIL"


class Evidence(StrEnum):
    """What counts as proof that a message reached somebody."""

    # A gateway took it.
    ACCEPTED = "ACCEPTED"
    # A receipt says that it arrived.
    DELIVERED = "DELIVERED"


class BillingMode(StrEnum):
    """How an announced order is paid."""

    AUTOMATIC = "AUTOMATIC"
    PAY_ON_NOTICE = "PAY_ON_NOTICE"


class NoticeKind(StrEnum):
    """What a notice is for."""

    PHONE_CODE = "PHONE_CODE"
    ORDER_UPCOMING = "ORDER_UPCOMING"
    PAYMENT_REQUEST = "PAYMENT_REQUEST"
    PAYMENT_DECLINED = "PAYMENT_DECLINED"
    RECEIPT = "RECEIPT"
    ORDER_SKIPPED = "ORDER_SKIPPED"
    ORDER_HELD = "ORDER_HELD"
    ORDER_LAPSED = "ORDER_LAPSED"
    ORDER_CANCELLED = "ORDER_CANCELLED"
    STANDING_ORDER_CHANGED = "STANDING_ORDER_CHANGED"
    REFUND = "REFUND"
    PAYMENT_METHOD_BLOCKED = "PAYMENT_METHOD_BLOCKED"
    ITEM_DISCONTINUED = "ITEM_DISCONTINUED"
    PHONE_CHANGED = "PHONE_CHANGED"
    PHONE_CHANGE_PENDING = "PHONE_CHANGE_PENDING"
    PHONE_LAPSED = "PHONE_LAPSED"
    EMAIL_LINK = "EMAIL_LINK"
    PRICE_CHANGE = "PRICE_CHANGE"
    PRICE_CHANGE_WITHDRAWN = "PRICE_CHANGE_WITHDRAWN"
    PAYMENT_METHOD_EXPIRING = "PAYMENT_METHOD_EXPIRING"
    PRICE_PROTECTION_ENDING = "PRICE_PROTECTION_ENDING"
    PAYMENT_ACTION_REQUIRED = "PAYMENT_ACTION_REQUIRED"
    PAYMENT_REMINDER = "PAYMENT_REMINDER"
    DISPUTE_OPENED = "DISPUTE_OPENED"
    DISPUTE_CLOSED = "DISPUTE_CLOSED"
    PAYMENT_OVERDUE = "PAYMENT_OVERDUE"
    DOCUMENT_ISSUED = "DOCUMENT_ISSUED"
    REPLY = "REPLY"
    MONTHLY_SUMMARY = "MONTHLY_SUMMARY"
    PROMOTION_ENDING = "PROMOTION_ENDING"


class UnbindReason(StrEnum):
    """Why a customer has no bound phone any more."""

    REQUESTED = "REQUESTED"
    # No message has arrived for so long that the number may be another's.
    PHONE_SILENT = "PHONE_SILENT"
    # The gateway says that nobody has the number.
    NUMBER_UNASSIGNED = "NUMBER_UNASSIGNED"


# These go by e-mail as well, where there is an address.
_COPIED_BY_EMAIL = {
    NoticeKind.ORDER_UPCOMING, NoticeKind.PAYMENT_REQUEST, NoticeKind.RECEIPT, NoticeKind.PRICE_CHANGE,
    NoticeKind.PRICE_CHANGE_WITHDRAWN, NoticeKind.PRICE_PROTECTION_ENDING,
    NoticeKind.PROMOTION_ENDING,
    NoticeKind.PAYMENT_ACTION_REQUIRED, NoticeKind.PAYMENT_REMINDER, NoticeKind.PAYMENT_OVERDUE,
    NoticeKind.DISPUTE_OPENED, NoticeKind.DISPUTE_CLOSED,
}  # fmt: skip
# These go by e-mail or not at all: nothing depends on them, and an SMS has no room for a file.
EMAIL_ONLY = frozenset({NoticeKind.DOCUMENT_ISSUED})
# A file of payments goes with these.
WITH_ATTACHMENT = frozenset({NoticeKind.DOCUMENT_ISSUED})
# Notices before a charge, and before a higher one, go out whatever is muted.
NEVER_MUTED = {
    NoticeKind.ORDER_UPCOMING, NoticeKind.PAYMENT_REQUEST, NoticeKind.PRICE_CHANGE,
    NoticeKind.PRICE_CHANGE_WITHDRAWN, NoticeKind.PRICE_PROTECTION_ENDING,
    NoticeKind.PROMOTION_ENDING,
    NoticeKind.PAYMENT_ACTION_REQUIRED, NoticeKind.PAYMENT_REMINDER, NoticeKind.PAYMENT_OVERDUE,
}  # fmt: skip


# These go to one phone or address, since they are about it.
ABOUT_ADDRESS = frozenset({
    NoticeKind.PHONE_CODE, NoticeKind.PHONE_CHANGED, NoticeKind.PHONE_CHANGE_PENDING,
    NoticeKind.PHONE_LAPSED, NoticeKind.EMAIL_LINK,
})  # fmt: skip


class CustomerKey(NamedTuple):
    """Which customer."""

    merchant: MerchantId
    customer: CustomerId


class NoticeKey(NamedTuple):
    """Which notice."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId

    @property
    def customer_key(self) -> CustomerKey:
        """Who gets it."""
        return CustomerKey(self.merchant, self.customer)


class DeliveryKey(NamedTuple):
    """Which delivery."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId
    channel: Channel

    @property
    def notice_key(self) -> NoticeKey:
        """Which notice it delivers."""
        return NoticeKey(self.merchant, self.customer, self.notice)


class Contact(NamedTuple):
    """How to reach a customer. An empty e-mail or phone is none."""

    key: CustomerKey
    display_name: str
    email: str
    phone: str
    # Proved as well, and to become the bound phone at its time; empty: none.
    pending_phone: str
    pending_bind_time: datetime | None
    # Since a phone was unbound: until when another one has to wait.
    phone_hold_until_time: datetime | None
    # Since when and why the phone is not proved any more; nothing is sent to it.
    phone_lapse_time: datetime | None
    phone_lapse_reason: str
    bind_time: datetime | None
    # How many times a phone was bound; distinguishes one bound phone from the next.
    bind_count: int
    sms_receipts_muted: bool
    email_muted: bool
    create_time: datetime
    version: int
    # Until when nothing is sent to the phone, which did not take the last messages.
    sms_retry_time: datetime | None = None
    # A canonical BCP 47 tag; empty: English.
    locale: str = ""
    # An IANA name; empty: that of the merchant's settings.
    time_zone: str = ""
    # When the e-mail address was proved; None: it was not.
    email_bind_time: datetime | None = None
    # Since when the customer wants no SMS; None: they take them.
    sms_stop_time: datetime | None = None
    summaries_muted: bool = False

    @property
    def proved_phone(self) -> str:
        """The phone that was proved and not lapsed since; empty: there is none."""
        return "" if self.phone_lapse_time is not None else self.phone

    @property
    def messaged_phone(self) -> str:
        """The phone that notices go to; empty: there is none, or its owner wants none."""
        return "" if self.sms_stop_time is not None else self.proved_phone


def new_contact(key: CustomerKey, now: datetime) -> Contact:
    """A contact of whom nothing is known yet."""
    return Contact(
        key=key,
        display_name="",
        email="",
        phone="",
        pending_phone="",
        pending_bind_time=None,
        phone_hold_until_time=None,
        phone_lapse_time=None,
        phone_lapse_reason="",
        bind_time=None,
        bind_count=0,
        sms_receipts_muted=False,
        email_muted=False,
        create_time=now,
        version=1,
    )


class Addressee(NamedTuple):
    """By what name, empty if unknown, and in which language a customer is addressed."""

    display_name: str
    locale: str
    # Who writes.
    merchant_display_name: str = ""
    complaint_address: str = ""


class Sender(NamedTuple):
    """Who writes to a customer; what is empty is not said."""

    merchant_display_name: str = ""
    complaint_address: str = ""
    # By what the customer and the merchant find the order that it is about.
    reference: str = ""
    # Whether customers can reply to an SMS.
    takes_replies: bool = False


@dataclass(frozen=True, slots=True)
class Promise:
    """What a notice before a charge promises, whenever it arrives."""

    amount_minor: int
    currency: str
    charge_not_before: datetime
    notice_lead: timedelta
    billing_mode: BillingMode

    def charge_not_before_if_delivered(self, deliver_time: datetime) -> datetime:
        """No charge earlier than this: a late notice defers it and never shortens the lead."""
        return max(self.charge_not_before, deliver_time + self.notice_lead)


class PriceNotice(NamedTuple):
    """What a notice of a price change is evidence of: the price, and for which standing orders."""

    price: str
    # A correction announces a price again.
    announce_time: datetime
    standing_orders: tuple[str, ...]


class Facts(Protocol):
    """What a notice is made of: the facts that its kind has, before they are words."""

    @property
    def kind(self) -> NoticeKind:
        """What the notice is for."""


class Delivery(NamedTuple):
    """A notice on its way through one channel."""

    channel: Channel
    # Whether this channel decides if the notice was delivered.
    main: bool
    state: DeliveryState
    # What was sent at the first attempt, and is at each further one; empty before it.
    subject: str
    text: str
    # A one-time code: sent in place of the stars that the text keeps of it, and forgotten afterwards.
    secret_text: str | None
    next_attempt_time: datetime
    give_up_time: datetime
    attempt_count: int = 0
    deliver_time: datetime | None = None
    failure_code: str = ""
    # When what it says stops being true; None: never by time alone.
    expire_time: datetime | None = None
    # Where it goes; empty: where the contact is reached at the moment of sending.
    address: str = ""
    # The locale of the text, and the merchant's template that it was made by, as `id@version`; empty as
    # long as there is no text, and if it is the suite's.
    locale: str = ""
    template: str = ""
    evidence: Evidence = Evidence.DELIVERED
    # When a gateway took it, which, and what it calls it.
    accept_time: datetime | None = None
    gateway: str = ""
    gateway_message: str = ""
    # Whether a file goes with the text.
    has_attachment: bool = False
    # The notice (id) whose message says this one as well; empty: it has a message of its own.
    digest_notice: str = ""


class Notice(NamedTuple):
    """One message to a customer about one event."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId
    kind: NoticeKind
    subject_resource: str
    promise: Promise | None
    traceparent: str
    # When the event happened that it is about.
    occur_time: datetime
    create_time: datetime
    deliveries: tuple[Delivery, ...]
    # Of a receipt, and of the notice that an order was cancelled: when the order was due.
    due_time: datetime | None = None
    price_notice: PriceNotice | None = None
    # None of a customer who was erased.
    facts: Facts | None = None
    # The notice that this one repeats, since an operator had it sent once more; empty: none.
    original_notice: NoticeId = NoticeId("")

    @property
    def key(self) -> NoticeKey:
        """Which it is."""
        return NoticeKey(self.merchant, self.customer, self.notice)

    @property
    def customer_key(self) -> CustomerKey:
        """Who gets it."""
        return CustomerKey(self.merchant, self.customer)

    @property
    def is_failed(self) -> bool:
        """Whether it cannot be delivered by some channel."""
        return any(delivery.state is DeliveryState.FAILED for delivery in self.deliveries)


def can_be_reached(contact: Contact | None) -> bool:
    """Whether there is any way to the customer."""
    return contact is not None and bool(contact.messaged_phone or contact.email)


def sms_rests(contact: Contact | None, now: datetime) -> bool:
    """Whether the phone is left alone, since it did not take the last messages."""
    return (
        contact is not None and contact.sms_retry_time is not None and now < contact.sms_retry_time
    )


class Preferences(Protocol):
    """What a customer has muted."""

    @property
    def sms_receipts_muted(self) -> bool:
        """Receipts by SMS."""

    @property
    def email_muted(self) -> bool:
        """All e-mail that can be muted."""

    @property
    def summaries_muted(self) -> bool:
        """Summaries of months."""


def is_kind_muted(kind: NoticeKind, preferences: Preferences) -> bool:
    """Whether a customer wants no notice of a kind, by any channel."""
    return kind is NoticeKind.MONTHLY_SUMMARY and preferences.summaries_muted


def is_muted(kind: NoticeKind, channel: Channel, preferences: Preferences) -> bool:
    """Whether a customer wants no notice of a kind by a channel."""
    if is_kind_muted(kind, preferences):
        return True
    if channel is Channel.SMS:
        return kind is NoticeKind.RECEIPT and preferences.sms_receipts_muted
    return preferences.email_muted and kind not in NEVER_MUTED


def channels(kind: NoticeKind, contact: Contact | None, now: datetime) -> tuple[Channel, ...]:
    """The channels that a notice goes through, the main one first.

    None when the customer cannot be reached, or has muted what this is.
    """
    if contact is None or is_kind_muted(kind, contact):
        return ()
    sms_muted = kind is NoticeKind.RECEIPT and contact.sms_receipts_muted
    has_phone = bool(contact.messaged_phone) and kind not in EMAIL_ONLY
    sms = has_phone and not sms_muted and not sms_rests(contact, now)
    email = bool(contact.email) and not contact.email_muted
    if sms:
        return (
            (Channel.SMS, Channel.EMAIL) if email and kind in _COPIED_BY_EMAIL else (Channel.SMS,)
        )
    if email or (contact.email and kind in NEVER_MUTED):
        return (Channel.EMAIL,)
    return ()


class Verdict(StrEnum):
    """What became of one attempt to send."""

    # Taken; a receipt follows, or does not.
    ACCEPTED = "ACCEPTED"
    DELIVERED = "DELIVERED"
    # Worth trying again, with the same key, since it may have arrived.
    TEMPORARY = "TEMPORARY"
    # As TEMPORARY, and a gateway without keys has to be asked first whether it has the message.
    UNKNOWN = "UNKNOWN"
    PERMANENT = "PERMANENT"
    NOT_TRIED = "NOT_TRIED"
    # Not sent, since it is not true any more.
    VOID = "VOID"


class Attempt(NamedTuple):
    """One attempt to send, and why it failed, as the gateway names it."""

    verdict: Verdict
    failure_code: str = ""
    # What the gateway calls the message.
    gateway_message: str = ""
    gateway: str = ""
    # Of what was not tried: when it is.
    retry_time: datetime | None = None
    # Whether the gateway said that it did not take it, for reasons of its own.
    is_refused: bool = False


class Progress(NamedTuple):
    """What an attempt makes of a delivery."""

    state: DeliveryState
    attempt_count: int
    next_attempt_time: datetime
    deliver_time: datetime | None = None
    failure_code: str = ""
    # Whether it failed since the address does not take messages.
    is_permanent: bool = False
    accept_time: datetime | None = None
    gateway: str = ""
    gateway_message: str = ""
    usage: SmsUsage = NO_SMS


def is_sendable(delivery: Delivery, now: datetime) -> bool:
    """Whether a delivery is worth sending: a one-time code until it expires, all else while true."""
    return delivery.secret_text is None or now < delivery.give_up_time


def is_expired(delivery: Delivery, now: datetime) -> bool:
    """Whether time alone has made a delivery untrue."""
    return delivery.expire_time is not None and now >= delivery.expire_time


def progress(delivery: Delivery, attempt: Attempt, now: datetime) -> Progress:
    """What an attempt at this instant makes of a pending delivery."""

    def after(event: DeliveryEvent, count: int, next_attempt_time: datetime) -> Progress:
        state = DELIVERY.to(delivery.state, event)
        return Progress(state, count, next_attempt_time, failure_code=attempt.failure_code)

    count, present = delivery.attempt_count, delivery.next_attempt_time
    if attempt.verdict is Verdict.NOT_TRIED:
        kept = after(DeliveryEvent.POSTPONE, count, attempt.retry_time or present)
        return kept._replace(failure_code=attempt.failure_code or delivery.failure_code)
    if attempt.verdict is Verdict.VOID:
        return after(DeliveryEvent.VOID, count, present)
    count += 1
    if attempt.verdict is Verdict.DELIVERED:
        return after(DeliveryEvent.DELIVER, count, present)._replace(deliver_time=now)
    if attempt.verdict is Verdict.ACCEPTED:
        return after(DeliveryEvent.ACCEPT, count, now + RECEIPT_POLL_MIN)._replace(
            accept_time=now,
            gateway=attempt.gateway,
            gateway_message=attempt.gateway_message,
        )
    pause = RETRY_PAUSES[min(count, len(RETRY_PAUSES)) - 1]
    again = now + (max(pause, UNKNOWN_PAUSE) if attempt.verdict is Verdict.UNKNOWN else pause)
    is_permanent = attempt.verdict is Verdict.PERMANENT
    is_over = is_permanent or again > delivery.give_up_time
    event = DeliveryEvent.FAIL if is_over else DeliveryEvent.POSTPONE
    return after(event, count, again)._replace(is_permanent=is_permanent)
