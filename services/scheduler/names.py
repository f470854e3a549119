"""The resource names that the scheduler reads and writes (AIP-122)."""

from services.runtime.resource_names import NamePattern
from services.scheduler.domain.ids import (
    CustomerId,
    MerchantId,
    OrderKey,
    StandingOrderId,
    StandingOrderKey,
)

MERCHANT = NamePattern("merchants/{merchant}")
SETTINGS = NamePattern("merchants/{merchant}/schedulerSettings")
PRODUCT = NamePattern("merchants/{merchant}/products/{product}")
CUSTOMER = NamePattern("merchants/{merchant}/customers/{customer}")
MANDATE = NamePattern("merchants/{merchant}/customers/{customer}/mandates/{mandate}")
STANDING_ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}")
ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}")


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


def parse_merchant(name: str, pattern: NamePattern = MERCHANT) -> MerchantId:
    """The merchant in its name, or in that of a resource that it has one of. Raises ValueError."""
    (merchant,) = pattern.parse(name)
    return MerchantId(merchant)


def parse_customer(name: str) -> tuple[MerchantId, CustomerId]:
    """The merchant and the customer in its name. Raises ValueError."""
    merchant, customer = CUSTOMER.parse(name)
    return MerchantId(merchant), CustomerId(customer)


def parse_standing_order(name: str) -> StandingOrderKey:
    """The key in a standing order's name. Raises ValueError."""
    merchant, standing_order = STANDING_ORDER.parse(name)
    return StandingOrderKey(MerchantId(merchant), StandingOrderId(standing_order))


def parse_order(name: str) -> OrderKey:
    """The key in an order's name. Raises ValueError."""
    merchant, standing_order, cycle = ORDER.parse(name)
    return OrderKey(MerchantId(merchant), StandingOrderId(standing_order), int(cycle))
