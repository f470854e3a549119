"""Mail goes to a server that is who it should be, encrypted and with a login, or it waits."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from mailbox import Maildir
from pathlib import Path

import pytest

from deploy.embedded.keys import Keys
from deploy.embedded.ports import free_ports
from services.notify.clients.email import EmailGateway, MailServer, MailTls
from services.notify.clients.gateway import Message
from services.notify.domain.notices import Attempt, Verdict
from tests.integration.notify.mail_server import PASSWORD, USER
from tests.integration.sandbox.process import (
    EXIT_SECONDS,
    READY_SECONDS,
    ROOT,
    Sandbox,
)

MESSAGE = Message("key-1", "ann@example.com", "Your order", "Hi Ann!")


@dataclass(frozen=True)
class Server:
    """A running mail server, how a client that knows it reaches it, and what it got."""

    known: MailServer
    mails: Maildir

    async def sent(self, message: Message = MESSAGE, **changes: object) -> Attempt:
        """What becomes of a message, also where the client knows the server in another way."""
        gateway = EmailGateway(replace(self.known, **changes), "orders@acme.example")  # type: ignore[arg-type]
        try:
            return await gateway.send(message)
        finally:
            await gateway.close()


@asynccontextmanager
async def mail_server(folder: Path, tls: MailTls) -> AsyncIterator[Server]:
    keys, [port], mails = Keys(folder / "keys"), free_ports(1), folder / "mails"
    tls_folder = keys.certificate_folder("mail")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.notify.mail_server", str(port), mails, tls_folder, tls),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(READY_SECONDS):
            assert await process.stdout.readline() == b"ready\n"
        trust = ssl.create_default_context(cafile=tls_folder / "ca.crt")
        known = MailServer("127.0.0.1", port, tls, USER, PASSWORD, trust)
        yield Server(known, Maildir(mails, create=False))
    finally:
        process.terminate()
        async with asyncio.timeout(EXIT_SECONDS):
            await process.communicate()


@pytest.fixture(params=[MailTls.STARTTLS, MailTls.IMPLICIT])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    async with mail_server(tmp_path, request.param) as running:
        yield running


async def test_mail_is_handed_in_over_tls_with_a_login(server: Server) -> None:
    assert await server.sent() == Attempt(Verdict.DELIVERED)
    [mail] = server.mails
    assert (mail["To"], mail["Subject"]) == ("ann@example.com", "Your order")


async def test_the_way_to_end_mail_arrives_as_it_is(server: Server) -> None:
    uri = "https://notify.example/unsubscribe?token=" + "aZ-_" * 50
    await server.sent(MESSAGE._replace(unsubscribe_uri=uri))
    await server.sent(MESSAGE._replace(key="key-2"))

    headers = [(mail["List-Unsubscribe"], mail["List-Unsubscribe-Post"]) for mail in server.mails]
    assert sorted(headers, key=str) == [(f"<{uri}>", "List-Unsubscribe=One-Click"), (None, None)]


async def test_a_login_that_is_refused_is_tried_again_later(server: Server) -> None:
    assert await server.sent(password="wrong") == Attempt(Verdict.TEMPORARY, "535")
    assert list(server.mails) == []


async def test_a_server_that_nobody_vouches_for_gets_nothing(server: Server) -> None:
    attempt = await server.sent(trust=ssl.create_default_context())
    assert attempt == Attempt(Verdict.TEMPORARY, "UNREACHABLE")
    assert list(server.mails) == []


async def test_a_server_of_another_name_gets_nothing(server: Server) -> None:
    attempt = await server.sent(host="127.0.0.2")
    assert attempt == Attempt(Verdict.TEMPORARY, "UNREACHABLE")
    assert list(server.mails) == []


async def test_a_server_without_starttls_gets_nothing(sandbox: Sandbox) -> None:
    await sandbox.start()
    plain = MailServer("127.0.0.1", sandbox.smtp_port, MailTls.STARTTLS)
    gateway = EmailGateway(plain, "orders@acme.example")
    assert await gateway.send(MESSAGE) == Attempt(Verdict.TEMPORARY, "UNREACHABLE")
    await gateway.close()
    assert (await sandbox.ask("GET", "/mail/v1/messages", query={"to": MESSAGE.address})).body[
        "data"
    ] == []
