"""The resource names that the catalog reads and writes (AIP-122)."""

from services.catalog.domain.products import MerchantId, ProductId, ProductKey, StandingOrderId
from services.runtime.resource_names import NamePattern

MERCHANT = NamePattern("merchants/{merchant}")
PRODUCT = NamePattern("merchants/{merchant}/products/{product}")
PRICE = NamePattern("merchants/{merchant}/products/{product}/prices/{price}")
STANDING_ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}")
ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}")


def product_name(key: ProductKey) -> str:
    """The product's resource name."""
    return PRODUCT.format(key.merchant, key.product)


def price_name(key: ProductKey, price: str) -> str:
    """The resource name of a price of a product."""
    return PRICE.format(key.merchant, key.product, price)


def parse_merchant(name: str) -> MerchantId:
    """The merchant in its name. Raises ValueError."""
    (merchant,) = MERCHANT.parse(name)
    return MerchantId(merchant)


def parse_product(name: str) -> ProductKey:
    """The product in its name. Raises ValueError."""
    merchant, product = PRODUCT.parse(name)
    return ProductKey(MerchantId(merchant), ProductId(product))


def parse_price(name: str) -> tuple[ProductKey, str]:
    """The product and the price's id in the price's name. Raises ValueError."""
    merchant, product, price = PRICE.parse(name)
    return ProductKey(MerchantId(merchant), ProductId(product)), price


def parse_standing_order(name: str) -> tuple[MerchantId, StandingOrderId]:
    """The merchant and the standing order in its name. Raises ValueError."""
    merchant, standing_order = STANDING_ORDER.parse(name)
    return MerchantId(merchant), StandingOrderId(standing_order)


def parse_order(name: str) -> tuple[MerchantId, StandingOrderId, int]:
    """The merchant, standing order and cycle in an order's name. Raises ValueError."""
    merchant, standing_order, cycle = ORDER.parse(name)
    return MerchantId(merchant), StandingOrderId(standing_order), int(cycle)
