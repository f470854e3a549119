"""An order that lapsed can still be paid where the merchant wants that, and only there."""

import re
from datetime import timedelta

from google.type.postal_address_pb2 import PostalAddress
from recurring.catalog.v1 import catalog_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import to_money
from tests.contract.scheduler.shop import Shop
from tests.suite import new_id, refused

DAY = timedelta(days=1)
PRICE_MINOR = 500
PAGE = "https://pay.test/late"
HOME = PostalAddress(region_code="DE", locality="Bonn", address_lines=["Marktplatz 1"])


async def lapsed(shop: Shop, late_payment_days: int) -> tuple[str, str]:
    """The standing order and the charge of an order of one mug that nobody paid in time."""
    await shop.sell("mug", PRICE_MINOR, stock_tracked=True)
    await adjust_mugs(shop, 1)
    settings = pb.SchedulerSettings(
        name=f"{shop.name}/schedulerSettings",
        unpaid_policy=pb.SchedulerSettings.GO_ON,
        late_payment_days=late_payment_days,
    )
    await shop.scheduler.UpdateSchedulerSettings(
        pb.UpdateSchedulerSettingsRequest(scheduler_settings=settings, request_id=new_id())
    )
    policy = payments_pb2.DunningPolicy(
        name=f"{shop.name}/dunningPolicy",
        schedule=payments_pb2.DunningPolicy.STANDARD,
        payment_page_uri=PAGE,
    )
    await shop.client.payments.UpdateDunningPolicy(
        payments_pb2.UpdateDunningPolicyRequest(dunning_policy=policy, request_id=new_id())
    )
    when = await shop.due_in(2 * DAY, cycle_count=1)
    made = await shop.create(when, items=[shop.item("mug")], ship_to=HOME)
    await shop.suite.advance(2.5 * DAY)
    await shop.suite.advance(4 * DAY)
    charge = f"{shop.customer('ada')}/charges/{made.name.rpartition('/')[2]}-1"
    return made.name, charge


async def adjust_mugs(shop: Shop, delta_units: int) -> None:
    await shop.client.catalog.AdjustStock(
        catalog_pb2.AdjustStockRequest(
            product=shop.product("mug"), delta_units=delta_units, request_id=new_id()
        )
    )


async def mugs(shop: Shop) -> tuple[int, int, int]:
    """How many are on hand, held and committed."""
    stock = await shop.client.catalog.GetStock(
        catalog_pb2.GetStockRequest(product=shop.product("mug"))
    )
    return stock.on_hand_units, stock.held_units, stock.committed_units


async def confirm(shop: Shop, charge: str) -> payments_pb2.Charge:
    confirmed: payments_pb2.Charge = await shop.client.payments.ConfirmPaymentRequest(
        payments_pb2.ConfirmPaymentRequestRequest(
            name=charge,
            payment_method=f"{shop.customer('ada')}/paymentMethods/card",
            request_id=new_id(),
        )
    )
    await shop.suite.sandbox.settle()
    return confirmed


async def pay_by_link(shop: Shop, token: str) -> payments_pb2.Charge:
    paid: payments_pb2.Charge = await shop.client.payments.PayByLink(
        payments_pb2.PayByLinkRequest(
            parent=shop.name,
            link_token=token,
            payment_method=f"{shop.customer('ada')}/paymentMethods/card",
            amount=to_money(PRICE_MINOR, "EUR"),
            request_id=new_id(),
        )
    )
    await shop.suite.sandbox.settle()
    return paid


async def test_an_order_that_lapsed_is_paid_late_while_its_products_last(shop: Shop) -> None:
    await shop.sign_up("ada")
    name, charge = await lapsed(shop, late_payment_days=5)
    order = await shop.order(name)
    assert (order.state, list(order.reasons)) == (pb.Order.LAPSED, [pb.PAYMENT_REQUEST_EXPIRED])
    requested = await shop.client.payments.GetCharge(payments_pb2.GetChargeRequest(name=charge))
    assert order.late_payment_until_time == requested.expire_time
    # Others can have it meanwhile.
    assert await mugs(shop) == (1, 0, 0)

    await adjust_mugs(shop, -1)
    assert (await refused(confirm(shop, charge))).reason == "OUT_OF_STOCK"
    await adjust_mugs(shop, 2)
    await confirm(shop, charge)
    order = await shop.order(name)
    assert (order.state, list(order.reasons)) == (pb.Order.PAID, [pb.PAID_LATE])
    assert await mugs(shop) == (1, 0, 1)
    kinds = await shop.notice_kinds()
    assert "ORDER_LAPSED" not in kinds
    assert kinds.index("PAYMENT_OVERDUE") < kinds.index("RECEIPT")


async def test_a_link_pays_late_while_the_products_last(shop: Shop) -> None:
    await shop.sign_up("ada")
    name, _ = await lapsed(shop, late_payment_days=5)
    tokens = re.findall(rf"{PAGE}/([a-z2-9]{{20}})", " ".join(await shop.texts()))
    await adjust_mugs(shop, -1)
    assert (await refused(pay_by_link(shop, tokens[-1]))).reason == "OUT_OF_STOCK"
    await adjust_mugs(shop, 1)
    await pay_by_link(shop, tokens[-1])
    assert (await shop.order(name)).state == pb.Order.PAID


async def test_an_order_that_nobody_pays_late_either_is_over(shop: Shop) -> None:
    await shop.sign_up("ada")
    name, charge = await lapsed(shop, late_payment_days=5)
    await shop.suite.advance(5 * DAY)
    order = await shop.order(name)
    assert (order.state, order.HasField("late_payment_until_time")) == (pb.Order.LAPSED, False)
    assert (await refused(confirm(shop, charge))).reason == "PAYMENT_REQUEST_STATE"


async def test_who_can_still_pay_late_is_not_erased(shop: Shop) -> None:
    await shop.sign_up("ada")
    name, _ = await lapsed(shop, late_payment_days=5)
    request = pb.EraseCustomerRequest(name=shop.customer("ada"), request_id=new_id())
    refusal = await refused(shop.scheduler.EraseCustomer(request))
    assert (refusal.reason, name in refusal.message) == ("CUSTOMER_HAS_STANDING_ORDERS", True)
    assert (await shop.order(name)).ship_to == HOME

    await shop.suite.advance(5 * DAY)
    await shop.scheduler.EraseCustomer(request)
    assert not (await shop.order(name)).HasField("ship_to")


async def test_a_late_payment_of_what_has_ended_is_withdrawn_by_a_cancellation(shop: Shop) -> None:
    await shop.sign_up("ada")
    name, charge = await lapsed(shop, late_payment_days=5)
    cancellation = pb.CancelStandingOrderRequest(name=name, request_id=new_id())
    cancelled = await shop.scheduler.CancelStandingOrder(cancellation)
    assert cancelled.state == pb.StandingOrder.COMPLETED
    await shop.suite.sandbox.settle()
    assert not (await shop.order(name)).HasField("late_payment_until_time")
    assert (await refused(confirm(shop, charge))).reason == "PAYMENT_REQUEST_STATE"
    # Nothing is left that could be withdrawn, and nothing that is needed of the customer.
    again = pb.CancelStandingOrderRequest(name=name, request_id=new_id())
    refusal = await refused(shop.scheduler.CancelStandingOrder(again))
    assert refusal.reason == "STANDING_ORDER_STATE"
    erasure = pb.EraseCustomerRequest(name=shop.customer("ada"), request_id=new_id())
    await shop.scheduler.EraseCustomer(erasure)


async def test_without_the_setting_an_order_that_lapsed_stays_unpaid(shop: Shop) -> None:
    await shop.sign_up("ada")
    name, charge = await lapsed(shop, late_payment_days=0)
    assert not (await shop.order(name)).HasField("late_payment_until_time")
    assert (await refused(confirm(shop, charge))).reason == "PAYMENT_REQUEST_STATE"
    assert (await shop.order(name)).state == pb.Order.LAPSED


async def test_cancelling_withdraws_what_could_be_paid_late(shop: Shop) -> None:
    await shop.sign_up("ada")
    await shop.sell("cup", PRICE_MINOR)
    settings = pb.SchedulerSettings(
        name=f"{shop.name}/schedulerSettings",
        unpaid_policy=pb.SchedulerSettings.GO_ON,
        late_payment_days=5,
    )
    await shop.scheduler.UpdateSchedulerSettings(
        pb.UpdateSchedulerSettingsRequest(scheduler_settings=settings, request_id=new_id())
    )
    made = await shop.create(await shop.due_in(2 * DAY, every_days=30), items=[shop.item("cup")])
    await shop.suite.advance(2.5 * DAY)
    await shop.suite.advance(4 * DAY)
    await shop.cancel(made.name)
    await shop.suite.sandbox.settle()
    order = await shop.order(made.name)
    assert (order.state, order.HasField("late_payment_until_time")) == (pb.Order.LAPSED, False)
