"""The methods about orders."""

from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.mutations import run_checked_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page
from services.scheduler import names
from services.scheduler.api import requests, responses
from services.scheduler.api.methods.base import Methods
from services.scheduler.application import (
    action_links,
    coverage,
    forecasts,
    orders,
    price_change_previews,
)
from services.scheduler.domain.action_links import LinkAction
from services.scheduler.store import orders as order_store
from services.scheduler.store.order_rows import OrderRow


class OrderMethods(Methods):
    """Methods about orders."""

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
