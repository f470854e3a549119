"""`python -m services.scheduler`: settings and wiring."""

from recurring.scheduler.v1 import scheduler_pb2_grpc

from services.runtime.app.bootstrap import main
from services.runtime.app.components import Components, Runtime
from services.runtime.app.settings import RuntimeSettings
from services.runtime.db.due_work import DueWork
from services.scheduler import api, consumers
from services.scheduler.api.commands import COMMANDS
from services.scheduler.clients import Clients
from services.scheduler.domain.order import OrderState
from services.scheduler.store import gauges
from services.scheduler.store.encrypted import ENCRYPTED_TABLES
from services.scheduler.workers.check_leads import check_leads
from services.scheduler.workers.collect import Collect
from services.scheduler.workers.discontinue import Discontinue
from services.scheduler.workers.prepare import PREPARE_WORKERS, prepare
from services.scheduler.workers.price_changes import PriceChanges, PriceNotices
from services.scheduler.workers.price_protections import protections_ending
from services.scheduler.workers.promotion_endings import promotions_ending
from services.scheduler.workers.resume import resume


class SchedulerSettings(RuntimeSettings):
    """The services that the scheduler calls: gRPC targets such as dns:///catalog:7401."""

    catalog_target: str
    payments_target: str
    notify_target: str


async def assemble(runtime: Runtime[SchedulerSettings]) -> Components:
    """Put the scheduler together."""
    settings = runtime.settings
    clients = Clients(
        runtime.channel(settings.catalog_target),
        runtime.channel(settings.payments_target),
        runtime.channel(settings.notify_target),
    )
    database, clock = runtime.database, runtime.clock
    preparing = prepare(database, clients)
    return Components(
        servicer=api.Servicer(database, clock, clients),
        register=scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
        grpc_service="recurring.scheduler.v1.SchedulerService",
        access=api.ACCESS,
        due_work=(
            *(
                DueWork("prepare", preparing.work, n, PREPARE_WORKERS)
                for n in range(PREPARE_WORKERS)
            ),
            DueWork("collect", Collect(database, clients, OrderState.UPCOMING).work),
            DueWork("held", Collect(database, clients, OrderState.HELD).work),
            DueWork("resume", resume(database, clients).work),
            DueWork("discontinue", Discontinue(database, clients).work),
            DueWork("protection-ending", protections_ending(database, clients).work),
            DueWork("promotion-ending", promotions_ending(database, clients).work),
            DueWork("lead-check", check_leads(database, clients).work),
            DueWork("price-change", PriceChanges(database).work),
            DueWork("price-notice", PriceNotices(database, clients).work),
        ),
        gauge_queries=gauges.GAUGE_QUERIES,
        encrypted=ENCRYPTED_TABLES,
        clients=clients,
    )


if __name__ == "__main__":
    main("scheduler", SchedulerSettings, assemble, consumers.subscriptions, COMMANDS)
