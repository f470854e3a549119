"""What a customer gets instead of what cannot be had: as agreed, named, never dearer than announced."""

from datetime import timedelta

from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_money
from tests.contract.scheduler.shop import Shop
from tests.suite import new_id, refused

DAY = timedelta(days=1)
ANNOUNCED, AFTER_DUE = 1.2 * DAY, 4 * DAY


async def discontinue(shop: Shop, product: str) -> None:
    await shop.client.catalog.DiscontinueProduct(
        catalog_pb2.DiscontinueProductRequest(name=shop.product(product), request_id=new_id())
    )


async def deliver(shop: Shop, product: str, units: int) -> None:
    await shop.client.catalog.AdjustStock(
        catalog_pb2.AdjustStockRequest(
            product=shop.product(product), delta_units=units, request_id=new_id()
        )
    )


def in_stock_else(shop: Shop, *products: str) -> list[pb.Condition]:
    return [
        pb.Condition(
            in_stock=pb.Condition.InStock(),
            otherwise=pb.Otherwise(
                action=pb.Otherwise.SUBSTITUTE, substitute=shop.product(product)
            ),
        )
        for product in products
    ]


async def subscribe(shop: Shop, *substitutes: str, product: str = "cake") -> pb.StandingOrder:
    """Two cakes of 10.00 every five days, first in two days, paid by itself."""
    await shop.sell("cake", 1000, stock_tracked=True)
    await deliver(shop, "cake", 100)
    return await shop.create(
        await shop.due_in(2 * DAY, every_days=5, cycle_count=3),
        items=[shop.item(product, 2)],
        billing_mode=pb.AUTOMATIC,
        mandate=await shop.sign_up("ada"),
        conditions=in_stock_else(shop, *substitutes),
    )


def bought(order: pb.Order) -> list[tuple[str, list[str], int]]:
    """Each line as its product, what it is taken for, and its amount."""
    return [
        (
            line.product.rpartition("/")[2],
            [replaced.title for replaced in line.replaced],
            from_money(line.amount).amount_minor,
        )
        for line in order.lines
    ]


async def last_text(
    shop: Shop, kind: notify_pb2.NoticeKind.ValueType, customer: str = "ada"
) -> str:
    response = await shop.client.notify.ListNotices(
        notify_pb2.ListNoticesRequest(parent=shop.customer(customer), page_size=1000)
    )
    [*_, last] = [notice for notice in response.notices if notice.kind == kind]
    return str(last.deliveries[0].text)


async def test_a_substitute_dearer_than_announced_is_passed_over_for_the_next(shop: Shop) -> None:
    await shop.sell("torte", 1300)
    await shop.sell("pie", 900)
    made = await subscribe(shop, "torte", "pie")
    await shop.suite.advance(ANNOUNCED)
    assert from_money((await shop.order(made.name)).notified_amount).amount_minor == 2000
    await deliver(shop, "cake", -100)
    await shop.suite.advance(AFTER_DUE - ANNOUNCED)
    order = await shop.order(made.name)
    assert order.state == pb.Order.PAID
    assert bought(order) == [("pie", ["Cake"], 1800)]
    for kind in (notify_pb2.ORDER_UPCOMING, notify_pb2.RECEIPT):
        assert "With Pie for Cake." in await last_text(shop, kind)


async def test_an_announced_order_is_never_charged_more_for_a_substitute(shop: Shop) -> None:
    await shop.sell("torte", 1300)
    made = await subscribe(shop, "torte")
    await shop.suite.advance(ANNOUNCED)
    await deliver(shop, "cake", -100)
    await shop.suite.advance(AFTER_DUE - ANNOUNCED)
    assert await shop.outcomes(made.name) == [(1, "SKIPPED", ["CONDITION_NOT_MET"])]
    assert await shop.charge_states() == {}


async def test_a_product_off_sale_leads_to_the_substitute_that_was_agreed_on(shop: Shop) -> None:
    await shop.sell("pie", 900)
    made = await subscribe(shop, "pie")
    await discontinue(shop, "cake")
    [first, *_] = await shop.preview(made.name)
    assert [line.product for line in first.lines] == [shop.product("pie")]
    await shop.suite.advance(2.2 * DAY)
    order = await shop.order(made.name)
    assert (order.state, bought(order)) == (pb.Order.PAID, [("pie", ["Cake"], 1800)])


async def test_a_product_off_sale_with_nothing_agreed_on_pauses_the_standing_order(
    shop: Shop,
) -> None:
    made = await subscribe(shop)
    await shop.suite.advance(ANNOUNCED)
    await discontinue(shop, "cake")
    await shop.suite.advance(DAY)
    assert await shop.outcomes(made.name) == [(1, "SKIPPED", ["PRODUCT_UNAVAILABLE"])]
    assert (await shop.get(made.name)).state == pb.StandingOrder.PAUSED
    text = await last_text(shop, notify_pb2.STANDING_ORDER_CHANGED)
    assert "is paused: a product is not sold any more." in text
    await shop.suite.advance(6 * DAY)
    assert await shop.outcomes(made.name) == [(1, "SKIPPED", ["PRODUCT_UNAVAILABLE"])]
    assert "ORDER_HELD" not in await shop.notice_kinds()


async def test_only_the_product_that_is_gone_is_replaced(shop: Shop) -> None:
    await shop.sell("pie", 900)
    made = await subscribe(shop, "pie")
    await shop.update(made.name, ["items"], items=[shop.item("cake", 2), shop.item("coffee")])
    await discontinue(shop, "cake")
    await shop.suite.advance(2.2 * DAY)
    order = await shop.order(made.name)
    assert order.state == pb.Order.PAID
    assert [(product, replaced) for product, replaced, _ in bought(order)] == [
        ("pie", ["Cake"]),
        ("coffee", []),
    ]


async def test_a_substitute_off_sale_too_pauses_the_standing_order(shop: Shop) -> None:
    await shop.sell("pie", 900)
    made = await subscribe(shop, "pie")
    await discontinue(shop, "cake")
    await shop.suite.advance(timedelta(minutes=1))
    await discontinue(shop, "pie")
    await shop.suite.advance(2.2 * DAY)
    assert await shop.outcomes(made.name) == [(1, "SKIPPED", ["PRODUCT_UNAVAILABLE"])]
    assert (await shop.get(made.name)).state == pb.StandingOrder.PAUSED


async def test_one_cycle_with_a_product_off_sale_is_left_out_and_the_others_go_on(
    shop: Shop,
) -> None:
    made = await shop.create(await shop.due_in(3 * DAY, every_days=7))
    await shop.change(made.name, 1, items=[shop.item("coffee")])
    await discontinue(shop, "coffee")
    await shop.suite.advance(4 * DAY)
    assert await shop.outcomes(made.name) == [(1, "SKIPPED", ["PRODUCT_UNAVAILABLE"])]
    assert "ORDER_SKIPPED" in await shop.notice_kinds()
    assert (await shop.get(made.name)).state == pb.StandingOrder.ACTIVE


async def test_an_order_of_items_that_were_changed_meanwhile_pauses_nothing(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(3 * DAY, every_days=7))
    await shop.suite.advance(2.5 * DAY)
    await shop.update(made.name, ["items"], items=[shop.item("coffee")])
    await discontinue(shop, "tea")
    await shop.suite.advance(2 * DAY)
    assert await shop.outcomes(made.name) == [(1, "SKIPPED", ["PRODUCT_UNAVAILABLE"])]
    assert (await shop.get(made.name)).state == pb.StandingOrder.ACTIVE


# --- agreed for an item ---------------------------------------------------------------------------


async def agree(shop: Shop, *substitutes: str) -> pb.StandingOrder:
    """Two cakes of 10.00 every five days, or else one of the substitutes, paid by itself."""
    await shop.sell("cake", 1000, stock_tracked=True)
    item = shop.item("cake", 2)
    item.substitutes.extend(map(shop.product, substitutes))
    return await shop.create(
        await shop.due_in(2 * DAY, every_days=5, cycle_count=3),
        items=[item],
        billing_mode=pb.AUTOMATIC,
        mandate=await shop.sign_up("ada"),
    )


async def test_an_item_out_of_stock_is_replaced_by_the_best_that_is_no_dearer(shop: Shop) -> None:
    await shop.sell("torte", 1001)
    await shop.sell("pie", 1000)
    await shop.sell("bun", 100)
    made = await agree(shop, "torte", "pie", "bun")
    assert [it.rpartition("/")[2] for it in made.items[0].substitutes] == ["torte", "pie", "bun"]
    await shop.suite.advance(2.2 * DAY)
    order = await shop.order(made.name)
    assert (order.state, bought(order)) == (pb.Order.PAID, [("pie", ["Cake"], 2000)])
    for kind in (notify_pb2.ORDER_UPCOMING, notify_pb2.RECEIPT):
        assert "With Pie for Cake." in await last_text(shop, kind)


async def test_a_substitute_that_is_out_of_stock_too_leads_to_one_that_is_no_dearer_than_the_item(
    shop: Shop,
) -> None:
    await shop.sell("scone", 500, stock_tracked=True)
    await shop.sell("pie", 900)
    made = await agree(shop, "scone", "pie")
    await shop.suite.advance(2.2 * DAY)
    order = await shop.order(made.name)
    assert (order.state, bought(order)) == (pb.Order.PAID, [("pie", ["Cake"], 1800)])


async def test_an_item_that_ran_out_after_the_notice_is_announced_again_with_its_substitute(
    shop: Shop,
) -> None:
    await shop.sell("pie", 900)
    made = await agree(shop, "pie")
    await deliver(shop, "cake", 2)
    await shop.suite.advance(ANNOUNCED)
    assert bought(await shop.order(made.name)) == [("cake", [], 2000)]
    await deliver(shop, "cake", -2)
    await shop.suite.advance(AFTER_DUE - ANNOUNCED)
    order = await shop.order(made.name)
    assert (order.state, bought(order)) == (pb.Order.PAID, [("pie", ["Cake"], 1800)])


async def test_an_order_whose_substitutes_are_dearer_waits_for_its_own_product(shop: Shop) -> None:
    await shop.sell("torte", 1300)
    made = await agree(shop, "torte")
    await shop.suite.advance(2.2 * DAY)
    assert await shop.outcomes(made.name) == [(1, "HELD", ["OUT_OF_STOCK"])]
    assert (await shop.notice_kinds()).count("ORDER_UPCOMING") == 1
    await deliver(shop, "cake", 2)
    await shop.suite.advance(timedelta(minutes=10))
    order = await shop.order(made.name)
    assert (order.state, bought(order)) == (pb.Order.PAID, [("cake", [], 2000)])


async def test_a_product_off_sale_is_replaced_by_what_was_agreed_for_it(shop: Shop) -> None:
    await shop.sell("torte", 1300)
    await shop.sell("pie", 900)
    made = await agree(shop, "torte", "pie")
    await deliver(shop, "cake", 100)
    await discontinue(shop, "cake")
    await shop.suite.advance(2.2 * DAY)
    order = await shop.order(made.name)
    assert (order.state, bought(order)) == (pb.Order.PAID, [("pie", ["Cake"], 1800)])


async def test_each_customer_hears_at_once_that_a_product_is_gone_and_what_comes_instead(
    shop: Shop,
) -> None:
    await shop.sell("pie", 900)
    made = await agree(shop, "pie")
    await shop.bind_phone("bob")
    without = await shop.create(
        await shop.due_in(9 * DAY), items=[shop.item("cake")], customer=shop.customer("bob")
    )
    await shop.bind_phone("eve")
    resting = await shop.create(
        await shop.due_in(9 * DAY), items=[shop.item("cake")], customer=shop.customer("eve")
    )
    await shop.pause(resting.name)
    await discontinue(shop, "cake")
    await shop.suite.advance(timedelta(minutes=10))
    assert (await shop.get(made.name)).state == pb.StandingOrder.ACTIVE
    assert "you get Pie instead" in await last_text(shop, notify_pb2.ITEM_DISCONTINUED)
    assert (await shop.get(without.name)).state == pb.StandingOrder.PAUSED
    assert "is paused: a product is not sold any more." in await last_text(
        shop, notify_pb2.STANDING_ORDER_CHANGED, "bob"
    )
    # Who has paused it hears what is missing when they resume it.
    assert "Cake in your standing order Tea is not sold any more. Please choose" in await last_text(
        shop, notify_pb2.ITEM_DISCONTINUED, "eve"
    )


async def test_a_product_off_sale_with_dearer_substitutes_only_pauses_the_standing_order(
    shop: Shop,
) -> None:
    await shop.sell("torte", 1300)
    made = await agree(shop, "torte")
    await deliver(shop, "cake", 100)
    await discontinue(shop, "cake")
    await shop.suite.advance(2.2 * DAY)
    assert (await shop.get(made.name)).state == pb.StandingOrder.PAUSED
    assert "is paused: a product is not sold any more." in await last_text(
        shop, notify_pb2.STANDING_ORDER_CHANGED
    )
    assert await shop.charge_states() == {}


async def test_substitutes_that_cannot_be_ordered_are_refused_with_the_reason(shop: Shop) -> None:
    await shop.sell("dear", 900, "USD")
    await shop.bind_phone("ada")
    item = shop.item("tea")
    item.substitutes.extend([shop.product("gone"), shop.product("dear"), item.product])
    when = await shop.due_in(2 * DAY)
    refusal = await refused(shop.create(when, items=[item]))
    assert refusal.fields == {"standing_order.items[0].substitutes[2]": "FIELD_INVALID"}
    del item.substitutes[2]
    refusal = await refused(shop.create(when, items=[item]))
    assert refusal.fields == {
        "standing_order.items[0].substitutes[0]": "PRODUCT_NOT_FOUND",
        "standing_order.items[0].substitutes[1]": "CURRENCY_MISMATCH",
    }
    del item.substitutes[:]
    made = await shop.create(when, items=[item])
    item.substitutes.append(shop.product("coffee"))
    refusal = await refused(shop.change(made.name, 1, items=[item]))
    assert refusal.fields == {"change.items[0].substitutes": "FIELD_INVALID"}
