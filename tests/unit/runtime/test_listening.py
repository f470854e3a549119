import socket
from contextlib import closing

import pytest

from services.runtime.http_server import HttpLimits, HttpServer
from services.runtime.listening import listen
from services.runtime.observability import metrics_server


@pytest.fixture
def port() -> int:
    with listen("127.0.0.1:0") as free:
        number: int = free.getsockname()[1]
    return number


def _connect(*, hosts: tuple[str, ...], port: int) -> None:
    for host in hosts:
        with socket.create_connection((host, port), 5):
            pass


BOTH = ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",)


async def test_http_takes_both_families_at_every_address(port: int) -> None:
    async def answer(*_request: object) -> None:
        raise NotImplementedError

    limits = HttpLimits(connections_max=4, body_max_bytes=1, request_seconds=1.0)
    server = HttpServer(answer, limits)  # type: ignore[arg-type]
    await server.start(f"[::]:{port}")
    _connect(hosts=BOTH, port=port)
    await server.stop(0)


def test_metrics_take_both_families_at_every_address(port: int) -> None:
    server = metrics_server.serve(f"[::]:{port}")
    with closing(server.socket):
        _connect(hosts=BOTH, port=port)
        server.shutdown()


def test_without_ipv6_every_address_is_ipv4(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen(f"[::]:{port}"):
        _connect(hosts=("127.0.0.1",), port=port)
