"""Events on their way to platforms' endpoints: signed, again and again, and nowhere else."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from google.protobuf.json_format import Parse
from recurring.notify.v1 import events_pb2, notify_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2

from services.notify import api
from services.notify.application.webhooks import purge
from services.notify.clients.webhooks import WebhookSender
from services.notify.domain.addresses import Address
from services.notify.domain.webhooks import QUEUE_MAX_EVENTS, REPLAY_MAX_EVENTS
from services.notify.store.encrypted import ENCRYPTED_TABLES
from services.notify.workers.webhooks import ENDPOINT_REQUESTS_MAX, Webhooks
from services.runtime.auth.call_context import act_for_all
from services.runtime.crypto.encryption import Keyring
from services.runtime.db import due_work, key_rotation
from services.runtime.db.due_work import DueTimes, DueWork
from services.runtime.db.pool import Database, Pool
from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_timestamp
from services.runtime.workers.loop import Step
from tests.conftest import DATA_KEYS
from tests.due_work import EveryBucket
from tests.integration.notify.receiver import Receiver, serving
from tests.integration.notify.suite import MERCHANT, NOW, Notify, order_confirmed, order_skipped

SHOP = f"{MERCHANT}/webhookEndpoints/shop"
CONFIRMED = "recurring.scheduler.v1.OrderConfirmed"
State = notify_pb2.WebhookDelivery.State


class Platform:
    """A merchant's platform, its endpoints, and the worker that sends to them."""

    def __init__(self, notify: Notify, sender: WebhookSender) -> None:
        self.notify = notify
        notify.api = api.Servicer(
            notify.database, notify.clock, webhook_test_hosts=frozenset({"127.0.0.1"})
        )
        self.webhooks = Webhooks(notify.database, notify.clock, sender)

    async def register(
        self,
        url: str,
        endpoint: str = "shop",
        **fields: Any,  # noqa: ANN401
    ) -> notify_pb2.WebhookEndpoint:
        request = notify_pb2.CreateWebhookEndpointRequest(
            parent=MERCHANT,
            webhook_endpoint_id=endpoint,
            webhook_endpoint=notify_pb2.WebhookEndpoint(url=url, **fields),
        )
        made: notify_pb2.WebhookEndpoint = await self.notify.call("CreateWebhookEndpoint", request)
        return made

    async def change(
        self,
        *paths: str,
        **fields: Any,  # noqa: ANN401
    ) -> notify_pb2.WebhookEndpoint:
        wanted = notify_pb2.WebhookEndpoint(name=SHOP, **fields)
        request = notify_pb2.UpdateWebhookEndpointRequest(webhook_endpoint=wanted)
        request.update_mask.paths.extend(paths)
        made: notify_pb2.WebhookEndpoint = await self.notify.call("UpdateWebhookEndpoint", request)
        return made

    async def endpoint(self, name: str = SHOP) -> notify_pb2.WebhookEndpoint:
        request = notify_pb2.GetWebhookEndpointRequest(name=name)
        found: notify_pb2.WebhookEndpoint = await self.notify.call("GetWebhookEndpoint", request)
        return found

    async def replay(self, **fields: Any) -> int:  # noqa: ANN401
        request = notify_pb2.ReplayWebhookDeliveriesRequest(parent=SHOP, **fields)
        return int((await self.notify.call("ReplayWebhookDeliveries", request)).replay_count)

    async def deliveries(self, name: str = SHOP) -> Sequence[notify_pb2.WebhookDelivery]:
        request = notify_pb2.ListWebhookDeliveriesRequest(parent=name)
        listed = await self.notify.call("ListWebhookDeliveries", request)
        return list(listed.webhook_deliveries)

    async def step(self) -> Step:
        work = DueWork("webhook", self.webhooks.work)
        buckets = EveryBucket(self.notify.database)
        return await due_work.step(DueTimes(self.notify.database), self.notify.clock, buckets, work)

    async def send(self) -> None:
        """Send all that is due now."""
        while (await self.step()).worked:
            pass

    async def send_after(self, wait: timedelta) -> None:
        self.notify.clock.move(wait)
        await self.send()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with serving() as receiver:
        yield receiver


@pytest.fixture
async def platform(notify: Notify) -> AsyncIterator[Platform]:
    sender = WebhookSender({"127.0.0.1"}, timeout_seconds=2)
    platform = Platform(notify, sender)
    yield platform
    await platform.webhooks.close()
    await sender.close()


async def test_a_platform_gets_what_happens_signed_and_as_the_contract_says(
    platform: Platform, receiver: Receiver
) -> None:
    secret = (await platform.register(receiver.url)).secret
    await platform.notify.receive(order_confirmed())
    await platform.send()

    [(headers, body)] = receiver.requests
    event = json.loads(body)
    assert receiver.signed_with(secret)
    assert headers["webhook-id"] == event["id"]
    assert headers["content-type"] == "application/cloudevents+json; charset=UTF-8"
    assert (event["type"], event["time"]) == (CONFIRMED, NOW.isoformat())
    data = Parse(json.dumps(event["data"]), scheduler_events_pb2.OrderConfirmed())
    assert data == order_confirmed()
    [delivery] = await platform.deliveries()
    assert (delivery.name, delivery.state) == (f"{SHOP}/deliveries/{event['id']}", State.DELIVERED)
    assert (delivery.attempts[0].status_code, delivery.attempts[0].answer) == (200, "thank you")
    # The secret is shown once.
    assert not (await platform.endpoint()).secret


async def test_an_endpoint_gets_the_types_that_it_asks_for_and_each_event_once(
    platform: Platform, receiver: Receiver
) -> None:
    await platform.register(receiver.url, event_types=[CONFIRMED])
    await platform.register(receiver.url, "other")
    for _ in range(2):
        await platform.notify.receive(order_confirmed())
        await platform.notify.receive(order_skipped())
        await platform.send()

    assert [one.event_type for one in await platform.deliveries()] == [CONFIRMED]
    assert len(await platform.deliveries(f"{MERCHANT}/webhookEndpoints/other")) == 2
    assert len(receiver.requests) == 3


async def test_nothing_is_kept_for_a_merchant_without_an_endpoint(platform: Platform) -> None:
    await platform.notify.receive(order_confirmed())

    async with platform.notify.database.read() as connection:
        assert await connection.fetch("SELECT * FROM webhook_events") == []


async def test_what_is_refused_comes_again_with_the_same_id_and_a_new_signature(
    platform: Platform, receiver: Receiver
) -> None:
    secret = (await platform.register(receiver.url)).secret
    receiver.status, receiver.answer = 500, b"x" * 5000
    await platform.notify.receive(order_confirmed())
    await platform.send()
    failing_since_time = (await platform.endpoint()).failing_since_time
    receiver.status = 204
    await platform.send_after(timedelta(seconds=5))

    (first, first_body), (second, second_body) = receiver.requests
    assert (first["webhook-id"], first_body) == (second["webhook-id"], second_body)
    assert first["webhook-timestamp"] != second["webhook-timestamp"]
    assert receiver.signed_with(secret)
    [delivery] = await platform.deliveries()
    assert [one.status_code for one in delivery.attempts] == [500, 204]
    assert delivery.attempts[0].answer == "x" * 1000
    assert failing_since_time.ToDatetime(NOW.tzinfo) == NOW
    assert not (await platform.endpoint()).HasField("failing_since_time")


async def test_an_endpoint_that_asks_for_time_is_left_alone_so_long(
    platform: Platform, receiver: Receiver
) -> None:
    await platform.register(receiver.url)
    receiver.status, receiver.headers = 503, {"Retry-After": "600"}
    await platform.notify.receive(order_confirmed())
    await platform.send()
    await platform.send_after(timedelta(minutes=9))
    assert len(receiver.requests) == 1
    await platform.send_after(timedelta(minutes=1))
    assert len(receiver.requests) == 2


async def test_an_endpoint_that_takes_nothing_for_three_days_is_disabled_and_published(
    platform: Platform, receiver: Receiver
) -> None:
    await platform.register(receiver.url)
    receiver.status = 503
    await platform.notify.receive(order_confirmed())
    for _ in range(80):
        await platform.send_after(timedelta(hours=1))
    waiting = await platform.deliveries()
    await platform.notify.receive(order_skipped())
    await platform.send()

    endpoint = await platform.endpoint()
    assert (endpoint.disabled, endpoint.disable_reason) == (True, endpoint.FAILING)
    [event] = await platform.notify.published(events_pb2.WebhookEndpointDisabled)
    assert (event.webhook_endpoint, event.disable_reason) == (SHOP, endpoint.FAILING)
    assert [one.state for one in waiting] == [State.FAILED]
    assert len(receiver.requests) == 10

    # What happened meanwhile is sent once the endpoint is enabled, by hand.
    receiver.status = 200
    endpoint = await platform.change("disabled", disabled=False)
    assert (endpoint.disabled, endpoint.HasField("failing_since_time")) == (False, False)
    missed = {"start_time": to_timestamp(NOW), "undelivered_only": True}
    assert [await platform.replay(**missed, dry_run=True) for _ in "ab"] == [2, 2]
    assert await platform.replay(**missed) == 2
    await platform.send()
    assert {one.state for one in await platform.deliveries()} == {State.DELIVERED}


async def test_an_endpoint_that_is_gone_is_disabled_at_once_with_what_waits_for_it(
    platform: Platform, receiver: Receiver
) -> None:
    await platform.register(receiver.url)
    receiver.status = 410
    await platform.notify.receive(order_confirmed())
    await platform.send()

    assert (await platform.endpoint()).disable_reason == notify_pb2.WebhookEndpoint.GONE
    [delivery] = await platform.deliveries()
    assert (delivery.state, delivery.failure_code) == (State.CANCELLED, "ENDPOINT_DISABLED")
    assert not (await platform.step()).worked


async def test_a_slow_endpoint_delays_its_own_events_only_and_gets_few_at_once(
    platform: Platform, receiver: Receiver
) -> None:
    async with serving() as slow:
        slow.answering.clear()
        await platform.register(slow.url, "slow")
        await platform.register(receiver.url)
        await platform.notify.receive(*(order_confirmed(cycle=n) for n in range(1, 40)))
        while len(receiver.requests) < 39:
            await platform.step()

        assert {one.state for one in await platform.deliveries()} == {State.DELIVERED}
        assert slow.at_once == slow.at_once_max == ENDPOINT_REQUESTS_MAX
        slow.answering.set()
        await platform.send()
        assert len(slow.requests) == 39


async def test_an_endpoint_that_does_not_answer_in_time_is_tried_again(
    notify: Notify, receiver: Receiver
) -> None:
    sender = WebhookSender({"127.0.0.1"}, timeout_seconds=0.2)
    platform = Platform(notify, sender)
    receiver.answering.clear()
    await platform.register(receiver.url)
    await notify.receive(order_confirmed())
    await platform.send()
    receiver.answering.set()
    await platform.send_after(timedelta(seconds=5))
    await sender.close()

    [delivery] = await platform.deliveries()
    assert delivery.attempts[0].failure_code == "TIMEOUT"
    assert len(delivery.attempts) > 1


async def test_a_redirect_is_not_followed(platform: Platform, receiver: Receiver) -> None:
    async with serving() as inside:
        receiver.status, receiver.headers = 307, {"Location": inside.url}
        await platform.register(receiver.url)
        await platform.notify.receive(order_confirmed())
        await platform.send()

        [delivery] = await platform.deliveries()
        assert (delivery.state, delivery.failure_code) == (State.PENDING, "STATUS")
        assert inside.requests == []


class Names:
    """Resolves every host to the next of some lists of addresses."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)

    async def resolve(self, _host: str, _port: int) -> Sequence[Address]:
        return [ip_address(address) for address in self._answers.pop(0)]


INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"


async def test_a_name_that_leads_elsewhere_a_moment_later_leads_nowhere() -> None:
    async with AsyncExitStack() as stack:
        outside = await stack.enter_async_context(serving(OUTSIDE))
        port = outside.url.rpartition(":")[2].partition("/")[0]
        inside = await stack.enter_async_context(serving(INSIDE, int(port)))
        names = Names([OUTSIDE], [INSIDE], [OUTSIDE, INSIDE])
        # Without TLS, as if of this machine; the rule for addresses stays.
        sender = Unencrypted(names)
        stack.push_async_callback(sender.close)
        url = f"http://hooks.example:{port}/"
        taken = await sender.post(url, b"{}", {})
        rebound = await sender.post(url, b"{}", {})
        mixed = await sender.post(url, b"{}", {})

        assert taken.status == 200
        assert (rebound.status, rebound.failure_code) == (0, "ADDRESS_NOT_ALLOWED")
        assert (mixed.status, mixed.failure_code) == (0, "ADDRESS_NOT_ALLOWED")
        assert (len(outside.requests), inside.requests) == (1, [])


class Unencrypted(WebhookSender):
    """Sends without TLS, and looks at addresses all the same."""

    def __init__(self, names: Names) -> None:
        super().__init__({"hooks.example"}, names.resolve, lambda address: str(address) == OUTSIDE)

    def _is_exempt(self, _host: str) -> bool:
        return False


async def test_a_host_within_the_network_is_not_asked() -> None:
    sender = WebhookSender((), Names(["10.0.0.7"]).resolve)
    answer = await sender.post("https://hooks.example/", b"{}", {})
    await sender.close()

    assert (answer.status, answer.failure_code) == (0, "ADDRESS_NOT_ALLOWED")


def opened(url: str, keys: str) -> Pool:
    return Pool(url, application="test", size=2, keyring=Keyring.parse(keys))


async def test_after_reencryption_the_old_data_key_can_be_dropped(
    notify: Notify, receiver: Receiver
) -> None:
    sender = WebhookSender({"127.0.0.1"})
    platform = Platform(notify, sender)
    secret = (await platform.register(receiver.url)).secret
    await notify.call("RotateWebhookSecret", notify_pb2.RotateWebhookSecretRequest(name=SHOP))
    receiver.status = 500
    await notify.receive(order_confirmed())
    await platform.send()
    act_for_all("notify")
    newer = f"test-2:{base64.b64encode(bytes(32)).decode()}"
    url = notify.database.pool.url
    both = Database(opened(url, f"{newer},{DATA_KEYS}"))
    for table in ENCRYPTED_TABLES:
        await key_rotation.reencrypt(both, table)
    await both.close()
    notify.database = Database(opened(url, newer))
    platform = Platform(notify, sender)
    receiver.status = 200
    await platform.send_after(timedelta(seconds=5))
    shown = await platform.deliveries()
    await notify.database.close()
    await sender.close()

    assert receiver.signed_with(secret)
    assert [one.answer for one in shown[0].attempts] == ["thank you"] * 2


async def test_two_secrets_hold_while_one_is_rotated(
    platform: Platform, receiver: Receiver
) -> None:
    old = (await platform.register(receiver.url)).secret
    request = notify_pb2.RotateWebhookSecretRequest(name=SHOP)
    new = (await platform.notify.call("RotateWebhookSecret", request)).secret
    await platform.notify.receive(order_confirmed())
    await platform.send()
    both = receiver.signed_with(old), receiver.signed_with(new)
    platform.notify.clock.move(timedelta(days=1))
    await platform.notify.receive(order_skipped())
    await platform.send()

    assert both == (True, True)
    assert (receiver.signed_with(old), receiver.signed_with(new)) == (False, True)


async def test_what_is_queued_is_limited_and_the_rest_can_be_replayed(
    platform: Platform, receiver: Receiver
) -> None:
    await platform.register(receiver.url)
    async with platform.notify.database.begin() as tx:
        await tx.execute(f"""
            INSERT INTO webhook_deliveries
                (merchant, endpoint, event_id, event_type, occur_time, create_time, state,
                 next_attempt_time)
            SELECT 'acme', 'shop', gen_random_uuid(), 'x', now(), now(), 'PENDING', now()
            FROM generate_series(1, {QUEUE_MAX_EVENTS})
        """)  # noqa: S608 - a number
    await platform.notify.receive(order_confirmed())
    await platform.send()
    [dropped] = (await platform.deliveries())[:1]
    assert (dropped.state, dropped.failure_code) == (State.CANCELLED, "QUEUE_FULL")

    await platform.replay(event_id=dropped.name.rpartition("/")[2])
    await platform.send()
    assert len(receiver.requests) == 1


async def test_more_events_than_are_replayed_at_once_are_refused(
    platform: Platform, receiver: Receiver
) -> None:
    await platform.register(receiver.url)
    async with platform.notify.database.begin() as tx:
        await tx.execute(
            f"""
            INSERT INTO webhook_events (merchant, event_id, type, occur_time, body, create_time)
            SELECT 'acme', gen_random_uuid(), 'x', $1, '', $1
            FROM generate_series(0, {REPLAY_MAX_EVENTS})
            """,  # noqa: S608 - a number
            NOW,
        )
    with pytest.raises(Problem) as refused:
        await platform.replay(start_time=to_timestamp(NOW))
    assert refused.value.reason == "WEBHOOK_REPLAY_TOO_LARGE"
    assert await platform.deliveries() == []


async def test_deliveries_and_events_are_kept_for_thirty_days(
    platform: Platform, receiver: Receiver
) -> None:
    await platform.register(receiver.url)
    await platform.notify.receive(order_confirmed())
    await platform.send()
    platform.notify.clock.move(timedelta(days=37))
    await purge(platform.notify.database, platform.notify.clock)

    assert await platform.deliveries() == []
    async with platform.notify.database.read() as connection:
        assert await connection.fetch("SELECT * FROM webhook_events") == []
