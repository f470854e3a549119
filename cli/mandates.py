"""Mandates: what customers have agreed to be charged."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from google.protobuf import duration_pb2, field_mask_pb2
from google.type import money_pb2
from recurring.payments.v1 import payments_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.names import CUSTOMER, MANDATE, STANDING_ORDER, last_id, short_name
from cli.output import Columns
from cli.payments import Amount, CustomerArgument, payment_method_name
from cli.values import (
    format_duration,
    format_money,
    format_timestamp,
    parse_duration,
    parse_moment,
    parse_money,
    to_timestamp,
)

mandates = group("Manage the mandates of customers, their consent to be charged.")

MandateArgument = Annotated[
    str, typer.Argument(metavar="MANDATE", help="CUSTOMER/MANDATE, for example ada/consent.")
]

PeriodCeilingOption = Annotated[
    money_pb2.Money | None,
    typer.Option(parser=parse_money, metavar="AMOUNT", help="The most in a period."),
]
PeriodDaysOption = Annotated[
    int, typer.Option(metavar="DAYS", help="Any so many days. Default: a calendar month.")
]
ZoneOption = Annotated[
    str,
    typer.Option(metavar="ZONE", help="Where the period's days and months are. Default: UTC."),
]
ScopeOption = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="The only standing orders that it is for; repeatable."),
]
LeadOption = Annotated[
    timedelta | None,
    typer.Option(
        parser=parse_duration, metavar="TIME", help='How early notices come: "5d", "72h".'
    ),
]
ValidUntilOption = Annotated[
    datetime | None, typer.Option(parser=parse_moment, metavar="TIME", help="When it expires.")
]
AcceptedOption = Annotated[
    datetime | None,
    typer.Option(parser=parse_moment, metavar="TIME", help="When they agreed. Default: now."),
]
SourceOption = Annotated[str, typer.Option(help="How the consent was given.")]
ChannelOption = Annotated[
    pb.Mandate.Channel.ValueType, one_of(pb.Mandate.Channel, "Where they agreed.")
]
VersionOption = Annotated[
    str, typer.Option(metavar="VERSION", help="Which version of the text they agreed to.")
]

MANDATE_COLUMNS: Columns[pb.Mandate] = {
    "mandate": lambda it: short_name(it.name),
    "state": lambda it: pb.Mandate.State.Name(it.state),
    "one charge": lambda it: format_money(it.charge_ceiling),
    "a period": lambda it: describe_period(it.period_ceiling),
    "valid from": lambda it: format_timestamp(it.valid_from_time),
    "until": lambda it: format_timestamp(it.valid_until_time),
    "payment method": lambda it: last_id(it.payment_method) or "the default",
    "revoked": lambda it: format_timestamp(it.revoke_time),
    "paused": lambda it: (
        f"{format_timestamp(it.pause_time)} {pb.Mandate.PauseReason.Name(it.pause_reason)}"
        if it.pause_reason
        else ""
    ),
    "lapsed": lambda it: format_timestamp(it.lapse_time),
}
MANDATE_DETAIL_COLUMNS: Columns[pb.Mandate] = {
    **MANDATE_COLUMNS,
    "agreed to": lambda it: it.evidence.text,
    "accepted": lambda it: format_timestamp(it.evidence.accept_time),
    "where": lambda it: (
        f"{pb.Mandate.Channel.Name(it.evidence.channel) if it.evidence.channel else ''}"
        f" {it.evidence.source}"
    ).strip(),
    "version of the text": lambda it: it.evidence.text_version,
    "SHA-256 of the text": lambda it: it.evidence.text_sha256,
    "zone": lambda it: it.time_zone,
    "for": lambda it: ", ".join(map(last_id, it.standing_orders)) or "everything",
    "notice before": lambda it: format_duration(it.lead) if it.HasField("lead") else "",
    "region": lambda it: it.region_code,
    "amended": lambda it: ", ".join(map(describe_amendment, it.amendments)),
    "created": lambda it: format_timestamp(it.create_time),
}


def describe_period(ceiling: pb.PeriodCeiling) -> str:
    """The ceiling of a period, and which one that is."""
    if not ceiling.HasField("amount"):
        return ""
    days = ceiling.rolling_days
    return f"{format_money(ceiling.amount)} in {f'{days} days' if days else 'a month'}"


def describe_amendment(amendment: pb.MandateAmendment) -> str:
    """When a mandate was changed, what was agreed to until then, and whether the customer consented."""
    former = amendment.former_terms
    terms = [
        format_money(former.charge_ceiling),
        describe_period(former.period_ceiling),
        f"until {format_timestamp(former.valid_until_time)}"
        if former.valid_until_time.seconds
        else "",
        ", ".join(map(last_id, former.standing_orders)),
        f"{format_duration(former.lead)} before" if former.HasField("lead") else "",
    ]
    consented = " with consent" if amendment.HasField("evidence") else ""
    shown = "; ".join(filter(None, terms))
    return f"{format_timestamp(amendment.amend_time)}{consented} (before: {shown})"


def _period_ceiling(amount: money_pb2.Money | None, rolling_days: int) -> pb.PeriodCeiling | None:
    if amount is None:
        if rolling_days:
            raise typer.BadParameter("needs --period-ceiling", param_hint="--period-days")
        return None
    return pb.PeriodCeiling(amount=amount, rolling_days=rolling_days)


async def _evidence(
    session: Session,
    text: str,
    accepted: datetime | None,
    source: str,
    channel: pb.Mandate.Channel.ValueType,
    text_version: str,
) -> pb.Mandate.Evidence:
    return pb.Mandate.Evidence(
        text=text,
        accept_time=to_timestamp(accepted or await session.now()),
        source=source,
        channel=channel,
        text_version=text_version,
    )


@command(mandates, "create")
async def create_mandate(
    session: Session,
    customer: CustomerArgument,
    mandate: Annotated[str, typer.Argument(metavar="ID", help="The id of the new mandate.")],
    ceiling: Annotated[money_pb2.Money, Amount],
    text: Annotated[
        str, typer.Option(help="The exact text that they agreed to. Default: they confirm later.")
    ] = "",
    payment_method: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="The only payment method to charge. Default: the customer's default and fallbacks.",
        ),
    ] = "",
    period_ceiling: PeriodCeilingOption = None,
    period_days: PeriodDaysOption = 0,
    time_zone: ZoneOption = "",
    standing_order: ScopeOption = None,
    lead: LeadOption = None,
    valid_until: ValidUntilOption = None,
    accepted: AcceptedOption = None,
    source: SourceOption = "command line",
    channel: ChannelOption = pb.Mandate.CHANNEL_UNSPECIFIED,
    text_version: VersionOption = "",
) -> None:
    """Store a customer's consent to be charged up to an amount."""
    parent = session.name(CUSTOMER, customer)
    evidence = None
    if text:
        evidence = await _evidence(session, text, accepted, source, channel, text_version)
    request = pb.CreateMandateRequest(
        parent=parent,
        mandate_id=mandate,
        mandate=pb.Mandate(
            payment_method=payment_method and payment_method_name(session, parent, payment_method),
            charge_ceiling=ceiling,
            period_ceiling=_period_ceiling(period_ceiling, period_days),
            time_zone=time_zone,
            standing_orders=[session.name(STANDING_ORDER, it) for it in standing_order or ()],
            lead=duration_pb2.Duration(seconds=int(lead.total_seconds())) if lead else None,
            valid_until_time=to_timestamp(valid_until),
            evidence=evidence,
            await_confirmation=not text,
        ),
        request_id=new_request_id(),
    )
    session.output.one(await session.payments.CreateMandate(request), MANDATE_DETAIL_COLUMNS)


@command(mandates, "list")
async def list_mandates(session: Session, customer: CustomerArgument) -> None:
    """List a customer's mandates."""
    request = pb.ListMandatesRequest(parent=session.name(CUSTOMER, customer))
    listed = await all_pages(session.payments.ListMandates, request, "mandates")
    session.output.many(listed, MANDATE_COLUMNS, "no mandates")


@command(mandates, "get")
async def get_mandate(session: Session, mandate: MandateArgument) -> None:
    """Show a mandate, with the text that the customer agreed to."""
    request = pb.GetMandateRequest(name=session.name(MANDATE, mandate))
    session.output.one(await session.payments.GetMandate(request), MANDATE_DETAIL_COLUMNS)


@command(mandates, "confirm")
async def confirm_mandate(
    session: Session,
    mandate: MandateArgument,
    text: Annotated[str, typer.Option(help="The exact text that the customer agreed to.")],
    accepted: AcceptedOption = None,
    source: SourceOption = "command line",
    channel: ChannelOption = pb.Mandate.CHANNEL_UNSPECIFIED,
    text_version: VersionOption = "",
) -> None:
    """Store a customer's consent to a mandate that awaits it."""
    request = pb.ConfirmMandateRequest(
        name=session.name(MANDATE, mandate),
        evidence=await _evidence(session, text, accepted, source, channel, text_version),
        request_id=new_request_id(),
    )
    session.output.one(await session.payments.ConfirmMandate(request), MANDATE_DETAIL_COLUMNS)


@command(mandates, "amend")
async def amend_mandate(
    session: Session,
    mandate: MandateArgument,
    ceiling: Annotated[money_pb2.Money | None, Amount] = None,
    period_ceiling: PeriodCeilingOption = None,
    period_days: PeriodDaysOption = 0,
    time_zone: ZoneOption = "",
    standing_order: ScopeOption = None,
    lead: LeadOption = None,
    valid_until: ValidUntilOption = None,
    text: Annotated[
        str, typer.Option(help="The exact text that they agreed to; needed to allow more.")
    ] = "",
    accepted: AcceptedOption = None,
    source: SourceOption = "command line",
    channel: ChannelOption = pb.Mandate.CHANNEL_UNSPECIFIED,
    text_version: VersionOption = "",
) -> None:
    """Change what a customer has agreed to."""
    given = {
        "charge_ceiling": ceiling,
        "period_ceiling": _period_ceiling(period_ceiling, period_days),
        "time_zone": time_zone or None,
        "standing_orders": standing_order
        and [session.name(STANDING_ORDER, it) for it in standing_order],
        "lead": lead and duration_pb2.Duration(seconds=int(lead.total_seconds())),
        "valid_until_time": to_timestamp(valid_until),
    }
    terms: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    evidence = None
    if text:
        evidence = await _evidence(session, text, accepted, source, channel, text_version)
    request = pb.AmendMandateRequest(
        name=session.name(MANDATE, mandate),
        terms=pb.MandateTerms(**terms),
        update_mask=field_mask_pb2.FieldMask(paths=list(terms)),
        evidence=evidence,
        request_id=new_request_id(),
    )
    session.output.one(await session.payments.AmendMandate(request), MANDATE_DETAIL_COLUMNS)


@command(mandates, "pause")
async def pause_mandate(session: Session, mandate: MandateArgument) -> None:
    """Stop charges under a mandate until it is resumed."""
    request = pb.PauseMandateRequest(
        name=session.name(MANDATE, mandate), request_id=new_request_id()
    )
    session.output.one(await session.payments.PauseMandate(request), MANDATE_DETAIL_COLUMNS)


@command(mandates, "resume")
async def resume_mandate(session: Session, mandate: MandateArgument) -> None:
    """Let a paused mandate be charged again."""
    request = pb.ResumeMandateRequest(
        name=session.name(MANDATE, mandate), request_id=new_request_id()
    )
    session.output.one(await session.payments.ResumeMandate(request), MANDATE_DETAIL_COLUMNS)


@command(mandates, "revoke")
async def revoke_mandate(session: Session, mandate: MandateArgument) -> None:
    """Revoke a mandate at once."""
    request = pb.RevokeMandateRequest(
        name=session.name(MANDATE, mandate), request_id=new_request_id()
    )
    session.output.one(await session.payments.RevokeMandate(request), MANDATE_DETAIL_COLUMNS)
