"""Real servers for the tests: one PostgreSQL and one NATS a session, clean for every test."""

import base64
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import nats
import pytest
from hypothesis import settings

from deploy.embedded.addresses import Addresses
from deploy.embedded.databases import Passwords
from deploy.embedded.machine import MEBIBYTE, Needs, prepare
from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import free_ports
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.process import PartError
from deploy.embedded.stack import EmbeddedStack
from services.runtime.crypto.encryption import Keyring
from tests.suite import Suite

# How long an example takes says more about the machine than about the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# A flood has both ends of some thousand connections in one process.
NEEDS = Needs("the tests", open_files=4096, disk_bytes=2048 * MEBIBYTE)
TESTS = Path(__file__).parent
# Tests of what computes alone; all others start servers.
PURE = ("tests/unit/", "tests/manifests/")

PASSWORD = "only-for-tests-on-this-machine"
# What the services of these tests encrypt with.
DATA_KEYS = f"test-1:{base64.b64encode(bytes(range(32))).decode()}"
KEYRING = Keyring.parse(DATA_KEYS)

# Called with a service's name; returns the address of a fresh, migrated database.
ServiceDatabase = Callable[[str], str]


def pytest_configure() -> None:
    """End on SIGTERM as on Control-C: tests that are stopped by `timeout` or CI stop their servers."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say what is missing on this machine before the first test, instead of in the middle."""
    if all(item.nodeid.startswith(PURE) for item in session.items):
        return
    try:
        prepare(NEEDS, Path(tempfile.gettempdir()))
    except PartError as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A folder for what servers keep, outside pytest's own, which only its owner can enter."""
    with tempfile.TemporaryDirectory(prefix="recurring-tests-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture(scope="session")
def postgres(servers_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server for the whole session."""
    [port] = free_ports(1)
    server = EmbeddedPostgres(
        servers_folder / "postgres", port, servers_folder / "postgres.log", durable=False
    )
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def nats_server(servers_folder: Path) -> Iterator[EmbeddedNats]:
    """A NATS server with JetStream for the whole session."""
    [port] = free_ports(1)
    server = EmbeddedNats(servers_folder / "nats", port, servers_folder / "nats.log")
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@contextmanager
def whole_stack(folder: Path, *users: str, durable: bool = True) -> Iterator[EmbeddedStack]:
    """A suite of its own with its sandbox, on free ports, for the tests of some folders."""
    # Nothing is booked at a time that no test decides.
    unasked = {"RECURRING_BALANCE_POLL_SECONDS": "0"}
    stack = EmbeddedStack(folder, Addresses.free(), settings=unasked, durable=durable)
    _stacks_in_use.append((stack, frozenset(users)))
    try:
        stack.up()
        yield stack
    finally:
        stack.destroy()


# With the folders of tests that use them.
_stacks_in_use: list[tuple[EmbeddedStack, frozenset[str]]] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """End stacks that no test to come uses: four services at rest take a part of a core."""
    yield
    if nextitem is None or _folder(item) == _folder(nextitem):
        return
    items = item.session.items
    to_come = {_folder(later) for later in items[items.index(item) + 1 :]}
    for stack, users in _stacks_in_use:
        if not users & to_come:
            stack.destroy()


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]


@pytest.fixture(scope="session")
def suite_stack(servers_folder: Path) -> Iterator[EmbeddedStack]:
    """The whole suite with its sandbox, on free ports, for the whole session."""
    users = ("clients", "contract", "fuzz", "integration")
    with whole_stack(servers_folder / "suite", *users, durable=False) as stack:
        yield stack


@pytest.fixture
async def suite(suite_stack: EmbeddedStack) -> AsyncIterator[Suite]:
    """The running suite; each test makes a merchant of its own in it."""
    suite = Suite.on(suite_stack)
    yield suite
    await suite.close()


@pytest.fixture
async def nats_url(nats_server: EmbeddedNats) -> AsyncIterator[str]:
    """The address of the NATS server, which has no stream before the test and none after it."""
    yield nats_server.url
    client = await nats.connect(nats_server.url)
    try:
        jetstream = client.jetstream()
        for stream in await jetstream.streams_info():
            await jetstream.delete_stream(str(stream.config.name))
    finally:
        await client.close()


@pytest.fixture(scope="session")
def migrated_template(postgres: EmbeddedPostgres) -> ServiceDatabase:
    """Makes, once a session and service, a database that its migrations have been run on."""
    made: dict[str, str] = {}

    def template(service: str) -> str:
        if service not in made:
            role = f"recurring_{service}"
            databases = postgres.databases
            databases.ensure(role, Passwords(*[PASSWORD] * 4))
            address = databases.address(f"{role}_migrator", PASSWORD, role)
            # Migrations start an event loop of their own, and a test may already run in one.
            with ThreadPoolExecutor(max_workers=1) as thread:
                thread.submit(_upgrade, service, address).result()
            made[service] = role
        return made[service]

    return template


@pytest.fixture
def service_database(
    postgres: EmbeddedPostgres, migrated_template: ServiceDatabase
) -> Iterator[ServiceDatabase]:
    """Makes a database as the named service's migrations leave it; gone after the test."""
    databases = postgres.databases
    made: list[str] = []

    def create(service: str) -> str:
        role = migrated_template(service)
        name = f"test_{service}_{next(_numbers)}"
        databases.create(name, owner=f"{role}_owner", template=role)
        made.append(name)
        return databases.address(role, PASSWORD, name)

    yield create
    for name in made:
        databases.drop(name)


_numbers = count(1)


def _upgrade(service: str, address: str) -> None:
    # Imported here so that tests of the pure domain do not load what a database needs.
    from services.runtime.db.migrations import upgrade  # noqa: PLC0415

    upgrade(service, address)
