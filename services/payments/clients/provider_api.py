"""Requests to a provider's HTTP API: what they are answered, and what its lists have.

Providers differ in how they wrap an object, page a list and say that there is no such object: an
`ApiForm` has that. What fails is Unknown, and nothing here raises.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from services.payments.clients.provider_requests import send
from services.payments.clients.request_limits import RequestLimits
from services.payments.domain.attempts import Attempt
from services.payments.domain.outcomes import Unknown
from services.payments.domain.refunds import Refund
from services.runtime.http_client import HttpClient

# An object of the provider's as its JSON has it.
Shown = Mapping[str, Any]
# What was looked for; None: there is none.
Found = Shown | Unknown | None
# What is found neither in a list nor beyond its pages that are looked through.
TOO_LONG = Unknown("the list has more than is looked through")


class Answer(NamedTuple):
    """A status and an object."""

    status: int
    body: Shown

    @property
    def ok(self) -> bool:
        """Whether the request was carried out."""
        return self.status in {HTTPStatus.OK, HTTPStatus.CREATED}


class ListPage(NamedTuple):
    """Some of a list."""

    items: Sequence[Shown]
    # What the next page comes after; empty on the last one.
    after: str


class ApiForm(Protocol):
    """How the API of a kind of providers asks and answers."""

    @property
    def page_size(self) -> int:
        """How much of a list is asked for at once."""

    @property
    def after_parameter(self) -> str:
        """What says where a page begins."""

    def shown(self, path: str, body: Shown) -> Shown:
        """The object that an answer shows; empty if there is none."""

    def page(self, path: str, body: Shown) -> ListPage | None:
        """The page that an answer shows; None if there is none."""

    def is_missing(self, answer: Answer) -> bool:
        """Whether there is no such object, by the provider's own word: a bare 404 is none."""


class ProviderApi:
    """Sends requests, as often as the limits allow."""

    def __init__(
        self,
        http: HttpClient,
        base_url: str,
        headers: Mapping[str, str],
        form: ApiForm,
        charge_path: str,
        limits: RequestLimits | None = None,
    ) -> None:
        """Without limits, it is asked as often as there is something to ask."""
        self._http = http
        self._base_url = base_url
        self._headers = headers
        self._form = form
        self._charge = ("POST", charge_path)
        self._limits = limits

    def turns_within(self, seconds: float) -> int | None:
        """As `Provider.turns_within`."""
        return None if self._limits is None else self._limits.turns_within(seconds)

    async def turn(self) -> None:
        """As `Provider.turn`."""
        if self._limits is not None:
            await self._limits.turn()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        json: Shown | None = None,
        query: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Answer | Unknown:
        """The answer to a request, whatever its status; Unknown if there is none."""
        headers = self._headers if key is None else {**self._headers, "Idempotency-Key": key}
        url = self._base_url + path
        request = partial(
            self._http.request, method, url, form=form, json=json, query=query, headers=headers
        )
        sent = await send(request, self._limits, holds_back=(method, path) == self._charge)
        return sent if isinstance(sent, Unknown) else Answer(*sent)

    def shown(self, path: str, answer: Answer) -> Shown:
        """The object that an answer shows; empty if there is none."""
        return self._form.shown(path, answer.body)

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Found:
        """An object; None if there is none."""
        answer = await self.ask("GET", path, query=query)
        if isinstance(answer, Unknown):
            return answer
        if answer.ok:
            return self.shown(path, answer)
        return None if self._form.is_missing(answer) else Unknown(f"status {answer.status}")

    async def page(
        self, path: str, query: Mapping[str, str], after: str = ""
    ) -> ListPage | Unknown:
        """A page of a list, after what the page before says."""
        following = {self._form.after_parameter: after} if after else {}
        limit = {"limit": str(self._form.page_size)}
        answer = await self.ask("GET", path, query={**query, **limit, **following})
        if isinstance(answer, Unknown):
            return answer
        page = self._form.page(path, answer.body) if answer.ok else None
        return page or Unknown(f"the list was answered {answer.status}")

    async def pages(
        self, path: str, query: Mapping[str, str], pages_max: int | None = None
    ) -> AsyncIterator[Sequence[Shown] | Unknown]:
        """A list page by page; Unknown where the provider fails, or after the most."""
        page_count, after = 0, ""
        while pages_max is None or page_count < pages_max:
            page = await self.page(path, query, after)
            if isinstance(page, Unknown):
                yield page
                return
            yield page.items
            if not page.after:
                return
            page_count, after = page_count + 1, page.after
        yield TOO_LONG

    async def first(
        self,
        path: str,
        query: Mapping[str, str],
        pages_max: int,
        is_wanted: Callable[[Shown], bool] = bool,
    ) -> Found:
        """The first object of a list that is wanted; None if none is."""
        async for page in self.pages(path, query, pages_max):
            if isinstance(page, Unknown):
                return page
            for shown in page:
                if is_wanted(shown):
                    return shown
        return None

    async def all_of(
        self, path: str, query: Mapping[str, str], pages_max: int
    ) -> list[Shown] | Unknown:
        """Every object of a list."""
        found: list[Shown] = []
        async for page in self.pages(path, query, pages_max):
            if isinstance(page, Unknown):
                return page
            found += page
        return found

    async def refund_of(
        self, refund: Refund, path: str, query: Mapping[str, str], pages_max: int
    ) -> Found:
        """The refund that was made for one of ours."""
        return await self.first(path, query, pages_max, partial(is_of_refund, refund))

    async def payment_of(
        self,
        attempt: Attempt,
        path: str,
        query: Callable[[datetime, datetime], Mapping[str, str]],
        within: timedelta,
        pages_max: int,
    ) -> Found:
        """The payment with the attempt's key, of those that were made about when it was sent."""
        for sent in filter(None, (attempt.start_time, attempt.resend_time)):
            about = query(sent - within, sent + within)
            found = await self.first(path, about, pages_max, partial(is_of_attempt, attempt))
            if found is not None:
                return found
        return None


def metadata_of(shown: object) -> Mapping[str, Any]:
    """What we have had the provider keep with an object; empty if it shows nothing."""
    metadata = shown.get("metadata") if isinstance(shown, Mapping) else None
    return metadata if isinstance(metadata, dict) else {}


def is_of_refund(refund: Refund, shown: object) -> bool:
    """Whether a refund of the provider's was made for one of ours."""
    return bool(metadata_of(shown).get("refund") == refund.key.name)


def is_of_attempt(attempt: Attempt, shown: object) -> bool:
    """Whether a payment was made for an attempt: it has its key."""
    return bool(metadata_of(shown).get("attempt") == attempt.idempotency_key)
