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
# What a step may take at the provider in all, however often it asks. It is well below the step's
# deadline, so that what was answered is stored; what was not answered by then is looked up later.
BATCH_TIMEOUT_SECONDS = 20.0

T = TypeVar("T", Attempt, Refund)
A = TypeVar("A")


def batch_deadline() -> float:
    """Until when a step that begins now may ask, by the clock of the event loop."""
    return asyncio.get_running_loop().time() + BATCH_TIMEOUT_SECONDS


async def ask_all(
    items: Iterable[T], ask: Callable[[T], Awaitable[A]], deadline: float
) -> list[tuple[T, A | Unknown]]:
    """Ask the provider about all items, REQUESTS_AT_ONCE at a time, until a deadline at the latest."""
    limit = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def ask_one(item: T) -> tuple[T, A | Unknown]:
        try:
            async with asyncio.timeout_at(deadline), limit:
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
                "the provider's answer differs from the request",
                extra={"asked_for": _name(item), "answered": outcome.mismatch},
            )
    return answers


def _name(item: Attempt | Refund) -> str:
    """What an operator finds an attempt or a refund by."""
    if isinstance(item, Refund):
        return item.key.name
    return f"{item.charge_key.name} attempt {item.number}, key {item.idempotency_key}"
