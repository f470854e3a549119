"""The gRPC server: authentication, deadlines, errors, draining."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from recurring.catalog.v1 import catalog_pb2

from services.runtime.errors import not_found
from services.runtime.observability import tracing
from services.runtime.rpc import admission
from services.runtime.rpc.health import LIVENESS
from services.runtime.rpc.limits import RateLimit
from services.runtime.rpc.server import PLATFORM_MESSAGE_MAX_BYTES
from tests.integration.gateway.http2 import (
    HEADERS,
    METHOD_AND_SCHEME,
    PREFACE,
    SETTINGS,
    WHOLE_CALL,
    frame,
    header,
)
from tests.integration.runtime.catalog_server import GRACE_SECONDS, NAME, SERVICE, CatalogServer
from tests.suite import read_refusal, refused

SECRET = "+491701234567"


# --- access -------------------------------------------------------------------------------------


async def test_a_call_with_a_token_is_answered(server: CatalogServer) -> None:
    assert (await server.get()).name == NAME


async def test_a_call_is_in_its_callers_trace(server: CatalogServer) -> None:
    tracing.start_tracing("catalog")
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    await server.get((*server.token(), ("traceparent", f"00-{trace_id}-{span_id}-01")))
    _, trace, span, _ = server.servicer.traceparent.split("-")
    assert trace == trace_id
    assert span != span_id


async def test_a_call_without_a_readable_trace_begins_one(server: CatalogServer) -> None:
    tracing.start_tracing("catalog")
    await server.get((*server.token(), ("traceparent", f"00-{0:032x}-{0:016x}-01")))
    _, trace, _, _ = server.servicer.traceparent.split("-")
    assert int(trace, 16)


async def test_a_call_without_a_token_is_refused(server: CatalogServer) -> None:
    refusal = await refused(server.get((("x", "y"),)))
    assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "TOKEN_MISSING")


async def test_a_call_with_a_bad_token_is_refused(server: CatalogServer) -> None:
    refusal = await refused(server.get((("authorization", "Bearer x"),)))
    assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "TOKEN_INVALID")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("second", ["good", "Bearer x", "", "Basic eDp5"])
async def test_a_call_with_two_authorizations_is_refused_whatever_they_are(
    server: CatalogServer,
    second: str,
    before: bool,  # noqa: FBT001
) -> None:
    good = server.token()
    other = good if second == "good" else (("authorization", second),)
    refusal = await refused(server.get((*other, *good) if before else (*good, *other)))
    assert refusal.code == "UNAUTHENTICATED"


async def test_a_call_without_the_scope_is_refused(server: CatalogServer) -> None:
    refusal = await refused(server.get(server.token(scope="contacts:write")))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "SCOPE_MISSING")


async def test_another_merchant_is_refused(server: CatalogServer) -> None:
    refusal = await refused(server.get(server.token("other")))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "MERCHANT_FORBIDDEN")
    assert refusal.domain == "catalog.recurring"


async def test_a_method_that_no_scope_opens_is_closed_to_all(server: CatalogServer) -> None:
    request = catalog_pb2.ListPricesRequest(parent=NAME)
    call = server.stub.ListPrices(request, metadata=server.token(scope="platform products:read"))
    assert (await refused(call)).reason == "SCOPE_MISSING"


async def test_a_method_that_is_not_implemented_needs_a_scope_first(server: CatalogServer) -> None:
    request = catalog_pb2.GetStockRequest(product=NAME)
    assert (await refused(server.stub.GetStock(request))).reason == "TOKEN_MISSING"


async def test_a_method_that_does_not_exist_is_unimplemented(server: CatalogServer) -> None:
    call: Any = server.channel.unary_unary(f"/{SERVICE}/GetEverything")
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call(b"", metadata=server.token())
    assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_path_that_is_no_text_ends_its_call_and_nothing_else(server: CatalogServer) -> None:
    """No token is needed for it, and gRPC's own server ended for good."""
    path = b"\x00\x05:path\x03/\xff\xfe"
    kind = header("content-type", "application/grpc") + header("te", "trailers")
    call = frame(
        HEADERS, WHOLE_CALL, 1, METHOD_AND_SCHEME + path + header(":authority", "x") + kind
    )
    for address in (server.addresses.platforms, server.health_address):
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(PREFACE + frame(SETTINGS, 0, 0) + call)
        async with asyncio.timeout(GRACE_SECONDS):
            await reader.readuntil(b"Method not found!")
        writer.close()
    assert (await server.get()).name == NAME
    assert await server.health() == "SERVING"


async def test_calls_at_once_have_callers_of_their_own(server: CatalogServer) -> None:
    tokens = [server.token(merchant) for merchant in ("acme", "other")] * 20
    answers = await asyncio.gather(*(server.get(token) for token in tokens), return_exceptions=True)
    assert [isinstance(answer, catalog_pb2.Product) for answer in answers] == [True, False] * 20


async def test_a_caller_that_exceeds_its_limit_gets_a_time_to_retry(tmp_path: Path) -> None:
    rate_limit = RateLimit(calls_per_second=0.1, burst_calls=3, calls_at_once=10)
    async with CatalogServer(tmp_path, rate_limit).running() as server:
        for _ in range(3):
            await server.get()
        refusal = await refused(server.get())
        assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "RATE_EXCEEDED")
        # Somebody else is served meanwhile.
        assert (await refused(server.get(server.token("other")))).reason == "MERCHANT_FORBIDDEN"


async def test_large_pages_of_a_merchant_wait_for_one_another_and_nothing_else_does(
    server: CatalogServer,
) -> None:
    first = server.stay(page_size=1000)
    await asyncio.wait_for(server.servicer.entered.wait(), GRACE_SECONDS)
    server.servicer.entered.clear()
    second = server.stay(page_size=1000)
    await server.get()
    assert not server.servicer.entered.is_set()
    small = server.stay(page_size=100)
    await asyncio.wait_for(server.servicer.entered.wait(), GRACE_SECONDS)
    server.servicer.let_go.set()
    answers = await asyncio.gather(first, second, small)
    assert [answer.next_page_token for answer in answers] == ["done"] * 3


# --- time ---------------------------------------------------------------------------------------


async def test_a_call_ends_at_its_deadline_on_both_sides(server: CatalogServer) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await server.stay(timeout_seconds=0.1)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(server.servicer.cut_short.wait(), GRACE_SECONDS)


@pytest.fixture
def short_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "DEADLINE_MAX_SECONDS", 0.1)


@pytest.mark.usefixtures("short_calls")
async def test_a_call_without_a_deadline_ends_all_the_same(server: CatalogServer) -> None:
    refusal = await refused(server.stay())
    assert (refusal.code, refusal.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert server.servicer.cut_short.is_set()


async def test_a_caller_who_goes_away_ends_the_call(server: CatalogServer) -> None:
    call = server.stay()
    await asyncio.wait_for(server.servicer.entered.wait(), GRACE_SECONDS)
    call.cancel()
    await asyncio.wait_for(server.servicer.cut_short.wait(), GRACE_SECONDS)


# --- errors -------------------------------------------------------------------------------------


async def test_a_problem_reaches_the_caller_with_its_reason(server: CatalogServer) -> None:
    server.servicer.failure = not_found("PRODUCT_NOT_FOUND", NAME)
    refusal = await refused(server.get())
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PRODUCT_NOT_FOUND")
    assert refusal.message == f"{NAME} does not exist"


async def test_an_internal_error_shows_the_caller_nothing(server: CatalogServer) -> None:
    server.servicer.failure = LookupError(f"no row for {SECRET}")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await server.get()
    refusal = read_refusal(failure.value)
    assert (refusal.code, refusal.reason) == ("INTERNAL", "INTERNAL")
    shown = f"{failure.value.details()} {failure.value.trailing_metadata()}"
    assert SECRET not in shown
    assert "LookupError" not in shown


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionRefusedError("the database"),
        TimeoutError("connecting"),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.ConnectionDoesNotExistError("gone"),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_a_dependency_out_of_reach_means_try_again(
    server: CatalogServer, failure: Exception
) -> None:
    server.servicer.failure = failure
    refusal = await refused(server.get())
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")


async def test_a_statement_that_is_wrong_does_not_mean_try_again(server: CatalogServer) -> None:
    server.servicer.failure = asyncpg.UniqueViolationError("twice")
    assert (await refused(server.get())).code == "INTERNAL"


async def test_a_message_just_below_the_limit_is_read(server: CatalogServer) -> None:
    name = "x" * (PLATFORM_MESSAGE_MAX_BYTES - 100)
    refusal = await refused(server.get(name=name))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"name": "FIELD_INVALID"})


# --- life ---------------------------------------------------------------------------------------


async def test_a_server_that_is_starting_says_so_and_answers_nobody(
    starting_server: CatalogServer,
) -> None:
    for address in (starting_server.health_address, starting_server.addresses.platforms):
        assert await starting_server.health(address) == "NOT_SERVING"
    assert await starting_server.health(service=LIVENESS) == "SERVING"
    refusal = await refused(starting_server.get())
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
    await starting_server.grpc_server.ready(serving=True)
    assert await starting_server.health() == "SERVING"
    assert (await starting_server.get()).name == NAME


async def test_a_server_that_stops_lets_calls_under_way_end(server: CatalogServer) -> None:
    call = asyncio.ensure_future(server.stay())
    await asyncio.wait_for(server.servicer.entered.wait(), GRACE_SECONDS)
    stopping = asyncio.create_task(server.grpc_server.stop(GRACE_SECONDS))
    await asyncio.sleep(0)
    server.servicer.let_go.set()
    assert (await call).next_page_token == "done"
    await stopping


async def test_waiting_for_termination_ends_when_the_server_has_stopped(
    server: CatalogServer,
) -> None:
    watching = asyncio.create_task(server.grpc_server.wait_for_termination())
    await server.get()
    assert not watching.done()
    await server.grpc_server.stop(0)
    await asyncio.wait_for(watching, GRACE_SECONDS)


async def test_a_server_that_stops_takes_no_new_calls(server: CatalogServer) -> None:
    call = asyncio.ensure_future(server.stay())
    await asyncio.wait_for(server.servicer.entered.wait(), GRACE_SECONDS)
    stopping = asyncio.create_task(server.grpc_server.stop(GRACE_SECONDS))
    await asyncio.sleep(0)
    refusal = await refused(server.get())
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
    server.servicer.let_go.set()
    await call
    await stopping


async def test_the_contract_can_be_asked_for_without_a_token(server: CatalogServer) -> None:
    # Not a call of the service: any client may learn what it answers.
    reflect: Any = server.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    )
    call = reflect(iter([b"\x3a\x00"]))
    answer = await call.read()
    assert SERVICE.encode() in answer
