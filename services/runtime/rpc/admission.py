"""Admission of calls: authentication, limits, validation, deadlines, and how errors are answered."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeAlias, TypeVar, cast

import grpc
from grpc_status import rpc_status

from services.runtime.auth.call_context import Caller, caller, set_caller
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

# Each may keep a message waiting for its last byte: 128 MiB, of the 512 that a pod has.
CONCURRENT_CALLS_MAX = 500
# Beyond this, calls are not even told why they are refused.
CONCURRENT_REFUSALS_MAX = 4000
# Pages of more than LARGE_PAGE_ROWS, of a server and of one tenant.
LARGE_PAGES_AT_ONCE_MAX = 2
LARGE_PAGES_OF_TENANT_MAX = 1
# A call without a deadline, or with a longer one, ends after this.
DEADLINE_MAX_SECONDS = 30.0
# The same for a call whose caller sends a stream: a whole book of standing orders takes minutes.
STREAM_DEADLINE_MAX_SECONDS = 600.0
# By how much a caller's deadline may grow on its way: gRPC sends no more than three digits of it.
ROUNDED_SECONDS = 1.0
# Where gRPC puts the one SPIFFE ID of a connection's certificate.
_IDENTITY_PROPERTY = "peer_spiffe_id"
R = TypeVar("R")


Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behaviour: TypeAlias = Callable[[Any, Any], Awaitable[Any]]
Serialize: TypeAlias = Callable[[Any], bytes]
Headers: TypeAlias = Mapping[str, Any]
Admit: TypeAlias = "Callable[[str, Any, Headers], Awaitable[Caller]]"


class Admission:
    """Wraps a servicer's methods: authorizes each call, holds its request against the contract's
    rules, bounds its time, and turns what it raises into a status.

    Methods are wrapped once, as they are added: an interceptor would be asked again at each call.
    """

    def __init__(
        self,
        server: grpc.aio.Server,
        service: str,
        admit: Admit,
        limits: Limits | None = None,
        *,
        behind_proxy: bool = False,
    ) -> None:
        self.open = False
        self._server = server
        self._domain = f"{service}.recurring"
        self._admit = admit
        self._limits = limits
        self._large_pages = ConcurrencyLimiter(LARGE_PAGES_AT_ONCE_MAX, LARGE_PAGES_OF_TENANT_MAX)
        self._behind_proxy = behind_proxy
        self._under_way = 0

    # Generated code adds its methods to a server in both these ways.

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Leave these out: they are the registered ones once more."""

    def add_registered_method_handlers(
        self, service_name: str, handlers: Mapping[str, Handler]
    ) -> None:
        """Have the server call the methods, each call admitted first."""
        wrapped = {
            name: self._wrap(f"/{service_name}/{name}", handler)
            for name, handler in handlers.items()
        }
        self._server.add_registered_method_handlers(service_name, wrapped)

    def _wrap(self, method: str, handler: Handler) -> Handler:
        """The method with admission, to which even one message comes as a stream.

        Whoever calls is known before it is read, and it must come in time.
        """
        serialize = cast("Serialize", handler.response_serializer)
        one: Behaviour | None = handler.unary_unary
        many: Behaviour | None = handler.stream_unary
        if one is not None:
            behaviour, deadline_seconds = self._with_one(one), DEADLINE_MAX_SECONDS
        elif many is not None:
            behaviour, deadline_seconds = _with_many(many), STREAM_DEADLINE_MAX_SECONDS
        else:
            raise ValueError(f"{method} answers with a stream, which no call is admitted to")
        return grpc.stream_unary_rpc_method_handler(
            self._guarded(method, behaviour, serialize, deadline_seconds),
            request_deserializer=validation.reader(handler.request_deserializer),
        )

    def _guarded(
        self, method: str, behaviour: Behaviour, serialize: Serialize, deadline_seconds: float
    ) -> Behaviour:
        """The method's behaviour with admission, which answers in bytes."""
        enough_seconds = deadline_seconds + ROUNDED_SECONDS

        async def work(requests: Any, context: Any, headers: Headers) -> bytes:  # noqa: ANN401
            call = await self._authorize(method, context, headers)
            working = behaviour(requests, context)
            left_seconds = context.time_remaining()
            if left_seconds is None or left_seconds > enough_seconds:
                working = _in_time(working, deadline_seconds)
            # Otherwise gRPC itself ends the call in time.
            response = serialize(await working)
            if call is not None:
                call.answer(len(response))
            return response

        async def answer(requests: Any, context: Any) -> Any:  # noqa: ANN401 - bytes, or it raises
            started = time.perf_counter()
            code = grpc.StatusCode.CANCELLED.name
            headers = _headers(context.invocation_metadata())
            span = tracing.answering(method, headers.get(tracing.TRACEPARENT_HEADER, ""))
            self._under_way += 1
            try:
                response = await work(requests, context, headers)
            except Exception as error:  # noqa: BLE001 - the boundary: everything becomes a status
                code, refusal = self._refusal(method, error)
            else:
                code = grpc.StatusCode.OK.name
                return response
            finally:
                self._under_way -= 1
                tracing.answered(span, code)
                metrics.call_done(method, code, time.perf_counter() - started)
            # Not where the error is at hand: gRPC would keep it, and all that its frames have seen,
            # until the garbage is collected.
            return await context.abort_with_status(refusal)

        return answer

    def _refusal(self, method: str, error: Exception) -> tuple[str, grpc.Status]:
        """The name of an error's code, and the status that the caller gets."""
        problem = _problem(method, error)
        return problem.code.name, rpc_status.to_status(problem.status(self._domain))

    def _with_one(self, behaviour: Behaviour) -> Behaviour:
        async def work(_requests: object, context: Any) -> Any:  # noqa: ANN401
            request = validation.admitted(await context.read())
            if getattr(request, "page_size", 0) <= LARGE_PAGE_ROWS:
                return await behaviour(request, context)
            async with self._large_pages.of(caller().tenant):
                return await behaviour(request, context)

        return work

    async def _authorize(
        self,
        method: str,
        context: Any,  # noqa: ANN401 - a call's
        headers: Headers,
    ) -> Call | None:
        """Authenticate the caller, and count the call while it lasts; a service's is not counted."""
        if not self.open:
            raise _unavailable("the service is starting or stopping; try again")
        if self._under_way > CONCURRENT_CALLS_MAX:
            raise exhausted(
                "TOO_MANY_CALLS_AT_ONCE", "the service has no room for it", BUSY_RETRY_SECONDS
            )
        who = await self._admit(method, context, headers)
        where = partial(_forwarded, headers, context) if self._behind_proxy else context.peer
        set_caller(who, where)
        if self._limits is None:
            return None
        call = self._limits.call((who.tenant, who.subject))
        context.add_done_callback(lambda _context: call.end())
        return call


def _headers(metadata: Iterable[tuple[str, Any]]) -> Headers:
    """Metadata by name; what comes several times is one list, as everywhere in HTTP (RFC 9110 §5.3).

    So nobody is taken for the caller of one of two tokens: a list of them is none.
    """
    headers: dict[str, Any] = {}
    for name, value in metadata:
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _with_many(behaviour: Behaviour) -> Behaviour:
    async def work(requests: Any, context: Any) -> Any:  # noqa: ANN401
        return await behaviour(validation.admitted_each(requests), context)

    return work


def _forwarded(headers: Headers, context: Any) -> str:  # noqa: ANN401 - a call's
    """Where a call comes from that a proxy passes on: the address that it has added to the others.

    What stands before it, the caller may have made up.
    """
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
    """What the caller is told of an error; what it must not know stays in the log."""
    if isinstance(error, Problem):
        return error
    if is_outage(error) or isinstance(error, grpc.aio.AioRpcError):
        if what := outages.out_of_reach(error):
            outages.note(what, error)
        else:
            log.warning("dependency failed: %r", error, extra={"method": method})
        return _unavailable("something that this needs is out of reach; try again")
    log.error("call failed", exc_info=error, extra={"method": method})
    return Problem(grpc.StatusCode.INTERNAL, "INTERNAL", "an internal error; nothing was done")
