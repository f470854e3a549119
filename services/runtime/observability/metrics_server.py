"""Where Prometheus reads metrics, by HTTP: few readers at once, and each not for long.

Whoever gets there may ask, and what a reader takes here is not there for calls.
"""

# ruff: noqa: ANN401 - a reader is a socket, which socketserver gives other types.

import socket
import threading
import time
from contextlib import suppress
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

# Each has a thread.
READERS_MAX = 20
# From the connection to the last byte of the answer.
READ_SECONDS = 10.0


def serve(address: str) -> ThreadingWSGIServer:
    """Serve what this process has counted at http://<address>/metrics, in threads of its own.

    Raises OSError if the address is taken.
    """
    host, _, port = address.rpartition(":")
    server = make_server(host, int(port), make_wsgi_app(), _Server, _Handler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


class _Handler(WSGIRequestHandler):
    def log_message(self, *_said: object) -> None:
        """Nobody needs to read that metrics were read."""


class _Server(ThreadingWSGIServer):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        # When each reader came.
        self._readers: dict[Any, float] = {}
        super().__init__(*arguments, **named)

    def process_request(self, request: Any, client_address: object) -> None:
        if len(self._readers) >= READERS_MAX:
            self.shutdown_request(request)
            return
        self._readers[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # On every way out, also where no thread could be had.
        self._readers.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: object) -> None:
        """Who leaves before the answer is no news, either."""

    def service_actions(self) -> None:
        """End those whose time is over; asked again and again."""
        since = time.monotonic() - READ_SECONDS
        for reader, came_at in tuple(self._readers.items()):
            if came_at < since:
                with suppress(OSError):
                    reader.shutdown(socket.SHUT_RDWR)
