"""All parts of the stack: missing ones are started, those with other settings are restarted.

Everything the stack keeps is in its home folder: data, keys, logs, the numbers of its processes and
`stack.json`, which has the addresses of everything, for clients.
"""

import fcntl
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from deploy.embedded import wiring
from deploy.embedded.addresses import (
    PARTS,
    PORT_BASE_VARIABLE,
    REPLACEMENT_VARIABLES,
    SERVICES,
    Addresses,
    port_names,
    port_variable,
)
from deploy.embedded.databases import Databases
from deploy.embedded.files import open_private, private_folder, write_secret
from deploy.embedded.keys import Keys
from deploy.embedded.machine import STACK, prepare
from deploy.embedded.nats import EmbeddedNats, greets
from deploy.embedded.ports import (
    becomes_free,
    free_ports,
    holder,
    start_timeout_seconds,
    wait_until_ready,
)
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.process import PartError, Process
from deploy.embedded.program import Program, answers_grpc, answers_http, run_to_end

LOCK_POLL_SECONDS = 0.1
# Services need the other parts, so they come up after them and go down before them.
WAVES = (("postgres", "nats", "sandbox"), SERVICES)


class Part(Protocol):
    """What the stack starts and stops."""

    @property
    def process(self) -> Process: ...  # noqa: D102
    def prepare(self) -> None: ...  # noqa: D102
    def launch(self) -> None: ...  # noqa: D102
    def is_ready(self) -> bool: ...  # noqa: D102
    def stop(self) -> None: ...  # noqa: D102
    def kill(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Status:
    """How a part is, in a word or two for people, and its process if it runs here."""

    part: str
    address: str
    state: str
    pid: int | None = None


class EmbeddedStack:
    """The stack in a home folder. Every method raises PartError, with a message for people."""

    def __init__(
        self,
        home: Path,
        addresses: Addresses,
        parts: Sequence[str] = PARTS,
        settings: Mapping[str, str] = MappingProxyType({}),
        *,
        durable: bool = True,
        second_account: bool = False,
        durables_deletable: bool = False,
    ) -> None:
        """`settings`: of every service, beside those that the stack gives it.

        `second_account`: the sandbox's provider has two, where the sandbox runs here.

        `durables_deletable`: whoever makes durable consumers of the broker may delete them as well.

        `durable=False`: PostgreSQL is not safe against a loss of power; only for tests.
        """
        self.home = home.resolve()
        self.addresses = addresses
        self._settings = settings
        self._durable = durable
        self._durables_deletable = durables_deletable
        self._second_account = second_account and "sandbox" not in addresses.replaced
        self._names = [name for name in parts if name not in addresses.replaced]
        # Services that were started with settings of their own.
        self._special: dict[str, Program] = {}

    @property
    def description_file(self) -> Path:
        """The file that has the addresses of everything, for clients."""
        return self.home / "stack.json"

    def up(self) -> list[str]:
        """Start what does not run and return its names, once all of it is ready.

        If a part fails, the others stay up, and the next call goes on from there.
        """
        prepare(STACK, self.home)
        with self._locked():
            self._check_replacements()
            self._stop_outdated()
            missing = [name for name in self._names if not self._parts[name].process.find()]
            self._check_ports(missing)
            for wave in WAVES:
                try:
                    _all_at_once(self._ensure, [name for name in wave if name in self._names])
                    if "postgres" in wave:
                        self._ensure_databases()
                except PartError as error:
                    raise PartError(f"{error}\n{self._progress()}") from error
            self._describe()
        return missing

    def down(self) -> list[str]:
        """Stop every part, services first, and return the names of those that ran; data survive."""
        if not self.home.exists():
            return []
        with self._locked():
            running = [name for name in self._names if self._parts[name].process.find()]
            self._stop_all(self._names)
            for name in list(self._special):
                self._reap(name)
        return running

    def status(self) -> list[Status]:
        """Say how every part is."""
        known = self.home.exists()
        here = [
            self._status(name) if known else Status(name, self.addresses.of(name), "stopped")
            for name in self._names
        ]
        elsewhere = [
            Status(name, self.addresses.of(name), "reachable" if reached else "unreachable")
            for name, reached in self._replacements()
        ]
        return sorted([*here, *elsewhere], key=lambda status: PARTS.index(status.part))

    def restart(self, name: str) -> None:
        """Stop a part and start it again; returns when it is ready."""
        prepare(STACK, self.home)
        with self._locked():
            part = self._part(name)
            part.stop()
            self._check_ports([name])
            part.launch()
        # Another part that it needs can be started meanwhile.
        wait_until_ready(part.process, part.is_ready)

    def kill(self, name: str) -> None:
        """End a part as a crash would; `up` or `start` brings it back."""
        with self._locked():
            self._part(name).kill()

    def start(self, name: str, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        """Start a part unless it runs.

        Returns when it is ready; one with settings of its own, which `up` takes away again, may never
        be, and is not waited for.
        """
        with self._locked():
            part = self._part(name)
            if part.process.find() is not None:
                return
            self._reap(name)
            if settings:
                self._special[name] = self._service(name, settings)
                self._special[name].launch()
                return
            part.launch()
        # Another part that it needs can be started meanwhile.
        wait_until_ready(part.process, part.is_ready)

    def _reap(self, name: str) -> None:
        """Let go of a process with settings of its own, which has ended."""
        special = self._special.pop(name, None)
        if special is not None:
            special.process.kill()

    def replica(self, name: str, number: int, settings: Mapping[str, str] | None = None) -> Program:
        """One more process of a service, on ports of its own; whoever starts it also stops it."""
        own = list(port_names(name))
        ports = {**self.addresses.ports, **dict(zip(own, free_ports(len(own)), strict=True))}
        addresses = replace(self.addresses, ports=ports)
        target = addresses.local(name)
        environment = self._environment(name, addresses)
        return Program(
            f"{name}-{number}",
            f"services.{name}",
            self.home,
            {**environment, **(settings or {})},
            lambda: answers_grpc(target),
        )

    def process_of(self, name: str) -> Process:
        """How a part is run here."""
        return self._part(name).process

    def destroy(self) -> None:
        """Stop everything and delete all that the stack kept, data included."""
        if not self.home.exists():
            return
        self.down()
        if "postgres" in self._names:
            self._postgres.destroy()
        shutil.rmtree(self.home)

    @cached_property
    def _keys(self) -> Keys:
        return Keys(self.home / "keys")

    @cached_property
    def _postgres(self) -> EmbeddedPostgres:
        port = self.addresses.ports["postgres"]
        log_file = self.home / "log" / "postgres.log"
        return EmbeddedPostgres(self.home / "postgres", port, log_file, durable=self._durable)

    @cached_property
    def _parts(self) -> dict[str, Part]:
        made: dict[str, Part] = {}
        for name in self._names:
            if name == "postgres":
                made[name] = self._postgres
            elif name == "nats":
                port = self.addresses.ports["nats"]
                passwords = wiring.nats_passwords(self._keys)
                log_file = self.home / "log" / "nats.log"
                made[name] = EmbeddedNats(
                    self.home / "nats",
                    port,
                    log_file,
                    passwords,
                    durables_deletable=self._durables_deletable,
                )
            elif name == "sandbox":
                made[name] = self._sandbox()
            else:
                made[name] = self._service(name)
        return made

    def _sandbox(self) -> Program:
        private_folder(self.home / "sandbox")
        environment = wiring.sandbox_environment(self.home, self.addresses, self._keys)
        environment |= self._of_second_account("sandbox")
        url = f"{self.addresses.sandbox_url}/healthz"
        return Program("sandbox", "sandbox", self.home, environment, lambda: answers_http(url))

    def _service(self, name: str, settings: Mapping[str, str] = MappingProxyType({})) -> Program:
        environment = {**self._environment(name, self.addresses), **settings}
        target = self.addresses.target(name)
        module = f"services.{name}"
        return Program(name, module, self.home, environment, lambda: answers_grpc(target))

    def _environment(self, service: str, addresses: Addresses) -> dict[str, str]:
        """Return the settings of a service that all its processes have."""
        environment = wiring.service_environment(service, addresses, self._keys)
        return {**environment, **self._of_second_account(service), **self._settings}

    def _of_second_account(self, part: str) -> dict[str, str]:
        if not self._second_account:
            return {}
        return wiring.second_account_environment(part, self.addresses, self._keys)

    def _part(self, name: str) -> Part:
        if name not in self._names:
            names = ", ".join(self._names)
            raise PartError(f"{name} does not run here; what does: {names}")
        return self._parts[name]

    def _ensure(self, name: str) -> None:
        """Start the part, or wait until it is ready if it runs already."""
        part = self._parts[name]
        if part.process.find() is None:
            part.launch()
        wait_until_ready(part.process, part.is_ready)

    def _progress(self) -> str:
        """Say what is up and what is missing after a start that failed."""
        states = {status.part: status.state for status in map(self._status, self._names)}
        up = [name for name, state in states.items() if state == "ready"]
        missing = [name for name in states if name not in up]
        return (
            f"missing: {', '.join(missing)}; up, and stays so: {', '.join(up) or 'nothing'}\n"
            "once that is mended, `make up` goes on from here; `make down` stops it all"
        )

    def _stop_all(self, names: Sequence[str]) -> None:
        for wave in reversed(WAVES):
            _all_at_once(lambda name: self._parts[name].stop(), [n for n in wave if n in names])

    def _stop_outdated(self) -> None:
        """Stop what runs with other settings than this stack would start it with."""
        outdated = []
        for name in self._names:
            part = self._parts[name]
            if part.process.find():
                part.prepare()
                if not part.process.is_current():
                    outdated.append(name)
        self._stop_all(outdated)

    def _ensure_databases(self) -> None:
        services = [name for name in self._names if name in SERVICES]
        if not services:
            return
        replaced = "postgres" in self.addresses.replaced
        url = self.addresses.postgres_url
        databases = Databases(url) if replaced else self._postgres.databases
        known = databases.names()
        for service in services:
            databases.ensure(wiring.role(service), wiring.passwords(service, self._keys))
        self._migrate([service for service in services if wiring.role(service) not in known])

    def _migrate(self, services: Sequence[str]) -> None:
        """Migrate databases that are new, in one process: most of what one does is to start."""
        if services:
            urls = {
                f"RECURRING_{service.upper()}_MIGRATION_DATABASE_URL": wiring.database_url(
                    service, self.addresses, self._keys, "_migrator"
                )
                for service in services
            }
            run_to_end("services.runtime.db.migrations", services, urls)

    def _describe(self) -> None:
        described = wiring.description(
            self.home, self.addresses, self._keys, second_account=self._second_account
        )
        write_secret(self.description_file, json.dumps(described, indent=2) + "\n")

    def _status(self, name: str) -> Status:
        part = self._parts[name]
        process = part.process.find()
        if process is None:
            return Status(name, self.addresses.of(name), "stopped")
        part.prepare()
        if not part.process.is_current():
            state = "runs with other settings"
        else:
            state = "ready" if part.is_ready() else "not ready"
        return Status(name, self.addresses.of(name), state, process.pid)

    def _check_ports(self, parts: Iterable[str]) -> None:
        wanted = [
            (part, port_name, self.addresses.ports[port_name])
            for part in parts
            for port_name in port_names(part)
        ]
        problems = [
            f"port {port} of {part} is in use by {holder(port)}: end that program, "
            f"or set {port_variable(port_name)} or {PORT_BASE_VARIABLE}"
            for part, port_name, port in wanted
            if not becomes_free(port)
        ]
        if problems:
            raise PartError("\n".join(problems))

    def _check_replacements(self) -> None:
        problems = [
            f"{REPLACEMENT_VARIABLES[name]} names {self.addresses.of(name)}, which does not answer"
            for name, reached in self._replacements()
            if not reached
        ]
        if problems:
            raise PartError("\n".join(problems))

    def _replacements(self) -> Iterator[tuple[str, bool]]:
        """Every part that runs elsewhere, and whether it answers."""
        for name, address in self.addresses.replaced.items():
            if name == "postgres":
                yield name, Databases(address).is_reachable()
            elif name == "nats":
                yield name, greets(address)
            elif name == "sandbox":
                yield name, answers_http(f"{self.addresses.sandbox_url}/healthz")
            else:
                yield name, answers_grpc(address)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one command at a time change the stack; the lock ends with its process."""
        private_folder(self.home).chmod(0o700)
        # The other may be starting all of it, part after part.
        deadline = time.monotonic() + len(WAVES) * start_timeout_seconds()
        with open_private(self.home / "lock", "w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        message = f"another command works on {self.home} and does not end"
                        raise PartError(message) from None
                    time.sleep(LOCK_POLL_SECONDS)
            yield


def _all_at_once(action: Callable[[str], None], names: Sequence[str]) -> None:
    """Do something to every part in parallel; raises PartError with all that went wrong."""
    errors: list[Exception] = []

    def work(name: str) -> None:
        try:
            action(name)
        except Exception as error:  # noqa: BLE001 - it is raised below
            errors.append(error)

    # Whoever interrupts a start does not wait for its threads.
    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        if not isinstance(error, PartError):
            raise error
    if errors:
        raise PartError("\n".join(str(error) for error in errors))
