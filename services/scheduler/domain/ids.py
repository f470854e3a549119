"""Ids, each of a type of its own, and keys that are put together from them: merchant first."""

from typing import NamedTuple, NewType

MerchantId = NewType("MerchantId", str)
CustomerId = NewType("CustomerId", str)
StandingOrderId = NewType("StandingOrderId", str)


# Tuples, since keys are made and compared more often than anything else.
class CustomerKey(NamedTuple):
    """Which customer."""

    merchant: MerchantId
    customer: CustomerId


class StandingOrderKey(NamedTuple):
    """Which standing order."""

    merchant: MerchantId
    standing_order: StandingOrderId


class OrderKey(NamedTuple):
    """Which order: the cycle of a standing order. There cannot be two."""

    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int

    @property
    def standing_order_key(self) -> StandingOrderKey:
        """Its standing order."""
        return StandingOrderKey(self.merchant, self.standing_order)
