"""The metrics server limits its readers and their time, and serves the next honest one."""

import asyncio
from collections.abc import Iterator

import pytest

from deploy.embedded.ports import HOST, free_ports
from services.runtime.observability import metrics_server
from tests.integration.runtime.catalog_server import GRACE_SECONDS
from tests.integration.runtime.pubsub import until

HALF_A_REQUEST = b"GET /metrics HTTP/1.1\r\nX: "
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def port() -> Iterator[int]:
    [port] = free_ports(1)
    server = metrics_server.serve(f"{HOST}:{port}")
    yield port
    server.shutdown()
    server.server_close()


async def connect(port: int, request: bytes) -> Connection:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    return reader, writer


async def is_served(port: int) -> bool:
    reader, writer = await connect(port, b"GET /metrics HTTP/1.0\r\n\r\n")
    try:
        answer = await asyncio.wait_for(reader.read(), GRACE_SECONDS)
    except ConnectionResetError:
        return False
    finally:
        writer.close()
    return answer.startswith(b"HTTP/1.0 200 OK") and b"process_cpu_seconds_total" in answer


async def test_readers_that_do_not_go_on_are_few_and_end(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await is_served(port)
    slow = [await connect(port, HALF_A_REQUEST) for _ in range(metrics_server.READERS_MAX)]

    async def full() -> bool:
        return not await is_served(port)

    await until(full)
    monkeypatch.setattr(metrics_server, "READ_SECONDS", 0.1)
    for reader, writer in slow:
        assert await asyncio.wait_for(reader.read(), GRACE_SECONDS) == b""
        writer.close()

    async def has_capacity() -> bool:
        return await is_served(port)

    await until(has_capacity)
