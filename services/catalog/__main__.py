"""`python -m services.catalog`: settings and wiring."""

from recurring.catalog.v1 import catalog_pb2_grpc

from services.catalog import api, consumers, workers
from services.catalog.store import gauges
from services.runtime.app.bootstrap import main
from services.runtime.app.components import Components, Runtime
from services.runtime.app.settings import RuntimeSettings
from services.runtime.db.due_work import DueWork


async def assemble(runtime: Runtime[RuntimeSettings]) -> Components:
    """Put the catalog together."""
    return Components(
        servicer=api.Servicer(runtime.database, runtime.clock),
        register=catalog_pb2_grpc.add_CatalogServiceServicer_to_server,
        grpc_service="recurring.catalog.v1.CatalogService",
        access=api.ACCESS,
        due_work=(
            DueWork("hold-expiry", workers.HoldExpiry(runtime.database).work),
            DueWork("booking-expiry", workers.BookingExpiry(runtime.database).work),
        ),
        gauge_queries=gauges.GAUGE_QUERIES,
    )


if __name__ == "__main__":
    main("catalog", RuntimeSettings, assemble, consumers.subscriptions)
