"""gRPC's own server, mended: any call ends with an answer, and none ends the server.

In grpcio 1.85 it ends for good at a call whose path is no UTF-8, which takes no token and one packet:
it decodes the path of a method that it does not know, and nothing catches what that raises. No public
interface of grpc.aio comes before that decoding, and the gateway is only in front of platforms.

No report of it was found at github.com/grpc/grpc (searched on 2026-11-29; a relative is issue 25400,
where peer() decodes likewise). Try at each upgrade of grpcio whether grpc.aio.server() passes the test
of such a path in tests/integration/runtime/test_server.py, and remove this module when it does.
"""

# ruff: noqa: SLF001 - what gRPC's server is made of has no public names.

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any, NoReturn

import grpc
from grpc.aio import _server

# Of the version that is locked; tests fail on another that no longer has what is used here.
_cygrpc: Any = importlib.import_module("grpc._cython.cygrpc")
_UNKNOWN = "a method that nobody has"
# Whoever connects must say so in time, and must not keep others from connecting.
HANDSHAKE_SECONDS = 10


def listener(
    options: Sequence[tuple[str, Any]], *, connections_max: int, calls_max: int
) -> grpc.aio.Server:
    """A server that refuses connections and calls beyond so many at once."""
    own = [
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
        ("grpc.max_allowed_incoming_connections", connections_max),
        ("grpc.so_reuseport", 0),
    ]
    server: Any = _Server([*options, *own], calls_max)
    return server  # type: ignore[no-any-return]


class _Server(_server.Server):  # type: ignore[misc, unused-ignore]
    def __init__(self, options: Sequence[tuple[str, Any]], calls_max: int) -> None:
        # Instead of the base's, which would make a core of its own kind.
        self._loop = _cygrpc.get_working_loop()
        self._server = _Core(self._loop, None, (), (), tuple(options), calls_max)


class _Core(_cygrpc.AioServer):  # type: ignore[misc]
    """Calls of registered methods are found by their bytes; all others are refused unread."""

    def _make_request_call_future(self, method: bytes | None) -> asyncio.Future[Any]:
        if method is not None:
            registered: asyncio.Future[Any] = super()._make_request_call_future(method)
            return registered
        return asyncio.get_running_loop().create_task(self._refuse_unknown())

    async def _refuse_unknown(self) -> NoReturn:
        """Answer what no method is registered for, and hand nothing of it over."""
        loop = asyncio.get_running_loop()
        nothing = _cygrpc._MethodResolver([], {})
        answering: set[asyncio.Task[None]] = set()
        while True:
            call = await self._request_call()
            refusal = _cygrpc._handle_rpc(_UNKNOWN, nothing, (), call, loop, False)  # noqa: FBT003
            task = loop.create_task(_cygrpc._schedule_rpc_coro(refusal, call, loop, _UNKNOWN))
            answering.add(task)
            task.add_done_callback(answering.discard)
