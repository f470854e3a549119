"""Calls that send a stream of rows: how many run at once, and how long they are waited for."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from services.runtime.errors import FieldViolation, Problem
from services.runtime.rpc.limits import ConcurrencyLimiter, exhausted

# All rows of an import are in memory until they are stored.
IMPORTS_AT_ONCE_MAX = 2
# So that one tenant does not keep all others out.
IMPORTS_OF_TENANT_MAX = 1
# An import that broke off keeps its slot until the service has noticed that and undone what it began:
# whoever sends the rows again at once waits for that slot rather than be sent away.
IMPORTS_WAIT_SECONDS = 5.0
# When a slot may be free again.
IMPORTS_RETRY_SECONDS = 10.0
# A caller that sends nothing for so long gives up its slot.
IMPORT_IDLE_SECONDS = 30.0

# What is still read of an import that is too large.
DRAIN_MAX_BYTES = 64 * 1024**2

R = TypeVar("R")


def import_limiter() -> ConcurrencyLimiter:
    """What admits the imports of a service."""
    return ConcurrencyLimiter(IMPORTS_AT_ONCE_MAX, IMPORTS_OF_TENANT_MAX)


@asynccontextmanager
async def slot(limiter: ConcurrencyLimiter, merchant: str) -> AsyncIterator[None]:
    """Wait for a slot for an import of a merchant. Raises RESOURCE_EXHAUSTED IMPORTS_BUSY."""
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(IMPORTS_WAIT_SECONDS):
                await stack.enter_async_context(limiter.of(merchant))
        except TimeoutError:
            message = (
                f"{IMPORTS_OF_TENANT_MAX} import of the merchant"
                f" or {IMPORTS_AT_ONCE_MAX} in all are running"
            )
            raise exhausted("IMPORTS_BUSY", message, IMPORTS_RETRY_SECONDS) from None
        yield


async def never_idle(requests: AsyncIterable[R]) -> AsyncIterator[R]:
    """What a caller sends. Raises DEADLINE_EXCEEDED if it sends nothing for too long."""
    sent = aiter(requests)
    while True:
        try:
            async with asyncio.timeout(IMPORT_IDLE_SECONDS):
                request = await anext(sent, None)
        except TimeoutError:
            raise Problem(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                "DEADLINE_EXCEEDED",
                f"nothing came for {IMPORT_IDLE_SECONDS:g} s; nothing was imported",
            ) from None
        if request is None:
            return
        yield request


async def drain(requests: AsyncIterable[Message]) -> None:
    """Drop what a caller still sends, up to a limit.

    A client of gRPC Core that is answered before it has sent everything reports INTERNAL, and not what
    it was answered (https://github.com/grpc/grpc/issues/36066).
    """
    size_bytes = 0
    async for request in requests:
        size_bytes += request.ByteSize()
        if size_bytes > DRAIN_MAX_BYTES:
            return


def config_missing() -> Problem:
    """The first message of an import does not say how to import."""
    return Problem(
        grpc.StatusCode.INVALID_ARGUMENT,
        "CONFIG_MISSING",
        "the first message must have the config",
        (FieldViolation("config", "CONFIG_MISSING", "must be in the first message"),),
    )


def too_large(most: int, what: str) -> Problem:
    """More was sent than one import may have."""
    return Problem(
        grpc.StatusCode.INVALID_ARGUMENT,
        "IMPORT_TOO_LARGE",
        f"an import has at most {most} {what}; send it in parts",
    )
