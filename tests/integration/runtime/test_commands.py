"""An operator's commands, run as they are typed, beside a stack that serves."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
import tzdata
from recurring.catalog.v1 import catalog_pb2, events_pb2

from deploy.embedded import wiring
from deploy.embedded.program import ROOT
from services.runtime.messaging.batches import in_batches, read_batch
from services.runtime.messaging.events import OutboxEvent
from tests.integration.runtime.pubsub import until
from tests.suite import Suite, new_id

EPOCH = "1970-01-01T00:00:00Z"


class Operator:
    """Somebody who types commands of a service."""

    def __init__(self, suite: Suite) -> None:
        self._addresses, self._keys = suite.stack.addresses, suite.deployment.keys

    async def types(self, service: str, *arguments: str, status: int = 0) -> list[dict[str, Any]]:
        """Run `python -m services.<service> …`; returns the lines that it printed."""
        settings = wiring.service_environment(service, self._addresses, self._keys)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"services.{service}", *arguments),
            cwd=ROOT,
            env={**os.environ, **settings, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        printed, complaints = await process.communicate()
        assert process.returncode == status, complaints.decode()
        return [json.loads(line) for line in printed.decode().splitlines()]

    async def database(self, service: str) -> "asyncpg.Connection[Any]":
        url = wiring.database_url(service, self._addresses, self._keys, "_migrator")
        return await asyncpg.connect(url)


@pytest.fixture
def operator(suite: Suite) -> Operator:
    return Operator(suite)


@pytest.fixture
async def letter(suite: Suite, operator: Operator) -> AsyncIterator[str]:
    """An event that the scheduler's inbox has given up: of a customer's phone, and good as it is."""
    event_id = str(uuid.uuid4())
    del suite
    message = events_pb2.StockLow(product="merchants/acme/products/x")
    [batch] = in_batches([OutboxEvent("x", message, "acme", "acme", datetime.now(UTC))])
    [event] = read_batch(batch.data)
    event.id = event_id
    database = await operator.database("scheduler")
    try:
        await database.execute(
            "INSERT INTO failed_events"
            " (partition_key, event_id, type, event, error, retry_time, dead_letter_time)"
            " VALUES ('acme', $1, $2, $3, 'a bug', now(), now())",
            event_id,
            event.type,
            event.SerializeToString(),
        )
        yield event_id
        await database.execute("DELETE FROM failed_events WHERE event_id = $1", event_id)
    finally:
        await database.close()


async def test_status_shows_the_schema_and_what_operators_watch(operator: Operator) -> None:
    first, *numbers = await operator.types("payments", "status")
    assert (first["service"], first["schema"]) == ("payments", "0001")
    assert first["zone_data"] == tzdata.IANA_VERSION
    shown = {line["metric"]: line["value"] for line in numbers}
    assert shown["recurring.charges.due"] == 0
    assert shown["recurring.outbox.oldest.age"] == 0
    assert {line["stream"] for line in numbers if "stream" in line} == {"SCHEDULER", "NOTIFY"}


async def test_events_are_published_again_from_a_time_or_a_position(
    suite: Suite, operator: Operator
) -> None:
    shop = suite.client()
    made = await shop.catalog.CreateProduct(
        catalog_pb2.CreateProductRequest(
            parent=shop.name,
            product_id="tea",
            product=catalog_pb2.Product(title="Tea"),
            request_id=new_id(),
        )
    )
    discontinue = catalog_pb2.DiscontinueProductRequest(name=made.name, request_id=new_id())
    async with suite.subscribe_events() as subscription:
        await shop.catalog.DiscontinueProduct(discontinue)
        event = await subscription.next(events_pb2.ProductDiscontinued, shop.merchant)
    database = await operator.database("catalog")

    async def all_published() -> bool:
        waiting = "SELECT EXISTS (SELECT FROM audit_v1.batches_published WHERE NOT is_published)"
        return not await database.fetchval(waiting)

    try:
        await until(all_published)
        published = await database.fetchval("SELECT sum(event_count) FROM outbox")
        [line] = await operator.types("catalog", "replay", "--since", EPOCH)
        assert line["replayed"] == published > 0
        await until(all_published)
        position = await database.fetchval(
            "SELECT position FROM outbox WHERE $1 = ANY(event_ids)", event.event.id
        )
    finally:
        await database.close()
    [line] = await operator.types("catalog", "replay", "--position", str(position + 1))
    assert line["replayed"] < published


async def test_a_replay_wants_to_know_from_where(operator: Operator) -> None:
    [line] = await operator.types("catalog", "replay", status=1)
    assert "--since" in line["problem"]
    # A time without its zone is some other time.
    assert await operator.types("catalog", "replay", "--since", "2026-01-01", status=2) == []


async def test_a_dead_letter_is_shown_with_what_went_wrong(operator: Operator, letter: str) -> None:
    [line] = await operator.types("scheduler", "dead-letters", "--event", letter)
    assert (line["event"], line["error"]) == (letter, "a bug")
    assert line["type"] == "recurring.catalog.v1.StockLow"


async def test_a_dead_letter_that_still_fails_is_kept(operator: Operator, letter: str) -> None:
    """The scheduler does not listen to that type at all."""
    again = ("scheduler", "dead-letters", "--event", letter, "--replay")
    [line] = await operator.types(*again, status=1)
    [kept] = await operator.types("scheduler", "dead-letters", "--event", letter)
    assert "does not know" in line["outcome"]
    assert "does not know" in kept["error"]


async def test_a_dead_letter_is_discarded_by_name_only(operator: Operator, letter: str) -> None:
    await operator.types("scheduler", "dead-letters", "--discard", status=1)
    discard = ("scheduler", "dead-letters", "--event", letter, "--discard")
    [line] = await operator.types(*discard)
    assert line["outcome"] == "discarded"
    assert await operator.types(*discard) == []


@pytest.mark.parametrize("service", ["catalog", "scheduler", "payments", "notify"])
async def test_what_the_newest_key_has_encrypted_leaves_nothing_to_be_done(
    operator: Operator, service: str
) -> None:
    lines = await operator.types(service, "reencrypt")
    assert lines[0]["table"] == "requests"
    assert {(line["reencrypted"], line["left"], line["unreadable"]) for line in lines} == {
        (0, 0, 0)
    }
    assert await operator.types(service, "reencrypt", "--count") == lines
