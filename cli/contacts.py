"""Contacts of customers, and their bound phones."""

from typing import Annotated

import typer
from google.protobuf import field_mask_pb2
from recurring.notify.v1 import notify_pb2 as pb

from cli.command import command, group
from cli.connect import Session, all_pages, new_request_id
from cli.names import CONTACT, id_of
from cli.output import Columns
from cli.values import format_timestamp

contacts = group("Manage the names, e-mail addresses and preferences of customers.")
phone = group("Bind a phone number to a customer by a one-time code.")

CustomerArgument = Annotated[str, typer.Argument(metavar="CUSTOMER", help="Id or resource name.")]


def _lapsed(contact: pb.Contact) -> str:
    if not contact.phone_lapse_reason:
        return ""
    since = format_timestamp(contact.phone_lapse_time)
    return f"{pb.UnbindReason.Name(contact.phone_lapse_reason)} since {since}"


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
    "no SMS since": lambda it: format_timestamp(it.sms_stop_time),
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
    mute_summaries: Annotated[
        bool | None,
        typer.Option("--mute-summaries/--summaries", help="Whether summaries of months come."),
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
        "preferences.summaries_muted": mute_summaries,
        "locale": language,
        "time_zone": zone,
    }
    request = pb.UpdateContactRequest(
        contact=pb.Contact(
            name=session.name(CONTACT, _contact(customer)),
            display_name=name or "",
            email=email or "",
            preferences=pb.Contact.Preferences(
                sms_receipts_muted=bool(mute_sms_receipts),
                email_muted=bool(mute_email),
                summaries_muted=bool(mute_summaries),
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


def _contact(customer: str) -> str:
    """The short form of a contact, which has no id of its own."""
    if customer.endswith("/contact") or "/" not in customer:
        return customer
    return f"{customer}/contact"


def _muted(preferences: pb.Contact.Preferences) -> str:
    muted = {
        "SMS receipts": preferences.sms_receipts_muted,
        "e-mail": preferences.email_muted,
        "summaries": preferences.summaries_muted,
    }
    return ", ".join(name for name, is_muted in muted.items() if is_muted)
