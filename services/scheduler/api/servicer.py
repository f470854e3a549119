"""The scheduler's RPCs: request, use case, response; each method's contract is in its proto."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any

from google.protobuf.message import Message
from recurring.audit.v1 import audit_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb
from recurring.scheduler.v1 import scheduler_pb2_grpc

from services.runtime.db import audit
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import Problem
from services.runtime.mutations import Applied, Apply, Decide, run_checked_mutation, run_mutation
from services.runtime.rpc.conversions import read_timestamp
from services.runtime.rpc.imports import import_limiter, never_idle, slot
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page
from services.runtime.workers.clock import Clock
from services.scheduler import names
from services.scheduler.api import requests, responses
from services.scheduler.api.requests import imports as import_requests
from services.scheduler.api.requests import standing_orders as standing_order_requests
from services.scheduler.api.requests.schedules import read_calendar_date
from services.scheduler.application import (
    action_links,
    coverage,
    customers,
    cycles,
    forecasts,
    imports,
    orders,
    previews,
    price_change_previews,
    settings,
    standing_orders,
)
from services.scheduler.clients import Clients
from services.scheduler.domain.action_links import LinkAction
from services.scheduler.domain.ids import OrderKey, StandingOrderKey
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import orders as order_store
from services.scheduler.store import price_protections as price_protection_store
from services.scheduler.store import settings as settings_store
from services.scheduler.store import standing_orders as standing_order_store
from services.scheduler.store.order_rows import OrderRow

# A change of a standing order as the caller knows it, by its etag.
Change = Callable[[Connection, StandingOrderKey, str, datetime], Awaitable[Applied[StandingOrder]]]


class Servicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Answers recurring.scheduler.v1.SchedulerService; each method's contract is in its proto."""

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

    # --- standing orders ------------------------------------------------------------------------

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

    # --- cycles ---------------------------------------------------------------------------------

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

    def _read_update(
        self,
        request: pb.UpdateStandingOrderRequest | pb.PreviewStandingOrderUpdateRequest,
        now: datetime,
    ) -> standing_orders.Update:
        message, mask = request.standing_order, request.update_mask
        return requests.read_update(message, mask, self._check_limiter, self._database.keyring, now)

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

    def _message(self, standing_order: StandingOrder) -> pb.StandingOrder:
        return responses.standing_order_message(standing_order, self._database.keyring)

    # --- orders ---------------------------------------------------------------------------------

    async def GetOrder(self, request: pb.GetOrderRequest, _context: object) -> pb.Order:
        key = read_name(names.ORDER, request.name)
        async with self._database.read() as connection:
            return self._order_message(await orders.existing(connection, key))

    async def ListOrders(
        self, request: pb.ListOrdersRequest, _context: object
    ) -> pb.ListOrdersResponse:
        wanted = requests.read_order_filter(request)
        page = read_page(request, keys=2)
        first = page.after_numbered()

        async def find(last: OrderRow | None, limit: int) -> list[OrderRow]:
            after = (last.standing_order, last.cycle) if last else first
            async with self._database.read() as connection:
                return await order_store.list_of_merchant(connection, wanted, after, limit)

        shown, token = await page.fill(
            find, self._order_message, lambda row: (row.standing_order, str(row.cycle))
        )
        return pb.ListOrdersResponse(orders=shown, next_page_token=token)

    async def ConfirmOrder(self, request: pb.ConfirmOrderRequest, _context: object) -> pb.Order:
        return await run_checked_mutation(
            self._database,
            request,
            pb.Order,
            self._order_message,
            lambda: orders.confirm(
                self._database,
                self._clients,
                read_name(names.ORDER, request.name),
                self._clock.now(),
            ),
        )

    async def ResolveActionLink(
        self, request: pb.ResolveActionLinkRequest, _context: object
    ) -> pb.ActionLink:
        merchant, now = read_name(names.MERCHANT, request.parent), self._clock.now()
        async with self._database.read() as connection:
            view = await action_links.resolve(connection, merchant, request.link_token, now)
        return responses.action_link_message(view)

    async def ActByLink(self, request: pb.ActByLinkRequest, _context: object) -> pb.ActionLink:
        return await run_checked_mutation(
            self._database,
            request,
            pb.ActionLink,
            responses.action_link_message,
            lambda: action_links.act(
                self._database,
                self._clients,
                read_name(names.MERCHANT, request.parent),
                request.link_token,
                LinkAction(pb.ActionLink.Action.Name(request.action)),
                self._clock.now(),
            ),
        )

    async def ExplainOrder(
        self, request: pb.ExplainOrderRequest, _context: object
    ) -> pb.ExplainOrderResponse:
        key = read_name(names.ORDER, request.name)
        row, decisions = await orders.explain(self._database, self._clients, key)
        return pb.ExplainOrderResponse(
            order=self._order_message(row),
            decisions=[responses.decision_message(decision) for decision in decisions],
        )

    def _order_message(self, row: OrderRow) -> pb.Order:
        return responses.order_message(row, self._database.keyring)

    async def ForecastDemand(
        self, request: pb.ForecastDemandRequest, _context: object
    ) -> pb.ForecastDemandResponse:
        now = self._clock.now()
        span = requests.read_span(request, now)
        async with self._forecast_limiter.of(span.merchant):
            demand = await forecasts.forecast(self._database, self._clients, span, now)
        return pb.ForecastDemandResponse(
            forecasts=[responses.demand_message(*entry) for entry in demand.demands.items()]
        )

    async def GetStockCoverage(
        self, request: pb.GetStockCoverageRequest, _context: object
    ) -> pb.GetStockCoverageResponse:
        now = self._clock.now()
        span = requests.read_coverage_span(request, now)
        async with self._forecast_limiter.of(span.merchant):
            covered = await coverage.cover(self._database, self._clients, span, now)
        return pb.GetStockCoverageResponse(
            coverages=[responses.coverage_message(*entry) for entry in covered]
        )

    async def PreviewPriceChange(
        self, request: pb.PreviewPriceChangeRequest, _context: object
    ) -> pb.PreviewPriceChangeResponse:
        now = self._clock.now()
        version = await self._clients.price_version(requests.read_price_version(request), now)
        span = requests.read_price_change_span(request, version, now)
        async with self._forecast_limiter.of(span.merchant):
            preview = await price_change_previews.preview(
                self._database, self._clients, version, span, now
            )
        return responses.price_change_preview_message(preview, version.currency)

    # --- customers ------------------------------------------------------------------------------

    async def RecordPurchase(
        self, request: pb.RecordPurchaseRequest, _context: object
    ) -> pb.RecordPurchaseResponse:
        return await run_mutation(
            self._database,
            request,
            pb.RecordPurchaseResponse,
            lambda names: pb.RecordPurchaseResponse(standing_orders=names),
            lambda tx: customers.record_purchase(
                tx, *requests.read_purchase(request, self._clock.now())
            ),
        )

    async def EraseCustomer(
        self, request: pb.EraseCustomerRequest, _context: object
    ) -> pb.EraseCustomerResponse:
        return await run_mutation(
            self._database,
            request,
            pb.EraseCustomerResponse,
            lambda _: pb.EraseCustomerResponse(),
            lambda tx: customers.erase(
                tx, *read_name(names.CUSTOMER, request.name), self._clock.now()
            ),
        )

    # --- merchants ------------------------------------------------------------------------------

    async def GetSchedulerSettings(
        self, request: pb.GetSchedulerSettingsRequest, _context: object
    ) -> pb.SchedulerSettings:
        merchant = read_name(names.SETTINGS, request.name)
        async with self._database.read() as connection:
            return responses.settings_message(await settings_store.get(connection, merchant))

    async def UpdateSchedulerSettings(
        self, request: pb.UpdateSchedulerSettingsRequest, _context: object
    ) -> pb.SchedulerSettings:
        message = request.scheduler_settings
        return await run_mutation(
            self._database,
            request,
            pb.SchedulerSettings,
            responses.settings_message,
            lambda tx: settings.change(tx, requests.read_settings(message), message.etag),
        )

    async def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, _context: object
    ) -> audit_pb2.ListAuditEntriesResponse:
        return await audit.answer(self._database, request)
