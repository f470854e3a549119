"""Notices that operators have sent once more."""

from recurring.notify.v1 import notify_pb2

from services.notify.api import responses
from services.notify.application import resends
from services.notify.application.resends import WantedCopy
from services.notify.domain.notices import Channel
from services.notify.names import NOTICE
from services.runtime.db.pool import Database
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.workers.clock import Clock


async def resend_notice(
    database: Database, request: notify_pb2.ResendNoticeRequest, clock: Clock
) -> notify_pb2.Notice:
    """Send a notice once more."""
    key = read_name(NOTICE, request.name)
    channel = Channel(notify_pb2.Channel.Name(request.channel)) if request.channel else None
    return await run_mutation(
        database,
        request,
        notify_pb2.Notice,
        responses.notice_message,
        lambda tx: resends.resend(tx, WantedCopy(key, channel, request.request_id), clock.now()),
    )
