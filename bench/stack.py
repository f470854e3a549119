"""The stack that is measured: a home and ports of its own, deleted afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.embedded import wiring
from deploy.embedded.addresses import PARTS, SERVICES, Addresses
from deploy.embedded.databases import Databases, Passwords
from deploy.embedded.files import private_folder
from deploy.embedded.keys import Keys
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.program import Program, answers_http
from deploy.embedded.stack import EmbeddedStack
from services.runtime.crypto.encryption import Keyring
from services.runtime.db import migrations

BYTES_PER_MEGABYTE = 1_000_000
COMPARISON_DATABASE = "recurring_comparison"


@dataclass(frozen=True, slots=True)
class Stack:
    """Where everything is."""

    home: Path
    addresses: Addresses
    keys: Keys
    # The database of bare SQL and pgqueuer, on the same server as the services' own.
    comparison_url: str

    def environment(self, service: str, addresses: Addresses | None = None) -> dict[str, str]:
        """The settings of a service's process, on the stack's ports or on others."""
        return wiring.service_environment(service, addresses or self.addresses, self.keys)

    def keyring(self, service: str) -> Keyring:
        """What a service encrypts personal data with."""
        return Keyring.parse(self.keys.data_keys(service))

    def own_url(self, service: str) -> str:
        """A service's database, for the service itself."""
        return wiring.database_url(service, self.addresses, self.keys)

    def url(self, service: str) -> str:
        """A service's database, for its owner, who may do anything there."""
        return wiring.database_url(service, self.addresses, self.keys, "_migrator")

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox answers."""
        return self.addresses.sandbox_url

    def start_scheduler(self) -> None:
        """Start the scheduler, whose work the earlier measurements do in this process."""
        EmbeddedStack(self.home, self.addresses).up()

    def checkpoint(self) -> None:
        """Write out what earlier work left to be written, so that it does not fall into the next."""
        _postgres(self.home, self.addresses).databases.execute("CHECKPOINT")

    def cpu_seconds(self) -> dict[str, float]:
        """How long the processors have worked for each part, and for this process."""
        parts = {
            part.part: psutil.Process(part.pid)
            for part in EmbeddedStack(self.home, self.addresses).status()
            if part.pid
        }
        return {"bench": _cpu_seconds(psutil.Process())} | {
            name: _cpu_seconds(process) + sum(map(_cpu_seconds, process.children()))
            for name, process in parts.items()
        }

    def memory_megabytes(self) -> dict[str, float]:
        """The resident memory of each process of a service."""
        return {
            part.part: psutil.Process(part.pid).memory_info().rss / BYTES_PER_MEGABYTE
            for part in EmbeddedStack(self.home, self.addresses).status()
            if part.part in SERVICES and part.pid
        }


@contextmanager
def running(home: Path) -> Iterator[Stack]:
    """The whole stack but the scheduler, whose database is there all the same."""
    # A run that was killed may have left its stack behind.
    EmbeddedStack(home, Addresses.free()).destroy()
    addresses = Addresses.free()
    embedded = EmbeddedStack(home, addresses, [part for part in PARTS if part != "scheduler"])
    try:
        embedded.up()
        keys = Keys(home / "keys")
        databases = _postgres(home, addresses).databases
        yield Stack(home, addresses, keys, _comparison_database(databases, keys))
    finally:
        EmbeddedStack(home, addresses).destroy()


@contextmanager
def peer_sandbox(stack: Stack) -> Iterator[str]:
    """A sandbox of the peer's own, at the address that is returned.

    From the stack's sandbox payments would get a webhook of each charge of the peer's.
    """
    home, addresses = stack.home / "peer", Addresses.free()
    private_folder(home / "sandbox")
    settings = wiring.sandbox_environment(home, addresses, stack.keys)
    without_webhooks = {name: value for name, value in settings.items() if "WEBHOOK" not in name}
    url = addresses.sandbox_url
    program = Program(
        "sandbox", "sandbox", home, without_webhooks, lambda: answers_http(f"{url}/healthz")
    )
    try:
        program.start()
        yield url
    finally:
        program.stop()


def migrate_scheduler(stack: Stack) -> None:
    """Make the scheduler's database as its process would. Not from inside an event loop."""
    role = wiring.role("scheduler")
    databases = _postgres(stack.home, stack.addresses).databases
    databases.ensure(role, wiring.passwords("scheduler", stack.keys))
    migrator = wiring.database_url("scheduler", stack.addresses, stack.keys, "_migrator")
    migrations.upgrade("scheduler", migrator)


def own_database(stack: Stack, service: str) -> str:
    """A database as a service has it, for nobody else. Not from inside an event loop."""
    name = f"{wiring.role(service)}_bench"
    password = stack.keys.password(name)
    databases = _postgres(stack.home, stack.addresses).databases
    databases.ensure(name, Passwords(*[password] * 4))
    migrations.upgrade(service, databases.address(f"{name}_migrator", password, name))
    return databases.address(name, password, name)


def _cpu_seconds(process: psutil.Process) -> float:
    """The time of a process and of those of its children that have ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _comparison_database(databases: Databases, keys: Keys) -> str:
    password = keys.password(COMPARISON_DATABASE)
    databases.ensure(COMPARISON_DATABASE, Passwords(*[password] * 4))
    owner = f"{COMPARISON_DATABASE}_migrator"
    return databases.address(owner, password, COMPARISON_DATABASE)


def _postgres(home: Path, addresses: Addresses) -> EmbeddedPostgres:
    return EmbeddedPostgres(
        home / "postgres", addresses.ports["postgres"], home / "log" / "postgres.log"
    )
