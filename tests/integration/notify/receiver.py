"""A platform's server for webhooks, which answers as a test wants it to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from services.notify.domain.webhooks import signature


@dataclass
class Receiver:
    """What arrived, and how it is answered."""

    url: str = ""
    status: int = 200
    answer: bytes = b"thank you"
    headers: dict[str, str] = field(default_factory=dict)
    # Requests are answered once this is set.
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    at_once: int = 0
    at_once_max: int = 0

    def signed_with(self, secret: str, index: int = -1) -> bool:
        """Whether a request was signed with a secret."""
        headers, body = self.requests[index]
        timestamp = int(headers["webhook-timestamp"])
        wanted = signature(secret, headers["webhook-id"], timestamp, body)
        return wanted in headers["webhook-signature"].split(" ")

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        self.requests.append((headers, await request.read()))
        try:
            await self.answering.wait()
        finally:
            self.at_once -= 1
        return web.Response(status=self.status, body=self.answer, headers=self.headers)


@asynccontextmanager
async def serving(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver that listens at an address of this machine."""
    receiver = Receiver()
    receiver.answering.set()
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.take)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    server: Any = site._server
    receiver.url = f"http://{host}:{server.sockets[0].getsockname()[1]}/hooks"
    try:
        yield receiver
    finally:
        receiver.answering.set()
        await runner.cleanup()
