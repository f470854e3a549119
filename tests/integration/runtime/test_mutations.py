"""A mutation replays first, decides without a trace, and applies everything in one transaction."""

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from recurring.catalog.v1 import catalog_pb2, events_pb2

from services.runtime.auth.call_context import Caller, set_caller
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import Problem, wrong_state
from services.runtime.messaging.events import OutboxEvent
from services.runtime.mutations import (
    Applied,
    Apply,
    Refused,
    run_checked_mutation,
    run_mutation,
)
from tests.integration.runtime.pubsub import count
from tests.owner import as_owner

NAME = "merchants/acme/products/tea"
OCCURRED = datetime(2026, 1, 1, tzinfo=UTC)
Request = catalog_pb2.DiscontinueProductRequest
Product = catalog_pb2.Product


def request(request_id: str = "") -> Request:
    return Request(name=NAME, request_id=request_id or str(uuid.uuid4()))


def product(title: str) -> Product:
    return Product(name=NAME, title=title)


@dataclass
class Titles:
    """A mutation that gives a product the next title, and what it was asked to do on the way."""

    database: Database
    decided: int = 0
    applied: int = 0
    problem: Problem | None = None
    failure: Exception | None = None
    both_decided: asyncio.Barrier | None = None
    decision_failure: Exception | None = None
    before: list[str | None] = field(default_factory=list)

    async def change(self, request: Request) -> Product:
        return await run_checked_mutation(self.database, request, Product, product, self._decide)

    async def _decide(self) -> Apply[str]:
        self.decided += 1
        if self.decision_failure is not None:
            raise self.decision_failure
        if self.both_decided is not None:
            await self.both_decided.wait()
        return self._apply

    async def _apply(self, tx: Connection) -> Applied[str] | Refused:
        self.applied += 1
        await tx.execute("INSERT INTO titles DEFAULT VALUES")
        number = await tx.driver.fetchval("SELECT count(*) FROM titles")
        if self.failure is not None:
            raise self.failure
        if self.problem is not None:
            return Refused(self.problem)
        event = OutboxEvent(
            NAME, events_pb2.ProductDiscontinued(product=NAME), "acme", NAME, OCCURRED
        )
        before = f"title {number - 1}" if number > 1 else None
        return Applied(f"title {number}", before, [event])


@pytest.fixture
async def titles(database: Database) -> Titles:
    set_caller(Caller("shop", "acme", frozenset()))
    async with as_owner(database) as tx:
        await tx.execute("CREATE TABLE titles (number bigint GENERATED ALWAYS AS IDENTITY)")
    return Titles(database)


async def counts(database: Database) -> dict[str, int]:
    tables = ("titles", "requests", "audit_entries", "outbox")
    return {table: await count(database, table) for table in tables}


async def audit_entries(database: Database) -> list[tuple[Any, ...]]:
    async with database.begin() as tx:
        rows = await tx.fetch(
            "SELECT resource, state_before, state_after FROM audit_entries ORDER BY position"
        )
        return [tuple(row) for row in rows]


async def test_a_request_that_was_answered_is_replayed_before_anything_is_decided(
    titles: Titles,
) -> None:
    first = request()
    answers = [await titles.change(first)]
    titles.decision_failure = LookupError()
    answers.append(await titles.change(first))
    assert [answer.title for answer in answers] == ["title 1", "title 1"]
    assert (titles.decided, titles.applied) == (1, 1)


async def test_a_decision_that_fails_leaves_nothing_and_the_request_can_be_made_again(
    titles: Titles,
) -> None:
    first = request()
    titles.decision_failure = LookupError()
    with pytest.raises(LookupError):
        await titles.change(first)
    assert set((await counts(titles.database)).values()) == {0}
    titles.decision_failure = None
    assert (await titles.change(first)).title == "title 1"


async def test_a_mutation_stores_state_answer_audit_and_event_together(titles: Titles) -> None:
    await titles.change(request())
    assert set((await counts(titles.database)).values()) == {1}


async def test_a_mutation_that_fails_stores_none_of_them(titles: Titles) -> None:
    titles.failure = LookupError()
    with pytest.raises(LookupError):
        await titles.change(request())
    assert set((await counts(titles.database)).values()) == {0}


async def test_a_problem_that_is_raised_leaves_no_trace(titles: Titles) -> None:
    titles.failure = wrong_state("TITLE_TAKEN", "it is taken")
    with pytest.raises(Problem, match="it is taken"):
        await titles.change(request())
    assert set((await counts(titles.database)).values()) == {0}


async def test_a_refusal_leaves_its_trace_and_frees_the_request_id(titles: Titles) -> None:
    first = request()
    titles.problem = wrong_state("TITLE_TAKEN", "it is taken")
    with pytest.raises(Problem) as refused:
        await titles.change(first)
    assert refused.value.reason == "TITLE_TAKEN"
    assert await counts(titles.database) == {
        "titles": 1,
        "requests": 0,
        "audit_entries": 1,
        "outbox": 0,
    }
    assert await audit_entries(titles.database) == [(NAME, None, {"reason": "TITLE_TAKEN"})]
    titles.problem = None
    assert (await titles.change(first)).title == "title 2"


async def test_the_audit_has_what_was_before_and_after(titles: Titles) -> None:
    for _ in range(2):
        await titles.change(request())
    first, second = ({"name": NAME, "title": f"title {number}"} for number in (1, 2))
    assert await audit_entries(titles.database) == [(NAME, None, first), (NAME, first, second)]


async def test_two_with_one_request_id_that_both_decided_apply_once(titles: Titles) -> None:
    titles.both_decided = asyncio.Barrier(2)
    first = request()
    answers = await asyncio.gather(titles.change(first), titles.change(first))
    assert [answer.title for answer in answers] == ["title 1", "title 1"]
    assert (titles.decided, titles.applied) == (2, 1)
    assert set((await counts(titles.database)).values()) == {1}


async def test_a_mutation_that_needs_no_other_service_is_applied_at_once(
    titles: Titles,
) -> None:
    async def apply(_tx: Connection) -> Applied[str]:
        return Applied("alone")

    answer = await run_mutation(titles.database, request(), Product, product, apply)
    assert answer.title == "alone"
