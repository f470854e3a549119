"""What all methods of the service work with."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.db.pool import Connection, Database
from services.runtime.mutations import Applied, Decide, run_checked_mutation, run_mutation
from services.runtime.rpc.imports import import_limiter
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.runtime.rpc.names import read_name
from services.runtime.workers.clock import Clock
from services.scheduler import names
from services.scheduler.api import responses
from services.scheduler.api.requests import standing_orders as standing_order_requests
from services.scheduler.application import forecasts, previews
from services.scheduler.clients import Clients
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.standing_order import StandingOrder

# A change of a standing order as the caller knows it, by its etag.
Change = Callable[[Connection, StandingOrderKey, str, datetime], Awaitable[Applied[StandingOrder]]]


class Methods:
    """What parts of the servicer have in common."""

    def __init__(self, database: Database, clock: Clock, clients: Clients) -> None:
        self._database = database
        self._clock = clock
        self._clients = clients
        self._import_limiter = import_limiter()
        self._forecast_limiter = ConcurrencyLimiter(
            forecasts.FORECASTS_AT_ONCE_MAX, forecasts.FORECASTS_OF_MERCHANT_MAX
        )
        self._preview_limiter = ConcurrencyLimiter(
            previews.LONG_PREVIEWS_AT_ONCE_MAX, previews.LONG_PREVIEWS_OF_MERCHANT_MAX
        )
        self._check_limiter = ConcurrencyLimiter(
            standing_order_requests.CHECKS_AT_ONCE_MAX,
            standing_order_requests.CHECKS_OF_MERCHANT_MAX,
        )

    async def _change(
        self,
        request: Any,  # noqa: ANN401 - any request with a name, an etag and a request_id
        change: Change,
    ) -> pb.StandingOrder:
        """Run a change of a standing order that needs nothing from other services."""
        key, now = read_name(names.STANDING_ORDER, request.name), self._clock.now()
        return await run_mutation(
            self._database,
            request,
            pb.StandingOrder,
            self._message,
            lambda tx: change(tx, key, request.etag, now),
        )

    async def _change_checked(
        self, request: Message, decide: Decide[StandingOrder]
    ) -> pb.StandingOrder:
        return await run_checked_mutation(
            self._database, request, pb.StandingOrder, self._message, decide
        )

    def _message(self, standing_order: StandingOrder) -> pb.StandingOrder:
        return responses.standing_order_message(standing_order, self._database.keyring)

    async def _previews(self, standing_order: StandingOrder, count: int) -> list[pb.CyclePreview]:
        shown = await previews.preview(
            self._database,
            self._clients,
            self._preview_limiter,
            standing_order,
            count or previews.PREVIEW_DEFAULT_CYCLES,
            self._clock.now(),
        )
        return [responses.preview_message(preview) for preview in shown]
