"""The methods about standing orders."""

from datetime import datetime
from functools import partial

from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.errors import Problem
from services.runtime.mutations import Apply
from services.runtime.rpc.conversions import read_timestamp
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page
from services.scheduler import names
from services.scheduler.api import requests, responses
from services.scheduler.api.methods.base import Methods
from services.scheduler.api.requests.schedules import read_calendar_date
from services.scheduler.application import standing_orders
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import price_protections as price_protection_store
from services.scheduler.store import standing_orders as standing_order_store


class StandingOrderMethods(Methods):
    """Methods about standing orders."""

    async def CreateStandingOrder(
        self, request: pb.CreateStandingOrderRequest, _context: object
    ) -> pb.StandingOrder:

        # What has redeemed its promotion, and is not stored yet.
        signed_up: list[StandingOrderKey] = []

        async def decide() -> Apply[StandingOrder]:
            standing_order = await requests.read_new(
                request, self._check_limiter, self._database.keyring, self._clock.now()
            )
            apply = await standing_orders.create(
                self._database,
                self._clients,
                standing_order,
                allow_duplicate=request.allow_duplicate,
            )
            signed_up.append(standing_order.key)
            return apply

        try:
            return await self._change_checked(request, decide)
        except Problem:
            if signed_up:
                await standing_orders.give_back(self._database, self._clients, signed_up)
            raise

    async def GetStandingOrder(
        self, request: pb.GetStandingOrderRequest, _context: object
    ) -> pb.StandingOrder:
        key = read_name(names.STANDING_ORDER, request.name)
        async with self._database.read() as connection:
            return self._message(await standing_orders.existing(connection, key))

    async def ListStandingOrders(
        self, request: pb.ListStandingOrdersRequest, _context: object
    ) -> pb.ListStandingOrdersResponse:
        merchant, customer, state, product = requests.read_standing_orders_query(request)
        page = read_page(request, keys=1)
        first = page.after[0] if page.after else ""

        async def find(last: StandingOrder | None, limit: int) -> list[StandingOrder]:
            after = last.standing_order if last else first
            async with self._database.read() as connection:
                return await standing_order_store.list_of_merchant(
                    connection,
                    merchant,
                    customer=customer,
                    state=state,
                    product=product,
                    after=after,
                    limit=limit,
                )

        shown, token = await page.fill(
            find, self._message, lambda standing_order: (standing_order.standing_order,)
        )
        return pb.ListStandingOrdersResponse(standing_orders=shown, next_page_token=token)

    async def ListPriceProtections(
        self, request: pb.ListPriceProtectionsRequest, _context: object
    ) -> pb.ListPriceProtectionsResponse:
        wanted = requests.read_protection_filter(request)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await price_protection_store.standing(
                connection, wanted, self._clock.now(), after, page.limit
            )
        shown, token = page.cut(
            listed, responses.protection_message, lambda one: (one.standing_order,)
        )
        return pb.ListPriceProtectionsResponse(price_protections=shown, next_page_token=token)

    async def UpdateStandingOrder(
        self, request: pb.UpdateStandingOrderRequest, _context: object
    ) -> pb.StandingOrder:
        now = self._clock.now()
        return await self._change_checked(
            request,
            lambda: standing_orders.update(
                self._database,
                self._clients,
                self._read_update(request, now),
                now,
                allow_duplicate=request.allow_duplicate,
            ),
        )

    async def PreviewStandingOrderUpdate(
        self, request: pb.PreviewStandingOrderUpdateRequest, _context: object
    ) -> pb.PreviewStandingOrderUpdateResponse:
        now = self._clock.now()
        update = self._read_update(request, now)
        wanted = (await standing_orders.updated(self._database, update, now)).standing_order
        async with self._database.read() as connection:
            standing_order = await standing_orders.existing(connection, update.key)
        return pb.PreviewStandingOrderUpdateResponse(
            before=await self._previews(standing_order, request.cycle_count),
            after=await self._previews(wanted, request.cycle_count),
        )

    async def PauseStandingOrder(
        self, request: pb.PauseStandingOrderRequest, _context: object
    ) -> pb.StandingOrder:
        pause = partial(
            standing_orders.pause,
            until_time=requests.read_optional(request, "until_time", read_timestamp),
            cycle_count=request.cycle_count or None,
        )
        return await self._change(request, pause)

    async def ResumeStandingOrder(
        self, request: pb.ResumeStandingOrderRequest, _context: object
    ) -> pb.StandingOrder:
        anchor_date = requests.read_optional(request, "anchor_date", read_calendar_date)
        return await self._change(request, partial(standing_orders.resume, anchor_date=anchor_date))

    async def CancelStandingOrder(
        self, request: pb.CancelStandingOrderRequest, _context: object
    ) -> pb.StandingOrder:
        if request.after_current_cycle:
            return await self._change(request, standing_orders.end_after_current)
        return await self._change(request, standing_orders.cancel)

    def _read_update(
        self,
        request: pb.UpdateStandingOrderRequest | pb.PreviewStandingOrderUpdateRequest,
        now: datetime,
    ) -> standing_orders.Update:
        message, mask = request.standing_order, request.update_mask
        return requests.read_update(message, mask, self._check_limiter, self._database.keyring, now)
