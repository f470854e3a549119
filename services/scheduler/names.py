"""The resource names that the scheduler reads and writes (AIP-122)."""

from services.runtime.resource_names import NamePattern
from services.scheduler.domain.order import OrderKey

ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}")


def product_name(merchant: str, product: str) -> str:
    """A product's resource name."""
    return f"merchants/{merchant}/products/{product}"


def standing_order_name(merchant: str, standing_order: str) -> str:
    """A standing order's resource name."""
    return f"merchants/{merchant}/standingOrders/{standing_order}"


def customer_name(merchant: str, customer: str) -> str:
    """A customer's resource name."""
    return f"merchants/{merchant}/customers/{customer}"


def order_name(key: OrderKey) -> str:
    """An order's resource name."""
    return f"merchants/{key.merchant}/standingOrders/{key.standing_order}/orders/{key.cycle}"


def parse_order(name: str) -> OrderKey:
    """The key in an order's name. Raises ValueError."""
    merchant, standing_order, cycle = ORDER.parse(name)
    return OrderKey(merchant, standing_order, int(cycle))
