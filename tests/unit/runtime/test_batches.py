"""Batches of events: what a transaction publishes of one type, within the limits of a message."""

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recurring.catalog.v1 import events_pb2
from recurring.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch

from services.runtime.messaging.batches import (
    BATCH_MAX_BYTES,
    BATCH_MAX_EVENTS,
    binary_events,
    in_batches,
    read_batch,
    read_event,
)
from services.runtime.messaging.events import OutboxEvent

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


def discontinued(key: str, tenant: str = "acme", title: str = "") -> OutboxEvent:
    message = events_pb2.ProductDiscontinued(product=key, title=title)
    return OutboxEvent(key, message, tenant, f"merchants/{tenant}/products/{key}", NOW)


def low(key: str) -> OutboxEvent:
    return OutboxEvent(key, events_pb2.StockLow(product=key), "acme", key, NOW)


@given(st.lists(st.tuples(st.sampled_from(["acme", "other"]), st.text(max_size=20)), max_size=20))
def test_what_is_published_is_what_is_read(told: list[tuple[str, str]]) -> None:
    events = {event.event_id: event for event in (discontinued(k, t) for t, k in told)}
    read = [
        read_event(events_pb2.ProductDiscontinued, encoded)
        for batch in in_batches(events.values(), TRACE)
        for encoded in read_batch(batch.data)
    ]
    assert [event.id for event in read] == list(events)
    for event in read:
        published = events[event.id]
        assert event.message == published.message
        assert (event.tenant, event.partition_key) == (published.tenant, published.partition_key)
        assert (event.occur_time, event.traceparent) == (NOW, TRACE)


def test_each_type_has_a_batch_of_its_own_and_each_event_is_there_once() -> None:
    tea, coffee, milk = discontinued("tea"), discontinued("coffee", "other"), low("milk")
    first, second = in_batches([tea, milk, coffee, tea])
    assert (first.type, first.event_ids) == (tea.type, (tea.event_id, coffee.event_id))
    assert (first.tenants, second.tenants) == (("acme", "other"), ("acme",))
    assert first.partition_keys == (tea.partition_key, coffee.partition_key)
    assert (second.type, second.event_ids) == (milk.type, (milk.event_id,))


def test_a_batch_has_an_id_that_its_events_give() -> None:
    tea, coffee = discontinued("tea"), discontinued("coffee")
    [both], [again], [alone] = (
        in_batches([tea, coffee]),
        in_batches([tea, coffee]),
        in_batches([tea]),
    )
    assert both.batch_id == again.batch_id != alone.batch_id != tea.event_id


def test_more_events_than_fit_are_several_batches() -> None:
    batches = in_batches(discontinued(str(number)) for number in range(BATCH_MAX_EVENTS + 1))
    assert [len(batch.event_ids) for batch in batches] == [BATCH_MAX_EVENTS, 1]


def test_more_bytes_than_fit_are_several_batches() -> None:
    title = "x" * (BATCH_MAX_BYTES // 3)
    batches = in_batches(discontinued(str(number), title=title) for number in range(5))
    assert [len(batch.event_ids) for batch in batches] == [2, 2, 1]
    assert all(len(batch.data) <= BATCH_MAX_BYTES for batch in batches)


def test_an_event_that_fits_into_no_message_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ProductDiscontinued of \d+ bytes is too large"):
        in_batches([discontinued("tea", title="x" * BATCH_MAX_BYTES)])


def test_a_platform_gets_only_events_of_its_merchant() -> None:
    [batch] = in_batches([discontinued("tea"), discontinued("coffee", "other")], TRACE)
    [(tenant, head, body)] = binary_events(batch.data, frozenset({"other"}))
    assert (tenant, head["ce-tenant"], head["traceparent"]) == ("other", "other", TRACE)
    assert events_pb2.ProductDiscontinued.FromString(body).product == "coffee"


def good() -> CloudEvent:
    [batch] = in_batches([discontinued("tea")])
    [event] = read_batch(batch.data)
    return event


def bad(**changes: object) -> CloudEvent:
    event = good()
    event.MergeFrom(CloudEvent(**changes))  # type: ignore[arg-type]
    return event


def without(attribute: str) -> CloudEvent:
    event = good()
    del event.attributes[attribute]
    return event


@pytest.mark.parametrize(
    "event",
    [
        CloudEvent(id=str(uuid.uuid4())),
        bad(id="1"),
        bad(binary_data=b"tea"),
        without("tenant"),
        without("partitionkey"),
        without("time"),
    ],
)
def test_what_is_no_event_is_not_read_as_one(event: CloudEvent) -> None:
    with pytest.raises(ValueError, match=r"not a well-formed|badly formed"):
        read_event(events_pb2.ProductDiscontinued, event)


@pytest.mark.parametrize("data", [b"", b"\xff", CloudEventBatch().SerializeToString()])
def test_what_is_no_batch_is_not_read_as_one(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a batch of events"):
        read_batch(data)
