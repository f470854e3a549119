"""Offers of price protection come, and end."""

from services.catalog.domain.offers import Offer, OfferKey
from services.catalog.domain.transitions import OFFER, OfferEvent
from services.catalog.names import OFFER as OFFER_NAME
from services.catalog.store import offers
from services.runtime.db.pool import Connection
from services.runtime.errors import already_exists, not_found
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag


async def create(tx: Connection, offer: Offer) -> Applied[Offer]:
    """Create an offer. Raises ALREADY_EXISTS PRICE_PROTECTION_OFFER_ALREADY_EXISTS."""
    if not await offers.insert(tx, offer):
        reason = "PRICE_PROTECTION_OFFER_ALREADY_EXISTS"
        raise already_exists(reason, OFFER_NAME.format(*offer.key))
    return Applied(offer)


async def existing(connection: Connection, key: OfferKey, *, lock: bool = False) -> Offer:
    """An offer. Raises NOT_FOUND PRICE_PROTECTION_OFFER_NOT_FOUND."""
    offer = await offers.offer(connection, key, lock=lock)
    if offer is None:
        raise not_found("PRICE_PROTECTION_OFFER_NOT_FOUND", OFFER_NAME.format(*key))
    return offer


async def end(tx: Connection, key: OfferKey, wanted_etag: str) -> Applied[Offer]:
    """Let nobody accept an offer any more; one that has ended stays as it is.

    Raises NOT_FOUND PRICE_PROTECTION_OFFER_NOT_FOUND, and ABORTED if the etag is another version's.
    """
    offer = await existing(tx, key, lock=True)
    check_etag(wanted_etag, offer.version, OFFER_NAME.format(*key))
    if OFFER.is_terminal(offer.state):
        return Applied(offer, before=offer)
    state = OFFER.to(offer.state, OfferEvent.END)
    return Applied(await offers.update_state(tx, key, state), before=offer)
