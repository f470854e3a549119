"""The HTTP address for the provider's webhooks, and nothing else."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple

from services.payments.application.webhooks import WebhookInbox
from services.payments.clients import bank_debit_webhooks, stripe_webhooks
from services.payments.clients.webhook_forms import WebhookRefusedError
from services.payments.domain.webhooks import WebhookEvent
from services.runtime.crash_points import CrashPoint
from services.runtime.errors import Problem
from services.runtime.http_server import HttpLimits, Request, Response
from services.runtime.observability import metrics, outages
from services.runtime.rpc.limits import Limits, RateLimit
from services.runtime.workers.clock import Clock

log = logging.getLogger(__name__)

PATHS = "/webhooks/"
PATH = f"{PATHS}{stripe_webhooks.PROVIDER}"
# Stripe's events have a few kilobytes, its largest some hundred.
HTTP_LIMITS = HttpLimits(
    body_max_bytes=512 * 1024,
    connections_max=200,
    # Stripe gives up after some ten, and repeats.
    request_seconds=5.0,
)
# Of a process; the provider repeats what is refused.
RATE_LIMIT = RateLimit(calls_per_second=2000, burst_calls=4000, calls_at_once=200)

_STORED, _REPEATED, _REFUSED, _TOO_MANY, _FAILED = (
    "STORED", "REPEATED", "REFUSED", "TOO_MANY", "FAILED",
)  # fmt: skip
_webhooks_counter = metrics.counter(
    "recurring.webhooks",
    "{webhook}",
    "Webhooks of the provider, by what became of them",
    [{"outcome": outcome} for outcome in (_STORED, _REPEATED, _REFUSED, _TOO_MANY, _FAILED)],
)
_STORED_POINT = CrashPoint(
    "payments.webhook_stored", "A webhook of a provider is stored and not answered."
)


class WebhookForm(NamedTuple):
    """How a kind of provider signs and words its webhooks."""

    signature_header: str
    # Raises WebhookRefusedError unless a secret has signed the bytes, lately if it says when.
    verify: Callable[[bytes, str | None, Sequence[bytes], datetime], None]
    # Of a provider of a name. Raises WebhookRefusedError if there are none.
    read_events: Callable[[bytes, str], Sequence[WebhookEvent]]


_STRIPE, _BANK_DEBIT = (
    WebhookForm(module.SIGNATURE_HEADER, module.verify, module.read_events)
    for module in (stripe_webhooks, bank_debit_webhooks)
)


def form_of(provider: str) -> WebhookForm:
    """How the webhooks of a provider are; all others' are those of accounts of Stripe."""
    return _BANK_DEBIT if provider == bank_debit_webhooks.PROVIDER else _STRIPE


class WebhookReceiver:
    """Verifies webhooks and stores them, before anything is done about them."""

    def __init__(
        self, inbox: WebhookInbox, secrets: Mapping[str, Sequence[bytes]], clock: Clock
    ) -> None:
        """`secrets` are those of each provider that sends some."""
        self._inbox = inbox
        self._secrets = secrets
        self._clock = clock
        self._limits = Limits(RATE_LIMIT)
        self._outage = outages.Reporter()

    async def answer(self, request: Request) -> Response:
        """Answer 200 once the event is stored; what is not verified leaves no trace but a count."""
        provider = request.path.removeprefix(PATHS)
        if not request.path.startswith(PATHS) or provider not in self._secrets:
            return Response(HTTPStatus.NOT_FOUND, "there is nothing here")
        if request.method != "POST":
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, "POST alone", {"allow": "POST"})
        try:
            call = self._limits.call(("", provider))
        except Problem as problem:
            _count(_TOO_MANY)
            retry_after = {"retry-after": str(max(1, round(problem.retry_seconds)))}
            return Response(HTTPStatus.TOO_MANY_REQUESTS, str(problem), retry_after)
        try:
            return await self._store(request, provider)
        finally:
            call.end()

    async def _store(self, request: Request, provider: str) -> Response:
        form, secrets = form_of(provider), self._secrets[provider]
        try:
            signature = request.header(form.signature_header)
            form.verify(request.body, signature, secrets, self._clock.now())
            events = form.read_events(request.body, provider)
        except WebhookRefusedError as refused:
            _count(_REFUSED)
            return Response(HTTPStatus.BAD_REQUEST, str(refused))
        try:
            stored = await asyncio.gather(*map(self._inbox.store, events))
        except Exception as error:
            if what := outages.out_of_reach(error):
                self._outage.failed(what, error)
            else:
                log.exception("a webhook was not stored")
            _count(_FAILED)
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, "it could not be stored; send it again")
        _STORED_POINT.reached()
        self._outage.works()
        _count(_STORED if any(stored) else _REPEATED)
        return Response(HTTPStatus.OK)


def _count(outcome: str) -> None:
    _webhooks_counter.add(1, {"outcome": outcome})
