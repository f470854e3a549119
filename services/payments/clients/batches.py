"""Questions to a provider about many attempts or refunds at once."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TypeVar

from services.payments.clients.provider import Provider
from services.payments.clients.providers import Providers
from services.payments.domain.attempts import Attempt
from services.payments.domain.disputes import Dispute, DisputeLookup
from services.payments.domain.expiry import ExpiringMethod
from services.payments.domain.outcomes import Unknown
from services.payments.domain.refunds import Refund

log = logging.getLogger(__name__)

REQUESTS_AT_ONCE = 50
# What is left of a step, however many calls it makes, when its last call is given up: what was answered
# is then stored, and what was not is looked up later.
STORE_SECONDS = 4.0

T = TypeVar("T", Attempt, Refund, ExpiringMethod, Dispute, DisputeLookup)
A = TypeVar("A")


async def ask_all(
    items: Iterable[T],
    ask: Callable[[Provider, T], Awaitable[A]],
    providers: Providers,
    deadline: float,
) -> list[tuple[T, A | Unknown]]:
    """Ask the provider of all items about each in its turn, until a deadline at the latest.

    It is asked about REQUESTS_AT_ONCE at a time. No question begins after the deadline, however long
    the process has stood still before: its buckets may be another's by then.
    """
    limit = asyncio.Semaphore(REQUESTS_AT_ONCE)
    end = deadline - STORE_SECONDS
    loop = asyncio.get_running_loop()

    async def ask_one(item: T) -> tuple[T, A | Unknown]:
        provider = providers.get(item.provider)
        if provider is None:
            return item, Unknown(f"no provider {item.provider} is set")
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end), limit:
                await provider.turn()
                if loop.time() < end:
                    return item, await ask(provider, item)
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


def _name(item: Attempt | Refund | ExpiringMethod | Dispute | DisputeLookup) -> str:
    """What an operator finds an attempt, a refund or a dispute by."""
    if isinstance(item, DisputeLookup):
        return item.provider_dispute
    if isinstance(item, Dispute):
        return item.name
    if isinstance(item, Refund | ExpiringMethod):
        return item.key.name
    return f"{item.charge_key.name} attempt {item.number}, key {item.idempotency_key}"
