"""The methods about cycles."""

from functools import partial

from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.imports import never_idle, slot
from services.runtime.rpc.names import read_name
from services.scheduler import names
from services.scheduler.api import requests, responses
from services.scheduler.api.methods.base import Methods
from services.scheduler.api.requests import imports as import_requests
from services.scheduler.application import cycles, imports, standing_orders
from services.scheduler.domain.ids import OrderKey


class CycleMethods(Methods):
    """Methods about cycles."""

    async def SkipCycle(self, request: pb.SkipCycleRequest, _context: object) -> pb.StandingOrder:
        return await self._change(request, partial(cycles.skip, cycle=request.cycle))

    async def RestoreCycle(
        self, request: pb.RestoreCycleRequest, _context: object
    ) -> pb.StandingOrder:
        return await self._change(request, partial(cycles.restore, cycle=request.cycle))

    async def ChangeCycle(
        self, request: pb.ChangeCycleRequest, _context: object
    ) -> pb.StandingOrder:
        key = read_name(names.STANDING_ORDER, request.name)
        return await self._change_checked(
            request,
            lambda: cycles.change(
                self._database,
                self._clients,
                OrderKey(*key, request.change.cycle),
                request.etag,
                requests.read_changed_items(key.merchant, request.change),
                partial(requests.read_change, request.change, self._database.keyring),
                self._clock.now(),
            ),
        )

    async def OrderNow(self, request: pb.OrderNowRequest, _context: object) -> pb.StandingOrder:
        return await self._change(request, cycles.order_now)

    async def PreviewCycles(
        self, request: pb.PreviewCyclesRequest, _context: object
    ) -> pb.PreviewCyclesResponse:
        key = read_name(names.STANDING_ORDER, request.name)
        async with self._database.read() as connection:
            standing_order = await standing_orders.existing(connection, key)
        return pb.PreviewCyclesResponse(
            cycles=await self._previews(standing_order, request.cycle_count)
        )

    async def ImportStandingOrders(
        self, requests: import_requests.Requests, _context: object
    ) -> pb.ImportStandingOrdersResponse:
        sent = never_idle(requests)
        config = await import_requests.read_config(sent)
        merchant = names.MERCHANT.key(config.parent)
        async with slot(self._import_limiter, merchant):
            book = imports.Book(
                merchant,
                partial(import_requests.read_row, merchant, self._database.keyring),
                self._clock.now(),
                partial=config.partial,
                allow_duplicate=config.allow_duplicate,
            )
            bills = await imports.import_book(
                self._database,
                self._clients,
                book,
                import_requests.batches(sent),
                shadow_cycle_count=config.shadow_cycle_count,
                dry_run=config.dry_run,
            )
            return responses.import_message(book, bills)
