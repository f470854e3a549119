"""Deliveries that suppliers have promised."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple, NewType

from services.catalog.domain.products import MerchantId, ProductId, ProductKey
from services.catalog.domain.transitions import DeliveryState

DeliveryId = NewType("DeliveryId", str)


class DeliveryKey(NamedTuple):
    """Which delivery of a product."""

    merchant: MerchantId
    product: ProductId
    delivery: DeliveryId

    @property
    def product_key(self) -> ProductKey:
        """The product that it is of."""
        return ProductKey(self.merchant, self.product)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Units of a product that will come, or have."""

    merchant: MerchantId
    product: ProductId
    delivery: DeliveryId
    units: int
    expected_date: date
    state: DeliveryState
    received_units: int
    create_time: datetime

    @property
    def key(self) -> DeliveryKey:
        """Which it is."""
        return DeliveryKey(self.merchant, self.product, self.delivery)
