"""The methods about promotions."""

from recurring.catalog.v1 import catalog_pb2

from services.catalog.api import promotion_messages
from services.catalog.api.methods.base import Methods
from services.catalog.application import promotions
from services.catalog.names import MERCHANT, PROMOTION
from services.catalog.store import promotions as promotion_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class PromotionMethods(Methods):
    """Methods about promotions."""

    async def CreatePromotion(
        self, request: catalog_pb2.CreatePromotionRequest, _context: object
    ) -> catalog_pb2.Promotion:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Promotion,
            promotion_messages.promotion_message,
            lambda tx: promotions.create(
                tx, promotion_messages.read_new_promotion(request, self._clock.now())
            ),
        )

    async def GetPromotion(
        self, request: catalog_pb2.GetPromotionRequest, _context: object
    ) -> catalog_pb2.Promotion:
        key = read_name(PROMOTION, request.name)
        async with self._database.read() as connection:
            return promotion_messages.promotion_message(await promotions.existing(connection, key))

    async def ListPromotions(
        self, request: catalog_pb2.ListPromotionsRequest, _context: object
    ) -> catalog_pb2.ListPromotionsResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await promotion_store.promotions_of_merchant(
                connection, merchant, after, page.limit
            )
        shown, token = page.cut(
            listed,
            promotion_messages.promotion_message,
            lambda promotion: (promotion.key.promotion,),
        )
        return catalog_pb2.ListPromotionsResponse(promotions=shown, next_page_token=token)

    async def EndPromotion(
        self, request: catalog_pb2.EndPromotionRequest, _context: object
    ) -> catalog_pb2.Promotion:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Promotion,
            promotion_messages.promotion_message,
            lambda tx: promotions.end(tx, read_name(PROMOTION, request.name), request.etag),
        )
