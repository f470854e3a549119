"""The resource names that the catalog reads and writes (AIP-122)."""

from services.catalog.domain.deliveries import DeliveryKey
from services.catalog.domain.offers import OfferKey
from services.catalog.domain.products import (
    MerchantId,
    OrderKey,
    PriceKey,
    ProductKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.catalog.domain.promotions import PromotionKey
from services.catalog.domain.rule_packs import RulePackKey
from services.catalog.domain.tax import TaxRateKey
from services.runtime.resource_names import KeyPattern


def _order_key(merchant: str, standing_order: str, cycle: str) -> OrderKey:
    return OrderKey(MerchantId(merchant), StandingOrderId(standing_order), int(cycle))


MERCHANT = KeyPattern("merchants/{merchant}", MerchantId)
PRODUCT = KeyPattern("merchants/{merchant}/products/{product}", ProductKey)
CAPACITY = KeyPattern("merchants/{merchant}/products/{product}/capacity", ProductKey)
DELIVERY = KeyPattern("merchants/{merchant}/products/{product}/deliveries/{delivery}", DeliveryKey)
PRICE = KeyPattern("merchants/{merchant}/products/{product}/prices/{price}", PriceKey)
PRICE_OR_CURRENT = KeyPattern(
    "merchants/{merchant}/products/{product}/prices/{price}", PriceKey, wildcard="price"
)
STANDING_ORDER = KeyPattern(
    "merchants/{merchant}/standingOrders/{standing_order}", StandingOrderKey
)
ORDER = KeyPattern(
    "merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}", _order_key
)
PROMOTION = KeyPattern("merchants/{merchant}/promotions/{promotion}", PromotionKey)
OFFER = KeyPattern("merchants/{merchant}/priceProtectionOffers/{offer}", OfferKey)
TAX_RATE = KeyPattern("merchants/{merchant}/taxRates/{tax_rate}", TaxRateKey)
SETTINGS = KeyPattern("merchants/{merchant}/catalogSettings", MerchantId)
RULE_PACK = KeyPattern("merchants/{merchant}/rulePacks/{rule_pack}", RulePackKey)
