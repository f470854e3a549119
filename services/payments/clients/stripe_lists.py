"""Lists of Stripe's API, page by page.

Source: https://docs.stripe.com/api/pagination, read on 2026-11-30.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from services.payments.domain.outcomes import Unknown

PAGE_SIZE = 100
_OK = 200

# Asks for a list by a query: the status and the object that it is answered with.
Ask = Callable[[Mapping[str, str]], Awaitable[tuple[int, Mapping[str, Any]] | Unknown]]


class ListTooLongError(Exception):
    """A list has more than is looked through."""


class Page(NamedTuple):
    """Some of a list, the newest first."""

    items: list[Mapping[str, Any]]
    # What the next page comes after; empty on the last one.
    after: str


async def page_of(ask: Ask, query: Mapping[str, str], after: str = "") -> Page | Unknown:
    """A page of a list, after an item; Unknown where the provider fails."""
    following = {"starting_after": after} if after else {}
    answer = await ask({**query, "limit": str(PAGE_SIZE), **following})
    if isinstance(answer, Unknown):
        return answer
    status, body = answer
    listed = body.get("data")
    if status != _OK or not isinstance(listed, list):
        return Unknown(f"the list was answered {status}")
    has_more = bool(body.get("has_more")) and listed
    return Page(listed, str(listed[-1]["id"]) if has_more else "")


async def pages(
    ask: Ask, query: Mapping[str, str], pages_max: int | None = None
) -> AsyncIterator[list[Mapping[str, Any]] | Unknown]:
    """The pages of a list; Unknown where the provider fails. Raises ListTooLongError after the most."""
    page_count, after = 0, ""
    while pages_max is None or page_count < pages_max:
        page = await page_of(ask, query, after)
        if isinstance(page, Unknown):
            yield page
            return
        yield page.items
        if not page.after:
            return
        page_count, after = page_count + 1, page.after
    raise ListTooLongError
