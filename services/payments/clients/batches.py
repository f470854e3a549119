"""Questions to the provider about many attempts or refunds at once."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from services.payments.domain.attempts import Attempt
from services.payments.domain.outcomes import Unknown
from services.payments.domain.refunds import Refund

log = logging.getLogger(__name__)

REQUESTS_AT_ONCE = 50
# What a batch may take at the provider in all. It is well below the claims of attempts and refunds,
# so that nobody else asks about them meanwhile; what was not answered by then is looked up later.
ROUND_TIMEOUT_SECONDS = 20.0

T = TypeVar("T", Attempt, Refund)
A = TypeVar("A")


async def ask_all(
    items: Iterable[T], ask: Callable[[T], Awaitable[A]]
) -> list[tuple[T, A | Unknown]]:
    """Ask the provider about each, so many at once, for so long at the most."""
    deadline = asyncio.get_running_loop().time() + ROUND_TIMEOUT_SECONDS
    places = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def ask_one(item: T) -> tuple[T, A | Unknown]:
        try:
            async with asyncio.timeout_at(deadline), places:
                return item, await ask(item)
        except TimeoutError:
            return item, Unknown("no answer within the time of the batch")

    answers = list(await asyncio.gather(*(ask_one(item) for item in items)))
    whys = Counter(outcome.why for _, outcome in answers if isinstance(outcome, Unknown))
    if whys:
        log.warning("outcomes not known yet", extra={"count_by_cause": dict(whys)})
    for item, outcome in answers:
        if isinstance(outcome, Unknown) and outcome.mismatch:
            log.error(
                "the provider answered what was not asked for",
                extra={"asked_for": _name(item), "answered": outcome.mismatch},
            )
    return answers


def _name(item: Attempt | Refund) -> str:
    """What an operator finds an attempt or a refund by."""
    if isinstance(item, Refund):
        return item.key.name
    return f"{item.charge.name} attempt {item.number}, key {item.idempotency_key}"
