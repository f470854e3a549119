"""What the Python client reads from a message of NATS."""

import json
from typing import Any

from recurring.catalog.v1 import events_pb2
from recurring_client.events import read_event


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
