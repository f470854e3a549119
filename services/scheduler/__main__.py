"""`python -m services.scheduler`: settings and wiring."""

from recurring.scheduler.v1 import scheduler_pb2_grpc

from services.runtime.app.bootstrap import main
from services.runtime.app.components import Components, Runtime
from services.runtime.app.settings import RuntimeSettings
from services.scheduler import api, events
from services.scheduler.loops.collect import Collect
from services.scheduler.loops.prepare import PREPARE_LANES, Prepare
from services.scheduler.loops.resume import Resume
from services.scheduler.peers import Peers
from services.scheduler.store import gauges
from services.scheduler.store.encrypted import ENCRYPTED_TABLES


class SchedulerSettings(RuntimeSettings):
    """Where the services are that the scheduler asks; gRPC targets such as dns:///catalog:7401."""

    catalog_target: str
    payments_target: str
    notify_target: str


async def assemble(runtime: Runtime[SchedulerSettings]) -> Components:
    """Put the scheduler together."""
    settings = runtime.settings
    peers = Peers(
        runtime.channel(settings.catalog_target),
        runtime.channel(settings.payments_target),
        runtime.channel(settings.notify_target),
    )
    prepare = Prepare(runtime.database, runtime.clock, peers)
    collect = Collect(runtime.database, runtime.clock, peers)
    return Components(
        servicer=api.Servicer(runtime.database, runtime.clock, peers),
        register=scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
        grpc_service="recurring.scheduler.v1.SchedulerService",
        access=api.ACCESS,
        loops={
            **{f"prepare-{lane}": prepare.step for lane in range(1, PREPARE_LANES + 1)},
            "collect": collect.collect_step,
            "held": collect.held_step,
            "resume": Resume(runtime.database, runtime.clock).step,
        },
        gauge_queries=gauges.GAUGE_QUERIES,
        encrypted=ENCRYPTED_TABLES,
    )


if __name__ == "__main__":
    main("scheduler", SchedulerSettings, assemble, events.subscriptions)
