"""Statements between the wire and the domain."""

from datetime import timedelta

from recurring.payments.v1 import payments_pb2

from services.payments.api.documents import optional_buyer_message
from services.payments.application.statements import StatementFile
from services.payments.domain.keys import CustomerKey, StatementKey
from services.payments.domain.statements import (
    FIRST_YEAR,
    LAST_YEAR,
    Period,
    Statement,
    StatementEntry,
    StatementSums,
    parse_period,
)
from services.payments.names import STATEMENT
from services.runtime.errors import Violations
from services.runtime.rpc.conversions import to_date, to_money, to_timestamp
from services.runtime.rpc.names import read_name

_Message = payments_pb2.Statement
_MEDIA_TYPES = {"HTML": "text/html; charset=utf-8", "PDF": "application/pdf"}


def read_statement_name(name: str) -> tuple[CustomerKey, Period]:
    """Whose statement is wanted, and of when. Raises like `read_name`."""
    key = read_name(STATEMENT, name)
    period = parse_period(key.statement)
    violations = Violations()
    violations.require(
        "name",
        f"must end with a year or a month from {FIRST_YEAR} to {LAST_YEAR}, such as 2027 or 2027-01",
        met=period is not None,
    )
    violations.check()
    assert period is not None  # noqa: S101 - checked
    return CustomerKey(key.merchant, key.customer), period


def statement_message(statement: Statement) -> payments_pb2.Statement:
    """What happened to a customer in a period."""
    customer, period = CustomerKey(statement.merchant, statement.customer), statement.period
    return _Message(
        name=StatementKey(*customer, period.id).name,
        customer=customer.name,
        buyer=optional_buyer_message(statement.buyer),
        start_date=to_date(period.start_date),
        end_date=to_date(period.until_date - timedelta(days=1)),
        time_zone=statement.time_zone,
        complete=statement.is_complete,
        sums=map(_sums_message, statement.sums),
        entries=map(_entry_message, statement.entries),
        months=(
            _Message.Month(
                start_date=to_date(month.start_date), sums=map(_month_sums_message, month.sums)
            )
            for month in statement.months
        ),
    )


def _sums_message(sums: StatementSums) -> payments_pb2.Statement.Sums:
    message = _month_sums_message(sums)
    message.due_amount.CopyFrom(to_money(sums.due_minor, sums.currency))
    return message


def _month_sums_message(sums: StatementSums) -> payments_pb2.Statement.Sums:
    return _Message.Sums(
        opening_amount=to_money(sums.opening_minor, sums.currency),
        invoiced_amount=to_money(sums.invoiced_minor, sums.currency),
        paid_amount=to_money(sums.paid_minor, sums.currency),
        credited_amount=to_money(sums.credited_minor, sums.currency),
        refunded_amount=to_money(sums.refunded_minor, sums.currency),
        closing_amount=to_money(sums.closing_minor, sums.currency),
    )


def _entry_message(entry: StatementEntry) -> payments_pb2.Statement.Entry:
    return _Message.Entry(
        book_time=to_timestamp(entry.book_time),
        type=_Message.Entry.Type.Value(entry.type),
        source=entry.source,
        document_number=entry.document,
        amount=to_money(entry.amount_minor, entry.currency),
        balance=to_money(entry.balance_minor, entry.currency),
    )


def statement_file_response(
    customer: CustomerKey, period: Period, file: StatementFile
) -> payments_pb2.DownloadStatementResponse:
    """A statement as a file."""
    return payments_pb2.DownloadStatementResponse(
        content=file.content,
        media_type=_MEDIA_TYPES[file.format],
        file_name=f"statement-{customer.customer}-{period.id}.{file.format.lower()}",
        sha256=file.content_sha256,
        language_code=file.language_code,
    )
