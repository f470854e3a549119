"""Products, and what can be wrong with an item of one."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, NewType

INCREASE_NOTICE_DAYS_DEFAULT = 30
# A price or a rate "from now on" may be on the wire for a while.
EFFECTIVE_TIME_GRACE = timedelta(minutes=1)
# The tax category of a product that names none.
STANDARD_CATEGORY = "standard"

MerchantId = NewType("MerchantId", str)
ProductId = NewType("ProductId", str)
PriceId = NewType("PriceId", str)
StandingOrderId = NewType("StandingOrderId", str)


class ProductState(StrEnum):
    """Whether a product is on sale."""

    ACTIVE = "ACTIVE"
    DISCONTINUED = "DISCONTINUED"


class ItemFault(StrEnum):
    """Why an item cannot be priced or held."""

    PRODUCT_NOT_FOUND = "PRODUCT_NOT_FOUND"
    PRODUCT_DISCONTINUED = "PRODUCT_DISCONTINUED"
    PRICE_NOT_FOUND = "PRICE_NOT_FOUND"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    TOTAL_TOO_LARGE = "TOTAL_TOO_LARGE"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    CURRENCY_NEEDED = "CURRENCY_NEEDED"
    NO_SLOT = "NO_SLOT"
    TAX_UNAVAILABLE = "TAX_UNAVAILABLE"


# Tuples, since keys and items are made and compared more often than anything else.
class ProductKey(NamedTuple):
    """Which product."""

    merchant: MerchantId
    product: ProductId


class PriceKey(NamedTuple):
    """Which price of a product."""

    merchant: MerchantId
    product: ProductId
    price: PriceId

    @property
    def product_key(self) -> ProductKey:
        """The product that it is of."""
        return ProductKey(self.merchant, self.product)


class StandingOrderKey(NamedTuple):
    """Which standing order."""

    merchant: MerchantId
    standing_order: StandingOrderId


class OrderKey(NamedTuple):
    """Which order: the cycle of a standing order."""

    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int


class SlotKey(NamedTuple):
    """Which day of a service."""

    merchant: MerchantId
    product: ProductId
    day: date

    @property
    def product_key(self) -> ProductKey:
        """The service."""
        return ProductKey(self.merchant, self.product)


class Item(NamedTuple):
    """A product and how many of it."""

    key: ProductKey
    quantity: int


@dataclass(frozen=True, slots=True)
class Product:
    """Something that a merchant sells again and again."""

    merchant: MerchantId
    product: ProductId
    title: str
    increase_notice_days: int
    stock_tracked: bool
    low_stock_threshold: int
    state: ProductState
    create_time: datetime
    version: int = 1
    tax_category: str = STANDARD_CATEGORY
    # A bundle: its parts, none of them a bundle, and how many of each.
    part_products: tuple[ProductId, ...] = ()
    part_quantities: tuple[int, ...] = ()
    # A service: its stock is slots by day.
    capacity_by_day: bool = False

    @property
    def key(self) -> ProductKey:
        """Which it is."""
        return ProductKey(self.merchant, self.product)

    @property
    def parts(self) -> tuple[Item, ...]:
        """What one unit of a bundle consists of; empty: it is none."""
        parts = zip(self.part_products, self.part_quantities, strict=True)
        return tuple(
            Item(ProductKey(self.merchant, product), quantity) for product, quantity in parts
        )

    @property
    def description(self) -> tuple[object, ...]:
        """What a merchant says of it; the same of a product that is made again alike."""
        return (
            self.key,
            self.title,
            self.increase_notice_days,
            self.stock_tracked,
            self.low_stock_threshold,
            self.tax_category,
            self.parts,
            self.capacity_by_day,
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one item."""

    key: ProductKey
    fault: ItemFault
    # The product's, as far as it is known.
    title: str = field(default="", compare=False)
    # PRODUCT_DISCONTINUED: what it would cost; None where it has no price.
    amount_minor: int | None = field(default=None, compare=False)
    currency: str = field(default="", compare=False)
    # OUT_OF_STOCK: how many there are.
    available_units: int = field(default=0, compare=False)
