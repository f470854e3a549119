"""The messages to customers, and the settings that they obey."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Annotated

import typer
from google.type import money_pb2
from recurring.notify.v1 import notify_pb2 as pb

from cli import notice_statistics
from cli.command import command, group, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.contacts import CustomerArgument
from cli.names import CUSTOMER, ORDER, STANDING_ORDER, id_of, last_id, short_name
from cli.notice_templates import templates
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

notices = group("List the messages to customers, preview when one would go, and set what they say.")

notices.add_typer(templates, name="templates")
notice_statistics.register(notices)

ANY_CUSTOMER = "-"
REDRIVE_PAGE_SIZE = 500
State = pb.Notice.Delivery.State


def describe_delivery(delivery: pb.Notice.Delivery) -> str:
    """How a notice went through one channel, for example "SMS DELIVERED 2026-01-28 07:45Z"."""
    parts = (
        pb.Channel.Name(delivery.channel),
        pb.Notice.Delivery.State.Name(delivery.state),
        format_timestamp(delivery.deliver_time),
        f"({delivery.failure_code})" if delivery.failure_code else "",
    )
    return " ".join(filter(None, parts))


SETTINGS_COLUMNS: Columns[pb.NotifySettings] = {
    "codes go to": lambda it: ", ".join(it.phone_region_codes) or "every country",
    "codes of a day cost at most": lambda it: (
        format_money(it.code_spend_day_max) if it.HasField("code_spend_day_max") else ""
    ),
    "the page for codes": lambda it: it.web_otp_host,
    "the page for e-mail links": lambda it: it.email_page_uri,
    "e-mail before it is proved": lambda it: "nothing" if it.proved_email_only else "all notices",
    "time zone of contacts without one": lambda it: it.time_zone,
    "a notice before a charge counts as": lambda it: pb.NotifySettings.Evidence.Name(
        it.charge_notice_evidence
    ),
    "messages call the merchant": lambda it: it.merchant_display_name,
    "customers complain to": lambda it: it.complaint_address,
    "messages of a day": lambda it: str(it.daily_message_max or "any number"),
    "a summary of each month": lambda it: "sent" if it.monthly_summaries else "not sent",
    "phones are proved for": lambda it: f"{it.phone_proof_days} days after a message",
}
PLAN_COLUMNS: Columns[pb.ChannelPlan] = {
    "channel": lambda it: pb.Channel.Name(it.channel),
    "use": lambda it: pb.ChannelPlan.Use.Name(it.use),
    "sent": lambda it: format_timestamp(it.send_time),
    "falls back at": lambda it: format_timestamp(it.fall_back_time),
    "why": lambda it: pb.ChannelPlan.Reason.Name(it.reason),
}
NOTICE_COLUMNS: Columns[pb.Notice] = {
    "time": lambda it: format_timestamp(it.create_time),
    "customer": lambda it: id_of(it.name, "customers"),
    "kind": lambda it: pb.NoticeKind.Name(it.kind),
    "about": lambda it: short_name(it.subject_resource),
    "delivered by": lambda it: ", ".join(describe_delivery(delivery) for delivery in it.deliveries),
    # A mail says more than the SMS of the same notice.
    "text": lambda it: "\n".join(
        dict.fromkeys(delivery.text.strip() for delivery in it.deliveries)
    ),
    "notice": lambda it: last_id(it.name),
    "copy of": lambda it: last_id(it.original_notice),
}


@command(notices, "settings")
async def get_notify_settings(session: Session) -> None:
    """Show how customers are reached: their countries, zone and pages, and who writes to them."""
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
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What messages call the merchant.")
    ] = None,
    complaints: Annotated[
        str | None, typer.Option(metavar="CONTACT", help="Where customers complain.")
    ] = None,
    evidence: Annotated[
        pb.NotifySettings.Evidence.ValueType,
        one_of(pb.NotifySettings.Evidence, "When a notice before a charge counts as delivered."),
    ] = pb.NotifySettings.EVIDENCE_UNSPECIFIED,
    day_max: Annotated[
        int | None,
        typer.Option(
            min=0, max=100, help="Messages of a day, of those that can wait; 0: any number."
        ),
    ] = None,
    summaries: Annotated[
        bool | None,
        typer.Option(
            "--monthly-summaries/--no-monthly-summaries",
            help="Whether customers get a summary of each month.",
        ),
    ] = None,
) -> None:
    """Set how customers are reached: their countries, zone and pages, and who writes to them."""
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
    if name is not None:
        changed.merchant_display_name = name
    if day_max is not None:
        changed.daily_message_max = day_max
    if summaries is not None:
        changed.monthly_summaries = summaries
    if complaints is not None:
        changed.complaint_address = complaints
    changed.charge_notice_evidence = evidence or changed.charge_notice_evidence
    request = pb.UpdateNotifySettingsRequest(notify_settings=changed, request_id=new_request_id())
    session.output.one(await session.notify.UpdateNotifySettings(request), SETTINGS_COLUMNS)


async def _settings(session: Session) -> pb.NotifySettings:
    request = pb.GetNotifySettingsRequest(name=f"{session.parent}/notifySettings")
    found: pb.NotifySettings = await session.notify.GetNotifySettings(request)
    return found


@command(notices, "list")
async def list_notices(
    session: Session,
    customer: Annotated[
        str,
        typer.Argument(
            metavar="CUSTOMER", help="Id or resource name; `-` for what all customers did not get."
        ),
    ] = ANY_CUSTOMER,
    about: Annotated[
        str,
        typer.Option(
            metavar="STANDING_ORDER[/CYCLE]",
            help="Only messages about this standing order, or about this order of it.",
        ),
    ] = "",
    kind: Annotated[
        pb.NoticeKind.ValueType, one_of(pb.NoticeKind, "Only messages of this kind.")
    ] = pb.NOTICE_KIND_UNSPECIFIED,
    state: Annotated[
        State.ValueType,
        one_of(State, "Only messages of which a delivery is so. Of all customers: FAILED."),
    ] = pb.Notice.Delivery.STATE_UNSPECIFIED,
) -> None:
    """List messages to a customer, the oldest first, or what did not arrive, the newest first."""
    if customer == ANY_CUSTOMER and not state:
        state = pb.Notice.Delivery.FAILED
    request = pb.ListNoticesRequest(
        parent=session.name(CUSTOMER, customer),
        subject_resource=_subject(session, about) if about else "",
        kind=kind,
        state=state,
    )
    listed = await all_pages(session.notify.ListNotices, request, "notices")
    session.output.many(listed, NOTICE_COLUMNS, "no notices")


@command(notices, "resend")
async def resend_notice(
    session: Session,
    customer: CustomerArgument,
    notice: Annotated[
        str, typer.Argument(metavar="NOTICE", help="Its id, as `list` shows it; or resource name.")
    ],
    channel: Annotated[
        pb.Channel.ValueType,
        one_of(pb.Channel, "By which way. Default: the one that it started with."),
    ] = pb.CHANNEL_UNSPECIFIED,
) -> None:
    """Send a message again in the words that it had."""
    name = f"{session.name(CUSTOMER, customer)}/notices/{last_id(notice)}"
    request = pb.ResendNoticeRequest(name=name, channel=channel, request_id=new_request_id())
    session.output.one(await session.notify.ResendNotice(request), NOTICE_COLUMNS)


@command(notices, "redrive")
async def redrive_notices(
    session: Session,
    since: Annotated[
        datetime,
        typer.Option(parser=parse_moment, metavar="TIME", help="What was given up from then on."),
    ],
    until: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="And before then. Default: all."),
    ] = None,
    channel: Annotated[
        pb.Channel.ValueType, one_of(pb.Channel, "Only what was given up on this channel.")
    ] = pb.CHANNEL_UNSPECIFIED,
    code: Annotated[
        str,
        typer.Option(help="Only what failed with this code, even what was refused for good."),
    ] = "",
    kind: Annotated[
        pb.NoticeKind.ValueType, one_of(pb.NoticeKind, "Only messages of this kind.")
    ] = pb.NOTICE_KIND_UNSPECIFIED,
    limit: Annotated[
        int, typer.Option(min=1, help="So many messages are dealt with at most.")
    ] = 10_000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and send nothing.")] = False,
) -> None:
    """Send messages again that a gateway or the mail server, being away, did not take."""
    request = pb.RedriveNoticesRequest(
        parent=session.parent,
        start_time=to_timestamp(since),
        end_time=to_timestamp(until),
        channel=channel,
        failure_code=code,
        kind=kind,
        dry_run=dry_run,
    )
    summary = await _redrive_pages(session, request, limit)
    would = "would be sent again" if dry_run else "sent again"
    columns = {
        would: lambda it: str(it.redrive_count),
        "skipped": lambda it: "\n".join(map(describe_skip, it.skips)),
        "left": lambda it: "more, above the limit" if it.next_page_token else "",
    }
    session.output.one(summary, columns)


async def _redrive_pages(
    session: Session, request: pb.RedriveNoticesRequest, limit: int
) -> pb.RedriveNoticesResponse:
    """Redrive page by page; returns what became of all."""
    summary, skipped, left = pb.RedriveNoticesResponse(), Counter[int](), limit
    while left > 0:
        request.page_size = min(left, REDRIVE_PAGE_SIZE)
        request.request_id = new_request_id()
        answer = await session.notify.RedriveNotices(request)
        skipped.update({skip.reason: skip.notice_count for skip in answer.skips})
        summary.redrive_count += answer.redrive_count
        summary.next_page_token = request.page_token = answer.next_page_token
        left -= request.page_size
        if not answer.next_page_token:
            break
    for reason, count in sorted(skipped.items()):
        summary.skips.add(
            reason=pb.RedriveNoticesResponse.Reason.ValueType(reason), notice_count=count
        )
    return summary


def describe_skip(skip: pb.RedriveNoticesResponse.Skip) -> str:
    """Why notices are not sent again, for example "3 UNTRUE"."""
    return f"{skip.notice_count} {pb.RedriveNoticesResponse.Reason.Name(skip.reason)}"


def _subject(session: Session, about: str) -> str:
    """The name of a standing order, or of an order of it."""
    is_order = "/orders/" in about or ("/" in about and "standingOrders/" not in about)
    return session.name(ORDER if is_order else STANDING_ORDER, about)


# They go to the phone or the address that they are about.
_OWN_WAY = (
    "PHONE_CODE", "PHONE_CHANGED", "PHONE_CHANGE_PENDING", "PHONE_LAPSED", "EMAIL_LINK", "REPLY",
)  # fmt: skip


@command(notices, "preview")
async def preview_notices(
    session: Session,
    customer: CustomerArgument,
    kind: Annotated[int, one_of(pb.NoticeKind, "What it is for.", "--kind", but=_OWN_WAY)],
    at: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_moment,
            metavar="TIME",
            help="When it is made. Default: now; of ORDER_UPCOMING, when the scheduler makes it.",
        ),
    ] = None,
    charge_at: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="ORDER_UPCOMING: the due time."),
    ] = None,
    lead: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration, metavar="DURATION", help='And how long before it: "72h", "5d".'
        ),
    ] = None,
    schedule_zone: Annotated[
        str,
        typer.Option(
            metavar="ZONE", help='ORDER_UPCOMING: of the schedule, such as "Europe/Berlin".'
        ),
    ] = "",
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
        schedule_time_zone=schedule_zone,
    )
    response = await session.notify.PreviewNotices(request)
    session.output.many(response.channel_plans, PLAN_COLUMNS, "no channels")
