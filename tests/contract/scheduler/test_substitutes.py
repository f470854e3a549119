"""What a customer gets instead of what cannot be had: as agreed, named, and never dearer than told."""

from datetime import timedelta

from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_money
from tests.contract.scheduler.shop import Shop
from tests.suite import new_id

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
            otherwise=pb.Otherwise(action=pb.Otherwise.SUBSTITUTE, substitute=shop.product(one)),
        )
        for one in products
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
            [one.title for one in line.replaced],
            from_money(line.amount).amount_minor,
        )
        for line in order.lines
    ]


async def last_text(shop: Shop, kind: notify_pb2.NoticeKind.ValueType) -> str:
    response = await shop.client.notify.ListNotices(
        notify_pb2.ListNoticesRequest(parent=shop.customer("ada"), page_size=1000)
    )
    [*_, last] = [one for one in response.notices if one.kind == kind]
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
    told = await last_text(shop, notify_pb2.STANDING_ORDER_CHANGED)
    assert "is paused: a product is not sold any more." in told
    await shop.suite.advance(6 * DAY)
    assert await shop.outcomes(made.name) == [(1, "SKIPPED", ["PRODUCT_UNAVAILABLE"])]
    assert "ORDER_HELD" not in await shop.told()


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
    await discontinue(shop, "pie")
    await shop.suite.advance(2.2 * DAY)
    assert await shop.outcomes(made.name) == [(1, "SKIPPED", ["PRODUCT_UNAVAILABLE"])]
    assert (await shop.get(made.name)).state == pb.StandingOrder.PAUSED
