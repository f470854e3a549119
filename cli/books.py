"""The books against the provider: payouts, and the comparison of a day."""

from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from google.type import date_pb2
from recurring.payments.v1 import payments_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.names import last_id, short_name
from cli.output import Columns, Output
from cli.values import format_date, format_money, format_timestamp, parse_date

books = group("Close the books, and compare them with the payment provider's.")

PAYOUT_COLUMNS: Columns[pb.Payout] = {
    "arrives": lambda it: format_timestamp(it.arrive_time),
    "amount": lambda it: format_money(it.amount),
    "charges": lambda it: format_money(it.charge_amount),
    "refunds": lambda it: format_money(it.refund_amount),
    "disputes": lambda it: format_money(it.dispute_amount),
    "others": lambda it: format_money(it.other_amount),
    "fees": lambda it: format_money(it.fee_amount),
    "transactions": lambda it: str(it.transaction_count),
    "at the provider": lambda it: it.provider_payout_id,
    "payout": lambda it: last_id(it.name),
}
SETTINGS_COLUMNS: Columns[pb.LedgerSettings] = {
    "revenue": lambda it: pb.LedgerSettings.RevenueRecognition.Name(it.revenue_recognition),
}
PERIOD_COLUMNS: Columns[pb.LedgerPeriod] = {
    "through": lambda it: format_date(it.through_date),
    "closed": lambda it: format_timestamp(it.close_time),
    "trial balance (SHA-256)": lambda it: it.balance_digest,
}
FINDING_COLUMNS: Columns[pb.ReconciliationFinding] = {
    "finding": lambda it: pb.ReconciliationFinding.Kind.Name(it.kind),
    "of": lambda it: short_name(it.source),
    "booked": lambda it: format_money(it.booked_amount) if it.HasField("booked_amount") else "",
    "at the provider": lambda it: (
        format_money(it.provider_amount) if it.HasField("provider_amount") else ""
    ),
    "proposed entry": lambda it: _entry(it.proposed_entry) if it.HasField("proposed_entry") else "",
}
RECORDED_COLUMNS: Columns[pb.ReconciliationFinding] = {
    "day": lambda it: format_date(it.date),
    **FINDING_COLUMNS,
    "found": lambda it: format_timestamp(it.find_time),
    "resolved": lambda it: format_timestamp(it.resolve_time) if it.HasField("resolve_time") else "",
    "mended": lambda it: format_timestamp(it.apply_time) if it.HasField("apply_time") else "",
    "provider": lambda it: it.provider,
    "name": lambda it: last_id(it.name),
}


def _entry(entry: pb.ReconciliationFinding.Entry) -> str:
    debit, credit = last_id(entry.debit_account), last_id(entry.credit_account)
    return f"{format_money(entry.amount)} from {credit} to {debit}"


@command(books, "settings")
async def ledger_settings(
    session: Session,
    revenue: Annotated[
        pb.LedgerSettings.RevenueRecognition.ValueType,
        one_of(pb.LedgerSettings.RevenueRecognition, "When what was sold is revenue."),
    ] = pb.LedgerSettings.REVENUE_RECOGNITION_UNSPECIFIED,
) -> None:
    """Show how the ledger is kept, or change it from the next charge on."""
    name = f"{session.parent}/ledgerSettings"
    settings = await session.payments.GetLedgerSettings(pb.GetLedgerSettingsRequest(name=name))
    if revenue:
        settings.revenue_recognition = revenue
        request = pb.UpdateLedgerSettingsRequest(
            ledger_settings=settings, request_id=new_request_id()
        )
        settings = await session.payments.UpdateLedgerSettings(request)
    session.output.one(settings, SETTINGS_COLUMNS)


@command(books, "close")
async def close_period(
    session: Session,
    day: Annotated[
        date_pb2.Date,
        typer.Argument(
            parser=parse_date, metavar="DAY", help="The last day (UTC) of it, as 2027-01-31."
        ),
    ],
) -> None:
    """Close the books through a day; nothing is booked within them any more."""
    request = pb.CloseLedgerPeriodRequest(
        parent=session.parent, through_date=day, request_id=new_request_id()
    )
    session.output.one(await session.payments.CloseLedgerPeriod(request), PERIOD_COLUMNS)


@command(books, "periods")
async def list_periods(session: Session) -> None:
    """List what was closed, the latest first."""
    request = pb.ListLedgerPeriodsRequest(parent=session.parent)
    periods = await all_pages(session.payments.ListLedgerPeriods, request, "ledger_periods")
    session.output.many(periods, PERIOD_COLUMNS, "no closed periods")


@command(books, "payouts")
async def list_payouts(session: Session) -> None:
    """List what the provider has paid out, the latest arrival first."""
    request = pb.ListPayoutsRequest(parent=session.parent)
    payouts = await all_pages(session.payments.ListPayouts, request, "payouts")
    session.output.many(payouts, PAYOUT_COLUMNS, "no payouts")


@command(books, "reconcile")
async def reconcile_day(
    session: Session,
    day: Annotated[
        date_pb2.Date,
        typer.Argument(parser=parse_date, metavar="DAY", help="The day (UTC), as 2027-01-31."),
    ],
) -> None:
    """Compare a day with the provider's own list; show what does not agree."""
    request = pb.PreviewReconciliationRequest(parent=session.parent, date=day)
    findings: list[pb.ReconciliationFinding] = []
    while True:
        compared = await session.payments.PreviewReconciliation(request)
        findings += compared.findings
        request.page_token = compared.next_page_token
        if not request.page_token:
            break
    del compared.findings[:]
    compared.findings.extend(findings)
    show_comparison(session.output, compared)


def show_comparison(output: Output, compared: pb.PreviewReconciliationResponse) -> None:
    """Show the findings of a day, and whether they are all that there may be."""
    if output.as_json:
        # With those that are false or zero, which the JSON of a message leaves out.
        output.data(
            {
                "complete": compared.complete,
                "matchedCount": compared.matched_count,
                "findings": [MessageToDict(finding) for finding in compared.findings],
            }
        )
        return
    output.many(compared.findings, FINDING_COLUMNS, "nothing differs")
    agree = f"{compared.matched_count} agree"
    if not compared.complete:
        agree += "; the provider's list of the day is not read to its end"
    output.say(agree)


@command(books, "findings")
async def list_findings(
    session: Session,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Those that are resolved, too.")
    ] = False,
) -> None:
    """List what was found when finished days were compared, the oldest first."""
    request = pb.ListReconciliationFindingsRequest(parent=session.parent, show_resolved=resolved)
    findings = await all_pages(session.payments.ListReconciliationFindings, request, "findings")
    session.output.many(findings, RECORDED_COLUMNS, "nothing is open")


@command(books, "mend")
async def apply_entry(
    session: Session,
    finding: Annotated[
        str, typer.Argument(metavar="FINDING", help="Id or resource name, as in lists.")
    ],
    account: Annotated[
        pb.ApplyReconciliationEntryRequest.Account.ValueType,
        one_of(
            pb.ApplyReconciliationEntryRequest.Account,
            "Where the difference goes. Default: suspense.",
            "--to",
        ),
    ] = pb.ApplyReconciliationEntryRequest.ACCOUNT_UNSPECIFIED,
) -> None:
    """Book the entry that a finding proposes, once."""
    pattern = "reconciliationFindings/{finding}"
    request = pb.ApplyReconciliationEntryRequest(
        name=session.name(pattern, finding), account=account, request_id=new_request_id()
    )
    session.output.one(await session.payments.ApplyReconciliationEntry(request), RECORDED_COLUMNS)
