"""Run the outside world: `python -m sandbox`. Settings and wiring, nothing else."""

import asyncio
import logging
import math
import os
import secrets
import signal
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache, partial
from pathlib import Path

import uvloop
from aiohttp import web

from sandbox import (
    bank,
    mail,
    provider,
    record,
    sms,
    sms_receipts,
    sms_replies,
    tax,
    twilio,
)
from sandbox.clock import SETTLE_TIMEOUT_SECONDS, AllMessages, Clock, parse_time
from sandbox.endpoint import Endpoint
from sandbox.guard import Guard
from sandbox.inbox import Inbox
from sandbox.outages import SECOND_ACCOUNT, Outages
from sandbox.platform import Platform
from sandbox.record import Record

PREFIX = "SANDBOX_"
PORT_MAX = 65_535
SECOND_PATH = "/second"
"""What the paths of the second account's record, payers and their banks begin with."""
SHUTDOWN_SECONDS = 1.0
"""How long open requests may take to end after SIGTERM."""

logger = logging.getLogger("sandbox")


@dataclass(frozen=True)
class Settings:
    """Reads the environment, with the prefix `SANDBOX_`."""

    http_address: tuple[str, int]
    smtp_address: tuple[str, int]
    record_file: Path
    provider_api_key: str
    sms_api_key: str
    # What the SMS gateway signs receipts with; empty: it sends none.
    sms_receipt_secret: str
    # Where the SMS gateway brings what people reply; empty: they cannot.
    sms_reply_url: str
    # Of the bank debit provider: its key, where it sends webhooks, and what it signs them with.
    bank_api_key: str
    bank_webhook_url: str
    bank_webhook_secret: str
    # Where the provider sends its webhooks, and what it signs them with; empty: it sends none.
    webhook_url: str
    webhook_secret: str
    # The same of a second account at the provider; without a key there is none.
    second_provider_api_key: str
    second_webhook_url: str
    second_webhook_secret: str
    start: datetime
    expected_services: frozenset[str]
    settle_timeout_seconds: float
    # Names beside those of this machine by which it is called.
    allowed_hosts: frozenset[str]


class SettingsError(Exception):
    """Some settings are missing or bad; the message names every one of them."""


class Reader:
    """Reads the environment, and gathers what is wrong with it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.errors: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        """Read a text, required when it has no default; `<NAME>_FILE` may name a file that holds it."""
        value = self._environment.get(PREFIX + name) or self._content(name) or default
        if not value:
            self.errors.append(f"{PREFIX}{name}: is not set")
        return value

    def optional(self, name: str) -> str:
        """Read a text that may be missing."""
        return self._environment.get(PREFIX + name) or self._content(name)

    def _content(self, name: str) -> str:
        variable = f"{PREFIX}{name}_FILE"
        file = self._environment.get(variable)
        if not file:
            return ""
        try:
            return Path(file).read_text().strip()
        except OSError as error:
            self.errors.append(f"{variable}: {error.strerror}")
            return ""

    def address(self, name: str, default: str) -> tuple[str, int]:
        """Read a host and a port to listen on."""
        host, _, port = self.text(name, default).rpartition(":")
        if not host or not port.isdigit() or int(port) > PORT_MAX:
            self.errors.append(f"{PREFIX}{name}: not an address like {default}")
            return "", 0
        return host, int(port)

    def time(self, name: str, default: datetime) -> datetime:
        """Read a moment with its offset from UTC."""
        try:
            return parse_time(self.text(name, default.isoformat()))
        except (ValueError, OverflowError):
            self.errors.append(f"{PREFIX}{name}: not an RFC 3339 time like 2026-01-31T08:00:00Z")
            return default

    def names(self, name: str, default: str) -> frozenset[str]:
        """Read a list of names, with commas between."""
        listed = self.text(name, default).split(",")
        return frozenset(entry.strip() for entry in listed if entry.strip())

    def seconds(self, name: str, default: float) -> float:
        """Read a duration."""
        try:
            value = float(self.text(name, str(default)))
        except ValueError:
            value = 0.0
        if not 0 < value < math.inf:
            self.errors.append(f"{PREFIX}{name}: not a number of seconds above 0")
        return value


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings; raises SettingsError."""
    reader = Reader(environment)
    http_address = reader.address("HTTP_ADDRESS", "127.0.0.1:8400")
    settings = Settings(
        http_address=http_address,
        smtp_address=reader.address("SMTP_ADDRESS", "127.0.0.1:8425"),
        record_file=Path(reader.text("RECORD_FILE")),
        provider_api_key=reader.text("PROVIDER_API_KEY"),
        sms_api_key=reader.text("SMS_API_KEY"),
        sms_receipt_secret=reader.optional("SMS_RECEIPT_SECRET"),
        sms_reply_url=reader.optional("SMS_REPLY_URL"),
        bank_api_key=reader.optional("BANK_API_KEY"),
        bank_webhook_url=reader.optional("BANK_WEBHOOK_URL"),
        bank_webhook_secret=reader.optional("BANK_WEBHOOK_SECRET"),
        webhook_url=reader.optional("WEBHOOK_URL"),
        webhook_secret=reader.optional("WEBHOOK_SECRET"),
        second_provider_api_key=reader.optional("SECOND_PROVIDER_API_KEY"),
        second_webhook_url=reader.optional("SECOND_WEBHOOK_URL"),
        second_webhook_secret=reader.optional("SECOND_WEBHOOK_SECRET"),
        start=reader.time("START", datetime.now(UTC).replace(microsecond=0)),
        expected_services=reader.names("EXPECTED_SERVICES", "catalog,scheduler,payments,notify"),
        settle_timeout_seconds=reader.seconds("SETTLE_TIMEOUT_SECONDS", SETTLE_TIMEOUT_SECONDS),
        allowed_hosts=reader.names("ALLOWED_HOSTS", http_address[0] or "localhost"),
    )
    if bool(settings.webhook_url) != bool(settings.webhook_secret):
        reader.errors.append(f"{PREFIX}WEBHOOK_SECRET: set both this and WEBHOOK_URL, or neither")
    if bool(settings.second_webhook_url) != bool(settings.second_webhook_secret):
        reader.errors.append(
            f"{PREFIX}SECOND_WEBHOOK_SECRET: set both this and SECOND_WEBHOOK_URL, or neither"
        )
    if settings.provider_api_key and settings.second_provider_api_key == settings.provider_api_key:
        reader.errors.append(f"{PREFIX}SECOND_PROVIDER_API_KEY: is that of the first account")
    if bool(settings.bank_webhook_url) != bool(settings.bank_webhook_secret):
        reader.errors.append(
            f"{PREFIX}BANK_WEBHOOK_SECRET: set both this and BANK_WEBHOOK_URL, or neither"
        )
    if settings.sms_reply_url and not settings.sms_receipt_secret:
        reader.errors.append(f"{PREFIX}SMS_REPLY_URL: set SMS_RECEIPT_SECRET as well")
    if reader.errors:
        raise SettingsError("\n".join(reader.errors))
    return settings


def _sms_apps(
    settings: Settings,
    book: Record,
    clock: Clock,
    outages: Outages,
    receipts: sms_receipts.SmsReceipts,
    statuses: twilio.StatusCallbacks,
) -> Iterator[tuple[str, web.Application]]:
    """The SMS gateway in both shapes, each with its path."""
    key = settings.sms_api_key
    sms_endpoint = Endpoint("sms", key, book, clock, outages, sms.refusal_body)
    sms_app = web.Application(middlewares=[sms_endpoint.middleware])
    sms_app.add_routes(sms.Gateway(book, clock, sms_endpoint, receipts).routes())
    yield "/sms/v1", sms_app
    endpoint = twilio.TwilioEndpoint("sms", key, book, clock, outages, twilio.refusal_body)
    twilio_app = web.Application(middlewares=[endpoint.middleware])
    twilio_app.add_routes(twilio.Twilio(book, clock, endpoint, statuses).routes())
    yield "/twilio", twilio_app


def _accounts(
    settings: Settings,
    books: Sequence[Record],
    clock: Clock,
    outages: Outages,
    behavior: provider.Behavior,
    cards: provider.Cards,
) -> list[provider.Account]:
    """The accounts at the provider, one a record."""
    given = (
        (
            settings.provider_api_key,
            settings.webhook_url,
            settings.webhook_secret,
            "",
            ("provider",),
        ),
        (
            settings.second_provider_api_key,
            settings.second_webhook_url,
            settings.second_webhook_secret,
            SECOND_PATH,
            ("provider", SECOND_ACCOUNT),
        ),
    )
    return [
        provider.Account(api_key, book, clock, outages, behavior, cards, url, secret, path, parts)
        for book, (api_key, url, secret, path, parts) in zip(books, given, strict=False)
    ]


def build_app(
    settings: Settings, books: Sequence[Record], clock: Clock, outages: Outages
) -> web.Application:
    """Put the parts behind one HTTP address; the first record is everybody's, others an account's."""
    book = books[0]
    behavior = provider.Behavior(book)
    cards = provider.Cards(book)
    accounts = _accounts(settings, books, clock, outages, behavior, cards)
    bank_webhooks = bank.BankWebhooks(
        book, clock, behavior, settings.bank_webhook_url, settings.bank_webhook_secret
    )
    receipts = sms_receipts.SmsReceipts(book, clock, behavior, settings.sms_receipt_secret)
    statuses = twilio.StatusCallbacks(book, clock, behavior, settings.sms_api_key)
    senders = [*(each.webhooks for each in accounts), bank_webhooks, receipts, statuses]
    clock.carry(AllMessages(senders))

    bank_endpoint = Endpoint(
        "bank",
        # Without a key of its own nobody comes in.
        settings.bank_api_key or secrets.token_hex(),
        book,
        clock,
        outages,
        bank.refusal_body,
        lambda: behavior.key_retention,
        bank.replayed,
    )
    bank_app = web.Application(middlewares=[bank_endpoint.middleware])
    debits = bank.Bank(book, clock, bank_endpoint, bank_webhooks)
    bank_app.add_routes(debits.routes())

    # As Stripe Tax: the same account's key.
    tax_endpoint = Endpoint(
        "tax", settings.provider_api_key, book, clock, outages, provider.refusal_body
    )
    tax_app = web.Application(middlewares=[tax_endpoint.middleware])
    tax_app.add_routes(tax.TaxService().routes())

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def begin_sending(_: web.Application) -> None:
        for sender in senders:
            await sender.start()

    guard = Guard(settings.allowed_hosts, (settings.provider_api_key, settings.sms_api_key))
    inbox = Inbox(book, guard, clock)

    async def end_polls(_: web.Application) -> None:
        for part in (clock, inbox):
            await part.close()
        for sender in senders:
            await sender.close()

    app = web.Application(middlewares=[guard.middleware])
    app.add_routes([web.get("/healthz", healthz), *clock.routes(), *outages.routes()])
    app.add_routes([*behavior.routes(), *cards.routes(), *accounts[0].outside_routes()])
    app.add_routes(
        [
            *record.routes(book),
            *sms.inbox_routes(book, guard, clock),
            *mail.inbox_routes(book, guard),
            *inbox.routes(),
        ]
    )
    phones = sms_replies.SmsReplies(book, clock, receipts, settings.sms_reply_url)
    app.add_routes([*phones.routes()])
    app.add_routes([*receipts.routes(), *statuses.routes(), *Platform(clock).routes()])
    app.add_routes([*bank_webhooks.routes(), *debits.record_routes()])
    app.add_subapp("/v1", provider.build_app(accounts))
    for account, account_book in zip(accounts[1:], books[1:], strict=True):
        account_app = web.Application()
        account_app.add_routes([*account.outside_routes(), *record.routes(account_book)])
        app.add_subapp(SECOND_PATH, account_app)
    app.add_subapp("/bank", bank_app)
    for path, sms_app in _sms_apps(settings, book, clock, outages, receipts, statuses):
        app.add_subapp(path, sms_app)
    app.add_subapp("/tax/v1", tax_app)
    app.on_startup.append(begin_sending)
    app.on_shutdown.append(end_polls)
    return app


async def _tell_time(clock: Clock, _: web.Request, response: web.StreamResponse) -> None:
    """Date answers by the sandbox's clock: those of providers give their time."""
    response.headers["Date"] = _date(clock.now)


@lru_cache(maxsize=1)
def _date(now: datetime) -> str:
    return format_datetime(now, usegmt=True)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises OSError when an address is taken."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    book = Record(settings.record_file)
    books = [book]
    if settings.second_provider_api_key:
        stem = f"{settings.record_file.stem}-second"
        books.append(Record(settings.record_file.with_stem(stem)))
    clock = Clock(book, settings.start, settings.expected_services, settings.settle_timeout_seconds)
    await clock.keep()
    outages = Outages(book)
    # A poll whose process was killed has to end, or the clock would wait for the dead.
    app = build_app(settings, books, clock, outages)
    app.on_response_prepare.append(partial(_tell_time, clock))
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    try:
        await runner.setup()
        await web.TCPSite(runner, *settings.http_address).start()
        smtp = await mail.Mailbox(book, clock, outages).listen(*settings.smtp_address)
        logger.info(
            "ready: HTTP on %s:%d, SMTP on %s:%d, the time is %s",
            *settings.http_address,
            *settings.smtp_address,
            clock.now.isoformat(),
        )
        await stop.wait()
        smtp.close()
    finally:
        await runner.cleanup()
        for each in books:
            await each.close()


def main() -> int:
    """Run the process and return its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # The SMTP library logs every command, addresses included.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    try:
        uvloop.run(serve(read_settings(os.environ)))
    except SettingsError as error:
        print(f"sandbox: bad settings\n{error}", file=sys.stderr)  # noqa: T201
        return 2
    except (OSError, sqlite3.Error) as error:
        print(f"sandbox: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
