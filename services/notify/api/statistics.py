"""What was sent, counted."""

from datetime import date, datetime
from typing import Literal

from google.type import money_pb2
from recurring.notify.v1 import notify_pb2

from services.notify.application import statistics
from services.notify.domain.sms_prices import MICROS_PER_UNIT
from services.notify.names import MERCHANT
from services.notify.store import statistics as store
from services.notify.store.statistics import ANY_DAY, BEFORE_ALL, Dimension, StatisticsKey
from services.runtime.db.pool import Database
from services.runtime.errors import Violations
from services.runtime.rpc.conversions import NANOS_PER_UNIT, read_date, to_date
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import Page, read_page

_NANOS_PER_MICRO = NANOS_PER_UNIT // MICROS_PER_UNIT


async def list_notice_statistics(
    database: Database, request: notify_pb2.ListNoticeStatisticsRequest, now: datetime
) -> notify_pb2.ListNoticeStatisticsResponse:
    """Count what was sent of the notices of some days."""
    merchant = read_name(MERCHANT, request.parent)
    violations = Violations()
    start_date = _read_day(violations, "start_date", request)
    end_date = _read_day(violations, "end_date", request)
    violations.check()
    period = statistics.period(start_date, end_date, now)
    named = [notify_pb2.NoticeStatistics.Dimension.Name(each) for each in request.dimensions]
    dimensions = {Dimension(name) for name in named} or set(Dimension)
    page = read_page(request, keys=len(StatisticsKey._fields))
    after = _after(page)
    async with database.read() as connection:
        rows = await store.of_days(connection, merchant, period, dimensions, after, page.limit)
    shown, token = page.cut(
        rows, _statistics_message, lambda row: (row.day.isoformat(), *row.key[1:])
    )
    return notify_pb2.ListNoticeStatisticsResponse(
        notice_statistics=shown,
        next_page_token=token,
        start_date=to_date(period.start_date),
        end_date=to_date(period.end_date),
    )


def _read_day(
    violations: Violations,
    field: Literal["start_date", "end_date"],
    request: notify_pb2.ListNoticeStatisticsRequest,
) -> date | None:
    if not request.HasField(field):
        return None
    return read_date(violations, field, getattr(request, field))


def _after(page: Page) -> StatisticsKey:
    """The row before the page. Raises INVALID_ARGUMENT PAGE_TOKEN_INVALID."""
    day = page.after_date()
    return BEFORE_ALL if day is None else StatisticsKey(day, *page.after[1:])


def _statistics_message(row: store.StatisticsRow) -> notify_pb2.NoticeStatistics:
    return notify_pb2.NoticeStatistics(
        date=None if row.day == ANY_DAY else to_date(row.day),
        channel=notify_pb2.Channel.Value(row.channel or "CHANNEL_UNSPECIFIED"),
        region_code=row.region_code,
        kind=notify_pb2.NoticeKind.Value(row.kind or "NOTICE_KIND_UNSPECIFIED"),
        state=notify_pb2.Notice.Delivery.State.Value(row.state or "STATE_UNSPECIFIED"),
        delivery_count=row.delivery_count,
        segment_count=row.segment_count,
        costs=[
            _money(micros, currency)
            for micros, currency in zip(row.costs_micros, row.cost_currencies, strict=True)
        ],
    )


def _money(micros: int, currency: str) -> money_pb2.Money:
    units, rest = divmod(micros, MICROS_PER_UNIT)
    return money_pb2.Money(currency_code=currency, units=units, nanos=rest * _NANOS_PER_MICRO)
