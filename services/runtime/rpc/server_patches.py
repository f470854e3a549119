"""gRPC's server, patched: no call stops the server.

The server of grpcio 1.85 stops for good at a call whose path is no UTF-8, which takes no token and one
packet. It decodes the path of an unknown method, and nothing catches the error. No public interface of
grpc.aio runs before that, and the gateway is only in front of platforms.

No report of it was found at github.com/grpc/grpc (searched on 2026-11-29; in the related issue 25400
peer() decodes likewise). At each upgrade of grpcio, try whether grpc.aio.server() passes the test of
such a path in tests/integration/runtime/test_server.py, and remove this module when it does.
"""

# ruff: noqa: SLF001 - the parts of gRPC's server have no public names.

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any, NoReturn

import grpc
from grpc.aio import _server

# Of the locked version; tests fail with a version that has no longer what is used here.
_cygrpc: Any = importlib.import_module("grpc._cython.cygrpc")
_UNKNOWN = "unknown method"
# A connection whose handshake takes longer is closed.
HANDSHAKE_SECONDS = 10


def bounded_server(
    options: Sequence[tuple[str, Any]], *, connections_max: int, calls_max: int
) -> grpc.aio.Server:
    """A server with a maximum of connections and calls at once; it refuses more."""
    own = [
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
        ("grpc.max_allowed_incoming_connections", connections_max),
        ("grpc.so_reuseport", 0),
    ]
    server: Any = _Server([*options, *own], calls_max)
    return server  # type: ignore[no-any-return]


class _Server(_server.Server):  # type: ignore[misc, unused-ignore]
    def __init__(self, options: Sequence[tuple[str, Any]], calls_max: int) -> None:
        # Not the base's constructor, which would make its own core.
        self._loop = _cygrpc.get_working_loop()
        self._server = _Core(self._loop, None, (), (), tuple(options), calls_max)


class _Core(_cygrpc.AioServer):  # type: ignore[misc]
    """Finds registered methods by the bytes of their path, and refuses all others undecoded."""

    def _make_request_call_future(self, method: bytes | None) -> asyncio.Future[Any]:
        if method is not None:
            registered: asyncio.Future[Any] = super()._make_request_call_future(method)
            return registered
        return asyncio.get_running_loop().create_task(self._refuse_unknown())

    async def _refuse_unknown(self) -> NoReturn:
        """Answer calls of unknown methods UNIMPLEMENTED, without decoding them."""
        loop = asyncio.get_running_loop()
        no_methods = _cygrpc._MethodResolver([], {})
        answering: set[asyncio.Task[None]] = set()
        while True:
            call = await self._request_call()
            refusal = _cygrpc._handle_rpc(_UNKNOWN, no_methods, (), call, loop, False)  # noqa: FBT003
            task = loop.create_task(_cygrpc._schedule_rpc_coro(refusal, call, loop, _UNKNOWN))
            answering.add(task)
            task.add_done_callback(answering.discard)
