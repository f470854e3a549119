"""Contacts of customers, their bound phones, and the messages to them."""

from datetime import datetime, timedelta
from typing import Annotated

import typer
from google.protobuf import field_mask_pb2
from google.type import money_pb2
from recurring.notify.v1 import notify_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.names import CONTACT, CUSTOMER, ORDER, id_of, last_id, short_name
from cli.output import Columns
from cli.values import (
    format_money,
    format_timestamp,
    parse_duration,
    parse_moment,
    parse_money,
    to_duration,
    to_timestamp,
)

contacts = group("Manage the names, e-mail addresses and preferences of customers.")
phone = group("Bind a phone number to a customer by a one-time code.")
notices = group("List the messages to customers, and preview when one would go.")

CustomerArgument = Annotated[str, typer.Argument(metavar="CUSTOMER", help="Id or resource name.")]


def describe_delivery(delivery: pb.Notice.Delivery) -> str:
    """How a notice went through one channel, for example "SMS DELIVERED 2026-01-28 07:45Z"."""
    parts = (
        pb.Channel.Name(delivery.channel),
        pb.Notice.Delivery.State.Name(delivery.state),
        format_timestamp(delivery.deliver_time),
        f"({delivery.failure_code})" if delivery.failure_code else "",
    )
    return " ".join(filter(None, parts))


def _lapsed(contact: pb.Contact) -> str:
    if not contact.phone_lapse_reason:
        return ""
    since = format_timestamp(contact.phone_lapse_time)
    return f"{pb.UnbindReason.Name(contact.phone_lapse_reason)} since {since}"


PLAN_COLUMNS: Columns[pb.ChannelPlan] = {
    "channel": lambda it: pb.Channel.Name(it.channel),
    "use": lambda it: pb.ChannelPlan.Use.Name(it.use),
    "sent": lambda it: format_timestamp(it.send_time),
    "falls back at": lambda it: format_timestamp(it.fall_back_time),
    "why": lambda it: pb.ChannelPlan.Reason.Name(it.reason),
}
CONTACT_COLUMNS: Columns[pb.Contact] = {
    "customer": lambda it: id_of(it.name, "customers"),
    "name": lambda it: it.display_name,
    "phone": lambda it: it.masked_phone,
    "bound": lambda it: format_timestamp(it.bind_time),
    "e-mail": lambda it: it.email,
    "language": lambda it: it.locale,
    "muted": lambda it: _muted(it.preferences),
}
CONTACT_DETAIL_COLUMNS: Columns[pb.Contact] = {
    **CONTACT_COLUMNS,
    "time zone": lambda it: it.time_zone,
    "created": lambda it: format_timestamp(it.create_time),
    "next phone": lambda it: it.pending_masked_phone,
    "bound from": lambda it: format_timestamp(it.pending_bind_time),
    "phone lapsed": _lapsed,
    "e-mail proved": lambda it: format_timestamp(it.email_bind_time),
}
SETTINGS_COLUMNS: Columns[pb.NotifySettings] = {
    "codes go to": lambda it: ", ".join(it.phone_region_codes) or "every country",
    "codes of a day cost at most": lambda it: (
        format_money(it.code_spend_day_max) if it.HasField("code_spend_day_max") else ""
    ),
    "the page for codes": lambda it: it.web_otp_host,
    "the page for e-mail links": lambda it: it.email_page_uri,
    "e-mail before it is proved": lambda it: "nothing" if it.proved_email_only else "all notices",
    "time zone of contacts without one": lambda it: it.time_zone,
    "phones are proved for": lambda it: f"{it.phone_proof_days} days after a message",
}
NOTICE_COLUMNS: Columns[pb.Notice] = {
    "time": lambda it: format_timestamp(it.create_time),
    "kind": lambda it: pb.NoticeKind.Name(it.kind),
    "about": lambda it: short_name(it.subject_resource),
    "delivered by": lambda it: ", ".join(describe_delivery(delivery) for delivery in it.deliveries),
    # A mail says more than the SMS of the same notice.
    "text": lambda it: "\n".join(dict.fromkeys(delivery.text for delivery in it.deliveries)),
    "notice": lambda it: last_id(it.name),
}


@command(contacts, "set")
async def set_contact(
    session: Session,
    customer: CustomerArgument,
    name: Annotated[str | None, typer.Option(help="The name in messages to the customer.")] = None,
    email: Annotated[
        str | None, typer.Option(help="The address for copies; empty removes it.")
    ] = None,
    mute_sms_receipts: Annotated[
        bool | None,
        typer.Option("--mute-sms-receipts/--sms-receipts", help="Whether receipts come by SMS."),
    ] = None,
    mute_email: Annotated[
        bool | None,
        typer.Option("--mute-email/--send-email", help="Whether copies come by e-mail."),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(metavar="TAG", help="The language of messages, for example de-AT."),
    ] = None,
    zone: Annotated[
        str | None, typer.Option(help="Where the customer lives, for example Europe/Vienna.")
    ] = None,
) -> None:
    """Create a contact, or change the given fields."""
    given = {
        "display_name": name,
        "email": email,
        "preferences.sms_receipts_muted": mute_sms_receipts,
        "preferences.email_muted": mute_email,
        "locale": language,
        "time_zone": zone,
    }
    request = pb.UpdateContactRequest(
        contact=pb.Contact(
            name=session.name(CONTACT, _contact(customer)),
            display_name=name or "",
            email=email or "",
            preferences=pb.Contact.Preferences(
                sms_receipts_muted=bool(mute_sms_receipts), email_muted=bool(mute_email)
            ),
            locale=language or "",
            time_zone=zone or "",
        ),
        update_mask=field_mask_pb2.FieldMask(
            paths=[path for path, value in given.items() if value is not None]
        ),
        allow_missing=True,
        request_id=new_request_id(),
    )
    session.output.one(await session.notify.UpdateContact(request), CONTACT_DETAIL_COLUMNS)


@command(contacts, "get")
async def get_contact(session: Session, customer: CustomerArgument) -> None:
    """Show a contact."""
    request = pb.GetContactRequest(name=session.name(CONTACT, _contact(customer)))
    session.output.one(await session.notify.GetContact(request), CONTACT_DETAIL_COLUMNS)


@command(contacts, "list")
async def list_contacts(
    session: Session,
    number: Annotated[
        str, typer.Option("--phone", metavar="PHONE", help="Only those who have this phone.")
    ] = "",
) -> None:
    """List the contacts."""
    request = pb.ListContactsRequest(parent=session.parent, phone=number)
    listed = await all_pages(session.notify.ListContacts, request, "contacts")
    session.output.many(listed, CONTACT_COLUMNS, "no contacts")


@command(notices, "settings")
async def get_notify_settings(session: Session) -> None:
    """Show which countries get one-time codes, what they may cost, and the page that they are for."""
    session.output.one(await _settings(session), SETTINGS_COLUMNS)


@command(notices, "set")
async def set_notify_settings(
    session: Session,
    countries: Annotated[
        list[str] | None,
        typer.Option(
            "--country", metavar="CODE", help='Whose phones get codes, such as "DE"; "" is all.'
        ),
    ] = None,
    code_spend: Annotated[
        money_pb2.Money | None,
        typer.Option(
            parser=parse_money, metavar="AMOUNT", help="What the codes of a day may cost."
        ),
    ] = None,
    web_otp_host: Annotated[
        str | None,
        typer.Option(help="The host of the page that asks for codes, such as shop.example."),
    ] = None,
    proof_days: Annotated[
        int | None,
        typer.Option(min=30, max=3650, help="How long a phone is proved after a message."),
    ] = None,
    email_page: Annotated[
        str | None, typer.Option(metavar="URI", help="Where links by e-mail lead, with {token}.")
    ] = None,
    proved_email_only: Annotated[
        bool | None,
        typer.Option(
            "--proved-email-only/--any-email", help="Whether e-mail has to be proved first."
        ),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help='Of contacts that name none, such as "Europe/Berlin".'),
    ] = None,
) -> None:
    """Set which countries get one-time codes, what they may cost, and the page that they are for."""
    changed = await _settings(session)
    if countries is not None:
        changed.phone_region_codes[:] = [country for country in countries if country]
    if code_spend is not None:
        changed.code_spend_day_max.CopyFrom(code_spend)
    changed.web_otp_host = changed.web_otp_host if web_otp_host is None else web_otp_host
    changed.phone_proof_days = proof_days or changed.phone_proof_days
    if email_page is not None:
        changed.email_page_uri = email_page
    if proved_email_only is not None:
        changed.proved_email_only = proved_email_only
    changed.time_zone = changed.time_zone if zone is None else zone
    request = pb.UpdateNotifySettingsRequest(notify_settings=changed, request_id=new_request_id())
    session.output.one(await session.notify.UpdateNotifySettings(request), SETTINGS_COLUMNS)


async def _settings(session: Session) -> pb.NotifySettings:
    request = pb.GetNotifySettingsRequest(name=f"{session.parent}/notifySettings")
    found: pb.NotifySettings = await session.notify.GetNotifySettings(request)
    return found


@command(phone, "bind")
async def bind_phone(
    session: Session,
    customer: CustomerArgument,
    number: Annotated[str, typer.Argument(metavar="PHONE", help="For example +447700900123.")],
    with_present_phone: Annotated[
        bool,
        typer.Option("--with-present-phone", help="Send one to the phone that is bound, too."),
    ] = False,
) -> None:
    """Send a one-time code to a phone."""
    request = pb.StartPhoneBindingRequest(
        name=session.name(CONTACT, _contact(customer)),
        phone=number,
        request_id=new_request_id(),
        with_present_phone_code=with_present_phone,
    )
    response = await session.notify.StartPhoneBinding(request)
    columns: Columns[pb.StartPhoneBindingResponse] = {
        "the code holds until": lambda it: format_timestamp(it.expire_time)
    }
    session.output.one(response, columns)


@command(phone, "confirm")
async def confirm_phone(
    session: Session,
    customer: CustomerArgument,
    code: Annotated[str, typer.Argument(metavar="CODE", help="The eight digits of the message.")],
    present_phone_code: Annotated[
        str,
        typer.Option(metavar="CODE", help="What the phone got that is bound; else the new waits."),
    ] = "",
) -> None:
    """Enter the code, which binds the phone to the customer."""
    request = pb.ConfirmPhoneBindingRequest(
        name=session.name(CONTACT, _contact(customer)),
        code=code,
        request_id=new_request_id(),
        present_phone_code=present_phone_code,
    )
    session.output.one(await session.notify.ConfirmPhoneBinding(request), CONTACT_DETAIL_COLUMNS)


@command(contacts, "prove-email")
async def start_email_binding(session: Session, customer: CustomerArgument) -> None:
    """Send a link that proves the customer's e-mail address."""
    request = pb.StartEmailBindingRequest(
        name=session.name(CONTACT, _contact(customer)), request_id=new_request_id()
    )
    columns: Columns[pb.StartEmailBindingResponse] = {
        "the link holds until": lambda it: format_timestamp(it.expire_time)
    }
    session.output.one(await session.notify.StartEmailBinding(request), columns)


@command(contacts, "confirm-email")
async def confirm_email_binding(
    session: Session,
    customer: CustomerArgument,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="As the link has it.")],
) -> None:
    """Enter the token of the link, which proves the address."""
    request = pb.ConfirmEmailBindingRequest(
        name=session.name(CONTACT, _contact(customer)), token=token, request_id=new_request_id()
    )
    session.output.one(await session.notify.ConfirmEmailBinding(request), CONTACT_DETAIL_COLUMNS)


@command(phone, "keep")
async def cancel_phone_change(session: Session, customer: CustomerArgument) -> None:
    """Keep the phone that is bound: the one that waits to take its place is forgotten."""
    request = pb.CancelPhoneChangeRequest(
        name=session.name(CONTACT, _contact(customer)), request_id=new_request_id()
    )
    session.output.one(await session.notify.CancelPhoneChange(request), CONTACT_DETAIL_COLUMNS)


@command(phone, "unbind")
async def unbind_phone(session: Session, customer: CustomerArgument) -> None:
    """Take the bound phone from the customer, whose charges then wait."""
    request = pb.UnbindPhoneRequest(
        name=session.name(CONTACT, _contact(customer)), request_id=new_request_id()
    )
    session.output.one(await session.notify.UnbindPhone(request), CONTACT_DETAIL_COLUMNS)


@command(notices, "list")
async def list_notices(
    session: Session,
    customer: CustomerArgument,
    about: Annotated[
        str, typer.Option(metavar="STANDING_ORDER/CYCLE", help="Only messages about this order.")
    ] = "",
) -> None:
    """List the messages to a customer, the oldest first."""
    request = pb.ListNoticesRequest(
        parent=session.name(CUSTOMER, customer),
        subject_resource=session.name(ORDER, about) if about else "",
    )
    listed = await all_pages(session.notify.ListNotices, request, "notices")
    session.output.many(listed, NOTICE_COLUMNS, "no notices")


# They go to the phone or the address that they are about.
_OWN_WAY = ("PHONE_CODE", "PHONE_CHANGED", "PHONE_CHANGE_PENDING", "PHONE_LAPSED", "EMAIL_LINK")


@command(notices, "preview")
async def preview_notices(
    session: Session,
    customer: CustomerArgument,
    kind: Annotated[int, one_of(pb.NoticeKind, "What it is for.", "--kind", but=_OWN_WAY)],
    at: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="When it is made. Default: now."),
    ] = None,
    charge_at: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="ORDER_UPCOMING: the due time."),
    ] = None,
    lead: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration, metavar="TIME", help='And how long before it: "72h", "5d".'
        ),
    ] = None,
    expires_at: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_moment, metavar="TIME", help="PAYMENT_…: until when something can be done."
        ),
    ] = None,
) -> None:
    """Show on which channels a message would go, when, and why."""
    request = pb.PreviewNoticesRequest(
        parent=session.name(CUSTOMER, customer),
        kind=pb.NoticeKind.ValueType(kind),
        make_time=to_timestamp(at),
        charge_not_before_time=to_timestamp(charge_at),
        notice_lead=to_duration(lead),
        expire_time=to_timestamp(expires_at),
    )
    response = await session.notify.PreviewNotices(request)
    session.output.many(response.channel_plans, PLAN_COLUMNS, "no channels")


def _contact(customer: str) -> str:
    """The short form of a contact, which has no id of its own."""
    if customer.endswith("/contact") or "/" not in customer:
        return customer
    return f"{customer}/contact"


def _muted(preferences: pb.Contact.Preferences) -> str:
    muted = {"SMS receipts": preferences.sms_receipts_muted, "e-mail": preferences.email_muted}
    return ", ".join(name for name, is_muted in muted.items() if is_muted)
