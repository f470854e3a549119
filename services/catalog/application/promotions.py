"""Promotions come, are redeemed, and end."""

from collections.abc import Mapping, Sequence

from services.catalog.domain.products import StandingOrderKey
from services.catalog.domain.promotions import (
    Promotion,
    PromotionFault,
    PromotionKey,
    Redeeming,
    SignUp,
    redeem,
)
from services.catalog.domain.transitions import PROMOTION, PromotionEvent
from services.catalog.names import PROMOTION as PROMOTION_NAME
from services.catalog.store import promotions
from services.runtime.db.pool import Connection
from services.runtime.errors import already_exists, not_found, wrong_state
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag

# Of a merchant, that were not ended: all of those without a code are read at a sign-up.
ACTIVE_MAX = 100


async def create(tx: Connection, promotion: Promotion) -> Applied[Promotion]:
    """Create a promotion.

    Raises ALREADY_EXISTS PROMOTION_ALREADY_EXISTS, FAILED_PRECONDITION PROMOTIONS_TOO_MANY.
    """
    if await promotions.active_count(tx, promotion.merchant) >= ACTIVE_MAX:
        message = f"a merchant has at most {ACTIVE_MAX} promotions that go on; end one"
        raise wrong_state("PROMOTIONS_TOO_MANY", message)
    if not await promotions.insert(tx, promotion):
        what = f"{PROMOTION_NAME.format(*promotion.key)}, or one of its code,"
        raise already_exists("PROMOTION_ALREADY_EXISTS", what)
    return Applied(promotion)


async def existing(connection: Connection, key: PromotionKey, *, lock: bool = False) -> Promotion:
    """A promotion. Raises NOT_FOUND PROMOTION_NOT_FOUND."""
    promotion = await promotions.promotion(connection, key, lock=lock)
    if promotion is None:
        raise not_found("PROMOTION_NOT_FOUND", PROMOTION_NAME.format(*key))
    return promotion


async def end(tx: Connection, key: PromotionKey, wanted_etag: str) -> Applied[Promotion]:
    """Let nobody redeem a promotion any more; one that has ended stays as it is.

    Raises NOT_FOUND PROMOTION_NOT_FOUND, and ABORTED if the etag is another version's.
    """
    promotion = await existing(tx, key, lock=True)
    check_etag(wanted_etag, promotion.version, PROMOTION_NAME.format(*key))
    if PROMOTION.is_terminal(promotion.state):
        return Applied(promotion, before=promotion)
    state = PROMOTION.to(promotion.state, PromotionEvent.END)
    return Applied(await promotions.update_state(tx, key, state), before=promotion)


async def redeem_all(tx: Connection, sign_ups: Sequence[SignUp]) -> Redeeming:
    """Let new standing orders redeem promotions, each once; returns why some cannot, and which end."""
    if not sign_ups:
        return Redeeming({}, {})
    keys = [sign_up.key for sign_up in sign_ups]
    wanted = [(sign_up.key.merchant, sign_up.code) for sign_up in sign_ups]
    now = min(sign_up.redeem_time for sign_up in sign_ups)
    redeemable = await promotions.redeemable(tx, wanted, now)
    faults: Mapping[StandingOrderKey, PromotionFault] = {}
    if redeemable or any(code for _, code in wanted):
        # Read after they are locked: what another call has redeemed by then counts.
        redeemed = await promotions.redeemed(tx, keys)
        redemptions, faults = redeem(sign_ups, redeemable, redeemed)
        await promotions.insert_redemptions(tx, redemptions)
    # Of all: a sign-up that is sent again may have redeemed what nobody can any more.
    return Redeeming(faults, await promotions.endings(tx, keys))


async def release(
    tx: Connection, standing_orders: Sequence[StandingOrderKey]
) -> list[promotions.Released]:
    """Give back what standing orders redeemed whose sign-up failed; returns what was redeemed."""
    return await promotions.release(tx, standing_orders)
