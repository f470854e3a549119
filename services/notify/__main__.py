"""`python -m services.notify`: settings and wiring."""

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from pydantic import Field, SecretStr
from recurring.notify.v1 import notify_pb2_grpc

from services.notify import api, workers
from services.notify.api.callbacks import (
    HTTP_LIMITS,
    MESSAGES_PATH,
    RECEIPTS_PATH,
    TWILIO_MESSAGES_PATH,
    TWILIO_STATUS_PATH,
    UNSUBSCRIBE_PAGES,
    Callback,
    CallbackReceiver,
    signed_messages,
    signed_receipts,
    twilio_messages,
    twilio_statuses,
    unsubscriptions,
)
from services.notify.application import replies, statistics, webhooks
from services.notify.application.receipt_inbox import ReceiptInbox
from services.notify.application.unsubscribing import UNSUBSCRIBE_PATH, UnsubscribeLinks
from services.notify.clients.acts import Acts
from services.notify.clients.documents import Documents
from services.notify.clients.email import EmailGateway, MailServer, MailTls
from services.notify.clients.sms import SmsGateway
from services.notify.clients.twilio import TwilioGateway
from services.notify.clients.webhooks import WebhookSender
from services.notify.consumers import subscriptions
from services.notify.domain.notices import Channel, MerchantId
from services.notify.domain.phone_changes import PHONE_CHANGE_WAIT
from services.notify.domain.phone_codes import DEFAULT_BUDGET, CodeBudget
from services.notify.domain.phone_numbers import NumberPolicies, NumberPolicy
from services.notify.domain.replies.inbound import SenderNumbers
from services.notify.domain.routes import Route
from services.notify.domain.sms_prices import AMOUNT, SMS_PRICES, parse_prices, to_micros
from services.notify.store import gauges
from services.notify.store.encrypted import ENCRYPTED_TABLES
from services.notify.workers.pace import CONCURRENT_MAX, PaceLimit
from services.notify.workers.webhooks import Webhooks
from services.runtime.app.bootstrap import main
from services.runtime.app.components import Components, HttpAddress, PeriodicWork, Runtime
from services.runtime.app.settings import RuntimeSettings, is_for_development
from services.runtime.db import leases
from services.runtime.db.due_work import DueWork
from services.runtime.db.leases import LEASE_MAX_SECONDS
from services.runtime.http_server import HttpServer
from services.runtime.resource_names import ID_PATTERN

LEASE_MIN_SECONDS = 24
CALLBACK_SECRETS_MAX = 2
# Of secrets that a development stack makes.
DEVELOPMENT_SECRET_PREFIX = "whsec_development"  # noqa: S105 - the prefix alone
_TEST_PREFIXES = r"^(\+[1-9][0-9]{2,13}( \+[1-9][0-9]{2,13})*)?$"
_COUNTRIES = r"^([A-Z]{2}( [A-Z]{2})*)?$"
_LISTED = rf"{ID_PATTERN.pattern}=[A-Z]{{2}}( [A-Z]{{2}})*"
_SENDER = r"[A-Za-z0-9+ ]{1,16}"
_MERCHANT_SENDERS = rf"^({ID_PATTERN.pattern}={_SENDER}(, ?{ID_PATTERN.pattern}={_SENDER})*)?$"
_MERCHANT_COUNTRIES = rf"^({_LISTED}(, ?{_LISTED})*)?$"


class SmsProvider(StrEnum):
    """The shapes of SMS gateways."""

    GENERIC = "generic"
    TWILIO = "twilio"


class SmsAccess(NamedTuple):
    """How an SMS gateway is reached, and by what name deliveries keep it."""

    name: str
    provider: SmsProvider
    account: str
    url: str
    api_key: str
    sender: str
    # What it signs receipts with.
    secrets: tuple[bytes, ...]


class Settings(RuntimeSettings):
    """What notify needs to know beyond what every service does."""

    # Shorter, a step would have hardly any time in which a message may be sent.
    lease_seconds: int | None = Field(default=None, ge=LEASE_MIN_SECONDS, le=LEASE_MAX_SECONDS)
    # How the SMS gateway is spoken to.
    sms_provider: SmsProvider = SmsProvider.GENERIC
    # Of Twilio: the account's SID, whose auth token is the key. Empty otherwise.
    sms_account: str = Field(default="", pattern=r"^(AC[0-9a-f]{32})?$")
    # Base address of the SMS gateway; messages go to <SMS_URL>/v1/messages, or to Twilio's path.
    sms_url: str = Field(pattern=r"^https?://.+")
    sms_api_key: SecretStr = Field(min_length=1)
    # What phones show as the sender: at most 11 letters and digits, or a number.
    sms_sender: str = Field(default="Recurring", min_length=1, max_length=16)
    # For merchants whose messages come from a number of their own, to which their customers reply:
    # `merchant=+447700900001` by commas.
    merchant_sms_senders: str = Field(default="", pattern=_MERCHANT_SENDERS)
    # A second SMS gateway, for what the first does not take; without its address there is none.
    sms_fallback_provider: SmsProvider = SmsProvider.GENERIC
    sms_fallback_account: str = Field(default="", pattern=r"^(AC[0-9a-f]{32})?$")
    sms_fallback_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    sms_fallback_api_key: SecretStr = SecretStr("")
    sms_fallback_sender: str = Field(default="Recurring", min_length=1, max_length=16)
    sms_fallback_callback_secrets: SecretStr = SecretStr("")
    # What each gateway takes of one process: messages a second (0: no limit), and at once.
    sms_messages_per_second: float = Field(default=0, ge=0, le=10_000)
    sms_messages_at_once: int = Field(default=CONCURRENT_MAX, ge=1, le=CONCURRENT_MAX)
    sms_fallback_messages_per_second: float = Field(default=0, ge=0, le=10_000)
    email_messages_per_second: float = Field(default=0, ge=0, le=10_000)
    email_messages_at_once: int = Field(default=CONCURRENT_MAX, ge=1, le=CONCURRENT_MAX)
    # The address for what gateways send by themselves; empty: they are asked alone.
    callback_address: str = Field(default="", pattern=r"^(.+:\d+)?$")
    # That address as gateways reach it, without a path, such as https://hooks.example.com.
    callback_url: str = Field(default="", pattern=r"^(https?://[^/]+)?$")
    # What it signs receipts with: one secret or, while it is rotated, two, separated by a space.
    sms_callback_secrets: SecretStr = SecretStr("")
    # gRPC target of payments, such as dns:///payments:7402: it has the documents that e-mails bring,
    # and takes what customers confirm by reply.
    payments_target: str
    # gRPC target of the scheduler: what customers skip and pause by a reply.
    scheduler_target: str
    smtp_host: str = Field(min_length=1)
    smtp_port: int = Field(ge=1, le=65535)
    smtp_tls: MailTls = MailTls.STARTTLS
    # As whom mail is handed in; without a user there is no login.
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    email_sender: str = Field(default="Recurring <no-reply@recurring.example>", pattern=r"^.+@.+$")

    # ISO 3166-1 codes of the countries whose numbers are sent codes, separated by spaces; empty: all.
    phone_countries: str = Field(default="", pattern=_COUNTRIES)
    # The same for merchants who have a list of their own: `merchant=DE AT` by commas.
    merchant_phone_countries: str = Field(default="", pattern=_MERCHANT_COUNTRIES)
    # Numbers that begin so, separated by spaces, are taken though nobody has them: for development.
    phone_test_prefixes: str = Field(default="", pattern=_TEST_PREFIXES)
    # Codes for one merchant's customers, by the hour and the day of UTC.
    phone_codes_hour_max: int = Field(default=DEFAULT_BUDGET.hour_max, ge=1, le=1_000_000)
    phone_codes_day_max: int = Field(default=DEFAULT_BUDGET.day_max, ge=1, le=1_000_000)
    # Of them, in an hour, those that one caller of the merchant asks for.
    phone_codes_caller_hour_max: int = Field(
        default=DEFAULT_BUDGET.caller_hour_max, ge=1, le=10_000
    )
    # What an SMS segment costs: the currency, the price of most countries, and those of others.
    sms_prices: str = Field(default="EUR *=0.1", pattern=SMS_PRICES)
    # What codes for one merchant's customers may cost in a day of UTC, in that currency.
    phone_codes_day_spend_max: str = Field(default="100", pattern=f"^{AMOUNT}$")

    # Hosts that webhooks go to without TLS and at any address, separated by spaces: for development.
    webhook_test_hosts: str = Field(default="", pattern=r"^([a-z0-9.:-]+( [a-z0-9.:-]+)*)?$")
    # How long the owner of a bound phone has to object before another one takes its place.
    phone_change_wait_hours: int = Field(
        default=PHONE_CHANGE_WAIT // timedelta(hours=1), ge=1, le=720
    )

    def invalid_settings(self) -> Iterator[tuple[str, str]]:
        """A login that is half there among the rest."""
        yield from super().invalid_settings()
        if bool(self.smtp_user) != bool(self.smtp_password.get_secret_value()):
            yield "SMTP_PASSWORD", "set both this and RECURRING_SMTP_USER, or neither"
        if bool(self.callback_address) != bool(self.callback_url):
            yield "CALLBACK_URL", "set both this and RECURRING_CALLBACK_ADDRESS, or neither"
        if bool(self.sms_account) != (self.sms_provider is SmsProvider.TWILIO):
            yield "SMS_ACCOUNT", "set it with RECURRING_SMS_PROVIDER=twilio, and only then"
        secrets = self.sms_callback_secrets.get_secret_value().split()
        if bool(secrets) != bool(self.callback_address):
            yield "SMS_CALLBACK_SECRETS", "set both this and RECURRING_CALLBACK_ADDRESS, or neither"
        fallback_secrets = self.sms_fallback_callback_secrets.get_secret_value().split()
        has_fallback = bool(self.sms_fallback_url)
        if bool(fallback_secrets) != (has_fallback and bool(self.callback_address)):
            rule = "set it with both RECURRING_SMS_FALLBACK_URL and RECURRING_CALLBACK_ADDRESS"
            yield "SMS_FALLBACK_CALLBACK_SECRETS", f"{rule}, and only then"
        if bool(self.sms_fallback_api_key.get_secret_value()) != has_fallback:
            yield "SMS_FALLBACK_API_KEY", "set both this and RECURRING_SMS_FALLBACK_URL, or neither"
        is_twilio = has_fallback and self.sms_fallback_provider is SmsProvider.TWILIO
        if bool(self.sms_fallback_account) != is_twilio:
            rule = "set it with RECURRING_SMS_FALLBACK_PROVIDER=twilio, and only then"
            yield "SMS_FALLBACK_ACCOUNT", rule
        for name, given in (("SMS", secrets), ("SMS_FALLBACK", fallback_secrets)):
            if len(given) > CALLBACK_SECRETS_MAX:
                yield f"{name}_CALLBACK_SECRETS", "must be one secret, or two separated by a space"

    def production_violations(self) -> Iterator[tuple[str, str]]:
        """What is for development only, the sandbox's gateway among it."""
        yield from super().production_violations()
        if is_for_development(self.sms_url):
            yield "SMS_URL", "a gateway of this machine or without TLS"
        if self.sms_fallback_url and is_for_development(self.sms_fallback_url):
            yield "SMS_FALLBACK_URL", "a gateway of this machine or without TLS"
        if self.callback_url.startswith("http://"):
            yield "CALLBACK_URL", "an address without TLS"
        if DEVELOPMENT_SECRET_PREFIX in self.sms_callback_secrets.get_secret_value():
            yield "SMS_CALLBACK_SECRETS", "a secret for development"
        if self.smtp_tls is MailTls.NONE:
            yield "SMTP_TLS", "a mail server without TLS"
        if self.phone_test_prefixes:
            yield "PHONE_TEST_PREFIXES", "a phone number that nobody has"
        if self.webhook_test_hosts:
            yield "WEBHOOK_TEST_HOSTS", "a webhook without TLS or within the network"

    def senders(self) -> SenderNumbers:
        """The numbers that messages come from, and whether customers can reply to them."""
        entries = (entry.strip().partition("=") for entry in self.merchant_sms_senders.split(","))
        return SenderNumbers(
            {MerchantId(merchant): number for merchant, _, number in entries if merchant},
            self.sms_sender,
            are_read=bool(self.callback_address),
        )

    def numbers(self) -> NumberPolicies:
        """Which numbers are sent codes, by merchant."""
        prefixes = tuple(self.phone_test_prefixes.split())
        listed = {
            merchant: countries
            for merchant, _, countries in (
                entry.strip().partition("=") for entry in self.merchant_phone_countries.split(",")
            )
            if merchant
        }
        return NumberPolicies(
            NumberPolicy(frozenset(self.phone_countries.split()), prefixes),
            {m: NumberPolicy(frozenset(c.split()), prefixes) for m, c in listed.items()},
        )

    def sms_accesses(self) -> list[SmsAccess]:
        """The SMS gateway, and the second one if there is one."""
        first = SmsAccess(
            self.sms_provider.value,
            self.sms_provider,
            self.sms_account,
            self.sms_url,
            self.sms_api_key.get_secret_value(),
            self.sms_sender,
            _secrets(self.sms_callback_secrets),
        )
        if not self.sms_fallback_url:
            return [first]
        second = SmsAccess(
            f"{self.sms_fallback_provider.value}-fallback",
            self.sms_fallback_provider,
            self.sms_fallback_account,
            self.sms_fallback_url,
            self.sms_fallback_api_key.get_secret_value(),
            self.sms_fallback_sender,
            _secrets(self.sms_fallback_callback_secrets),
        )
        return [first, second]

    def pace_limits(self) -> dict[tuple[Channel, Route], PaceLimit]:
        """How fast messages go to each gateway."""
        return {
            (Channel.SMS, Route.PRIMARY): PaceLimit(
                self.sms_messages_per_second, self.sms_messages_at_once
            ),
            (Channel.SMS, Route.SECONDARY): PaceLimit(
                self.sms_fallback_messages_per_second, self.sms_messages_at_once
            ),
            (Channel.EMAIL, Route.PRIMARY): PaceLimit(
                self.email_messages_per_second, self.email_messages_at_once
            ),
        }

    def code_budget(self) -> CodeBudget:
        """How many codes may be sent for a merchant's customers, and what they may cost."""
        return CodeBudget(
            self.phone_codes_hour_max,
            self.phone_codes_day_max,
            self.phone_codes_caller_hour_max,
            to_micros(self.phone_codes_day_spend_max),
            parse_prices(self.sms_prices),
        )


def _secrets(setting: SecretStr) -> tuple[bytes, ...]:
    return tuple(each.encode() for each in setting.get_secret_value().split())


async def assemble(runtime: Runtime[Settings]) -> Components:
    """Put notify together."""
    settings = runtime.settings
    sms = [sms_gateway(access, settings.callback_url) for access in settings.sms_accesses()]
    for gateway in sms:
        runtime.resources.push_async_callback(gateway.close)
    email = EmailGateway(_mail_server(settings), settings.email_sender)
    runtime.resources.push_async_callback(email.close)
    sources = {gateway.name: gateway for gateway in sms}
    receipts = workers.Receipts(runtime.database, runtime.clock, sources)
    payments = runtime.channel(settings.payments_target)
    documents = Documents(payments)
    acts = Acts(runtime.channel(settings.scheduler_target), payments)
    deliveries = workers.Deliveries(
        runtime.database,
        runtime.clock,
        {Channel.SMS: sms[0], Channel.EMAIL: email},
        documents,
        parse_prices(settings.sms_prices),
        settings.senders(),
        settings.callback_url,
        sms[1] if len(sms) > 1 else None,
        settings.pace_limits(),
    )
    test_hosts = frozenset(settings.webhook_test_hosts.split())
    sender = WebhookSender(test_hosts)
    runtime.resources.push_async_callback(sender.close)
    sending = Webhooks(runtime.database, runtime.clock, sender)
    runtime.resources.push_async_callback(sending.close)
    return Components(
        servicer=api.Servicer(
            runtime.database,
            runtime.clock,
            settings.numbers(),
            settings.code_budget(),
            test_hosts,
            timedelta(hours=settings.phone_change_wait_hours),
            settings.senders(),
        ),
        register=notify_pb2_grpc.add_NotifyServiceServicer_to_server,
        grpc_service="recurring.notify.v1.NotifyService",
        access=api.ACCESS,
        due_work=(
            *(DueWork("delivery", deliveries.work, queue=channel) for channel in Channel),
            DueWork("attachment", deliveries.work_with_attachments),
            DueWork("receipt", receipts.work),
            DueWork("reply", workers.Replies(runtime.database, settings.senders()).work),
            DueWork("reply-act", workers.ReplyActs(runtime.database, runtime.clock, acts).work),
            DueWork("webhook", sending.work),
            DueWork("phone-change", workers.PhoneChanges(runtime.database).work),
            DueWork("phone-silence", workers.PhoneSilence(runtime.database).work),
            DueWork("monthly-summary", workers.MonthlySummaries(runtime.database).work),
        ),
        periodic_work=(
            PeriodicWork(
                "webhook-retention",
                partial(webhooks.purge, runtime.database, runtime.clock),
                webhooks.PURGE_POLL_SECONDS,
                webhooks.PURGE_DEADLINE_SECONDS,
            ),
            PeriodicWork(
                "notice-statistics",
                partial(statistics.merge, runtime.database),
                statistics.MERGE_POLL_SECONDS,
                statistics.MERGE_DEADLINE_SECONDS,
            ),
            PeriodicWork(
                "reply-retention",
                partial(replies.purge, runtime.database, runtime.clock),
                replies.PURGE_POLL_SECONDS,
                replies.PURGE_DEADLINE_SECONDS,
            ),
        ),
        http=_callback_address(runtime),
        lease=leases.OUTSIDE,
        gauge_queries=gauges.GAUGE_QUERIES,
        encrypted=ENCRYPTED_TABLES,
    )


def sms_gateway(access: SmsAccess, callback_url: str) -> SmsGateway | TwilioGateway:
    """What speaks to a gateway, which sends receipts to an address of ours; empty: it does not."""
    if access.provider is SmsProvider.TWILIO:
        status_url = f"{callback_url}{TWILIO_STATUS_PATH}" if callback_url else ""
        return TwilioGateway(
            access.url, access.account, access.api_key, access.sender, status_url, access.name
        )
    receipt_url = f"{callback_url}{RECEIPTS_PATH}" if callback_url else ""
    return SmsGateway(access.url, access.api_key, access.sender, receipt_url, access.name)


def _callback_address(runtime: Runtime[Settings]) -> HttpAddress | None:
    settings, clock = runtime.settings, runtime.clock
    if not settings.callback_address:
        return None
    inbox = ReceiptInbox(runtime.database, clock)
    # Two gateways of one shape use one address; either one's signature will do.
    secrets: dict[SmsProvider, list[bytes]] = {}
    for access in settings.sms_accesses():
        secrets.setdefault(access.provider, []).extend(access.secrets)
    callbacks: dict[str, Callback] = {}
    if (tokens := secrets.get(SmsProvider.TWILIO)) is not None:
        url = f"{settings.callback_url}{TWILIO_STATUS_PATH}"
        callbacks[TWILIO_STATUS_PATH] = twilio_statuses(inbox, tokens, url)
        messages_url = f"{settings.callback_url}{TWILIO_MESSAGES_PATH}"
        callbacks[TWILIO_MESSAGES_PATH] = twilio_messages(
            runtime.database, tokens, messages_url, clock, TwilioGateway.name
        )
    if (keys := secrets.get(SmsProvider.GENERIC)) is not None:
        callbacks[RECEIPTS_PATH] = signed_receipts(inbox, keys, clock)
        callbacks[MESSAGES_PATH] = signed_messages(runtime.database, keys, clock, SmsGateway.name)
    links = UnsubscribeLinks(runtime.database.keyring, settings.callback_url)
    callbacks[UNSUBSCRIBE_PATH] = unsubscriptions(links, runtime.database, clock)
    receiver = CallbackReceiver(callbacks, UNSUBSCRIBE_PAGES)
    return HttpAddress(settings.callback_address, HttpServer(receiver.answer, HTTP_LIMITS))


def _mail_server(settings: Settings) -> MailServer:
    return MailServer(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_tls,
        settings.smtp_user,
        settings.smtp_password.get_secret_value(),
    )


if __name__ == "__main__":
    main("notify", Settings, assemble, subscriptions)
