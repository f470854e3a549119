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
from services.payments.clients import provider_clock
from services.payments.clients.bank_debit import BankDebitProvider
from services.payments.clients.bank_debit_api import BANK_DEBIT, bank_debit_api
from services.payments.clients.bank_debit_balance import BankDebitBalance
from services.payments.clients.provider import (
    CONNECTIONS_MAX,
    REQUEST_TIMEOUT_SECONDS,
    Provider,
)
from services.payments.clients.provider_balance import ProviderBalance
from services.payments.clients.provider_clock import ProviderClock, timed_client
from services.payments.clients.providers import Providers
from services.payments.clients.rendering.process import PROCESSES_MAX, DocumentRenderer
from services.payments.clients.request_limits import RequestLimits
from services.payments.clients.rule_packs import RulePacks
from services.payments.clients.stock import Stock
from services.payments.clients.stripe import STRIPE, StripeProvider
from services.payments.clients.stripe_accounts import values_by_account
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
    # So long before a payment method expires its customer is notified.
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
    # Keys of accounts of Stripe beside the first, `NAME=KEY` each with spaces or lines between them;
    # each account is a provider of that name.
    stripe_account_api_keys: SecretStr = SecretStr("")
    # As `webhook_secrets`, `NAME=SECRET` each.
    stripe_account_webhook_secrets: SecretStr = SecretStr("")

    @field_validator("webhook_secrets", "bank_debit_webhook_secrets")
    @classmethod
    def _are_at_most_two(cls, secrets: SecretStr) -> SecretStr:
        if len(secrets.get_secret_value().split()) > WEBHOOK_SECRETS_MAX:
            raise ValueError("must be one secret, or two separated by a space")
        return secrets

    @field_validator("stripe_account_api_keys")
    @classmethod
    def _are_keys_of_accounts(cls, keys: SecretStr) -> SecretStr:
        values_by_account(keys.get_secret_value())
        return keys

    @field_validator("stripe_account_webhook_secrets")
    @classmethod
    def _are_secrets_of_accounts(cls, secrets: SecretStr) -> SecretStr:
        values_by_account(secrets.get_secret_value(), WEBHOOK_SECRETS_MAX)
        return secrets

    @property
    def stripe_accounts(self) -> dict[str, str]:
        """The key of each account of Stripe, the first named as its kind."""
        first = {STRIPE: self.provider_api_key.get_secret_value()}
        others = values_by_account(self.stripe_account_api_keys.get_secret_value())
        return first | {name: key for name, [key] in others.items()}

    @property
    def signing_secrets(self) -> dict[str, list[str]]:
        """What each provider signs its webhooks with, of those that send some."""
        secrets = {
            STRIPE: self.webhook_secrets.get_secret_value().split(),
            BANK_DEBIT: self.bank_debit_webhook_secrets.get_secret_value().split(),
        } | values_by_account(
            self.stripe_account_webhook_secrets.get_secret_value(), WEBHOOK_SECRETS_MAX
        )
        return {provider: signing for provider, signing in secrets.items() if signing}

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

        signing = self.stripe_account_webhook_secrets.get_secret_value()
        if signing and not self.webhook_address:
            yield "STRIPE_ACCOUNT_WEBHOOK_SECRETS", "set RECURRING_WEBHOOK_ADDRESS too"
        if not self.stripe_accounts.keys() >= self.signing_secrets.keys() - {BANK_DEBIT}:
            yield (
                "STRIPE_ACCOUNT_WEBHOOK_SECRETS",
                "an account has no key in RECURRING_STRIPE_ACCOUNT_API_KEYS",
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
        for name, key in self.stripe_accounts.items():
            if key.startswith("sk_test_"):
                setting = "PROVIDER_API_KEY" if name == STRIPE else "STRIPE_ACCOUNT_API_KEYS"
                yield setting, "a test key"
        if DEVELOPMENT_SECRET_PREFIX in self.stripe_account_webhook_secrets.get_secret_value():
            yield "STRIPE_ACCOUNT_WEBHOOK_SECRETS", "a secret for development"
        if DEVELOPMENT_SECRET_PREFIX in self.webhook_secrets.get_secret_value():
            yield "WEBHOOK_SECRETS", "a secret for development"


async def assemble(runtime: Runtime[Settings]) -> Components:
    """Put payments together."""
    settings, database, clock = runtime.settings, runtime.database, runtime.clock
    clocks: list[ProviderClock] = []
    accounts = [
        await _stripe(runtime, clocks, name, key) for name, key in settings.stripe_accounts.items()
    ]
    providers = Providers([*accounts, *await _bank_debit(runtime, clocks)])
    provider_clock.measure(clocks)
    catalog = runtime.channel(settings.catalog_target)
    renderer = await runtime.resources.enter_async_context(
        DocumentRenderer(settings.document_processes)
    )
    notice_ahead = timedelta(days=settings.expiry_notice_days)
    workers = Workers(database, clock, providers, notice_ahead, clocks)
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
            *await _balance_reading(runtime),
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


async def _connections(runtime: Runtime[Settings]) -> HttpClient:
    """Connections to one provider, closed at the end."""
    return await runtime.resources.enter_async_context(
        HttpClient(connections_max=CONNECTIONS_MAX, timeout_seconds=REQUEST_TIMEOUT_SECONDS)
    )


async def _timed_connections(
    runtime: Runtime[Settings], clocks: list[ProviderClock], provider: str, url: str
) -> HttpClient:
    """Connections to a provider whose clock is watched from now on, with the others."""
    client = timed_client(
        provider,
        url,
        runtime.clock,
        connections_max=CONNECTIONS_MAX,
        timeout_seconds=REQUEST_TIMEOUT_SECONDS,
    )
    http, clock = await runtime.resources.enter_async_context(client)
    clocks.append(clock)
    return http


async def _stripe(
    runtime: Runtime[Settings], clocks: list[ProviderClock], name: str, api_key: str
) -> Provider:
    """An account of Stripe, with connections, a rate and a circuit of its own."""
    settings = runtime.settings
    return StripeProvider(
        await _timed_connections(runtime, clocks, name, settings.provider_url),
        settings.provider_url,
        api_key,
        RequestLimits(runtime.clock, settings.provider_turns_per_second),
        settings.payment_page_url,
        name,
    )


async def _bank_debit(runtime: Runtime[Settings], clocks: list[ProviderClock]) -> list[Provider]:
    """The provider of bank debits, if one is set, with connections of its own."""
    settings = runtime.settings
    if not settings.bank_debit_url:
        return []
    return [
        BankDebitProvider(
            await _timed_connections(runtime, clocks, BANK_DEBIT, settings.bank_debit_url),
            settings.bank_debit_url,
            settings.bank_debit_access_token.get_secret_value(),
            RequestLimits(runtime.clock, settings.bank_debit_turns_per_second),
        )
    ]


async def _balances(runtime: Runtime[Settings]) -> list[ProviderBalance]:
    """The balance of each account and of bank debits, with connections of its own."""
    settings = runtime.settings
    balances: list[ProviderBalance] = [
        StripeBalance(await _connections(runtime), settings.provider_url, api_key, name)
        for name, api_key in settings.stripe_accounts.items()
    ]
    if settings.bank_debit_url:
        access_token = settings.bank_debit_access_token.get_secret_value()
        api = bank_debit_api(await _connections(runtime), settings.bank_debit_url, access_token)
        balances.append(BankDebitBalance(api))
    return balances


async def _balance_reading(runtime: Runtime[Settings]) -> list[PeriodicWork]:
    """What reads each balance by itself: one that hangs delays no other."""
    settings, database, clock = runtime.settings, runtime.database, runtime.clock
    if not settings.balance_poll_seconds:
        return []
    works = []
    for balance in await _balances(runtime):
        reading = PeriodicWork(
            f"provider-balance-{balance.name}",
            partial(provider_balance.read, database, balance, clock),
            settings.balance_poll_seconds,
            provider_balance.DEADLINE_SECONDS,
        )
        comparing = PeriodicWork(
            f"reconciliation-{balance.name}",
            partial(reconciliation.reconcile, database, balance, clock),
            settings.balance_poll_seconds,
            reconciliation.DEADLINE_SECONDS,
        )
        works += [reading, comparing]
    return works


def _webhook_address(settings: Settings, database: Database, clock: Clock) -> HttpAddress | None:
    if not settings.webhook_address:
        return None
    secrets = {
        provider: [secret.encode() for secret in signing]
        for provider, signing in settings.signing_secrets.items()
    }
    receiver = WebhookReceiver(WebhookInbox(database, clock), secrets, clock)
    return HttpAddress(settings.webhook_address, HttpServer(receiver.answer, HTTP_LIMITS))


if __name__ == "__main__":
    main("payments", Settings, assemble, consumers.subscriptions, COMMANDS)
