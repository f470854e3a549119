"""`python -m services.payments`: settings and wiring."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from pydantic import Field, SecretStr, field_validator
from recurring.payments.v1 import payments_pb2_grpc

from services.payments import api, consumers
from services.payments.api.commands import COMMANDS
from services.payments.api.webhooks import HTTP_LIMITS, WebhookReceiver
from services.payments.application import disputes, ledger, provider_balance, reconciliation
from services.payments.application.webhooks import WebhookInbox
from services.payments.clients.bank_debit import BANK_DEBIT, BankDebitProvider
from services.payments.clients.provider import (
    CONNECTIONS_MAX,
    REQUEST_TIMEOUT_SECONDS,
    STRIPE,
    Provider,
    StripeProvider,
)
from services.payments.clients.providers import Providers
from services.payments.clients.rendering.process import PROCESSES_MAX, DocumentRenderer
from services.payments.clients.request_limits import RequestLimits
from services.payments.clients.rule_packs import RulePacks
from services.payments.clients.stock import Stock
from services.payments.clients.stripe_balance import StripeBalance
from services.payments.domain.expiry import NOTICE_DAYS_MAX
from services.payments.store import gauges
from services.payments.store.encrypted import ENCRYPTED_TABLES
from services.payments.workers import EXPIRY_NOTICE_DAYS, Workers
from services.runtime.app.bootstrap import main
from services.runtime.app.components import Components, HttpAddress, PeriodicWork, Runtime
from services.runtime.app.settings import RuntimeSettings, is_for_development
from services.runtime.db import leases
from services.runtime.db.leases import LEASE_MAX_SECONDS
from services.runtime.db.pool import Database
from services.runtime.http_client import HttpClient
from services.runtime.http_server import HttpServer
from services.runtime.workers.clock import Clock

LEASE_MIN_SECONDS = 22
WEBHOOK_SECRETS_MAX = 2
# Of secrets that a development stack makes.
DEVELOPMENT_SECRET_PREFIX = "whsec_development"  # noqa: S105 - the prefix alone


class Settings(RuntimeSettings):
    """What payments needs to know beyond what every service does."""

    # gRPC target of the catalog, such as dns:///catalog:7402: it knows the rule packs.
    catalog_target: str
    # Base address of the provider, without its `/v1`.
    provider_url: str = Field(pattern=r"^https?://.+$")
    provider_api_key: SecretStr = Field(min_length=1)
    # Shorter, a step would not wait for an answer that takes as long as it may.
    lease_seconds: int | None = Field(default=None, ge=LEASE_MIN_SECONDS, le=LEASE_MAX_SECONDS)
    # How many payments, look-ups and refunds a process begins with it in a second.
    provider_turns_per_second: float = Field(default=100, gt=0, le=100_000)
    # So often what the provider keeps and pays out is read; 0: it is not.
    balance_poll_seconds: float = Field(default=300, ge=0, le=86_400)
    # So long before a payment method expires its customer is told.
    expiry_notice_days: int = Field(default=EXPIRY_NOTICE_DAYS, ge=1, le=NOTICE_DAYS_MAX)
    # How many documents are rendered at the same time, each in a process of 100 MB.
    document_processes: int = Field(default=1, ge=1, le=PROCESSES_MAX)
    # Where customers act on payments: they are sent links to it, and come back to it from their bank.
    # `{merchant}` stands for the merchant's id. Empty: there is no such page.
    payment_page_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    # Base address of the bank debit provider; empty: there is none.
    bank_debit_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    bank_debit_access_token: SecretStr = SecretStr("")
    bank_debit_turns_per_second: float = Field(default=15, gt=0, le=100_000)
    # As `webhook_secrets`, of that provider.
    bank_debit_webhook_secrets: SecretStr = SecretStr("")
    # The address for the providers' webhooks; empty: there is none, and outcomes are looked up alone.
    webhook_address: str = Field(default="", pattern=r"^(.+:\d+)?$")
    # What the provider signs them with: one secret or, while it is rotated, two, separated by a space.
    webhook_secrets: SecretStr = SecretStr("")

    @field_validator("webhook_secrets", "bank_debit_webhook_secrets")
    @classmethod
    def _are_at_most_two(cls, secrets: SecretStr) -> SecretStr:
        if len(secrets.get_secret_value().split()) > WEBHOOK_SECRETS_MAX:
            raise ValueError("must be one secret, or two separated by a space")
        return secrets

    def invalid_settings(self) -> Iterator[tuple[str, str]]:
        """Those that contradict each other, and those that production refuses."""
        yield from super().invalid_settings()
        if bool(self.webhook_address) != bool(self.webhook_secrets.get_secret_value()):
            yield "WEBHOOK_SECRETS", "set both this and RECURRING_WEBHOOK_ADDRESS, or neither"
        if bool(self.bank_debit_url) != bool(self.bank_debit_access_token.get_secret_value()):
            yield (
                "BANK_DEBIT_ACCESS_TOKEN",
                "set both this and RECURRING_BANK_DEBIT_URL, or neither",
            )
        has_secrets = bool(self.bank_debit_webhook_secrets.get_secret_value())
        if has_secrets and not (self.webhook_address and self.bank_debit_url):
            yield (
                "BANK_DEBIT_WEBHOOK_SECRETS",
                "set RECURRING_WEBHOOK_ADDRESS and RECURRING_BANK_DEBIT_URL too",
            )

    def production_violations(self) -> Iterator[tuple[str, str]]:
        """What is for development only, the sandbox's provider among it."""
        yield from super().production_violations()
        if is_for_development(self.provider_url):
            yield "PROVIDER_URL", "a provider of this machine or without TLS"
        if self.payment_page_url.startswith("http://"):
            yield "PAYMENT_PAGE_URL", "a page without TLS"
        if self.bank_debit_url and is_for_development(self.bank_debit_url):
            yield "BANK_DEBIT_URL", "a provider of this machine or without TLS"
        if DEVELOPMENT_SECRET_PREFIX in self.bank_debit_webhook_secrets.get_secret_value():
            yield "BANK_DEBIT_WEBHOOK_SECRETS", "a secret for development"
        if self.provider_api_key.get_secret_value().startswith("sk_test_"):
            yield "PROVIDER_API_KEY", "a test key"
        if DEVELOPMENT_SECRET_PREFIX in self.webhook_secrets.get_secret_value():
            yield "WEBHOOK_SECRETS", "a secret for development"


async def assemble(runtime: Runtime[Settings]) -> Components:
    """Put payments together."""
    settings, database, clock = runtime.settings, runtime.database, runtime.clock
    http = await runtime.resources.enter_async_context(
        HttpClient(connections_max=CONNECTIONS_MAX, timeout_seconds=REQUEST_TIMEOUT_SECONDS)
    )
    stripe = StripeProvider(
        http,
        settings.provider_url,
        settings.provider_api_key.get_secret_value(),
        RequestLimits(clock, settings.provider_turns_per_second),
        settings.payment_page_url,
    )
    providers = Providers([stripe, *await _bank_debit(runtime)])
    catalog = runtime.channel(settings.catalog_target)
    renderer = await runtime.resources.enter_async_context(
        DocumentRenderer(settings.document_processes)
    )
    notice_ahead = timedelta(days=settings.expiry_notice_days)
    workers = Workers(database, clock, providers, notice_ahead)
    return Components(
        servicer=api.Servicer(
            database, clock, providers, renderer, RulePacks(catalog), Stock(catalog)
        ),
        register=payments_pb2_grpc.add_PaymentsServiceServicer_to_server,
        grpc_service="recurring.payments.v1.PaymentsService",
        access=api.ACCESS,
        due_work=workers.due_work(),
        http=_webhook_address(settings, database, clock),
        lease=leases.OUTSIDE,
        periodic_work=(
            PeriodicWork(
                "ledger-days",
                partial(ledger.close_days, database, clock),
                ledger.CLOSE_POLL_SECONDS,
                ledger.CLOSE_DEADLINE_SECONDS,
            ),
            *_balance_reading(settings, database, clock, http),
            *(
                PeriodicWork(
                    f"dispute-list-{provider.name}",
                    partial(disputes.list_new, database, clock, provider),
                    disputes.LIST_POLL_SECONDS,
                    disputes.LIST_DEADLINE_SECONDS,
                )
                for provider in providers
            ),
        ),
        gauge_queries=gauges.GAUGE_QUERIES,
        encrypted=ENCRYPTED_TABLES,
    )


async def _bank_debit(runtime: Runtime[Settings]) -> list[Provider]:
    """The provider of bank debits, if one is set, with connections of its own."""
    settings = runtime.settings
    if not settings.bank_debit_url:
        return []
    http = await runtime.resources.enter_async_context(
        HttpClient(connections_max=CONNECTIONS_MAX, timeout_seconds=REQUEST_TIMEOUT_SECONDS)
    )
    return [
        BankDebitProvider(
            http,
            settings.bank_debit_url,
            settings.bank_debit_access_token.get_secret_value(),
            RequestLimits(runtime.clock, settings.bank_debit_turns_per_second),
        )
    ]


def _balance_reading(
    settings: Settings, database: Database, clock: Clock, http: HttpClient
) -> Iterator[PeriodicWork]:
    if not settings.balance_poll_seconds:
        return
    balance = StripeBalance(
        http, settings.provider_url, settings.provider_api_key.get_secret_value()
    )
    yield PeriodicWork(
        "provider-balance",
        partial(provider_balance.read, database, balance, clock),
        settings.balance_poll_seconds,
        provider_balance.DEADLINE_SECONDS,
    )
    yield PeriodicWork(
        "reconciliation",
        partial(reconciliation.reconcile, database, balance, clock),
        settings.balance_poll_seconds,
        reconciliation.DEADLINE_SECONDS,
    )


def _webhook_address(settings: Settings, database: Database, clock: Clock) -> HttpAddress | None:
    if not settings.webhook_address:
        return None
    named = {
        STRIPE: settings.webhook_secrets,
        BANK_DEBIT: settings.bank_debit_webhook_secrets,
    }
    secrets = {
        provider: [each.encode() for each in words.get_secret_value().split()]
        for provider, words in named.items()
        if words.get_secret_value()
    }
    receiver = WebhookReceiver(WebhookInbox(database, clock), secrets, clock)
    return HttpAddress(settings.webhook_address, HttpServer(receiver.answer, HTTP_LIMITS))


if __name__ == "__main__":
    main("payments", Settings, assemble, consumers.subscriptions, COMMANDS)
