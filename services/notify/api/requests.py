"""From requests to the domain, noting everything that is wrong with them."""

from dataclasses import dataclass
from datetime import datetime

from recurring.notify.v1 import notify_pb2

from services.notify.application.contacts import ContactUpdate
from services.notify.application.phones import BindingStart
from services.notify.domain.locales import canonical_locale, is_time_zone
from services.notify.domain.notices import CustomerKey, NoticeKind
from services.notify.domain.phone_numbers import NumberPolicies, check_number
from services.notify.domain.quiet_hours import before_charge, before_expiry
from services.notify.domain.templates.own import purpose_of
from services.notify.domain.transitions import DeliveryState
from services.notify.names import (
    ANY_CUSTOMER,
    CONTACT,
    CUSTOMER,
    CUSTOMER_OR_ANY,
    NOTICE_TEMPLATE,
)
from services.notify.store.notices import NoticeFilter
from services.notify.store.templates import Content
from services.runtime.errors import Violations
from services.runtime.quiet_hours import announce_time
from services.runtime.resource_names import require_within
from services.runtime.rpc.conversions import read_timestamp
from services.runtime.rpc.names import read_name

# Field masks name fields by these paths; the last part is the name in the domain.
_PATHS = frozenset({
    "display_name", "email", "preferences.sms_receipts_muted", "preferences.email_muted",
    "preferences.summaries_muted", "locale", "time_zone",
})  # fmt: skip


def read_contact_update(request: notify_pb2.UpdateContactRequest) -> ContactUpdate:
    """What a contact is to become; an empty name is one that is not given."""
    contact = request.contact
    key = read_name(CONTACT, contact.name)
    fields: dict[str, str | bool] = {
        "display_name": contact.display_name,
        "email": contact.email,
        "sms_receipts_muted": contact.preferences.sms_receipts_muted,
        "email_muted": contact.preferences.email_muted,
        "summaries_muted": contact.preferences.summaries_muted,
        "locale": canonical_locale(contact.locale),
        "time_zone": contact.time_zone,
    }
    violations = Violations()
    if contact.locale and not fields["locale"]:
        violations.add("contact.locale", "is no language that CLDR has", "LOCALE_UNKNOWN")
    require_time_zone(violations, "contact.time_zone", contact.time_zone)
    mask = _read_mask(violations, request)
    violations.check()
    return ContactUpdate(key, fields, mask, contact.etag, request.allow_missing)


def require_time_zone(violations: Violations, field: str, time_zone: str) -> None:
    """A time zone, if one is given, has to be one that IANA has."""
    if time_zone and not is_time_zone(time_zone):
        message = 'must be an IANA time zone, for example "Europe/Berlin"'
        violations.add(field, message, "TIME_ZONE_UNKNOWN")


def _read_mask(violations: Violations, request: notify_pb2.UpdateContactRequest) -> frozenset[str]:
    """The names of the fields to change: those of the mask, or all that are set (AIP-134)."""
    paths = set(request.update_mask.paths)
    if not paths:
        contact = request.contact
        plain = ("display_name", "email", "locale", "time_zone")
        paths = {name for name in plain if getattr(contact, name)}
        paths |= {"preferences"} if contact.HasField("preferences") else set()
    chosen: set[str] = set()
    for path in paths:
        meant = {known for known in _PATHS if path in {known, known.partition(".")[0], "*"}}
        violations.require("update_mask", f"{path!r} cannot be changed here", met=bool(meant))
        chosen |= {known.rpartition(".")[2] for known in meant}
    return frozenset(chosen)


# What a notice of these kinds says is true until a time; of the last it may be.
_EXPIRING = frozenset({
    NoticeKind.PAYMENT_REQUEST, NoticeKind.PAYMENT_ACTION_REQUIRED, NoticeKind.PAYMENT_REMINDER,
    NoticeKind.PAYMENT_OVERDUE,
})  # fmt: skip
_MAY_EXPIRE = _EXPIRING | {NoticeKind.PAYMENT_DECLINED}


# A schedule in it has no night.
_NO_NIGHT = "UTC"


@dataclass(frozen=True, slots=True)
class PlannedNotice:
    """A notice that could be made."""

    key: CustomerKey
    kind: NoticeKind
    make_time: datetime
    # Until when it must be out; None: nothing depends on it.
    until: datetime | None


def read_planned_notice(request: notify_pb2.PreviewNoticesRequest, now: datetime) -> PlannedNotice:
    """A notice that could be made, with what its kind has to have."""
    key, kind = read_name(CUSTOMER, request.parent), read_kind(request.kind)
    is_charge = kind is NoticeKind.ORDER_UPCOMING
    violations = Violations()
    given = {field.name for field, _ in request.ListFields()}
    times = {
        field: read_timestamp(violations, field, getattr(request, field))
        for field in ("make_time", "charge_not_before_time", "expire_time")
        if field in given
    }
    needed = {
        "charge_not_before_time": is_charge, "notice_lead": is_charge, "expire_time": kind in _EXPIRING,
    }  # fmt: skip
    allowed = needed | {"expire_time": kind in _MAY_EXPIRE}
    for field, is_needed in needed.items():
        if field in given:
            violations.require(field, f"has no meaning for {kind}", met=allowed[field])
        else:
            violations.require(field, f"must be given for {kind}", met=not is_needed)
    if "schedule_time_zone" in given:
        is_free = is_charge and "make_time" not in given
        rule = "has no meaning but for ORDER_UPCOMING without make_time"
        violations.require("schedule_time_zone", rule, met=is_free)
        require_time_zone(violations, "schedule_time_zone", request.schedule_time_zone)
    violations.check()
    until, made = None, now
    if is_charge:
        until = before_charge(times["charge_not_before_time"], request.notice_lead.ToTimedelta())
        made = max(now, announce_time(until, request.schedule_time_zone or _NO_NIGHT))
    elif "expire_time" in times:
        until = before_expiry(times["expire_time"])
    return PlannedNotice(key, kind, times.get("make_time", made), until)


def read_binding_start(
    request: notify_pb2.StartPhoneBindingRequest, numbers: NumberPolicies
) -> BindingStart:
    """The customer, and the number of a mobile phone in E.164 that policy allows codes to."""
    key = read_name(CONTACT, request.name)
    violations = Violations()
    refusal = check_number(request.phone, numbers.of(key.merchant))
    if refusal is not None:
        violations.add("phone", refusal.message, refusal.problem)
    violations.check()
    return BindingStart(key, request.phone, request.with_present_phone_code, request.request_id)


def read_notices_parent(request: notify_pb2.ListNoticesRequest) -> CustomerKey:
    """The customer whose notices to list; a resource that they are about is of the same merchant."""
    key = read_name(CUSTOMER_OR_ANY, request.parent)
    violations = Violations()
    require_within(violations, "subject_resource", request.subject_resource, key.merchant)
    did_not_arrive = request.state in {
        notify_pb2.Notice.Delivery.FAILED, notify_pb2.Notice.Delivery.EXPIRED,
    }  # fmt: skip
    violations.require(
        "state",
        "must be FAILED or EXPIRED, of all customers",
        met=key.customer != ANY_CUSTOMER or did_not_arrive,
    )
    violations.check()
    return key


def read_notice_filter(request: notify_pb2.ListNoticesRequest) -> NoticeFilter:
    """Which notices to list."""
    state = notify_pb2.Notice.Delivery.State.Name(request.state)
    return NoticeFilter(
        request.subject_resource,
        read_kind(request.kind) if request.kind else "",
        DeliveryState(state) if request.state else "",
    )


def read_locale(tag: str, field: str) -> str:
    """A canonical locale; empty if none is given."""
    locale = canonical_locale(tag)
    violations = Violations()
    if tag and not locale:
        violations.add(field, "is no language that CLDR has", "LOCALE_UNKNOWN")
    violations.check()
    return locale


def read_template(message: notify_pb2.NoticeTemplate) -> Content:
    """What a template is to become; its id says what it is for."""
    key = read_name(NOTICE_TEMPLATE, message.name)
    purpose = purpose_of(key.template)
    violations = Violations()
    if purpose is None:
        rule = "must end with a kind, a channel and a language, for example receipt-sms-de"
        violations.add("notice_template.name", rule, "TEMPLATE_NAME_INVALID")
    violations.require("notice_template.text", "must be given", met=bool(message.text))
    violations.check()
    assert purpose is not None  # noqa: S101 - checked
    return Content(key, *purpose, message.subject, message.text, message.fallback)


def read_draft(request: notify_pb2.PreviewNoticeRequest, kind: NoticeKind) -> Content | None:
    """A template to try, which is of the kind and the merchant of the preview."""
    if not request.HasField("notice_template"):
        return None
    draft = read_template(request.notice_template)
    violations = Violations()
    violations.require("notice_template.name", f"must be one for {kind}", met=draft.kind is kind)
    name = request.notice_template.name
    require_within(violations, "notice_template.name", name, request.parent.rpartition("/")[2])
    violations.check()
    return draft


def read_kind(number: int) -> NoticeKind:
    """A kind of notice."""
    return NoticeKind(notify_pb2.NoticeKind.Name(notify_pb2.NoticeKind.ValueType(number)))
