"""A real sandbox process that a test can talk to, kill and start again."""

import asyncio
import json
import os
import signal
import smtplib
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from deploy.embedded.ports import HOST
from tests.integration.sandbox.forks import fork_server

ROOT = Path(__file__).parents[3]
PROVIDER_API_KEY = "sk_test_of_the_provider"
SECOND_API_KEY = "sk_test_of_the_second_account"
SMS_API_KEY = "key_of_the_gateway"
START = "2026-01-31T08:00:00Z"
READY_SECONDS = 20.0
EXIT_SECONDS = 10.0


def held_port() -> socket.socket:
    """A port that no other test is given, and that a server can listen on all the same.

    Linux lets it where both have SO_REUSEADDR and only one listens.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((HOST, 0))
    return holder


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Sandbox:
    """The process and a client of it."""

    record_file: Path
    http: aiohttp.ClientSession
    held_http: socket.socket = field(default_factory=held_port)
    held_smtp: socket.socket = field(default_factory=held_port)
    environment: dict[str, str] = field(default_factory=dict)
    pid: int | None = None
    # What it logs.
    errors: asyncio.StreamReader = field(init=False, repr=False)

    @property
    def port(self) -> int:
        port: int = self.held_http.getsockname()[1]
        return port

    @property
    def smtp_port(self) -> int:
        port: int = self.held_smtp.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def start(self) -> None:
        settings = {
            "SANDBOX_HTTP_ADDRESS": f"{HOST}:{self.port}",
            "SANDBOX_SMTP_ADDRESS": f"{HOST}:{self.smtp_port}",
            "SANDBOX_RECORD_FILE": str(self.record_file),
            "SANDBOX_PROVIDER_API_KEY": PROVIDER_API_KEY,
            "SANDBOX_SMS_API_KEY": SMS_API_KEY,
            "SANDBOX_START": START,
        }
        self.errors = asyncio.StreamReader()
        read_fd, write_fd = os.pipe()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self.errors), os.fdopen(read_fd, "rb")
        )
        self.pid = fork_server().start({**settings, **self.environment}, write_fd)
        os.close(write_fd)
        async with asyncio.timeout(READY_SECONDS):
            line = await self.errors.readline()
        assert b"INFO sandbox ready: " in line, line + await self.errors.read()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.pid is not None
        pid, self.pid = self.pid, None
        os.kill(pid, number)
        async with asyncio.timeout(EXIT_SECONDS):
            errors = await self.errors.read()
        assert b"Traceback" not in errors, errors.decode()
        return fork_server().wait(pid)

    async def close(self) -> None:
        """Stop it if it runs, and give up its ports."""
        try:
            if self.pid is not None:
                await self.stop()
        finally:
            self.held_http.close()
            self.held_smtp.close()

    async def kill_and_restart(self) -> None:
        await self.stop(signal.SIGKILL)
        await self.start()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        json: object = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        async with self.http.request(
            method, self.url + path, data=form, json=json, params=query, headers=headers
        ) as response:
            return Answer(response.status, await response.json(), dict(response.headers))

    async def clock_when(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Look at the clock until it is as the condition says."""
        while True:
            clock: dict[str, Any] = (await self.ask("GET", "/clock")).body
            if condition(clock):
                return clock

    async def advance_to(self, moment: datetime) -> None:
        """Let its clock go on to an instant; it stays where it is if that is past."""
        now = datetime.fromisoformat((await self.ask("GET", "/clock")).body["now"])
        if moment <= now:
            return
        url, body = f"{self.url}/clock/advance", {"to": moment.isoformat()}
        async with self.http.post(url, json=body) as steps:
            last = (await steps.text()).splitlines()[-1]
        assert json.loads(last).get("done"), last

    async def provider(
        self,
        method: str,
        path: str,
        form: Mapping[str, str] | None = None,
        key: str | None = None,
        api_key: str = PROVIDER_API_KEY,
    ) -> Answer:
        headers = {"Authorization": f"Bearer {api_key}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return await self.ask(method, f"/v1{path}", form=form, headers=headers)

    async def charge(
        self,
        payment_method: str = "pm_card_visa",
        key: str | None = None,
        api_key: str = PROVIDER_API_KEY,
        **changes: str,
    ) -> Answer:
        form = {
            "amount": "1250",
            "currency": "eur",
            "payment_method": payment_method,
            "confirm": "true",
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
            "off_session": "true",
        }
        return await self.provider("POST", "/payment_intents", {**form, **changes}, key, api_key)

    async def sms(self, to: str, body: str = "Hello", key: str | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {SMS_API_KEY}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        message = {"to": to, "from": "Recurring", "body": body}
        return await self.ask("POST", "/sms/v1/messages", json=message, headers=headers)

    async def mail(self, to: list[str], message_id: str, text: str = "Hello") -> None:
        message = EmailMessage()
        message["From"], message["To"] = "orders@example.test", ", ".join(to)
        message["Subject"], message["Message-ID"] = "Your order", message_id
        message.set_content(text)

        def send() -> None:
            with smtplib.SMTP(HOST, self.smtp_port, timeout=EXIT_SECONDS) as client:
                client.send_message(message)

        await asyncio.to_thread(send)


async def advance(sandbox: Sandbox, seconds: int) -> None:
    """Let time pass in the outside world, which is to expect no service."""
    async with sandbox.http.post(f"{sandbox.url}/clock/advance", json={"seconds": seconds}) as done:
        assert '"done": true' in await done.text()


class StartSandbox(Protocol):
    """Starts a sandbox of its own, with changes to its environment."""

    async def __call__(self, **environment: str) -> Sandbox: ...
