"""A client of the sandbox: its clock, the phones and mailboxes in it, the provider's record."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp

from cli.errors import CommandError

PAGE_SIZE = 100
REQUEST_TIMEOUT_SECONDS = 30.0
# The sandbox gives up on a step by itself, so a silence longer than this means that it is gone.
STEP_TIMEOUT_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Step:
    """The clock after one step of an advance."""

    now: datetime
    steps: int


class Sandbox:
    """The sandbox by its HTTP endpoints. Every method raises CommandError when it is out of reach."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._http is not None:
            await self._http.close()

    async def now(self) -> datetime:
        """The simulated time, aware, in UTC."""
        clock = await self.clock()
        return _moment(clock["now"])

    async def clock(self) -> dict[str, Any]:
        """The clock and the processes that follow it."""
        return await self.get("/clock")

    async def advance(self, to: datetime) -> AsyncIterator[Step]:
        """Move the clock, step by step, to an instant; every service is at rest after each step."""
        body = {"to": to.astimezone(UTC).isoformat()}
        async for step in self._stream("/clock/advance", body):
            yield step

    async def settle(self) -> None:
        """Wait until every service has done all that there is to do at the present time."""
        async for _ in self._stream("/clock/settle", {}):
            pass

    @asynccontextmanager
    async def clock_held(self) -> AsyncIterator[None]:
        """Keep the clock from moving on meanwhile, as a process of a service does that is busy."""
        url = f"{self._url}/clock/participants/holder/{uuid.uuid4().hex}"
        report: dict[str, object] = {"round": 0, "quiet": False, "activity": 0, "wake_at": None}

        async def be_busy(http: aiohttp.ClientSession) -> None:
            async with http.post(url, json=report) as response:
                await self._check(response)
                report["round"] = (await response.json())["round"]

        async def stay_busy(http: aiohttp.ClientSession) -> None:
            while True:
                await be_busy(http)

        # It is forgotten as soon as its connection is closed.
        async with aiohttp.ClientSession() as http:
            await be_busy(http)
            busy = asyncio.create_task(stay_busy(http))
            try:
                yield
            finally:
                busy.cancel()
                with suppress(asyncio.CancelledError):
                    await busy

    async def inbox(self, phone: str) -> list[dict[str, Any]]:
        """The messages that a phone received, the oldest first."""
        return [message async for message in self.listed("/sms/v1/messages", {"to": phone})]

    async def mailbox(self, address: str) -> list[dict[str, Any]]:
        """The messages that a mail address received, the oldest first."""
        return [message async for message in self.listed("/mail/v1/messages", {"to": address})]

    async def reply(self, phone: str, text: str) -> str:
        """Write back on a phone to whoever wrote to it last; returns what the message is called."""
        answer = await self.post("/inbox/v1/replies", {"from": phone, "body": text})
        return str(answer["id"])

    def page(self, **shown: str) -> str:
        """Where a browser shows the inbox of a phone or an address live, or with a key of all."""
        return f"{self._url}/inbox#{urlencode(shown)}"

    async def switch_outage(self, part: str, *, on: bool) -> None:
        """Begin or end an outage of the provider, SMS gateway, mail server or tax service."""
        await self.put(f"/outages/{part}", {"on": on})

    async def listed(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        cursor: tuple[str, str] = ("after", "id"),
        api_key: str = "",
    ) -> AsyncIterator[dict[str, Any]]:
        """Everything that a listing holds, page by page.

        `cursor` is the parameter that a page begins after, and what the last entry gives for it.
        """
        parameters = {"limit": str(PAGE_SIZE), **query}
        parameter, field = cursor
        while True:
            page = await self.get(path, parameters, api_key=api_key)
            for entry in page["data"]:
                yield entry
            if not page["has_more"]:
                return
            parameters[parameter] = str(page["data"][-1][field])

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, *, api_key: str = ""
    ) -> dict[str, Any]:
        """One answer of the sandbox."""
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else None
        url = f"{self._url}{path}"
        try:
            async with self._client().get(url, params=query, headers=headers) as response:
                await self._check(response)
                answer: dict[str, Any] = await response.json()
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._out_of_reach(error) from error

    async def put(self, path: str, body: Mapping[str, object]) -> None:
        """Set how a part of the sandbox behaves."""
        try:
            async with self._client().put(f"{self._url}{path}", json=body) as response:
                await self._check(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._out_of_reach(error) from error

    async def post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Have something happen in the sandbox; returns what became of it."""
        try:
            async with self._client().post(f"{self._url}{path}", json=body) as response:
                await self._check(response)
                answer: dict[str, Any] = await response.json()
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._out_of_reach(error) from error

    async def _stream(self, path: str, body: Mapping[str, str]) -> AsyncIterator[Step]:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=STEP_TIMEOUT_SECONDS)
        done = False
        try:
            async with self._client().post(
                f"{self._url}{path}", json=body, timeout=timeout
            ) as response:
                await self._check(response)
                async for line in response.content:
                    report = json.loads(line)
                    if "error" in report:
                        waiting = "; ".join(report.get("waiting_for", []))
                        raise CommandError(f"the clock stopped: {report['error']} ({waiting})")
                    done = bool(report.get("done"))
                    yield Step(_moment(report["now"]), report["steps"])
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._out_of_reach(error) from error
        if not done:
            raise CommandError("the clock stopped before it was there: the sandbox hung up")

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status >= 400:  # noqa: PLR2004 - where HTTP's errors begin
            text = await response.text()
            try:
                message = json.loads(text)["error"]
            except (ValueError, KeyError, TypeError):
                message = text or response.reason
            raise CommandError(f"sandbox: {message}")

    def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)
            self._http = aiohttp.ClientSession(timeout=timeout)
        return self._http

    def _out_of_reach(self, error: Exception) -> CommandError:
        return CommandError(f"the sandbox at {self._url} does not answer: {error!r}")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
