"""The HTTP address for what gateways and mail programs send by themselves, and nothing else."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import parse_qs

from services.notify.application import replies
from services.notify.application.receipt_inbox import ReceiptInbox
from services.notify.application.unsubscribing import (
    UNSUBSCRIBE_PATH,
    UnsubscribeLinks,
    mute_email,
)
from services.notify.clients import callbacks, inbound, twilio
from services.notify.clients.callbacks import CallbackRefusedError, SignedHeaders
from services.notify.domain.receipts import ReceiptEffect
from services.runtime.crash_points import CrashPoint
from services.runtime.db.pool import Database
from services.runtime.errors import Problem
from services.runtime.http_server import HttpLimits, Request, Response
from services.runtime.observability import metrics, outages
from services.runtime.rpc.limits import Limits, RateLimit
from services.runtime.workers.clock import Clock

log = logging.getLogger(__name__)

RECEIPTS_PATH = "/callbacks/sms/receipts"
MESSAGES_PATH = "/callbacks/sms/messages"
TWILIO_STATUS_PATH = "/callbacks/twilio/status"
TWILIO_MESSAGES_PATH = "/callbacks/twilio/messages"
# A receipt has some hundred bytes, and a message one or two thousand.
HTTP_LIMITS = HttpLimits(body_max_bytes=64 * 1024, connections_max=200, request_seconds=5.0)
# Of a process and a path; gateways repeat what is refused.
RATE_LIMIT = RateLimit(calls_per_second=2000, burst_calls=4000, calls_at_once=200)

_REFUSED, _TOO_MANY, _FAILED = "REFUSED", "TOO_MANY", "FAILED"
_callbacks_counter = metrics.counter(
    "recurring.callbacks",
    "{callback}",
    "What gateways sent by themselves, by what became of it",
    [{"outcome": outcome} for outcome in (*ReceiptEffect, _REFUSED, _TOO_MANY, _FAILED)],
)

_COMMITTED = CrashPoint(
    "notify.callback_committed", "What a gateway sent by itself is committed and not answered."
)

_PAGE_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; form-action 'self'",
    "referrer-policy": "no-referrer",
}
_PAGE = (
    '<!doctype html><html><head><meta charset="utf-8"><title>E-mail</title>'
    '<meta name="viewport" content="width=device-width"></head><body>{}</body></html>'
)
# Nothing is known of who looks, so it is said in each language of the suite.
_UNSUBSCRIBE = (
    '<form method="post"><button>Unsubscribe · 退订 · Abbestellen · Darse de baja · '
    '<bdi>Se désabonner</bdi> · <bdi dir="rtl">إلغاء الاشتراك</bdi></button></form>'
)

UNSUBSCRIBE_PAGES: Mapping[str, str] = MappingProxyType({UNSUBSCRIBE_PATH: _UNSUBSCRIBE})
_NO_PAGES: Mapping[str, str] = MappingProxyType({})

# Takes a request, and says what it came to. Raises CallbackRefusedError.
Callback = Callable[[Request], Awaitable[ReceiptEffect]]


class CallbackReceiver:
    """Answers what gateways send, by its path, once its effect is committed."""

    def __init__(
        self, callbacks_by_path: Mapping[str, Callback], pages: Mapping[str, str] = _NO_PAGES
    ) -> None:
        """`pages` are what browsers show of a path before they send anything."""
        self._callbacks = callbacks_by_path
        self._pages = pages
        self._limits = Limits(RATE_LIMIT)
        self._outage = outages.Reporter()

    async def answer(self, request: Request) -> Response:
        """Answer 200 once it is stored; what is not verified leaves no trace but a count."""
        callback = self._callbacks.get(request.path)
        if callback is None:
            return Response(HTTPStatus.NOT_FOUND, "there is nothing here")
        if request.method == "GET" and request.path in self._pages:
            # A look changes nothing: programs that check links look at each.
            page = _PAGE.format(self._pages[request.path])
            return Response(HTTPStatus.OK, page, _PAGE_HEADERS)
        if request.method != "POST":
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, "POST alone", {"allow": "POST"})
        try:
            call = self._limits.call(("", request.path))
        except Problem as problem:
            _count(_TOO_MANY)
            retry_after = {"retry-after": str(max(1, round(problem.retry_seconds)))}
            return Response(HTTPStatus.TOO_MANY_REQUESTS, str(problem), retry_after)
        try:
            return await self._take(callback, request)
        finally:
            call.end()

    async def _take(self, callback: Callback, request: Request) -> Response:
        try:
            effect = await callback(request)
        except CallbackRefusedError as refused:
            _count(_REFUSED)
            return Response(HTTPStatus.BAD_REQUEST, str(refused))
        except Exception as error:
            if what := outages.out_of_reach(error):
                self._outage.failed(what, error)
            else:
                log.exception("a callback was not stored")
            _count(_FAILED)
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, "it could not be stored; send it again")
        _COMMITTED.reached()
        self._outage.works()
        _count(effect)
        if request.path in self._pages:
            return Response(HTTPStatus.OK, _PAGE.format("✓"), _PAGE_HEADERS)
        return Response(HTTPStatus.OK)


def signed_receipts(inbox: ReceiptInbox, secrets: Sequence[bytes], clock: Clock) -> Callback:
    """Receipts of the generic gateway, in the form of Standard Webhooks."""

    async def take(request: Request) -> ReceiptEffect:
        _verify(request, secrets, clock)
        return await inbox.apply(*callbacks.read(request.body))

    return take


def signed_messages(
    database: Database, secrets: Sequence[bytes], clock: Clock, gateway: str
) -> Callback:
    """Messages of customers that the generic gateway brings, in the form of Standard Webhooks."""

    async def take(request: Request) -> ReceiptEffect:
        _verify(request, secrets, clock)
        return _effect(
            await replies.receive(database, inbound.read(request.body, gateway), clock.now())
        )

    return take


def unsubscriptions(links: UnsubscribeLinks, database: Database, clock: Clock) -> Callback:
    """Mail programs and readers who use the link of an e-mail (RFC 8058)."""

    async def take(request: Request) -> ReceiptEffect:
        [token] = parse_qs(request.query).get("token", [""])[:1]
        customer = links.customer(token)
        if customer is None:
            raise CallbackRefusedError("the link is not one of ours")
        return _effect(await mute_email(database, clock, customer))

    return take


def _verify(request: Request, secrets: Sequence[bytes], clock: Clock) -> None:
    headers = SignedHeaders(
        request.header("webhook-id") or "",
        request.header("webhook-timestamp") or "",
        request.header("webhook-signature") or "",
    )
    callbacks.verify(request.body, headers, secrets, clock.now())


def twilio_statuses(inbox: ReceiptInbox, tokens: Sequence[bytes], url: str) -> Callback:
    """Status callbacks of Twilio, as they are sent to a URL."""

    async def take(request: Request) -> ReceiptEffect:
        signature = request.header(twilio.SIGNATURE_HEADER)
        twilio.verify(f"{url}?{request.query}", request.body, signature, tokens)
        return await inbox.apply(*twilio.read(request.query, request.body))

    return take


def twilio_messages(
    database: Database, tokens: Sequence[bytes], url: str, clock: Clock, gateway: str
) -> Callback:
    """Messages of customers that Twilio brings to a URL; its signature has no time, and each an id."""

    async def take(request: Request) -> ReceiptEffect:
        signed = f"{url}?{request.query}" if request.query else url
        twilio.verify(signed, request.body, request.header(twilio.SIGNATURE_HEADER), tokens)
        message = inbound.read_twilio(request.body, gateway)
        return _effect(await replies.receive(database, message, clock.now()))

    return take


def _effect(changed: bool) -> ReceiptEffect:  # noqa: FBT001 - what a use case answers
    return ReceiptEffect.STORED if changed else ReceiptEffect.REPEATED


def _count(outcome: str) -> None:
    _callbacks_counter.add(1, {"outcome": outcome})
