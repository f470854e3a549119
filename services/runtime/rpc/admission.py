"""Admission of calls: authentication, limits, validation, deadlines, and how errors are answered."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeAlias, TypeVar, cast

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status

from services.runtime.auth import call_context
from services.runtime.auth.call_context import Caller, set_caller
from services.runtime.errors import Problem
from services.runtime.observability import metrics, outages, tracing
from services.runtime.observability.outages import is_outage
from services.runtime.rpc import validation
from services.runtime.rpc.limits import (
    BUSY_RETRY_SECONDS,
    Call,
    ConcurrencyLimiter,
    Limits,
    exhausted,
)
from services.runtime.rpc.paging import LARGE_PAGE_ROWS

log = logging.getLogger(__name__)

# Each may wait for the end of its message: 128 MiB, of the 512 that a pod has.
CONCURRENT_CALLS_MAX = 500
# Further calls are refused without a reason.
CONCURRENT_REFUSALS_MAX = 4000
# Pages of more than LARGE_PAGE_ROWS: of a server, and of one tenant.
LARGE_PAGES_AT_ONCE_MAX = 2
LARGE_PAGES_OF_TENANT_MAX = 1
# A call without a deadline, or with a longer one, ends after this.
DEADLINE_MAX_SECONDS = 30.0
# The same for a call whose caller sends a stream: a whole book of standing orders takes minutes.
STREAM_DEADLINE_MAX_SECONDS = 600.0
# By how much a caller's deadline may grow on the wire: gRPC sends three digits of it.
ROUNDED_SECONDS = 1.0
R = TypeVar("R")


Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behaviour: TypeAlias = Callable[[Any, Any], Awaitable[Any]]
Serialize: TypeAlias = Callable[[Any], bytes]
Headers: TypeAlias = Mapping[str, Any]
Admit: TypeAlias = "Callable[[str, Any, Headers], Awaitable[Caller]]"
# Refuses a request that its caller may not make, though they may call the method.
CheckRequest: TypeAlias = Callable[[str, Caller, Message], None]


class Admission:
    """Wraps a servicer's methods: authorizes each call, validates its request, bounds its time, and
    makes a status of its error.

    Methods are wrapped once, when they are added. An interceptor would be looked up for each call.
    """

    def __init__(
        self,
        server: grpc.aio.Server,
        service: str,
        admit: Admit,
        check_request: CheckRequest,
        limits: Limits | None = None,
        *,
        behind_proxy: bool = False,
    ) -> None:
        self.open = False
        self._server = server
        self._domain = f"{service}.recurring"
        self._admit = admit
        self._check_request = check_request
        self._limits = limits
        self._large_pages = ConcurrencyLimiter(LARGE_PAGES_AT_ONCE_MAX, LARGE_PAGES_OF_TENANT_MAX)
        self._behind_proxy = behind_proxy
        self._running_calls = 0

    # Generated code adds its methods to a server in both of these ways.

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Ignore these, which repeat the registered methods."""

    def add_registered_method_handlers(
        self, service_name: str, handlers: Mapping[str, Handler]
    ) -> None:
        """Add methods to the server, with admission."""
        wrapped = {
            name: self._wrap(f"/{service_name}/{name}", handler)
            for name, handler in handlers.items()
        }
        self._server.add_registered_method_handlers(service_name, wrapped)

    def _wrap(self, method: str, handler: Handler) -> Handler:
        """The method with admission. Even a single message is read as a stream, so that the caller is
        authenticated before it is read, and its arrival has a time limit.
        """
        serialize = cast("Serialize", handler.response_serializer)
        unary: Behaviour | None = handler.unary_unary
        many: Behaviour | None = handler.stream_unary
        if unary is not None:
            behaviour, deadline_seconds = self._with_one(method, unary), DEADLINE_MAX_SECONDS
        elif many is not None:
            behaviour, deadline_seconds = self._with_many(method, many), STREAM_DEADLINE_MAX_SECONDS
        else:
            raise ValueError(f"{method} answers with a stream, which admission does not support")
        return grpc.stream_unary_rpc_method_handler(
            self._guarded(method, behaviour, serialize, deadline_seconds),
            request_deserializer=validation.reader(handler.request_deserializer),
        )

    def _guarded(
        self, method: str, behaviour: Behaviour, serialize: Serialize, deadline_seconds: float
    ) -> Behaviour:
        """The behaviour of a method with admission, which answers in bytes."""
        enough_seconds = deadline_seconds + ROUNDED_SECONDS

        async def work(requests: Any, context: Any, headers: Headers) -> bytes:  # noqa: ANN401
            call = await self._authorize(method, context, headers)
            working = behaviour(requests, context)
            left_seconds = context.time_remaining()
            if left_seconds is None or left_seconds > enough_seconds:
                working = _in_time(working, deadline_seconds)
            # Otherwise gRPC ends the call in time.
            response = serialize(await working)
            if call is not None:
                call.answer(len(response))
            return response

        async def answer(requests: Any, context: Any) -> Any:  # noqa: ANN401 - bytes, or it raises
            started = time.perf_counter()
            code = grpc.StatusCode.CANCELLED.name
            headers = _headers(context.invocation_metadata())
            span = tracing.answering(method, headers.get(tracing.TRACEPARENT_HEADER, ""))
            self._running_calls += 1
            try:
                response = await work(requests, context, headers)
            except Exception as error:  # noqa: BLE001 - the boundary: everything becomes a status
                code, refusal = self._refusal(method, error)
            else:
                code = grpc.StatusCode.OK.name
                return response
            finally:
                self._running_calls -= 1
                tracing.answered(span, code)
                metrics.call_done(method, code, time.perf_counter() - started)
            # Outside of the except clause: gRPC would keep the error, and all that its frames hold,
            # until a garbage collection.
            return await context.abort_with_status(refusal)

        return answer

    def _refusal(self, method: str, error: Exception) -> tuple[str, grpc.Status]:
        """The code of an error, and the status for the caller."""
        problem = _problem(method, error)
        return problem.code.name, rpc_status.to_status(problem.status(self._domain))

    def _with_one(self, method: str, behaviour: Behaviour) -> Behaviour:
        async def work(_requests: object, context: Any) -> Any:  # noqa: ANN401
            request = validation.admitted(await context.read())
            self._check_request(method, call_context.caller(), request)
            if getattr(request, "page_size", 0) <= LARGE_PAGE_ROWS:
                return await behaviour(request, context)
            async with self._large_pages.of(call_context.tenant()):
                return await behaviour(request, context)

        return work

    def _with_many(self, method: str, behaviour: Behaviour) -> Behaviour:
        async def each(requests: Any) -> AsyncIterator[Message]:  # noqa: ANN401
            async for request in validation.admitted_each(requests):
                self._check_request(method, call_context.caller(), request)
                yield request

        async def work(requests: Any, context: Any) -> Any:  # noqa: ANN401
            return await behaviour(each(requests), context)

        return work

    async def _authorize(
        self,
        method: str,
        context: Any,  # noqa: ANN401 - a call's
        headers: Headers,
    ) -> Call | None:
        """Authenticate the caller, and count a platform's call until it ends."""
        if not self.open:
            raise _unavailable("the service is starting or stopping; try again")
        if self._running_calls > CONCURRENT_CALLS_MAX:
            raise exhausted(
                "TOO_MANY_CALLS_AT_ONCE", "the service has too many calls", BUSY_RETRY_SECONDS
            )
        caller = await self._admit(method, context, headers)
        origin = partial(_forwarded, headers, context) if self._behind_proxy else context.peer
        set_caller(caller, origin)
        if self._limits is None:
            return None
        call = self._limits.call((caller.tenant, caller.subject))
        context.add_done_callback(lambda _context: call.end())
        return call


def _headers(metadata: Iterable[tuple[str, Any]]) -> Headers:
    """Metadata by name; repeated headers become one list (RFC 9110 §5.3).

    A list of two tokens is no valid token, so a call with two is refused.
    """
    headers: dict[str, Any] = {}
    for name, value in metadata:
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _forwarded(headers: Headers, context: Any) -> str:  # noqa: ANN401 - a call's
    """The address that the proxy has added as the last one; the caller may have forged those before."""
    _, _, added = headers.get("x-forwarded-for", "").rpartition(",")
    try:
        address = ip_address(added.strip())
    except ValueError:
        return str(context.peer())
    return f"ipv{address.version}:{address}"


async def _in_time(call: Awaitable[R], limit_seconds: float) -> R:
    deadline = asyncio.timeout(limit_seconds)
    try:
        async with deadline:
            return await call
    except TimeoutError:
        if not deadline.expired():
            raise
        raise Problem(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "DEADLINE_EXCEEDED",
            "the call took longer than its deadline; a request id makes it safe to call again",
        ) from None


def _unavailable(message: str) -> Problem:
    return Problem(grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE", message)


def _problem(method: str, error: Exception) -> Problem:
    """The problem for the caller; details that it must not see go to the log."""
    if isinstance(error, Problem):
        return error
    if is_outage(error) or isinstance(error, grpc.aio.AioRpcError):
        if what := outages.out_of_reach(error):
            outages.note(what, error)
        else:
            log.warning("dependency failed: %r", error, extra={"method": method})
        return _unavailable("a dependency of the service is unavailable; try again")
    log.error("call failed", exc_info=error, extra={"method": method})
    return Problem(grpc.StatusCode.INTERNAL, "INTERNAL", "an internal error; nothing was done")
