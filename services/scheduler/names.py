"""The resource names that the scheduler reads and writes (AIP-122)."""

from services.runtime.resource_names import KeyPattern, NamePattern
from services.scheduler.domain.ids import (
    CustomerId,
    CustomerKey,
    MerchantId,
    OrderKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.scheduler.domain.price_changes import PriceChangeKey


def _order_key(merchant: str, standing_order: str, cycle: str) -> OrderKey:
    return OrderKey(MerchantId(merchant), StandingOrderId(standing_order), int(cycle))


MERCHANT = KeyPattern("merchants/{merchant}", MerchantId)
SETTINGS = KeyPattern("merchants/{merchant}/schedulerSettings", MerchantId)
CUSTOMER = KeyPattern("merchants/{merchant}/customers/{customer}", CustomerKey)
STANDING_ORDER = KeyPattern(
    "merchants/{merchant}/standingOrders/{standing_order}", StandingOrderKey
)
ORDER = KeyPattern(
    "merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}", _order_key
)
PRODUCT = NamePattern("merchants/{merchant}/products/{product}")
PRICE = KeyPattern("merchants/{merchant}/products/{product}/prices/{price}", PriceChangeKey)
OFFER = NamePattern("merchants/{merchant}/priceProtectionOffers/{price_protection_offer}")
NOTICE = NamePattern("merchants/{merchant}/customers/{customer}/notices/{notice}")
MANDATE = NamePattern("merchants/{merchant}/customers/{customer}/mandates/{mandate}")


def product_name(merchant: MerchantId, product: str) -> str:
    """A product's resource name."""
    return f"merchants/{merchant}/products/{product}"


def standing_order_name(merchant: MerchantId, standing_order: StandingOrderId) -> str:
    """A standing order's resource name."""
    return f"merchants/{merchant}/standingOrders/{standing_order}"


def customer_name(merchant: MerchantId, customer: CustomerId) -> str:
    """A customer's resource name."""
    return f"merchants/{merchant}/customers/{customer}"


def order_name(key: OrderKey) -> str:
    """An order's resource name."""
    return f"merchants/{key.merchant}/standingOrders/{key.standing_order}/orders/{key.cycle}"
