"""`python -m services.payments`: settings and wiring."""

from collections.abc import Iterator
from datetime import timedelta

from pydantic import Field, SecretStr
from recurring.payments.v1 import payments_pb2_grpc

from services.payments import api, consumers
from services.payments.api.commands import COMMANDS
from services.payments.clients.provider import (
    CONNECTIONS_MAX,
    REQUEST_TIMEOUT_SECONDS,
    StripeProvider,
)
from services.payments.domain.expiry import NOTICE_DAYS_MAX
from services.payments.store import gauges
from services.payments.store.encrypted import ENCRYPTED_TABLES
from services.payments.workers import EXPIRY_NOTICE_DAYS, Workers
from services.runtime.app.bootstrap import main
from services.runtime.app.components import Components, Runtime
from services.runtime.app.settings import RuntimeSettings, is_for_development
from services.runtime.db import leases
from services.runtime.db.due_work import DueWork
from services.runtime.http_client import HttpClient


class Settings(RuntimeSettings):
    """What payments needs to know beyond what every service does."""

    # Base address of the provider, without its `/v1`.
    provider_url: str = Field(pattern=r"^https?://.+$")
    provider_api_key: SecretStr = Field(min_length=1)
    # So long before a payment method expires its customer is told.
    expiry_notice_days: int = Field(default=EXPIRY_NOTICE_DAYS, ge=1, le=NOTICE_DAYS_MAX)

    def production_violations(self) -> Iterator[tuple[str, str]]:
        """What is for development only, the sandbox's provider among it."""
        yield from super().production_violations()
        if is_for_development(self.provider_url):
            yield "PROVIDER_URL", "a provider of this machine or without TLS"
        if self.provider_api_key.get_secret_value().startswith("sk_test_"):
            yield "PROVIDER_API_KEY", "a test key"


async def assemble(runtime: Runtime[Settings]) -> Components:
    """Put payments together."""
    settings, database, clock = runtime.settings, runtime.database, runtime.clock
    http = await runtime.resources.enter_async_context(
        HttpClient(connections_max=CONNECTIONS_MAX, timeout_seconds=REQUEST_TIMEOUT_SECONDS)
    )
    provider = StripeProvider(
        http, settings.provider_url, settings.provider_api_key.get_secret_value()
    )
    notice_ahead = timedelta(days=settings.expiry_notice_days)
    workers = Workers(database, clock, provider, notice_ahead)
    return Components(
        servicer=api.Servicer(database, clock, provider),
        register=payments_pb2_grpc.add_PaymentsServiceServicer_to_server,
        grpc_service="recurring.payments.v1.PaymentsService",
        access=api.ACCESS,
        due_work=(
            DueWork("charge", workers.charge),
            DueWork("lookup", workers.look_up),
            DueWork("request-expiry", workers.expire_requests),
            DueWork("refund", workers.refund),
            DueWork("method-expiry", workers.check_expiry),
        ),
        lease=leases.OUTSIDE,
        gauge_queries=gauges.GAUGE_QUERIES,
        encrypted=ENCRYPTED_TABLES,
    )


if __name__ == "__main__":
    main("payments", Settings, assemble, consumers.subscriptions, COMMANDS)
