"""What the Python client reads from NATS."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import nats
import pytest
from recurring.catalog.v1 import events_pb2
from recurring_client import events, subscribe
from recurring_client.events import read_event

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import free_ports
from services.runtime.messaging import streams

STOCK_LOW = "recurring.catalog.v1.StockLow"


def headers(event_type: str) -> dict[str, str]:
    return {
        "ce-id": "1",
        "ce-type": event_type,
        "ce-source": "//recurring/catalog",
        "ce-time": "2027-01-31T09:00:00+00:00",
        "ce-tenant": "demo",
    }


def content(event_json: str) -> dict[str, Any]:
    described = json.loads(event_json)
    return {name: described[name] for name in described if "data" in name}


def test_an_event_has_the_message_of_its_type() -> None:
    stock_low = events_pb2.StockLow(title="Beans")
    event = read_event(headers("recurring.catalog.v1.StockLow"), stock_low.SerializeToString())
    assert event.message == stock_low
    assert content(event.to_json()) == {
        "datacontenttype": "application/json",
        "data": {"title": "Beans"},
    }


def test_an_event_of_a_later_release_is_given_as_it_came() -> None:
    event = read_event(headers("recurring.catalog.v1.ShelfMoved"), b"\x0a\x01a")
    assert (event.type, event.message, event.encoded) == (
        "recurring.catalog.v1.ShelfMoved",
        None,
        b"\x0a\x01a",
    )
    assert content(event.to_json()) == {
        "datacontenttype": "application/protobuf",
        "data_base64": "CgFh",
    }


@pytest.fixture
def broker(servers_folder: Path) -> Iterator[EmbeddedNats]:
    """A server of its own, which the test may stop."""
    [port] = free_ports(1)
    server = EmbeddedNats(servers_folder / "broker", port, servers_folder / "broker.log")
    server.start()
    yield server
    server.destroy()


async def publish(url: str, event_id: str) -> None:
    client = await nats.connect(url)
    subject = f"{streams.MERCHANTS_PREFIX}.demo.{STOCK_LOW}"
    await client.jetstream().publish(
        subject, b"", headers={**headers(STOCK_LOW), "ce-id": event_id}
    )
    await client.close()


async def delete_durable(url: str) -> None:
    client = await nats.connect(url)
    await client.jetstream(domain=events.DOMAIN).delete_consumer(events.STREAM, "demo")
    await client.close()


async def test_a_reader_goes_on_after_an_outage_however_long_it_was(
    broker: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So a client tries more often in seconds than it does in minutes.
    monkeypatch.setattr(events, "RETRY_SECONDS", 0.01)
    durables = streams.durables("catalog", {}, ["demo"])
    await streams.make_at(broker.url, "catalog", ssl.create_default_context, 1, durables)
    async with aclosing(subscribe(broker.url, merchant="demo")) as reader:
        await publish(broker.url, "1")
        assert (await anext(reader)).id == "1"
        coming = asyncio.create_task(anext(reader))
        await asyncio.to_thread(broker.stop)
        await asyncio.sleep(5)
        await asyncio.to_thread(broker.start)
        await publish(broker.url, "2")
        assert (await asyncio.wait_for(coming, timeout=60)).id == "2"


async def test_a_reader_waits_while_its_durable_is_not_served(broker: EmbeddedNats) -> None:
    durables = streams.durables("catalog", {}, ["demo"])
    make = partial(streams.make_at, broker.url, "catalog", ssl.create_default_context, 1, durables)
    await make()
    async with aclosing(subscribe(broker.url, merchant="demo")) as reader:
        await publish(broker.url, "1")
        assert (await anext(reader)).id == "1"
        # Who asks for its events now gets the answer that one gets while the broker starts.
        await delete_durable(broker.url)
        coming = asyncio.create_task(anext(reader))
        await asyncio.sleep(events.RETRY_SECONDS)
        await make()
        assert (await asyncio.wait_for(coming, timeout=60)).id == "1"
