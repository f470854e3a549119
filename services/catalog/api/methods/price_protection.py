"""The methods about price protection."""

from recurring.catalog.v1 import catalog_pb2

from services.catalog.api import offer_messages
from services.catalog.api.methods.base import Methods
from services.catalog.application import offers
from services.catalog.names import MERCHANT, OFFER
from services.catalog.store import offers as offer_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class PriceProtectionMethods(Methods):
    """Methods about price protection."""

    async def CreatePriceProtectionOffer(
        self, request: catalog_pb2.CreatePriceProtectionOfferRequest, _context: object
    ) -> catalog_pb2.PriceProtectionOffer:
        now = self._clock.now()
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.PriceProtectionOffer,
            offer_messages.offer_message,
            lambda tx: offers.create(tx, offer_messages.read_new_offer(request, now)),
        )

    async def GetPriceProtectionOffer(
        self, request: catalog_pb2.GetPriceProtectionOfferRequest, _context: object
    ) -> catalog_pb2.PriceProtectionOffer:
        key = read_name(OFFER, request.name)
        async with self._database.read() as connection:
            return offer_messages.offer_message(await offers.existing(connection, key))

    async def ListPriceProtectionOffers(
        self, request: catalog_pb2.ListPriceProtectionOffersRequest, _context: object
    ) -> catalog_pb2.ListPriceProtectionOffersResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await offer_store.offers_of_merchant(connection, merchant, after, page.limit)
        shown, token = page.cut(listed, offer_messages.offer_message, lambda it: (it.offer,))
        return catalog_pb2.ListPriceProtectionOffersResponse(
            price_protection_offers=shown, next_page_token=token
        )

    async def EndPriceProtectionOffer(
        self, request: catalog_pb2.EndPriceProtectionOfferRequest, _context: object
    ) -> catalog_pb2.PriceProtectionOffer:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.PriceProtectionOffer,
            offer_messages.offer_message,
            lambda tx: offers.end(tx, read_name(OFFER, request.name), request.etag),
        )
