"""The resource names that the catalog reads and writes (AIP-122)."""

from services.catalog.domain.products import (
    MerchantId,
    OrderKey,
    PriceKey,
    ProductKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.runtime.resource_names import KeyPattern


def _order_key(merchant: str, standing_order: str, cycle: str) -> OrderKey:
    return OrderKey(MerchantId(merchant), StandingOrderId(standing_order), int(cycle))


MERCHANT = KeyPattern("merchants/{merchant}", MerchantId)
PRODUCT = KeyPattern("merchants/{merchant}/products/{product}", ProductKey)
PRICE = KeyPattern("merchants/{merchant}/products/{product}/prices/{price}", PriceKey)
STANDING_ORDER = KeyPattern(
    "merchants/{merchant}/standingOrders/{standing_order}", StandingOrderKey
)
ORDER = KeyPattern(
    "merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}", _order_key
)
