"""Questions to the catalog about stock."""

from collections.abc import Sequence

import grpc
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc

from services.payments.domain.keys import MerchantId
from services.payments.domain.lines import ChargeLine
from services.payments.names import PRODUCT


class Stock:
    """Asks the catalog whether there is stock; orders have theirs held by the scheduler."""

    def __init__(self, catalog: grpc.aio.Channel) -> None:
        self._catalog = catalog_pb2_grpc.CatalogServiceStub(catalog)

    async def lacking(self, merchant: MerchantId, lines: Sequence[ChargeLine]) -> list[str]:
        """The products, by their names, of which there are fewer units than the lines need."""
        check = catalog_pb2.StockCheck(
            merchant=f"merchants/{merchant}",
            items=[
                catalog_pb2.Item(
                    product=PRODUCT.format(merchant, line.product), quantity=line.quantity
                )
                for line in lines
            ],
        )
        request = catalog_pb2.BatchCheckStockRequest(checks=[check])
        [result] = (await self._catalog.BatchCheckStock(request)).results
        return [problem.product for problem in result.problems]
