"""Which events the broker gives the command, and what that says where it gets none."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nats.aio.client import Client
from recurring.payments.v1 import events_pb2

from cli.connect import Stack
from cli.errors import CommandError
from cli.events import SeenEvent, subscribe
from deploy.embedded.addresses import SERVICES
from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import HOST, free_ports
from services.runtime.messaging.batches import batch_headers, binary_events, in_batches
from services.runtime.messaging.events import OutboxEvent

# A user who may read what another one publishes, and nothing else.
RESTRICTED = """
authorization: {
  users: [{user: shop, password: secret, permissions: {subscribe: ["_INBOX.>"]}}]
}
"""


PASSWORD = "only-for-tests-on-this-machine"
USERS = (*SERVICES, "streams", "merchant-demo", "developer")
# How long the broker may take to pass on an event.
DEADLINE_SECONDS = 20


class RestrictedNats(EmbeddedNats):
    """A server that lets nobody read events."""

    def prepare(self) -> None:
        """Write the configuration, with the one user."""
        super().prepare()
        with (self.folder / "nats.conf").open("a") as configuration:
            configuration.write(RESTRICTED)


@pytest.fixture(scope="module")
def port(servers_folder: Path) -> Iterator[int]:
    [port] = free_ports(1)
    folder = servers_folder / "restricted-nats"
    server = RestrictedNats(folder, port, folder.with_suffix(".log"))
    try:
        server.start()
        yield port
    finally:
        server.destroy()


@pytest.fixture(scope="module")
def broker(servers_folder: Path) -> Iterator[str]:
    """Where a server answers that has the users of production, and a developer."""
    [port] = free_ports(1)
    folder = servers_folder / "events-nats"
    passwords = dict.fromkeys(USERS, PASSWORD)
    server = EmbeddedNats(folder, port, folder.with_suffix(".log"), passwords)
    try:
        server.start()
        yield f"{HOST}:{port}"
    finally:
        server.destroy()


def stack_at(url: str) -> Stack:
    return Stack({}, "", "demo", url, "", {}, "")


async def refusal(url: str, merchant: str = "demo") -> str:
    """What the command says instead of events."""

    async def see(_: SeenEvent) -> None:
        """There are none."""

    with pytest.raises(CommandError) as refused:
        await subscribe(stack_at(url), merchant, see)
    return str(refused.value)


async def publish(broker: str, merchant: str) -> None:
    """Publish that a payment of a merchant succeeded, as payments does for services and platforms."""
    message = events_pb2.PaymentSucceeded(attempt_count=1)
    message.ref.customer = f"merchants/{merchant}/customers/ada"
    now = datetime.now(UTC)
    event = OutboxEvent(
        key=merchant, message=message, tenant=merchant, partition_key=merchant, occur_time=now
    )
    [batch] = in_batches([event])
    [(_, head, body)] = binary_events(batch.data, frozenset({merchant}))
    client = Client()
    await client.connect(f"nats://payments:{PASSWORD}@{broker}")
    await client.publish(batch.type, batch.data, headers=batch_headers(batch.batch_id))
    await client.publish(f"merchants.{merchant}.{batch.type}", body, headers=head)
    await client.drain()


@pytest.mark.parametrize("user", ["merchant-demo", "developer"])
async def test_each_event_of_the_merchant_is_seen_once(broker: str, user: str) -> None:
    seen: asyncio.Queue[SeenEvent] = asyncio.Queue()
    client = await subscribe(stack_at(f"nats://{user}:{PASSWORD}@{broker}"), "demo", seen.put)
    for merchant in ("demo", "other", "demo"):
        await publish(broker, merchant)
    async with asyncio.timeout(DEADLINE_SECONDS):
        events = [await seen.get() for _ in range(2)]
    await client.close()
    assert [(event.name, event.customer) for event in events] == [("PaymentSucceeded", "ada")] * 2
    assert {event.tenant for event in events} == {"demo"}
    assert seen.empty()


async def test_a_platform_learns_that_it_gets_no_events_of_another_merchant(broker: str) -> None:
    said = await refusal(f"nats://merchant-demo:{PASSWORD}@{broker}", "other")
    assert said == "the broker gives the user merchant-demo no events of other"


async def test_who_may_not_read_events_learns_which_permission_is_missing(port: int) -> None:
    said = await refusal(f"nats://shop:secret@{HOST}:{port}")
    assert 'permissions violation for subscription to "recurring.>"' in said.lower()
    assert "secret" not in said


async def test_who_has_a_wrong_password_learns_that(port: int) -> None:
    said = await refusal(f"nats://shop:wrong@{HOST}:{port}")
    assert "authorization" in said.lower()
    assert "wrong" not in said


async def test_where_no_broker_answers_the_command_says_so() -> None:
    [free_port] = free_ports(1)
    said = await refusal(f"nats://{HOST}:{free_port}")
    assert f"{HOST}:{free_port}" in said
    assert "refused" in said.lower() or "connect call failed" in said.lower()
