"""Webhooks, as a platform registers endpoints for them, on the running suite."""

from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2

from services.runtime.rpc.conversions import to_timestamp
from tests.contract.customer import add_product
from tests.suite import Client, Suite, new_id, refused

STOCK_OUT = "recurring.catalog.v1.StockOut"
DISABLED = "recurring.notify.v1.WebhookEndpointDisabled"
State = notify_pb2.WebhookDelivery.State


@pytest.fixture
async def shop(suite: Suite) -> Client:
    return suite.client()


def address(suite: Suite, shop: Client, endpoint: str = "main") -> str:
    """Where the sandbox receives an endpoint's events."""
    sandbox_url = suite.deployment.sandbox_inside_url or suite.deployment.sandbox_url
    return f"{sandbox_url}/webhooks/{shop.merchant}-{endpoint}"


async def register(
    suite: Suite,
    shop: Client,
    endpoint: str = "main",
    url: str = "",
    **fields: Any,  # noqa: ANN401
) -> notify_pb2.WebhookEndpoint:
    request = notify_pb2.CreateWebhookEndpointRequest(
        parent=shop.name,
        webhook_endpoint_id=endpoint,
        webhook_endpoint=notify_pb2.WebhookEndpoint(
            url=url or address(suite, shop, endpoint), **fields
        ),
        request_id=new_id(),
    )
    made: notify_pb2.WebhookEndpoint = await shop.notify.CreateWebhookEndpoint(request)
    return made


async def receives(
    suite: Suite,
    shop: Client,
    *secrets: str,
    status: int = 204,
    endpoint: str = "main",
) -> None:
    """Let the sandbox know what requests are signed with, and how to answer them."""
    path = f"/webhooks/{shop.merchant}-{endpoint}"
    await suite.sandbox.put(path, {"secrets": list(secrets), "status": status})


async def received(suite: Suite, shop: Client, endpoint: str = "main") -> list[Mapping[str, Any]]:
    """What the sandbox has, once everything that is due was sent."""
    await suite.sandbox.settle()
    path = f"/webhooks/{shop.merchant}-{endpoint}"
    return list((await suite.sandbox.get(path))["data"])


async def sell_out(shop: Client, product: str = "tea") -> None:
    """Let a product go out of stock, which is an event."""
    await add_product(shop, product, stock_tracked=True)
    for units in (1, -1):
        await shop.catalog.AdjustStock(
            catalog_pb2.AdjustStockRequest(
                product=f"{shop.name}/products/{product}",
                delta_units=units,
                request_id=new_id(),
            )
        )


async def deliveries(
    shop: Client,
    endpoint: str = "main",
    **fields: Any,  # noqa: ANN401
) -> list[notify_pb2.WebhookDelivery]:
    request = notify_pb2.ListWebhookDeliveriesRequest(
        parent=f"{shop.name}/webhookEndpoints/{endpoint}", **fields
    )
    return list((await shop.notify.ListWebhookDeliveries(request)).webhook_deliveries)


async def change(shop: Client, *paths: str, **fields: Any) -> notify_pb2.WebhookEndpoint:  # noqa: ANN401
    request = notify_pb2.UpdateWebhookEndpointRequest(
        webhook_endpoint=notify_pb2.WebhookEndpoint(
            name=f"{shop.name}/webhookEndpoints/main", **fields
        ),
        request_id=new_id(),
    )
    request.update_mask.paths.extend(paths)
    made: notify_pb2.WebhookEndpoint = await shop.notify.UpdateWebhookEndpoint(request)
    return made


async def ping(shop: Client) -> notify_pb2.WebhookDelivery:
    name = f"{shop.name}/webhookEndpoints/main"
    request = notify_pb2.TestWebhookEndpointRequest(name=name, request_id=new_id())
    made: notify_pb2.WebhookDelivery = await shop.notify.TestWebhookEndpoint(request)
    return made


async def replay(shop: Client, **fields: Any) -> int:  # noqa: ANN401
    request = notify_pb2.ReplayWebhookDeliveriesRequest(
        parent=f"{shop.name}/webhookEndpoints/main", request_id=new_id(), **fields
    )
    return int((await shop.notify.ReplayWebhookDeliveries(request)).replay_count)


async def test_a_platform_gets_an_event_of_another_service_that_it_can_verify(
    suite: Suite, shop: Client
) -> None:
    endpoint = await register(suite, shop, event_types=[STOCK_OUT])
    await receives(suite, shop, endpoint.secret)
    await sell_out(shop)

    [taken] = await received(suite, shop)
    assert taken["verified"]
    assert taken["event"]["type"] == STOCK_OUT
    assert taken["event"]["data"]["product"] == f"{shop.name}/products/tea"
    [delivery] = await deliveries(shop)
    assert (delivery.state, delivery.attempt_count) == (State.DELIVERED, 1)


async def test_an_endpoint_can_be_tried_and_what_it_was_sent_is_listed_in_pages(
    suite: Suite, shop: Client
) -> None:
    endpoint = await register(suite, shop)
    await receives(suite, shop, endpoint.secret)
    sent = [await ping(shop), await ping(shop)]

    assert [one["event"]["type"] for one in await received(suite, shop)] == [
        "recurring.notify.v1.WebhookPing"
    ] * 2
    listed, token = [], ""
    while True:
        request = notify_pb2.ListWebhookDeliveriesRequest(
            parent=endpoint.name, page_size=1, page_token=token, state=State.DELIVERED
        )
        page = await shop.notify.ListWebhookDeliveries(request)
        listed += [one.name for one in page.webhook_deliveries]
        if not (token := page.next_page_token):
            break
    assert listed == [one.name for one in reversed(sent)]


async def test_endpoints_are_listed_by_name_in_pages(suite: Suite, shop: Client) -> None:
    for endpoint in ("second", "first"):
        await register(suite, shop, endpoint)
    listed, token = [], ""
    while True:
        request = notify_pb2.ListWebhookEndpointsRequest(
            parent=shop.name, page_size=1, page_token=token
        )
        page = await shop.notify.ListWebhookEndpoints(request)
        listed += [one.name.rpartition("/")[2] for one in page.webhook_endpoints]
        if not (token := page.next_page_token):
            break
    assert listed == ["first", "second"]


async def test_the_secret_is_shown_once_and_can_be_rotated(suite: Suite, shop: Client) -> None:
    old = await register(suite, shop)
    request = notify_pb2.RotateWebhookSecretRequest(
        name=old.name, previous_secret_ttl=Duration(seconds=3600), request_id=new_id()
    )
    new = await shop.notify.RotateWebhookSecret(request)
    shown = await shop.notify.GetWebhookEndpoint(
        notify_pb2.GetWebhookEndpointRequest(name=old.name)
    )
    for secret in (old.secret, new.secret):
        await receives(suite, shop, secret)
        await ping(shop)
        assert (await received(suite, shop))[-1]["verified"]

    assert old.secret.startswith("whsec_")
    assert new.secret != old.secret
    assert shown.secret == ""
    assert shown.previous_secret_expire_time == new.previous_secret_expire_time


async def test_an_endpoint_that_is_gone_is_disabled_and_others_hear_of_it(
    suite: Suite, shop: Client
) -> None:
    gone = await register(suite, shop)
    other = await register(suite, shop, "other", event_types=[DISABLED])
    await receives(suite, shop, gone.secret, status=410)
    await receives(suite, shop, other.secret, endpoint="other")
    await ping(shop)

    await received(suite, shop)
    [event] = await received(suite, shop, "other")
    assert event["event"]["data"]["webhookEndpoint"] == gone.name
    assert event["event"]["data"]["disableReason"] == "GONE"
    found = await shop.notify.GetWebhookEndpoint(
        notify_pb2.GetWebhookEndpointRequest(name=gone.name)
    )
    assert (found.disabled, found.disable_reason) == (True, found.GONE)
    for call in (ping(shop), replay(shop, start_time=found.create_time)):
        assert (await refused(call)).reason == "WEBHOOK_ENDPOINT_DISABLED"


async def test_what_happened_while_an_endpoint_was_disabled_is_replayed_by_hand(
    suite: Suite, shop: Client
) -> None:
    endpoint = await register(suite, shop, event_types=[STOCK_OUT])
    await receives(suite, shop, endpoint.secret)
    disabled = await change(shop, "disabled", disabled=True)
    await sell_out(shop)
    before = await received(suite, shop)
    await change(shop, "disabled", disabled=False)
    count = await replay(shop, start_time=disabled.disable_time, undelivered_only=True)
    [missed] = await received(suite, shop)
    again = await replay(shop, event_id=missed["id"])

    assert (before, disabled.disable_reason) == ([], disabled.BY_CALLER)
    assert (count, again) == (1, 1)
    assert [one["id"] for one in await received(suite, shop)] == [missed["id"]] * 2


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://hooks.example.com/", "WEBHOOK_URL_INVALID"),
        ("https://user:password@hooks.example.com/", "WEBHOOK_URL_INVALID"),
        ("https://169.254.169.254/latest", "WEBHOOK_ADDRESS_NOT_ALLOWED"),
        ("https://[::ffff:10.0.0.1]/", "WEBHOOK_ADDRESS_NOT_ALLOWED"),
        ("https://localhost:5432/", "WEBHOOK_ADDRESS_NOT_ALLOWED"),
    ],
)
async def test_an_address_within_somebodys_network_is_refused(
    suite: Suite, shop: Client, url: str, reason: str
) -> None:
    refusal = await refused(register(suite, shop, url=url))
    assert refusal.fields == {"webhook_endpoint.url": reason}
    await register(suite, shop)
    refusal = await refused(change(shop, url=url))
    assert refusal.fields == {"webhook_endpoint.url": reason}


async def test_an_event_that_there_is_not_is_refused(suite: Suite, shop: Client) -> None:
    unknown = "recurring.catalog.v1.StockStolen"
    refusal = await refused(register(suite, shop, event_types=[STOCK_OUT, unknown]))
    assert refusal.fields == {"webhook_endpoint.event_types[1]": "EVENT_TYPE_UNKNOWN"}
    await register(suite, shop)
    refusal = await refused(change(shop, event_types=[unknown]))
    assert refusal.fields == {"webhook_endpoint.event_types[0]": "EVENT_TYPE_UNKNOWN"}
    assert (await refused(replay(shop, event_id=new_id()))).reason == "WEBHOOK_EVENT_NOT_FOUND"


async def test_a_replay_is_of_an_event_or_of_a_time(suite: Suite, shop: Client) -> None:
    now = to_timestamp(await suite.sandbox.now())
    await register(suite, shop)
    for fields, field in (
        ({}, "start_time"),
        ({"event_id": new_id(), "start_time": now}, "start_time"),
        ({"start_time": now, "end_time": now}, "end_time"),
    ):
        refusal = await refused(replay(shop, **fields))
        assert refusal.fields == {field: "FIELD_INVALID"}


async def test_a_merchant_has_a_few_endpoints_each_of_its_own_name(
    suite: Suite, shop: Client
) -> None:
    for number in range(10):
        await register(suite, shop, f"e{number}")
    assert (await refused(register(suite, shop, "e1"))).reason == "WEBHOOK_ENDPOINT_ALREADY_EXISTS"
    assert (await refused(register(suite, shop, "e10"))).reason == "WEBHOOK_ENDPOINTS_TOO_MANY"
    request = notify_pb2.DeleteWebhookEndpointRequest(
        name=f"{shop.name}/webhookEndpoints/e1", request_id=new_id()
    )
    await shop.notify.DeleteWebhookEndpoint(request)
    await register(suite, shop, "e10")
