"""Taking over standing orders: the contract's one stream, and each reason that it documents."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from recurring.audit.v1 import audit_pb2
from recurring.scheduler.v1 import events_pb2, scheduler_pb2

from services.runtime.rpc.conversions import to_date, to_money
from tests.contract.customer import TEA_CENTS, Customer, new_customer
from tests.contract.test_offers import YEAR
from tests.contract.test_offers import offer as make_offer
from tests.suite import Client, Suite, new_id, refused

Config = scheduler_pb2.ImportConfig
Response = scheduler_pb2.ImportStandingOrdersResponse
Row = scheduler_pb2.ImportRow
WEEKS_BEFORE = 6
YEARS_LATER = 10
DEADLINE_SECONDS = 30.0


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


async def next_date(ann: Customer) -> date:
    return await ann.today() + timedelta(days=5)


async def row(
    ann: Customer,
    standing_order: str = "old-1",
    *,
    weeks_later: int = 0,
    **fields: Any,  # noqa: ANN401
) -> Row:
    """A weekly standing order of Ann's that has run for six weeks, as another system knows it."""
    day = await next_date(ann) + timedelta(weeks=weeks_later)
    schedule = scheduler_pb2.Schedule(
        start_date=to_date(day - timedelta(weeks=WEEKS_BEFORE)),
        time_zone="Europe/Berlin",
        weekly=scheduler_pb2.Schedule.Weekly(every_weeks=1),
    )
    return Row(
        standing_order_id=standing_order,
        standing_order=await ann.order(**{"schedule": schedule, **fields}),
        next_cycle=7,
        next_date=to_date(day),
    )


def send(
    client: Client,
    rows: Sequence[Row],
    *,
    config: Config | None = None,
    without_config: bool = False,
    **how: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401 - a call, to be awaited
    async def requests() -> AsyncIterator[scheduler_pb2.ImportStandingOrdersRequest]:
        if not without_config:
            # One customer has the same product in most of these books.
            chosen = config or Config(**{"parent": client.name, "allow_duplicate": True, **how})
            yield scheduler_pb2.ImportStandingOrdersRequest(config=chosen)
        for row in rows:
            yield scheduler_pb2.ImportStandingOrdersRequest(row=row)

    return client.scheduler.ImportStandingOrders(
        requests(),
        metadata=client.metadata,
        timeout=DEADLINE_SECONDS,
    )


def counts(response: Response) -> tuple[int, int, int]:
    return response.imported_count, response.unchanged_count, response.refused_count


def found(response: Response) -> list[tuple[int, str, str]]:
    return [(problem.row, problem.field, problem.reason) for problem in response.problems]


async def listed(client: Client) -> list[scheduler_pb2.StandingOrder]:
    request = scheduler_pb2.ListStandingOrdersRequest(parent=client.name)
    return list((await client.scheduler.ListStandingOrders(request)).standing_orders)


async def test_a_row_goes_on_where_the_other_system_stopped(ann: Customer) -> None:
    day = await next_date(ann)
    assert counts(await send(ann.shop, [await row(ann)])) == (1, 0, 0)
    [made] = await listed(ann.shop)
    assert (made.name, made.next_cycle) == (f"{ann.shop.name}/standingOrders/old-1", 7)
    assert made.next_due_time.ToDatetime().date() == day
    assert made.state == scheduler_pb2.StandingOrder.ACTIVE


async def test_it_bills_with_the_number_that_the_other_system_had(
    suite: Suite, ann: Customer
) -> None:
    await send(ann.shop, [await row(ann)])
    await suite.advance(timedelta(days=7))
    request = scheduler_pb2.ListOrdersRequest(parent=f"{ann.shop.name}/standingOrders/old-1")
    [order, *_] = (await ann.shop.scheduler.ListOrders(request)).orders
    assert order.cycle == 7
    assert order.state == scheduler_pb2.Order.PAID


async def test_an_import_is_audited_by_its_merchant_and_how_many_rows(ann: Customer) -> None:
    rows = [await row(ann), await row(ann, "old-2", customer="merchants/nobody/customers/x")]
    assert counts(await send(ann.shop, rows, partial=True)) == (1, 0, 1)
    request = audit_pb2.ListAuditEntriesRequest(parent=ann.shop.name, resource=ann.shop.name)
    [entry] = (await ann.shop.scheduler.ListAuditEntries(request)).audit_entries
    assert (entry.method, entry.request_id) == ("ImportStandingOrders", "")
    assert dict(entry.after) == {"imported_count": 1, "refused_count": 1}


async def test_an_imported_standing_order_accepts_an_offer_that_there_is(ann: Customer) -> None:
    offer = f"{ann.shop.name}/priceProtectionOffers/held"
    rows = [await row(ann, price_protection=scheduler_pb2.PriceProtection(offer=offer))]
    field = "standing_order.price_protection.offer"
    assert found(await send(ann.shop, rows)) == [(1, field, "OFFER_NOT_FOUND")]
    await make_offer(ann.shop)
    assert counts(await send(ann.shop, rows)) == (1, 0, 0)
    request = scheduler_pb2.ListPriceProtectionsRequest(parent=ann.shop.name)
    [kept] = (await ann.shop.scheduler.ListPriceProtections(request)).price_protections
    [made] = await listed(ann.shop)
    assert (kept.price_protection.offer, kept.first_cycle) == (offer, made.next_cycle)
    assert kept.remaining_cycle_count == YEAR.cycle_count


async def test_an_imported_standing_order_is_published(suite: Suite, ann: Customer) -> None:
    async with suite.subscribe_events() as subscription:
        await send(ann.shop, [await row(ann)])
        received = await subscription.next(events_pb2.StandingOrderChanged, ann.shop.merchant)
    assert received.message.change == events_pb2.StandingOrderChanged.CREATED
    assert received.message.standing_order.endswith("/old-1")


async def test_the_price_at_the_import_is_the_one_that_is_locked(ann: Customer) -> None:
    protection = scheduler_pb2.PriceProtection(
        lock=scheduler_pb2.PriceProtection.Lock(cycle_count=7)
    )
    await send(ann.shop, [await row(ann, price_protection=protection)])
    [made] = await listed(ann.shop)
    assert made.price_protection == protection


async def test_the_same_rows_again_change_nothing(ann: Customer) -> None:
    rows = [await row(ann, f"old-{number}") for number in range(3)]
    assert counts(await send(ann.shop, rows)) == (3, 0, 0)
    before = await listed(ann.shop)
    assert counts(await send(ann.shop, rows)) == (0, 3, 0)
    assert await listed(ann.shop) == before


async def test_a_row_stays_the_same_when_its_standing_order_has_gone_on(
    suite: Suite, ann: Customer
) -> None:
    rows = [await row(ann)]
    await send(ann.shop, rows)
    await suite.advance(timedelta(days=14))
    assert counts(await send(ann.shop, rows)) == (0, 1, 0)


async def test_rows_can_be_added_to_those_that_are_there(ann: Customer) -> None:
    first = await row(ann)
    await send(ann.shop, [first])
    assert counts(await send(ann.shop, [first, await row(ann, "old-2")])) == (1, 1, 0)


async def test_an_id_with_other_content_is_a_problem(ann: Customer) -> None:
    await send(ann.shop, [await row(ann)])
    answer = await send(ann.shop, [await row(ann, title="Other tea")])
    assert counts(answer) == (0, 0, 1)
    assert found(answer) == [(1, "standing_order_id", "STANDING_ORDER_ALREADY_EXISTS")]


async def test_an_id_that_was_created_here_is_a_problem(ann: Customer) -> None:
    made = await ann.subscribe()
    answer = await send(ann.shop, [await row(ann, made.name.rpartition("/")[2])])
    assert found(answer) == [(1, "standing_order_id", "STANDING_ORDER_ALREADY_EXISTS")]


async def test_one_bad_row_keeps_all_out(ann: Customer) -> None:
    rows = [await row(ann), await row(ann, "old-2", title=""), await row(ann, "old-3")]
    answer = await send(ann.shop, rows)
    assert counts(answer) == (0, 0, 1)
    assert found(answer) == [(2, "standing_order.title", "FIELD_INVALID")]
    assert await listed(ann.shop) == []


async def test_partial_stores_the_good_rows(ann: Customer) -> None:
    rows = [await row(ann), await row(ann, "old-2", title="")]
    assert counts(await send(ann.shop, rows, partial=True)) == (1, 0, 1)
    assert [
        standing_order.name.rpartition("/")[2] for standing_order in await listed(ann.shop)
    ] == ["old-1"]


async def test_a_dry_run_says_what_would_be_and_stores_nothing(ann: Customer) -> None:
    rows = [await row(ann), await row(ann, "old-2")]
    assert counts(await send(ann.shop, rows, dry_run=True)) == (2, 0, 0)
    assert await listed(ann.shop) == []


async def test_shadow_bills_price_the_coming_cycles(ann: Customer) -> None:
    answer = await send(ann.shop, [await row(ann)], dry_run=True, shadow_cycle_count=3)
    [bill] = answer.shadow_bills
    assert (bill.row, bill.standing_order_id) == (1, "old-1")
    day = await next_date(ann)
    assert [(cycle.cycle, cycle.local_date, cycle.amount) for cycle in bill.cycles] == [
        (7 + week, to_date(day + timedelta(weeks=week)), to_money(2 * TEA_CENTS, "EUR"))
        for week in range(3)
    ]


async def test_every_problem_of_every_row_is_reported(ann: Customer) -> None:
    no_date = await row(ann, "no-date")
    no_date.next_date.CopyFrom(to_date(await next_date(ann) + timedelta(days=1)))
    past = await row(ann, "past")
    past.next_date.CopyFrom(to_date(await next_date(ann) - timedelta(weeks=1)))
    no_cycle = await row(ann, "no-cycle")
    no_cycle.next_cycle = 0
    missing = [scheduler_pb2.Item(product=f"{ann.shop.name}/products/none", quantity=1)]
    rows = [
        no_date,
        past,
        no_cycle,
        await row(ann, "Not An Id"),
        await row(ann, "no-product", items=missing),
        await row(ann, "no-mandate", mandate=f"{ann.name}/mandates/none"),
        await row(
            ann,
            "no-phone",
            customer=f"{ann.shop.name}/customers/bob",
            billing_mode=scheduler_pb2.PAY_ON_NOTICE,
            mandate="",
        ),
        await row(ann, "good"),
        await row(ann, "good"),
    ]
    answer = await send(ann.shop, rows)
    assert counts(answer) == (0, 0, 8)
    assert found(answer) == [
        (1, "next_date", "NEXT_DATE_NOT_SCHEDULED"),
        (2, "next_date", "NEXT_DATE_PAST"),
        (3, "next_cycle", "FIELD_INVALID"),
        (4, "standing_order_id", "FIELD_INVALID"),
        (5, "standing_order.items[0].product", "PRODUCT_NOT_FOUND"),
        (6, "standing_order.mandate", "MANDATE_NOT_COVERING"),
        (7, "standing_order.customer", "PHONE_NOT_BOUND"),
        (9, "standing_order_id", "ROW_REPEATED"),
    ]


async def test_a_product_that_a_customer_has_already_is_a_problem(ann: Customer) -> None:
    made = await ann.subscribe()
    rows = [await row(ann), await row(ann, "old-2")]
    answer = await send(ann.shop, rows, allow_duplicate=False)
    field = "standing_order.items[0].product"
    assert found(answer) == [
        (1, field, "DUPLICATE_STANDING_ORDER"),
        (2, field, "DUPLICATE_STANDING_ORDER"),
        (2, field, "DUPLICATE_STANDING_ORDER"),
    ]
    assert [problem.description.partition(" of ")[0] for problem in answer.problems] == [
        made.name,
        "row 1",
        made.name,
    ]
    assert counts(await send(ann.shop, rows, allow_duplicate=True)) == (2, 0, 0)


async def test_what_has_ended_is_no_duplicate_and_neither_is_what_is_unchanged(
    ann: Customer,
) -> None:
    made = await ann.subscribe()
    await ann.shop.scheduler.CancelStandingOrder(
        scheduler_pb2.CancelStandingOrderRequest(name=made.name, request_id=new_id())
    )
    rows = [await row(ann)]
    assert counts(await send(ann.shop, rows, allow_duplicate=False)) == (1, 0, 0)
    assert counts(await send(ann.shop, rows, allow_duplicate=False)) == (0, 1, 0)


async def test_a_sign_up_while_a_book_is_imported_makes_no_duplicate(ann: Customer) -> None:
    rows = [await row(ann, f"old-{number}", title=str(number)) for number in range(3)]
    tea = [await row(ann)]
    answers = await asyncio.gather(
        *(send(ann.shop, tea, allow_duplicate=False) for _ in range(2)),
        *(ann.subscribe() for _ in range(3)),
        return_exceptions=True,
    )
    assert len(await listed(ann.shop)) == 1, answers
    assert counts(await send(ann.shop, rows, allow_duplicate=False)) == (0, 0, 3)


async def test_the_dates_around_a_wrong_one_are_named(ann: Customer) -> None:
    wrong = await row(ann)
    day = await next_date(ann)
    wrong.next_date.CopyFrom(to_date(day + timedelta(days=1)))
    [problem] = (await send(ann.shop, [wrong])).problems
    assert f"{day} and {day + timedelta(weeks=1)}" in problem.description


async def test_more_rows_than_a_batch_are_one_import(ann: Customer) -> None:
    # Of years to come, so as not to be billed by one card, one after the other, in all other tests.
    rows = [await row(ann, f"old-{number}", weeks_later=YEARS_LATER * 52) for number in range(501)]
    bad = await row(ann, "bad", title="")
    assert counts(await send(ann.shop, [*rows, bad])) == (0, 0, 1)
    assert await listed(ann.shop) == []
    assert counts(await send(ann.shop, rows)) == (501, 0, 0)


class Sending:
    """An import whose caller has not sent everything yet."""

    def __init__(self, client: Client, rows: Sequence[Row]) -> None:
        self._rest = asyncio.Event()
        self.call = client.scheduler.ImportStandingOrders(
            self._requests(client, rows), metadata=client.metadata, timeout=DEADLINE_SECONDS
        )
        self.answer = asyncio.ensure_future(self.call)

    async def _requests(
        self, client: Client, rows: Sequence[Row]
    ) -> AsyncIterator[scheduler_pb2.ImportStandingOrdersRequest]:
        config = Config(parent=client.name, allow_duplicate=True)
        yield scheduler_pb2.ImportStandingOrdersRequest(config=config)
        for row in rows:
            yield scheduler_pb2.ImportStandingOrdersRequest(row=row)
        await self._rest.wait()

    async def finish(self) -> Response:
        self._rest.set()
        answer: Response = await self.answer
        return answer

    async def break_off(self) -> None:
        self.call.cancel()
        await asyncio.gather(self.answer, return_exceptions=True)


async def test_an_import_that_breaks_off_has_stored_nothing(ann: Customer) -> None:
    sending = Sending(ann.shop, [await row(ann)])
    await asyncio.sleep(0.2)
    await sending.break_off()
    assert await listed(ann.shop) == []
    assert counts(await send(ann.shop, [await row(ann)])) == (1, 0, 0)


async def test_what_was_created_while_an_import_ran_stays_and_the_import_stores_nothing(
    ann: Customer,
) -> None:
    sending = Sending(ann.shop, [await row(ann, "both"), await row(ann, "old-2")])
    request = await ann.ask()
    request.standing_order_id = "both"
    # Whether the row was checked before or after this, it is not imported.
    await asyncio.sleep(0.2)
    await ann.shop.scheduler.CreateStandingOrder(request)
    answer = await asyncio.gather(sending.finish(), return_exceptions=True)
    if isinstance(answer[0], Response):
        assert found(answer[0]) == [(1, "standing_order_id", "STANDING_ORDER_ALREADY_EXISTS")]
    else:
        refusal = await refused(sending.answer)
        assert (refusal.code, refusal.reason) == (
            "ALREADY_EXISTS",
            "STANDING_ORDER_ALREADY_EXISTS",
        )
    assert [
        standing_order.name.rpartition("/")[2] for standing_order in await listed(ann.shop)
    ] == ["both"]


async def test_a_merchant_who_imports_much_leaves_room_for_others(
    suite: Suite, ann: Customer
) -> None:
    sending = [Sending(ann.shop, []) for _ in range(2)]
    answers = [call.answer for call in sending]
    [turned_away], others = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    refusal = await refused(turned_away)
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "IMPORTS_BUSY")
    assert refusal.retry_seconds > 0
    assert len(others) == 1
    assert counts(await send(suite.client(), [])) == (0, 0, 0)
    [running] = [call for call in sending if call.answer in others]
    assert counts(await running.finish()) == (0, 0, 0)


async def test_imports_of_a_merchant_wait_for_each_other_a_moment(ann: Customer) -> None:
    rows = [await row(ann)]
    answers = await asyncio.gather(send(ann.shop, rows), send(ann.shop, rows))
    assert sorted(map(counts, answers)) == [(0, 1, 0), (1, 0, 0)]


async def test_only_so_many_import_at_once(suite: Suite) -> None:
    merchants = [suite.client() for _ in range(3)]
    sending = [Sending(merchant, []) for merchant in merchants]
    answers = [call.answer for call in sending]
    [turned_away], others = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    refusal = await refused(turned_away)
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "IMPORTS_BUSY")
    assert len(others) == 2
    for call in sending:
        await call.break_off()


async def test_whoever_has_not_said_for_whom_takes_nobody_s_room(ann: Customer) -> None:
    def silent() -> Any:  # noqa: ANN401 - a call
        async def nothing() -> AsyncIterator[scheduler_pb2.ImportStandingOrdersRequest]:
            await asyncio.Event().wait()
            yield scheduler_pb2.ImportStandingOrdersRequest()

        shop = ann.shop
        return shop.scheduler.ImportStandingOrders(nothing(), metadata=shop.metadata)

    waiting = [silent() for _ in range(5)]
    assert counts(await send(ann.shop, [])) == (0, 0, 0)
    for call in waiting:
        call.cancel()


async def test_nothing_at_all_is_imported_without_a_row(ann: Customer) -> None:
    assert counts(await send(ann.shop, [])) == (0, 0, 0)


async def test_an_import_without_a_config_is_refused(ann: Customer) -> None:
    refusal = await refused(send(ann.shop, [await row(ann)], without_config=True))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "CONFIG_MISSING")


@pytest.mark.parametrize("count", [-1, 13])
async def test_a_shadow_has_a_length(ann: Customer, count: int) -> None:
    refusal = await refused(send(ann.shop, [], shadow_cycle_count=count))
    assert refusal.fields == {"config.shadow_cycle_count": "FIELD_INVALID"}


async def test_another_merchants_book_is_refused(suite: Suite, ann: Customer) -> None:
    refusal = await refused(send(suite.client(), [], config=Config(parent=ann.shop.name)))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "MERCHANT_FORBIDDEN")
