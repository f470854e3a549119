"""What a cart would cost, before anybody signs up, or in a cycle of a standing order."""

from dataclasses import replace

from services.catalog.application.prices import Quoted, known_for, with_terms
from services.catalog.domain.pricing import Cart, Line, quote
from services.catalog.domain.products import StandingOrderId, StandingOrderKey
from services.catalog.domain.promotions import PromotionFault, Redeemed, SignUp, redeem
from services.catalog.store import promotions
from services.catalog.store import tax_rates as tax_rate_store
from services.runtime.db.pool import Connection

# No standing order has this id, so that none is known of.
NEW_STANDING_ORDER = StandingOrderId("-")


async def preview(
    connection: Connection, cart: Cart, promotion_code: str
) -> tuple[Quoted, PromotionFault | None]:
    """Price a cart with its taxes; of a new standing order with the promotion that it would redeem."""
    products, prices, protections, redemptions, offers = await known_for(connection, [cart])
    result = quote(cart, products, prices, protections, redemptions, offers)
    lines = [line for line in result if isinstance(line, Line)]
    fault = None
    merchant = cart.items[0].key.merchant
    if cart.standing_order == NEW_STANDING_ORDER and lines:
        key = StandingOrderKey(merchant, cart.standing_order)
        sign_up = SignUp(
            key,
            promotion_code,
            [item.key.product for item in cart.items],
            lines[0].currency,
            1,
            cart.price_time,
        )
        found = await promotions.of_code(connection, merchant, promotion_code, cart.price_time)
        redeemed, faults = redeem([sign_up], found, ())
        fault = faults.get(key)
        discounts = {promotion.discount.promotion: promotion.discount for promotion in found}
        for redemption in redeemed:
            discount = Redeemed(discounts[redemption.promotion], redemption.first_cycle)
            result = quote(cart, products, prices, protections, {key: discount}, offers)
    terms = await tax_rate_store.terms(connection, [cart])
    return with_terms(cart, result, terms[merchant]), fault


def of_new_standing_order(cart: Cart) -> Cart:
    """A cart as that of a standing order that is made at the instant whose prices apply."""
    return replace(cart, standing_order=NEW_STANDING_ORDER, sign_up_time=cart.price_time)
