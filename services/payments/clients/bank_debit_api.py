"""Requests to GoCardless' API: what they are answered, and its lists.

Source: https://developer.gocardless.com/api-reference, version 2015-07-06 (headers, errors, cursor
pagination, idempotency keys), read on 2026-11-30.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from services.payments.clients.provider_requests import send
from services.payments.clients.request_limits import RequestLimits
from services.payments.domain.outcomes import Unknown
from services.runtime.http_client import HttpClient

VERSION = "2015-07-06"
LIST_PAGE_SIZE = 500
LIST_PAGES_MAX = 10
CHARGE = ("POST", "/payments")
OK, CREATED, NOT_FOUND, CONFLICT, UNPROCESSABLE = 200, 201, 404, 409, 422


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and an object."""

    status: int
    body: Mapping[str, Any]

    def shown(self, name: str) -> Mapping[str, Any]:
        """What is in the envelope of a name; empty if there is none."""
        shown = self.body.get(name)
        return shown if isinstance(shown, dict) else {}

    @property
    def error(self) -> Mapping[str, Any]:
        """The first of the errors; empty if there is none."""
        errors = self.shown("error").get("errors")
        first = errors[0] if isinstance(errors, list) and errors else None
        return first if isinstance(first, dict) else {}

    @property
    def reason(self) -> str:
        """Why a request was refused."""
        return str(self.error.get("reason") or self.shown("error").get("type") or "refused")

    @property
    def conflicting(self) -> str:
        """What was created with the same key before; empty if nothing was."""
        name = (self.error.get("links") or {}).get("conflicting_resource_id")
        return str(name or "") if self.status == CONFLICT else ""


class BankDebitApi:
    """Sends requests, as often as the limits allow."""

    def __init__(
        self,
        http: HttpClient,
        base_url: str,
        access_token: str,
        limits: RequestLimits | None = None,
    ) -> None:
        """Without limits, it is asked as often as there is something to ask."""
        self._http = http
        self._limits = limits
        self._base_url = base_url.rstrip("/")
        self._headers = {
            "Authorization": f"Bearer {access_token}",
            "GoCardless-Version": VERSION,
        }

    def turns_within(self, seconds: float) -> int | None:
        """How many may be sent within so many seconds; None: as many as there are."""
        return None if self._limits is None else self._limits.turns_within(seconds)

    async def turn(self) -> None:
        """Wait until the next may be sent."""
        if self._limits is not None:
            await self._limits.turn()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Answer | Unknown:
        """The answer to a request; Unknown if there is none."""
        headers = {**self._headers, **({"Idempotency-Key": key} if key is not None else {})}
        request = partial(
            self._http.request,
            method,
            self._base_url + path,
            json=json,
            query=query,
            headers=headers,
        )
        sent = await send(request, self._limits, holds_back=(method, path) == CHARGE)
        return sent if isinstance(sent, Unknown) else Answer(*sent)

    async def listed(
        self, name: str, query: Mapping[str, str]
    ) -> AsyncIterator[Mapping[str, Any] | Unknown]:
        """What a list has, one by one; Unknown where the provider fails, or the list is too long."""
        page_count = 0
        async for page in self.pages(name, query):
            if isinstance(page, Unknown):
                yield page
                return
            if page_count == LIST_PAGES_MAX:
                yield Unknown(f"more {name} are there than are looked through")
                return
            page_count += 1
            for item in page:
                yield item

    async def pages(
        self, name: str, query: Mapping[str, str]
    ) -> AsyncIterator[list[Mapping[str, Any]] | Unknown]:
        """What a list has, page by page to its end; Unknown where the provider fails."""
        page = {**query, "limit": str(LIST_PAGE_SIZE)}
        while True:
            answer = await self.ask("GET", f"/{name}", query=page)
            if isinstance(answer, Unknown):
                yield answer
                return
            listed = answer.body.get(name)
            if answer.status != OK or not isinstance(listed, list):
                yield Unknown(f"the list of {name} was answered {answer.status}")
                return
            yield listed
            after = ((answer.body.get("meta") or {}).get("cursors") or {}).get("after")
            if after is None:
                return
            page["after"] = str(after)
