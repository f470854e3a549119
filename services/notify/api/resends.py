"""Notices that operators have sent again."""

from datetime import UTC, datetime, timedelta

from recurring.notify.v1 import notify_pb2

from services.notify.api import requests, responses
from services.notify.application import redrives, resends
from services.notify.application.redrives import Redrive, WantedRedrive
from services.notify.application.resends import WantedCopy
from services.notify.domain.notices import Channel
from services.notify.domain.resending import REDRIVE_AGE_MAX
from services.notify.names import MERCHANT, NOTICE
from services.notify.store.resends import GivenUpFilter
from services.runtime.db.pool import Database
from services.runtime.errors import Violations
from services.runtime.mutations import run_mutation
from services.runtime.rpc.conversions import read_bound
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import Page, read_page
from services.runtime.workers.clock import Clock

_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


async def resend_notice(
    database: Database, request: notify_pb2.ResendNoticeRequest, clock: Clock
) -> notify_pb2.Notice:
    """Send a notice again."""
    key = read_name(NOTICE, request.name)
    return await run_mutation(
        database,
        request,
        notify_pb2.Notice,
        responses.notice_message,
        lambda tx: resends.resend(
            tx, WantedCopy(key, _channel(request.channel), request.request_id), clock.now()
        ),
    )


async def redrive_notices(
    database: Database, request: notify_pb2.RedriveNoticesRequest, clock: Clock
) -> notify_pb2.RedriveNoticesResponse:
    """Send notices again that were given up, or only count them."""
    now = clock.now()
    page = _page(request)
    if request.dry_run:
        wanted = _wanted(request, page, now)
        async with database.read() as connection:
            return _response(await redrives.preview(connection, wanted, now), page)
    return await run_mutation(
        database,
        request,
        notify_pb2.RedriveNoticesResponse,
        lambda redrive: _response(redrive, page),
        lambda tx: redrives.redrive(tx, _wanted(request, page, now), now),
    )


def _channel(number: notify_pb2.Channel.ValueType) -> Channel | None:
    return Channel(notify_pb2.Channel.Name(number)) if number else None


def _page(request: notify_pb2.RedriveNoticesRequest) -> Page:
    """The page of a request: each page has a request id of its own."""
    filters = notify_pb2.RedriveNoticesRequest()
    filters.CopyFrom(request)
    filters.ClearField("request_id")
    return read_page(filters, keys=3)


def _wanted(request: notify_pb2.RedriveNoticesRequest, page: Page, now: datetime) -> WantedRedrive:
    merchant = read_name(MERCHANT, request.parent)
    violations = Violations()
    start = read_bound(violations, "start_time", request.start_time)
    end = _END_OF_TIME
    if request.HasField("end_time"):
        end = read_bound(violations, "end_time", request.end_time)
        violations.require("end_time", "must be after start_time", met=start < end)
    rule = f"must be in the last {REDRIVE_AGE_MAX / timedelta(days=1):.0f} days"
    violations.require("start_time", rule, met=start >= now - REDRIVE_AGE_MAX)
    violations.check()
    last_customer, last_notice = page.after[1:] or ("", "")
    return WantedRedrive(
        merchant,
        GivenUpFilter(
            start,
            end,
            _channel(request.channel) or "",
            request.failure_code,
            requests.read_kind(request.kind) if request.kind else "",
        ),
        (page.after_time() or _BEFORE_ALL, last_customer, last_notice),
        page.size,
        request.request_id,
    )


def _response(redrive: Redrive, page: Page) -> notify_pb2.RedriveNoticesResponse:
    last = redrive.last
    token = ""
    if last is not None:
        token = page.token((last.last_due_time.isoformat(), last.customer, last.notice))
    reasons = notify_pb2.RedriveNoticesResponse.Reason
    return notify_pb2.RedriveNoticesResponse(
        redrive_count=redrive.redrive_count,
        skips=[
            notify_pb2.RedriveNoticesResponse.Skip(reason=reasons.Value(skip), notice_count=count)
            for skip, count in sorted(redrive.skips.items())
        ],
        next_page_token=token,
    )
