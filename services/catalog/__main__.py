"""`python -m services.catalog`: settings and wiring."""

from collections.abc import Iterator

from pydantic import Field, SecretStr
from recurring.catalog.v1 import catalog_pb2_grpc

from services.catalog import api, consumers, workers
from services.catalog.clients.payments import PublishedAmountRules
from services.catalog.clients.tax_service import (
    CONNECTIONS_MAX,
    NO_TAX_SERVICE,
    REQUEST_TIMEOUT_SECONDS,
    HttpTaxService,
    TaxService,
)
from services.catalog.store import gauges
from services.runtime.app.bootstrap import main
from services.runtime.app.components import Components, Runtime
from services.runtime.app.settings import RuntimeSettings, is_for_development
from services.runtime.db.due_work import DueWork
from services.runtime.http_client import HttpClient


class CatalogSettings(RuntimeSettings):
    """What the catalog needs to know beyond what every service does."""

    # Payments, which says what amounts can be charged: a gRPC target such as dns:///payments:7402.
    payments_target: str

    # Base address of a tax service, for merchants who want its taxes; empty: there is none.
    tax_service_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    tax_service_api_key: SecretStr = SecretStr("")

    def production_violations(self) -> Iterator[tuple[str, str]]:
        """What is for development only, the sandbox's tax service among it."""
        yield from super().production_violations()
        if self.tax_service_url and is_for_development(self.tax_service_url):
            yield "TAX_SERVICE_URL", "a tax service of this machine or without TLS"


async def assemble(runtime: Runtime[CatalogSettings]) -> Components:
    """Put the catalog together."""
    settings = runtime.settings
    tax_service: TaxService = NO_TAX_SERVICE
    if settings.tax_service_url:
        http = await runtime.resources.enter_async_context(
            HttpClient(connections_max=CONNECTIONS_MAX, timeout_seconds=REQUEST_TIMEOUT_SECONDS)
        )
        api_key = settings.tax_service_api_key.get_secret_value()
        tax_service = HttpTaxService(http, settings.tax_service_url, api_key)
    return Components(
        servicer=api.Servicer(
            runtime.database,
            runtime.clock,
            PublishedAmountRules(runtime.channel(settings.payments_target)),
            tax_service,
        ),
        register=catalog_pb2_grpc.add_CatalogServiceServicer_to_server,
        grpc_service="recurring.catalog.v1.CatalogService",
        access=api.ACCESS,
        due_work=(
            DueWork("hold-expiry", workers.hold_expiry(runtime.database).work),
            DueWork("backorder", workers.backorders(runtime.database).work),
            DueWork("booking-expiry", workers.booking_expiry(runtime.database).work),
        ),
        gauge_queries=gauges.GAUGE_QUERIES,
    )


if __name__ == "__main__":
    main("catalog", CatalogSettings, assemble, consumers.subscriptions)
