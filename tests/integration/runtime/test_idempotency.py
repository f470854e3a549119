"""A mutation is applied once for a request id, and answers the same again."""

import asyncio
import hashlib
import uuid

import pytest
from recurring.catalog.v1 import catalog_pb2

from services.runtime.auth.call_context import Caller, set_caller
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import Problem
from services.runtime.mutations import Applied, run_mutation
from tests.integration.runtime.pubsub import count
from tests.owner import as_owner

Request = catalog_pb2.DiscontinueProductRequest


class Counter:
    """Counts how often it really acted."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.broken = False

    async def act(self, request: Request) -> catalog_pb2.Product:
        async def apply(tx: Connection) -> Applied[int]:
            await tx.execute("INSERT INTO acts VALUES ($1)", request.name)
            acts = await tx.driver.fetchval("SELECT count(*) FROM acts")
            if self.broken:
                raise LookupError
            return Applied(acts)

        def respond(acts: int) -> catalog_pb2.Product:
            return catalog_pb2.Product(name=request.name, title=f"act {acts}")

        return await run_mutation(self.database, request, catalog_pb2.Product, respond, apply)

    async def act_otherwise(self, request: catalog_pb2.AdjustStockRequest) -> catalog_pb2.Stock:
        async def apply(_tx: Connection) -> Applied[None]:
            return Applied(None)

        return await run_mutation(
            self.database, request, catalog_pb2.Stock, lambda _: catalog_pb2.Stock(), apply
        )


@pytest.fixture
async def counter(database: Database) -> Counter:
    set_caller(Caller("shop", "acme", frozenset()))
    async with as_owner(database) as tx:
        await tx.execute("CREATE TABLE acts (name text)")
    return Counter(database)


def request(name: str = "tea", request_id: str = "") -> Request:
    return Request(name=name, request_id=request_id or str(uuid.uuid4()))


async def test_the_same_request_is_answered_the_same_and_done_once(counter: Counter) -> None:
    first = request()
    answers = [await counter.act(first) for _ in range(3)]
    assert [answer.title for answer in answers] == ["act 1"] * 3
    assert await count(counter.database, "acts") == 1


async def test_another_id_is_another_request(counter: Counter) -> None:
    await counter.act(request())
    assert (await counter.act(request())).title == "act 2"


async def test_an_id_with_other_content_is_refused(counter: Counter) -> None:
    first = request()
    await counter.act(first)
    with pytest.raises(Problem) as refused:
        await counter.act(request("coffee", first.request_id))
    assert refused.value.reason == "REQUEST_ID_REUSED"
    assert [violation.field for violation in refused.value.violations] == ["request_id"]


async def test_what_was_asked_cannot_be_found_from_what_is_kept_by_trying(counter: Counter) -> None:
    first = request()
    await counter.act(first)
    async with counter.database.begin() as tx:
        kept = await tx.driver.fetchval("SELECT content_hash FROM requests")

    guessed = hashlib.sha256(first.SerializeToString(deterministic=True)).digest()
    assert guessed not in bytes(kept)


async def test_an_id_is_for_one_method(counter: Counter) -> None:
    first = request()
    await counter.act(first)
    with pytest.raises(Problem) as refused:
        await counter.act_otherwise(catalog_pb2.AdjustStockRequest(request_id=first.request_id))
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_every_merchant_has_ids_of_its_own(counter: Counter) -> None:
    first = request()
    await counter.act(first)
    set_caller(Caller("shop", "other", frozenset()))
    assert (await counter.act(first)).title == "act 2"


async def test_many_at_once_with_one_id_act_once(counter: Counter) -> None:
    first = request()
    answers = await asyncio.gather(*(counter.act(first) for _ in range(5)))
    assert {answer.title for answer in answers} == {"act 1"}
    assert await count(counter.database, "acts") == 1


async def test_many_at_once_with_one_id_and_other_contents_act_once(counter: Counter) -> None:
    identity = str(uuid.uuid4())
    requests = [request(name, identity) for name in ("tea", "coffee", "milk")]
    answers = await asyncio.gather(
        *(counter.act(request_) for request_ in requests), return_exceptions=True
    )
    assert sum(isinstance(answer, catalog_pb2.Product) for answer in answers) == 1
    assert await count(counter.database, "acts") == 1


async def test_a_request_that_failed_is_not_remembered(counter: Counter) -> None:
    first = request()
    counter.broken = True
    with pytest.raises(LookupError):
        await counter.act(first)
    counter.broken = False
    assert (await counter.act(first)).title == "act 1"


async def test_a_request_that_was_cut_short_is_not_remembered(counter: Counter) -> None:
    first = request()
    async with counter.database.begin() as tx:
        # Somebody else is in the way, so the request waits, and its caller goes away.
        await tx.execute("LOCK TABLE acts")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(counter.act(first), 0.1)
    assert (await counter.act(first)).title == "act 1"


@pytest.mark.parametrize("request_id", ["", "1", "tea"])
async def test_a_mutation_needs_an_id(counter: Counter, request_id: str) -> None:
    with pytest.raises(Problem) as refused:
        await counter.act(Request(name="tea", request_id=request_id))
    assert [violation.field for violation in refused.value.violations] == ["request_id"]
