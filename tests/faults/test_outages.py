"""What an outage takes away comes back, by what the runbooks say: nothing lost, nothing twice."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path

import aiohttp
import nats
import pytest
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from deploy.embedded.stack import EmbeddedStack
from services.runtime.messaging.broker import DOMAIN
from tests.contract.customer import TEA_CENTS, Customer, add_product
from tests.faults.conftest import Operator
from tests.suite import new_id

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

# The order is due in five days and announced three days ahead.
UNTIL_ANNOUNCED = timedelta(days=3)
UNTIL_PAID = timedelta(days=3)
WEEK = timedelta(weeks=1)
PAID = scheduler_pb2.Order.PAID
EMPTY_SCHEMAS = "DROP SCHEMA IF EXISTS public, audit_v1 CASCADE; CREATE SCHEMA public"


async def state(
    ann: Customer, standing_order: str, cycle: int
) -> scheduler_pb2.Order.State.ValueType:
    name = f"{standing_order}/orders/{cycle}"
    order = await ann.shop.scheduler.GetOrder(scheduler_pb2.GetOrderRequest(name=name))
    state: scheduler_pb2.Order.State.ValueType = order.state
    return state


async def charges(ann: Customer) -> list[payments_pb2.Charge]:
    request = payments_pb2.ListChargesRequest(parent=f"{ann.shop.name}/customers/-")
    return list((await ann.shop.payments.ListCharges(request)).charges)


async def captured(operator: Operator) -> object:
    """What the provider has taken from everybody."""
    return (await operator.suite.sandbox.get("/record"))["captured_minor"]


async def notices(ann: Customer) -> int:
    request = notify_pb2.ListNoticesRequest(parent=ann.name, page_size=1000)
    return len((await ann.shop.notify.ListNotices(request)).notices)


async def forget_what_came_lately(operator: Operator, *services: str) -> None:
    """As two minutes without the service do: streams take an event again that they have had."""
    client = await nats.connect(operator.streams_url, allow_reconnect=False)
    try:
        for service in services:
            jetstream = client.jetstream(domain=DOMAIN)
            config = (await jetstream.stream_info(service.upper())).config
            config.duplicate_window = 0.1
            await jetstream.update_stream(config)
    finally:
        await client.close()
    await asyncio.sleep(0.2)


async def test_a_database_from_a_backup_receives_again_what_it_has_lost(
    operator: Operator, ann: Customer, tmp_path: Path
) -> None:
    backup = str(tmp_path / "payments.dump")
    tea = (await ann.subscribe()).name
    await operator.suite.advance(UNTIL_ANNOUNCED)
    since = (await operator.types("payments", "status"))[0]["time"]
    await operator.postgres("pg_dump", "payments", "--format=custom", f"--file={backup}")
    await operator.suite.advance(UNTIL_PAID)
    assert await state(ann, tea, 1) == PAID
    taken = await captured(operator)

    await asyncio.to_thread(operator.stack.kill, "payments")
    await operator.postgres("psql", "payments", f"--command={EMPTY_SCHEMAS}")
    await operator.postgres("pg_restore", "payments", "--no-owner", "--single-transaction", backup)
    await forget_what_came_lately(operator, "scheduler", "notify")
    await asyncio.to_thread(operator.stack.up)
    assert await charges(ann) == []
    for publisher in ("scheduler", "notify"):
        assert (await operator.types(publisher, "replay", "--since", since))[0]["replayed"] > 0
    await operator.suite.sandbox.settle()

    [charge] = await charges(ann)
    assert charge.state == payments_pb2.Charge.SUCCEEDED
    # The provider knew the key, and took no money for it again.
    assert await captured(operator) == taken
    # Life goes on.
    await operator.suite.advance(WEEK)
    assert await state(ann, tea, 2) == PAID
    assert await operator.prove()


async def test_a_catalog_from_a_backup_is_asked_again_for_what_it_had_held(
    operator: Operator, ann: Customer, tmp_path: Path
) -> None:
    backup = str(tmp_path / "catalog.dump")
    await add_product(ann.shop, "beans", TEA_CENTS, stock_tracked=True)
    beans = f"{ann.shop.name}/products/beans"
    adjust = catalog_pb2.AdjustStockRequest(product=beans, delta_units=5, request_id=new_id())
    await ann.shop.catalog.AdjustStock(adjust)
    items = [scheduler_pb2.Item(product=beans, quantity=2)]
    standing_order = (await ann.subscribe(items=items)).name
    await operator.suite.advance(UNTIL_ANNOUNCED)
    since, lost_since = (
        (await operator.types("catalog", "status"))[0]["time"],
        await operator.suite.sandbox.now(),
    )
    await operator.postgres("pg_dump", "catalog", "--format=custom", f"--file={backup}")
    await operator.suite.advance(UNTIL_PAID)
    assert await state(ann, standing_order, 1) == PAID

    for service in ("scheduler", "catalog"):
        await asyncio.to_thread(operator.stack.kill, service)
    await operator.postgres("psql", "catalog", f"--command={EMPTY_SCHEMAS}")
    await operator.postgres("pg_restore", "catalog", "--no-owner", "--single-transaction", backup)
    await forget_what_came_lately(operator, "scheduler", "notify")
    await asyncio.to_thread(operator.stack.start, "catalog")
    assert await units(ann, beans) == (5, 0)
    for publisher in ("scheduler", "notify"):
        await operator.types(publisher, "replay", "--since", since)
    asked = await operator.types("scheduler", "restore-catalog", "--since", lost_since.isoformat())
    assert asked[-1]["problems"] == 0
    await asyncio.to_thread(operator.stack.up)
    await operator.suite.sandbox.settle()

    assert await units(ann, beans) == (3, 2)
    assert await operator.prove()


async def units(ann: Customer, product: str) -> tuple[int, int]:
    """Those on hand, and those that are gone for paid orders."""
    request = catalog_pb2.GetStockRequest(product=product)
    stock = await ann.shop.catalog.GetStock(request)
    return stock.on_hand_units, stock.committed_units


async def test_streams_that_were_wiped_are_filled_again_and_change_nothing(
    operator: Operator, ann: Customer
) -> None:
    tea = (await ann.subscribe()).name
    await operator.suite.advance(UNTIL_ANNOUNCED)
    texts = await notices(ann)
    await asyncio.to_thread(wipe_streams, operator.stack)
    await operator.suite.sandbox.settle()
    client = await nats.connect(operator.suite.deployment.nats_url)
    try:
        known = await client.jetstream(domain=DOMAIN).streams_info()
        streams = {stream.config.name: stream.state.messages for stream in known}
    finally:
        await client.close()
    assert all(streams[name] for name in ("SCHEDULER", "NOTIFY"))
    assert await notices(ann) == texts
    await operator.suite.advance(UNTIL_PAID)
    assert await state(ann, tea, 1) == PAID
    assert await operator.prove()


def wipe_streams(stack: EmbeddedStack) -> None:
    stack.kill("nats")
    shutil.rmtree(stack.home / "nats" / "store", ignore_errors=False)
    stack.up()


async def test_charges_that_the_provider_did_not_answer_are_known_in_the_end(
    operator: Operator, ann: Customer
) -> None:
    tea = (await ann.subscribe()).name
    await operator.suite.advance(UNTIL_ANNOUNCED)
    await operator.suite.sandbox.switch_outage("provider", on=True)
    try:
        await operator.suite.advance(UNTIL_PAID)
        shown = await operator.types("payments", "unknown", "--older-than", "3600")
        # Other customers' charges wait as well.
        [unknown] = [line for line in shown if line["charge"].startswith(ann.name)]
        assert unknown["times_looked_up"] > 3
        assert await state(ann, tea, 1) == scheduler_pb2.Order.AWAITING_PAYMENT
    finally:
        await operator.suite.sandbox.switch_outage("provider", on=False)
    # The provider is back: nobody has to wait for the next look.
    await operator.types("payments", "unknown", "--look-up")
    await operator.suite.sandbox.settle()
    assert await state(ann, tea, 1) == PAID
    assert await operator.types("payments", "unknown") == []
    assert await operator.prove()


async def test_what_is_cancelled_during_an_outage_is_not_paid_after_it(
    operator: Operator, ann: Customer
) -> None:
    tea = (await ann.subscribe()).name
    await operator.suite.advance(UNTIL_ANNOUNCED)
    await operator.suite.sandbox.switch_outage("provider", on=True)
    try:
        await operator.suite.advance(UNTIL_PAID)
        cancel = scheduler_pb2.CancelStandingOrderRequest(name=tea, request_id=new_id())
        await ann.shop.scheduler.CancelStandingOrder(cancel)
        await operator.suite.advance(timedelta(hours=33))
    finally:
        await operator.suite.sandbox.switch_outage("provider", on=False)
    await operator.suite.advance(timedelta(hours=2))
    assert await state(ann, tea, 1) == scheduler_pb2.Order.CANCELLED
    [charge] = await charges(ann)
    assert charge.state == payments_pb2.Charge.ABANDONED
    # The audit holds every payment in the provider's own books against a paid order.
    [charge] = await charges(ann)
    assert [attempt.state for attempt in charge.attempts] == [payments_pb2.Charge.Attempt.NOT_MADE]
    assert await operator.prove()


async def test_webhooks_of_the_provider_are_about_what_is_known_here(
    operator: Operator, ann: Customer
) -> None:
    tea = (await ann.subscribe()).name
    await operator.suite.advance(UNTIL_ANNOUNCED)
    await operator.suite.advance(UNTIL_PAID)
    assert await state(ann, tea, 1) == PAID
    [charge] = await charges(ann)
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{operator.suite.deployment.sandbox_url}/provider/webhooks") as answer,
    ):
        sent = [event for event in (await answer.json())["data"] if charge.name in event["body"]]
    # The clock does not move while one is to be sent; each was taken at once.
    assert [(event["type"], event["due"]) for event in sent] == [("payment_intent.succeeded", None)]
    open_ids = {line["webhook"] for line in await operator.types("payments", "webhooks")}
    assert open_ids.isdisjoint({event["id"] for event in sent})
