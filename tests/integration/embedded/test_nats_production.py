"""The broker with production's configuration: reload of passwords and certificates, and shutdown."""

import asyncio
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509

from deploy.embedded.keys import Keys
from deploy.embedded.nats import USERS_FILE, EmbeddedNats, passwords
from deploy.embedded.ports import HOST, free_ports
from services.runtime.messaging.broker import Broker
from tests.integration.runtime.pubsub import until

CONFIGURATION = USERS_FILE.parents[1] / "nats-ha" / "nats.conf"
USERS = ("catalog", "scheduler", "payments", "notify", "streams")
OLD, NEW = "the-password-until-now", "the-password-from-now-on"
# Long enough for SIGTERM to end a server that heeds it.
HEEDED_SECONDS = 1.0


class ProductionNats(EmbeddedNats):
    """One of the three servers, with its folders in one place and ports of its own."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self._ports = free_ports(3)
        self._keys = keys
        super().__init__(folder, self._ports[0], folder / "log")

    def prepare(self) -> None:
        super().prepare()
        text = CONFIGURATION.read_text().replace("$SERVER_NAME", "nats-0")
        for port, own in zip((4222, 8222, 6222), self._ports, strict=True):
            text = text.replace(f'"0.0.0.0:{port}"', f'"{HOST}:{own}"')
        for place in ("/etc/nats", "/var/lib/nats", "/var/run/nats"):
            text = text.replace(place, str(self.folder))
        (self.folder / "nats.conf").write_text(text)
        (self.folder / "users").mkdir(exist_ok=True)
        (self.folder / "users" / "users.conf").write_text(USERS_FILE.read_text())
        self.renew()
        self.take(OLD)

    def renew(self) -> None:
        """Put a new certificate in the place of the one that is there."""
        folder = self.folder / "tls"
        folder.mkdir(exist_ok=True)
        self._keys.authority.issue(folder, "nats", (HOST,))

    def take(self, password: str) -> None:
        """Put a password of all users in the place of the one that is there."""
        settings = passwords(dict.fromkeys(USERS, password))
        (self.folder / "users" / "passwords.conf").write_text(settings)

    def signal(self, number: signal.Signals) -> None:
        process = self.process.find()
        assert process
        process.send_signal(number)

    async def certificate(self) -> int:
        """The number of the certificate that a client is shown."""
        trust = ssl.create_default_context(cafile=self._keys.authority.certificate_file)
        reader, writer = await asyncio.open_connection(HOST, self.port)
        await reader.readline()
        await writer.start_tls(trust)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(shown).serial_number

    @asynccontextmanager
    async def client(self, password: str) -> AsyncIterator[Broker]:
        url = f"tls://catalog:{password}@{HOST}:{self.port}"
        authority = self._keys.authority.certificate_file
        trust = partial(ssl.create_default_context, cafile=authority)
        broker = await Broker.connect(url, "catalog", trust)
        yield broker
        await broker.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ProductionNats]:
    server = ProductionNats(tmp_path / "nats", Keys(tmp_path / "keys"))
    server.start()
    yield server
    server.destroy()


async def becomes(broker: Broker, *, connected: bool) -> None:
    async def so() -> bool:
        return broker.connected == connected

    await until(so)


async def test_a_renewed_certificate_is_used_after_a_reload_and_nobody_is_disconnected(
    server: ProductionNats,
) -> None:
    async with server.client(OLD) as broker:
        before = await server.certificate()
        server.renew()
        server.signal(signal.SIGHUP)

        async def renewed() -> bool:
            return await server.certificate() != before

        await until(renewed)
        assert broker.connected
        assert broker.connections == 0


async def test_a_service_that_a_new_password_turns_away_is_let_in_when_they_agree(
    server: ProductionNats,
) -> None:
    async with server.client(OLD) as broker:
        server.take(NEW)
        server.signal(signal.SIGHUP)
        await becomes(broker, connected=False)
        async with server.client(NEW) as anew:
            assert anew.connected
        server.take(OLD)
        server.signal(signal.SIGHUP)
        await becomes(broker, connected=True)


async def test_a_server_that_stops_first_lets_its_clients_go_elsewhere(
    server: ProductionNats,
) -> None:
    """As the pod's preStop does, after which comes Kubernetes' SIGTERM."""
    program = server.process.command[0]
    reload_signal = f"ldm={server.folder}/nats.pid"
    async with server.client(OLD) as broker:
        await asyncio.to_thread(subprocess.run, [program, "--signal", reload_signal], check=True)
        server.signal(signal.SIGTERM)
        await asyncio.sleep(HEEDED_SECONDS)
        assert server.process.find()
        assert broker.connected
