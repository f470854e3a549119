"""What must hold at the end of a history: what was answered, what the contracts show, and the proof."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC
from types import SimpleNamespace
from typing import Any

from google.protobuf.message import Message
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.connect import Session, all_pages
from cli.faults.actions import Acknowledged
from cli.faults.caller import Violation
from cli.faults.shop import Shop
from cli.prove.progress import NO_EVENT_UNTOLD
from cli.prove.run import run
from cli.prove.target import Target


async def proof_violations(session: Session) -> list[Violation]:
    """What the proof finds, of all merchants."""
    stack = session.stack
    target = Target(stack.database_urls, stack.sandbox_url, stack.provider_api_key)
    report = await run(target, full=True)
    found = [
        Violation(verdict.clause.id, finding.what)
        for verdict in report.verdicts
        for finding in verdict.violations
    ]
    # A proof allows an event ten minutes, and what it is about to differ meanwhile. Here the clock has
    # come to rest: what is still on its way never arrives.
    lost = [
        Violation(NO_EVENT_UNTOLD.id, f"{verdict.in_motion} events never arrived")
        for verdict in report.verdicts
        if verdict.clause is NO_EVENT_UNTOLD and verdict.in_motion
    ]
    return found + (lost if session.stack.sandbox_url else [])


async def contract_violations(shop: Shop, acknowledged: Acknowledged) -> list[Violation]:
    """What the public contracts show that must not be."""
    found = [each async for each in _broken_promises(shop, acknowledged)]
    orders = await _orders(shop)
    charges = await _charges(shop)
    return [*found, *_unpaired(orders, charges), *_after_the_end(orders, acknowledged)]


def _unpaired(
    orders: Sequence[scheduler_pb2.Order], charges: Sequence[payments_pb2.Charge]
) -> list[Violation]:
    paid = {order.name for order in orders if order.state == scheduler_pb2.Order.PAID}
    charged = [c.order for c in charges if c.state == payments_pb2.Charge.SUCCEEDED]
    found = [Violation("orders and charges", f"{name}: paid, not charged") for name in paid]
    found = [each for each in found if each.text.partition(":")[0] not in set(charged)]
    found += [
        Violation("orders and charges", f"{name}: charged, not paid")
        for name in charged
        if name not in paid
    ]
    found += [
        Violation("orders and charges", f"{charge.name}: {count} successful attempts")
        for charge in charges
        if (
            count := sum(
                attempt.state == payments_pb2.Charge.Attempt.SUCCEEDED
                for attempt in charge.attempts
            )
        )
        > 1
    ]
    return found


def _after_the_end(
    orders: Sequence[scheduler_pb2.Order], acknowledged: Acknowledged
) -> list[Violation]:
    return [
        Violation("cancellations", f"{order.name}: made after its standing order was cancelled")
        for order in orders
        if (end := acknowledged.cancels.get(order.name.rpartition("/orders/")[0])) is not None
        and order.create_time.ToDatetime(tzinfo=UTC) > end
    ]


async def _broken_promises(shop: Shop, acknowledged: Acknowledged) -> AsyncIterator[Violation]:
    """What was answered with success, and does not hold."""
    call, session = shop.caller.call, shop.session
    for name in acknowledged.cancels:
        request = scheduler_pb2.GetStandingOrderRequest(name=name)
        order = await call(session.scheduler.GetStandingOrder, request)
        if order is None or order.state != scheduler_pb2.StandingOrder.CANCELLED:
            yield Violation("cancellations", f"{name}: was cancelled, and is not")
    for name in acknowledged.refunds:
        refund = await call(session.payments.GetRefund, payments_pb2.GetRefundRequest(name=name))
        if refund is None or refund.state != payments_pb2.Refund.SUCCEEDED:
            yield Violation("refunds", f"{name}: was promised, and is not made")
    for charge in await _charges(shop):
        revoked = acknowledged.revocations.get(charge.mandate)
        for attempt in charge.attempts:
            if revoked is not None and attempt.start_time.ToDatetime(tzinfo=UTC) > revoked:
                yield Violation("mandates", f"{charge.name}: tried after its mandate was revoked")


async def _orders(shop: Shop) -> list[scheduler_pb2.Order]:
    found: list[scheduler_pb2.Order] = []
    for number in range(len(shop.history.standing_orders)):
        request = scheduler_pb2.ListOrdersRequest(parent=shop.standing_order(number))
        found += await _all(shop, shop.session.scheduler.ListOrders, request, "orders")
    return found


async def _charges(shop: Shop) -> list[payments_pb2.Charge]:
    found: list[payments_pb2.Charge] = []
    for number in range(len(shop.history.customers)):
        request = payments_pb2.ListChargesRequest(parent=shop.customer(number))
        found += await _all(shop, shop.session.payments.ListCharges, request, "charges")
    return found


async def _all(shop: Shop, method: Any, request: Message, field: str) -> list[Any]:  # noqa: ANN401
    async def answer(page: Message) -> Any:  # noqa: ANN401 - any page
        response = await shop.caller.call(method, page)
        # What was never made has nothing to list.
        return (
            response if response is not None else SimpleNamespace(next_page_token="", **{field: ()})
        )

    return await all_pages(answer, request, field)
