"""Conditions of a standing order, from the template to the message, on the running suite."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import grpc
import pytest
from google.protobuf import field_mask_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.rpc.conversions import to_date, to_money
from tests.contract.customer import Customer, add_contact, bind_phone
from tests.suite import Client, Suite, new_id, refused

ORDERS_OF_THE_GREEDY = 20
# By one merchant's previews, of which each took a minute of the process before they were bounded.
HELD_UP_MAX_TIMES, HELD_UP_MAX_SECONDS = 4, 5.0
SKIP = scheduler_pb2.Otherwise(action=scheduler_pb2.Otherwise.SKIP)
ASK = scheduler_pb2.Otherwise(action=scheduler_pb2.Otherwise.HOLD_AND_ASK)
Order = scheduler_pb2.Order


@dataclass(frozen=True)
class Tea:
    """A customer who wants two packets of tea, at 4.50 EUR each, every ten days."""

    suite: Suite
    shop: Client
    phone: str

    def product(self, product: str) -> str:
        return f"{self.shop.name}/products/{product}"

    async def order(
        self, *conditions: scheduler_pb2.Condition
    ) -> scheduler_pb2.CreateStandingOrderRequest:
        start = (await self.suite.sandbox.now()).date() + timedelta(days=4)
        return scheduler_pb2.CreateStandingOrderRequest(
            parent=self.shop.name,
            standing_order_id="tea",
            standing_order=scheduler_pb2.StandingOrder(
                customer=f"{self.shop.name}/customers/ann",
                title="Tea",
                items=[scheduler_pb2.Item(product=self.product("tea"), quantity=2)],
                schedule=scheduler_pb2.Schedule(
                    start_date=to_date(start),
                    time_zone="UTC",
                    daily=scheduler_pb2.Schedule.Daily(every_days=10),
                ),
                billing_mode=scheduler_pb2.PAY_ON_NOTICE,
                conditions=conditions,
            ),
            request_id=new_id(),
        )

    async def subscribe(self, *conditions: scheduler_pb2.Condition) -> scheduler_pb2.StandingOrder:
        request = await self.order(*conditions)
        made: scheduler_pb2.StandingOrder = await self.shop.scheduler.CreateStandingOrder(request)
        return made

    async def first(self) -> Order:
        """The first cycle's order, as it is."""
        name = f"{self.shop.name}/standingOrders/tea/orders/1"
        got: Order = await self.shop.scheduler.GetOrder(scheduler_pb2.GetOrderRequest(name=name))
        return got

    async def history(self) -> list[tuple[str, str]]:
        """What was decided about the first cycle: kind and words."""
        name = f"{self.shop.name}/standingOrders/tea/orders/1"
        request = scheduler_pb2.ExplainOrderRequest(name=name)
        explanation = await self.shop.scheduler.ExplainOrder(request)
        return [(decision.kind, decision.summary) for decision in explanation.decisions]

    async def preview(self, cycles: int = 3) -> Sequence[scheduler_pb2.CyclePreview]:
        request = scheduler_pb2.PreviewCyclesRequest(
            name=f"{self.shop.name}/standingOrders/tea", cycle_count=cycles
        )
        response = await self.shop.scheduler.PreviewCycles(request)
        previewed: Sequence[scheduler_pb2.CyclePreview] = response.cycles
        return previewed

    async def sell(self, product: str, cents: int) -> None:
        stub = self.shop.catalog
        await stub.CreateProduct(
            catalog_pb2.CreateProductRequest(
                parent=self.shop.name,
                product_id=product,
                product=catalog_pb2.Product(title=product.title(), stock_tracked=product == "tea"),
                request_id=new_id(),
            )
        )
        await stub.CreatePrice(
            catalog_pb2.CreatePriceRequest(
                parent=self.product(product),
                price_id="first",
                price=catalog_pb2.Price(unit_price=to_money(cents, "EUR")),
                request_id=new_id(),
            )
        )

    async def deliver(self, units: int) -> None:
        await self.shop.catalog.AdjustStock(
            catalog_pb2.AdjustStockRequest(
                product=self.product("tea"), delta_units=units, request_id=new_id()
            )
        )


@pytest.fixture
async def tea(suite: Suite) -> Tea:
    shop = suite.client()
    customer = Tea(suite, shop, f"+49170{random.randrange(10**8):08}")  # noqa: S311 - only has to be hers alone
    await customer.sell("tea", 450)
    await customer.sell("chicory", 300)
    await customer.deliver(100)
    ann = Customer(suite, shop, customer.phone)
    await add_contact(ann)
    await bind_phone(ann)
    return customer


def total(cents: int, otherwise: scheduler_pb2.Otherwise) -> scheduler_pb2.Condition:
    return scheduler_pb2.Condition(total_ceiling=to_money(cents, "EUR"), otherwise=otherwise)


def expression(source: str) -> scheduler_pb2.Condition:
    return scheduler_pb2.Condition(expression=source, otherwise=SKIP)


async def test_a_cycle_is_left_out_as_the_preview_said_and_the_customer_is_notified_why(
    tea: Tea,
) -> None:
    made = await tea.subscribe(expression("total < 1000"), total(800, SKIP))
    [first, *_] = await tea.preview()
    assert first.skip_reason == scheduler_pb2.CONDITION_NOT_MET
    assert list(first.unmet_conditions) == ["The total is above its ceiling."]
    assert len(made.conditions) == 2

    await tea.suite.advance(timedelta(days=5))

    order = await tea.first()
    assert order.state == Order.SKIPPED
    assert list(order.reasons) == [scheduler_pb2.CONDITION_NOT_MET]
    assert ("SKIPPED", "The total is above its ceiling. The cycle is left out.") in (
        await tea.history()
    )
    texts = [sms["body"] for sms in await tea.suite.sandbox.inbox(tea.phone)]
    assert any("a condition that you set does not hold" in body for body in texts)


async def test_a_customer_who_is_asked_and_confirms_gets_the_order(tea: Tea) -> None:
    await tea.subscribe(total(800, ASK))
    await tea.suite.advance(timedelta(days=2))
    held = await tea.first()
    assert held.state == Order.HELD
    texts = [sms["body"] for sms in await tea.suite.sandbox.inbox(tea.phone)]
    assert any("Want it? Say yes" in body for body in texts)

    confirm = scheduler_pb2.ConfirmOrderRequest(name=held.name, request_id=new_id())
    answered = await tea.shop.scheduler.ConfirmOrder(confirm)
    assert answered.state == Order.UPCOMING
    await tea.suite.advance(timedelta(days=4))

    assert (await tea.first()).state == Order.AWAITING_PAYMENT
    kinds = [kind for kind, _ in await tea.history()]
    assert kinds.index("HELD") < kinds.index("CONFIRMED") < kinds.index("PREPARED")
    again = await refused(
        tea.shop.scheduler.ConfirmOrder(
            scheduler_pb2.ConfirmOrderRequest(name=held.name, request_id=new_id())
        )
    )
    assert again.reason == "ORDER_STATE"


async def test_an_order_is_deferred_until_its_stock_is_there_again(tea: Tea) -> None:
    later = scheduler_pb2.Otherwise(action=scheduler_pb2.Otherwise.DEFER, defer_days=3)
    in_stock = scheduler_pb2.Condition(in_stock=scheduler_pb2.Condition.InStock(), otherwise=later)
    made = await tea.subscribe(in_stock)
    await tea.suite.advance(timedelta(days=2))
    assert (await tea.first()).state == Order.UPCOMING
    await tea.deliver(-100)

    await tea.suite.advance(timedelta(days=3))
    deferred = await tea.first()
    assert deferred.state == Order.HELD
    assert deferred.due_time.seconds - made.next_due_time.seconds == 3 * 86_400
    await tea.deliver(100)
    await tea.suite.advance(timedelta(days=7))

    assert (await tea.first()).state == Order.AWAITING_PAYMENT
    kinds = [kind for kind, _ in await tea.history()]
    assert kinds.count("PREPARED") == 2
    assert kinds.index("DEFERRED") < kinds.index("COLLECTED")


async def test_an_order_whose_stock_goes_after_it_was_announced_is_announced_again(
    tea: Tea,
) -> None:
    chicory = scheduler_pb2.Otherwise(
        action=scheduler_pb2.Otherwise.SUBSTITUTE, substitute=tea.product("chicory")
    )
    in_stock = scheduler_pb2.Condition(
        in_stock=scheduler_pb2.Condition.InStock(), otherwise=chicory
    )
    await tea.subscribe(in_stock)
    await tea.suite.advance(timedelta(days=2))
    announced = await tea.first()
    await tea.deliver(-100)

    await tea.suite.advance(timedelta(days=3))
    anew = await tea.first()
    await tea.suite.advance(timedelta(days=4))

    charged = await tea.first()
    assert [announced.notified_amount, anew.notified_amount] == [
        to_money(900, "EUR"),
        to_money(600, "EUR"),
    ]
    assert anew.state == Order.UPCOMING
    assert anew.charge_not_before_time.seconds - announced.due_time.seconds >= 3 * 86_400
    assert (charged.state, charged.amount) == (Order.AWAITING_PAYMENT, to_money(600, "EUR"))


async def test_a_cycle_without_stock_would_be_left_out(tea: Tea) -> None:
    in_stock = scheduler_pb2.Condition(in_stock=scheduler_pb2.Condition.InStock(), otherwise=SKIP)
    await tea.subscribe(in_stock)
    assert (await tea.preview(1))[0].skip_reason == scheduler_pb2.ORDER_REASON_UNSPECIFIED

    await tea.deliver(-99)

    [first] = await tea.preview(1)
    assert first.skip_reason == scheduler_pb2.CONDITION_NOT_MET
    assert list(first.unmet_conditions) == ["Too few in stock: tea."]


async def test_a_substitute_is_announced_instead_of_what_is_too_dear(tea: Tea) -> None:
    chicory = scheduler_pb2.Otherwise(
        action=scheduler_pb2.Otherwise.SUBSTITUTE, substitute=tea.product("chicory")
    )
    ceiling = scheduler_pb2.Condition.UnitPriceCeiling(
        product=tea.product("tea"), ceiling=to_money(400, "EUR")
    )
    await tea.subscribe(scheduler_pb2.Condition(unit_price_ceiling=ceiling, otherwise=chicory))
    [first, *_] = await tea.preview()
    assert [line.product for line in first.lines] == [tea.product("chicory")]

    await tea.suite.advance(timedelta(days=5))

    order = await tea.first()
    assert order.state == Order.AWAITING_PAYMENT
    assert [line.product for line in order.lines] == [tea.product("chicory")]
    assert order.amount == to_money(600, "EUR")
    assert "SUBSTITUTED" in [kind for kind, _ in await tea.history()]


async def test_a_preview_counts_what_the_cycles_before_would_have_cost(tea: Tea) -> None:
    conditions = [
        scheduler_pb2.Condition(month_ceiling=to_money(1000, "EUR"), otherwise=SKIP),
        scheduler_pb2.Condition(days_since_last_order=5, otherwise=SKIP),
    ]
    await tea.subscribe(*conditions)

    coming = await tea.preview(12)
    months = [(cycle.local_date.year, cycle.local_date.month) for cycle in coming]
    left_out = [cycle.skip_reason == scheduler_pb2.CONDITION_NOT_MET for cycle in coming]
    assert left_out == [month in months[:place] for place, month in enumerate(months)]
    assert set(left_out) == {False, True}


async def test_conditions_that_make_no_sense_are_refused_by_their_fields(tea: Tea) -> None:
    wrong = await tea.order(
        expression("total <"),
        expression("colour == 'red'"),
        scheduler_pb2.Condition(otherwise=SKIP),
        scheduler_pb2.Condition(days_since_last_order=0, otherwise=SKIP),
        total(500, scheduler_pb2.Otherwise(action=scheduler_pb2.Otherwise.SUBSTITUTE)),
    )
    refusal = await refused(tea.shop.scheduler.CreateStandingOrder(wrong))

    field = "standing_order.conditions"
    assert refusal.fields == {
        f"{field}[0].expression": "CONDITION_INVALID",
        f"{field}[1].expression": "CONDITION_INVALID",
        f"{field}[2]": "CONDITION_INVALID",
        f"{field}[3].days_since_last_order": "FIELD_INVALID",
        f"{field}[4].otherwise.action": "FIELD_INVALID",
        f"{field}[4].otherwise.substitute": "FIELD_INVALID",
    }


async def test_expressions_that_cost_too_much_together_are_refused_by_the_one_that_is_too_many(
    tea: Tea,
) -> None:
    dear = expression("[" + ",".join(["1"] * 200) + "].all(i, i > 0)")
    refusal = await refused(tea.shop.scheduler.CreateStandingOrder(await tea.order(*[dear] * 10)))

    assert refusal.fields == {"standing_order.conditions[9].expression": "CONDITION_TOO_COSTLY"}
    assert "10000 together" in refusal.message


async def test_items_that_would_make_the_expressions_cost_too_much_are_refused(tea: Tea) -> None:
    source = " && ".join(["i.quantity < 90 && i.quantity in [1, 2, 3]"] * 10)
    made = await tea.subscribe(*[expression(f"items.all(i, {source})")] * 3)
    made.ClearField("items")
    for number in range(40):
        await tea.sell(f"tea-{number}", 100)
        made.items.add(product=tea.product(f"tea-{number}"), quantity=1)
    request = scheduler_pb2.UpdateStandingOrderRequest(
        standing_order=made,
        update_mask=field_mask_pb2.FieldMask(paths=["items"]),
        request_id=new_id(),
    )

    refusal = await refused(tea.shop.scheduler.UpdateStandingOrder(request))

    assert refusal.fields == {
        "standing_order.conditions[1].expression": "CONDITION_TOO_COSTLY",
        "standing_order.conditions[2].expression": "CONDITION_TOO_COSTLY",
    }


async def test_a_merchant_with_the_dearest_conditions_holds_up_no_other(
    tea: Tea, suite: Suite
) -> None:
    greedy = Tea(suite, suite.client(), f"+49171{random.randrange(10**8):08}")  # noqa: S311
    await greedy.sell("tea", 450)
    ann = Customer(suite, greedy.shop, greedy.phone)
    await add_contact(ann)
    await bind_phone(ann)
    dearest = [expression("[" + ",".join(["1"] * 190) + "].all(i, i > 0)")] * 10
    names = []
    for number in range(ORDERS_OF_THE_GREEDY):
        wanted = await greedy.order(*dearest)
        wanted.standing_order_id, wanted.allow_duplicate = f"tea-{number}", True
        names.append((await greedy.shop.scheduler.CreateStandingOrder(wanted)).name)
    await tea.subscribe(total(1000, SKIP))
    await suite.advance(timedelta(days=2))
    # The second cycle, by itself, and the third, while previews are asked for on and on.
    quiet = await _seconds_of(suite, timedelta(days=10))
    flood = [asyncio.create_task(_preview_on_and_on(greedy.shop, name)) for name in names * 2]
    try:
        await asyncio.sleep(1)
        loud = await _seconds_of(suite, timedelta(days=10))
        third = f"{tea.shop.name}/standingOrders/tea/orders/3"
        order = await tea.shop.scheduler.GetOrder(scheduler_pb2.GetOrderRequest(name=third))
        assert order.state == Order.UPCOMING
    finally:
        for call in flood:
            call.cancel()
        done = await asyncio.gather(*flood, return_exceptions=True)
    # The greedy one's previews are answered, or told to come again.
    assert all(isinstance(call, asyncio.CancelledError) for call in done), done
    assert loud < HELD_UP_MAX_TIMES * quiet + HELD_UP_MAX_SECONDS, (loud, quiet)


async def _seconds_of(suite: Suite, by: timedelta) -> float:
    """How long all that falls due in a time takes."""
    started = time.monotonic()
    await suite.advance(by)
    return time.monotonic() - started


async def _preview_on_and_on(shop: Client, name: str) -> None:
    request = scheduler_pb2.PreviewCyclesRequest(name=name, cycle_count=100)
    while True:
        try:
            await shop.scheduler.PreviewCycles(request)
        except grpc.aio.AioRpcError as error:
            assert error.code() in {  # noqa: PT017
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            }
            await asyncio.sleep(0.05)


async def test_a_ceiling_that_could_never_hold_is_refused(tea: Tea) -> None:
    ceiling = scheduler_pb2.Condition(total_ceiling=to_money(500, "USD"), otherwise=SKIP)

    refusal = await refused(tea.shop.scheduler.CreateStandingOrder(await tea.order(ceiling)))

    assert refusal.fields == {"standing_order.conditions[0]": "CONDITION_INVALID"}


async def test_conditions_are_changed_as_a_whole_and_can_be_tried_before(tea: Tea) -> None:
    made = await tea.subscribe(total(800, SKIP))
    made.ClearField("conditions")
    made.conditions.append(total(2000, SKIP))
    mask = field_mask_pb2.FieldMask(paths=["conditions"])

    tried = await tea.shop.scheduler.PreviewStandingOrderUpdate(
        scheduler_pb2.PreviewStandingOrderUpdateRequest(standing_order=made, update_mask=mask)
    )
    changed = await tea.shop.scheduler.UpdateStandingOrder(
        scheduler_pb2.UpdateStandingOrderRequest(
            standing_order=made, update_mask=mask, request_id=new_id()
        )
    )

    assert tried.before[0].skip_reason == scheduler_pb2.CONDITION_NOT_MET
    assert tried.after[0].skip_reason == scheduler_pb2.ORDER_REASON_UNSPECIFIED
    assert list(changed.conditions) == [total(2000, SKIP)]
