"""What was sent, counted: by what it is and what it cost."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from google.type import date_pb2
from recurring.notify.v1 import notify_pb2

from services.notify.application import statistics
from services.notify.domain.sms_prices import parse_prices
from services.notify.workers import Deliveries
from services.runtime.errors import Problem
from tests.integration.notify.suite import (
    ANN,
    UNDELIVERABLE_PHONE,
    Notify,
    order_confirmed,
    order_skipped,
    order_upcoming,
)

Dimension = notify_pb2.NoticeStatistics
BOB = "merchants/acme/customers/bob"
UK_PHONE = "+447912345678"
# As the deliveries themselves say it.
BY_DELIVERIES = """
    SELECT CAST(create_time AT TIME ZONE 'UTC' AS date), channel, region_code, kind, state,
           count(*), sum(segment_count), sum(cost_micros)
    FROM deliveries JOIN notices USING (merchant, customer, notice)
    WHERE state <> 'PENDING' GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""


async def counted(
    notify: Notify, *dimensions: notify_pb2.NoticeStatistics.Dimension.ValueType
) -> list[notify_pb2.NoticeStatistics]:
    """What was sent since the year before, read in pages of two."""
    rows, token = [], ""
    while True:
        request = notify_pb2.ListNoticeStatisticsRequest(
            parent="merchants/acme",
            start_date=date_pb2.Date(year=2026, month=1, day=1),
            end_date=date_pb2.Date(year=2026, month=12, day=31),
            dimensions=dimensions,
            page_size=2,
            page_token=token,
        )
        page = await notify.call("ListNoticeStatistics", request)
        rows += page.notice_statistics
        if not (token := page.next_page_token):
            return rows


def as_deliveries(rows: Sequence[notify_pb2.NoticeStatistics]) -> list[tuple[Any, ...]]:
    return [
        (
            f"{it.date.year}-{it.date.month:02}-{it.date.day:02}",
            notify_pb2.Channel.Name(it.channel),
            it.region_code,
            notify_pb2.NoticeKind.Name(it.kind),
            notify_pb2.Notice.Delivery.State.Name(it.state),
            it.delivery_count,
            it.segment_count,
            sum(cost.units * 10**6 + cost.nanos // 10**3 for cost in it.costs),
        )
        for it in rows
    ]


async def by_deliveries(notify: Notify) -> list[tuple[Any, ...]]:
    async with notify.database.read() as connection:
        rows = await connection.fetch(BY_DELIVERIES)
    return [(row[0].isoformat(), *map(int_of, list(row)[1:])) for row in rows]


def int_of(value: Any) -> Any:  # noqa: ANN401 - sums are decimals
    return value if isinstance(value, str) else int(value)


async def history(notify: Notify) -> None:
    """Messages to two customers over two days: some arrive, some fail, and one becomes untrue."""
    await notify.contact(email="ann@example.com")
    await notify.bind()
    await notify.contact(BOB)
    await notify.bind(UK_PHONE, BOB)
    await notify.receive(order_upcoming(), order_upcoming(BOB, 2))
    await notify.deliver()
    await notify.replace_phone(UNDELIVERABLE_PHONE, BOB)
    notify.clock.move(timedelta(days=1))
    await notify.outage("mail", on=True)
    await notify.receive(order_skipped(ANN, 5), order_skipped(BOB, 6))
    await notify.receive(order_upcoming(ANN, 7), event_key="7")
    await notify.deliver()
    await notify.receive(order_confirmed(ANN, 7))
    await notify.outage("mail", on=False)
    await notify.deliver()
    await notify.contact("merchants/acme/customers/nobody")
    await notify.receive(order_skipped("merchants/acme/customers/nobody", 8), event_key="8")


async def test_statistics_say_what_the_deliveries_say(notify: Notify) -> None:
    await history(notify)
    rows = as_deliveries(await counted(notify))

    assert rows == await by_deliveries(notify)
    assert {row[4] for row in rows} == {"DELIVERED", "FAILED", "VOIDED"}
    assert {row[2] for row in rows} >= {"", "DE", "GB"}


async def test_statistics_are_the_same_once_changes_are_merged(notify: Notify) -> None:
    await history(notify)
    before = await counted(notify)
    await statistics.merge(notify.database)
    merged = await counted(notify)
    await notify.receive(order_skipped(ANN, 9), event_key="9")
    await notify.deliver()

    assert merged == before
    assert as_deliveries(await counted(notify)) == await by_deliveries(notify)


async def test_costs_follow_the_country_and_the_segments(notify: Notify) -> None:
    notify.deliveries = Deliveries(
        notify.database,
        notify.clock,
        notify.deliveries._gateways,
        notify.documents,
        parse_prices("EUR *=0.2 DE=0.0755"),
    )
    await notify.contact()
    await notify.bind()
    [german] = await counted(notify, Dimension.CHANNEL, Dimension.REGION)

    assert (german.region_code, german.delivery_count, german.segment_count) == ("DE", 1, 1)
    assert [(it.currency_code, it.units, it.nanos) for it in german.costs] == [
        ("EUR", 0, 75_500_000)
    ]


async def test_what_is_refused_costs_nothing(notify: Notify) -> None:
    await notify.contact()
    await notify.bind_unreachable(UNDELIVERABLE_PHONE)
    await notify.receive(order_skipped())
    await notify.deliver()
    rows = await counted(notify, Dimension.STATE)

    [failed] = [it for it in rows if it.state == notify_pb2.Notice.Delivery.FAILED]
    assert (failed.delivery_count, failed.segment_count, list(failed.costs)) == (1, 0, [])


async def test_costs_of_two_currencies_are_not_added_up(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    notify.deliveries = Deliveries(
        notify.database,
        notify.clock,
        notify.deliveries._gateways,
        notify.documents,
        parse_prices("USD *=0.2"),
    )
    await notify.receive(order_skipped())
    await notify.deliver()
    [row] = await counted(notify, Dimension.CHANNEL)

    assert row.delivery_count == 2
    assert [it.currency_code for it in row.costs] == ["EUR", "USD"]


@pytest.mark.parametrize(
    ("fields", "violated"),
    [
        ({"start_date": date_pb2.Date(year=2026, month=2, day=30)}, ["start_date"]),
        ({"end_date": date_pb2.Date(year=1969, month=12, day=31)}, ["start_date", "end_date"]),
        (
            {
                "start_date": date_pb2.Date(year=2026, month=2, day=1),
                "end_date": date_pb2.Date(year=2026, month=1, day=31),
            },
            ["end_date"],
        ),
        (
            {
                "start_date": date_pb2.Date(year=2025, month=1, day=1),
                "end_date": date_pb2.Date(year=2026, month=1, day=3),
            },
            ["end_date"],
        ),
    ],
)
async def test_a_period_is_one_of_at_most_a_year(
    notify: Notify, fields: dict[str, Any], violated: list[str]
) -> None:
    request = notify_pb2.ListNoticeStatisticsRequest(parent="merchants/acme", **fields)
    with pytest.raises(Problem) as refused:
        await notify.call("ListNoticeStatistics", request)

    assert [violation.field for violation in refused.value.violations] == violated


async def test_what_another_merchant_sent_is_not_counted(notify: Notify) -> None:
    await history(notify)
    request = notify_pb2.ListNoticeStatisticsRequest(parent="merchants/other")

    answer = await notify.call("ListNoticeStatistics", request, merchant="other")
    assert not answer.notice_statistics
