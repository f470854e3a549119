"""How far a provider's clock is from ours: each of its answers has a `Date`.

What we rely on allows for clocks that differ by `CLOCKS_DIFFER_MAX`, and no more: how long the provider
remembers a key, and where a payment is looked for. And whoever is wrong, a charge may be earlier than
its notice promised. So none is begun then.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial

from opentelemetry.metrics import Observation

from services.payments.domain.idempotent_retries import CLOCKS_DIFFER_MAX
from services.runtime.http_client import HttpClient, HttpError
from services.runtime.observability import metrics
from services.runtime.workers.clock import Clock

log = logging.getLogger(__name__)

# Answers of one second have the same one.
_CACHED_DATES = 16


class ProviderClock:
    """The clock of one provider, as its last answer showed it; nobody knows it before the first."""

    def __init__(self, provider: str, clock: Clock) -> None:
        self.provider = provider
        # Sends the provider a request that changes nothing.
        self.ask: Callable[[], Awaitable[object]] | None = None
        # How far it is ahead of ours.
        self.ahead: timedelta | None = None
        self._clock = clock
        self._was_apart = False

    def note(self, date: str) -> None:
        """Take the `Date` of an answer that has just come; one that is none says nothing."""
        if (theirs := _read(date)) is not None:
            self.ahead = theirs - self._clock.now()

    @property
    def is_apart(self) -> bool:
        """Whether it differs from ours by more than anything allows for."""
        return self.ahead is not None and abs(self.ahead) > CLOCKS_DIFFER_MAX

    async def allows_charges(self) -> bool:
        """Whether charges may be begun. Where the last answer said no, the provider is asked again."""
        if self.is_apart and self.ask is not None:
            with suppress(HttpError):
                await self.ask()
        if self.is_apart and not self._was_apart:
            log.error(
                "no charge is begun: clocks differ",
                extra={"provider": self.provider, "ahead": str(self.ahead)},
            )
        self._was_apart = self.is_apart
        return not self.is_apart


@asynccontextmanager
async def timed_client(
    provider: str, url: str, clock: Clock, *, connections_max: int, timeout_seconds: float
) -> AsyncIterator[tuple[HttpClient, ProviderClock]]:
    """A client for one provider, and the clock that its answers show."""
    timed = ProviderClock(provider, clock)
    async with HttpClient(
        connections_max=connections_max, timeout_seconds=timeout_seconds, on_date=timed.note
    ) as http:
        timed.ask = partial(http.request, "GET", url)
        yield http, timed


def measure(clocks: Iterable[ProviderClock]) -> None:
    """Show operators how far clocks are ahead of ours."""
    watched = list(clocks)

    def observe() -> Iterable[Observation]:
        for clock in watched:
            if clock.ahead is not None:
                yield Observation(clock.ahead.total_seconds(), {"provider": clock.provider})

    metrics.gauge(
        "recurring.provider.clock.ahead",
        "s",
        "How far a provider's clock is ahead of ours",
        observe,
    )


@lru_cache(maxsize=_CACHED_DATES)
def _read(date: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
