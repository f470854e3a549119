"""Serves metrics to Prometheus by HTTP, to a limited number of readers, each for a limited time.

Readers are not authenticated, and share the process with calls.
"""

# ruff: noqa: ANN401 - a reader is a socket, which socketserver gives other types.

import socket
import threading
import time
from contextlib import suppress
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from services.runtime.listening import listen

# Each has a thread.
READERS_MAX = 20
# From the connection to the last byte of the answer.
READ_SECONDS = 10.0


def serve(address: str) -> ThreadingWSGIServer:
    """Serve the metrics of this process at http://<address>/metrics, in threads of its own.

    Raises OSError if the address is taken.
    """
    server = _Server(listen(address))
    server.set_app(make_wsgi_app())
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


class _Handler(WSGIRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Do not log each scrape."""


class _Server(ThreadingWSGIServer):
    def __init__(self, listener: socket.socket) -> None:
        # Reader -> when it connected.
        self._readers: dict[Any, float] = {}
        host, port = listener.getsockname()[:2]
        super().__init__((host, port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = host, port
        self.setup_environ()

    def process_request(self, request: Any, client_address: object) -> None:
        if len(self._readers) >= READERS_MAX:
            self.shutdown_request(request)
            return
        self._readers[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # Called on every way out, also when no thread could be started.
        self._readers.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: object) -> None:
        """Do not log a reader that disconnects before its answer."""

    def service_actions(self) -> None:
        """Disconnect readers whose time is over; the server calls this periodically."""
        since = time.monotonic() - READ_SECONDS
        for reader, connected_at in tuple(self._readers.items()):
            if connected_at < since:
                with suppress(OSError):
                    reader.shutdown(socket.SHUT_RDWR)
