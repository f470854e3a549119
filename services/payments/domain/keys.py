"""What things are called. Rows are always locked in the order of their keys."""

import uuid
from typing import NamedTuple, NewType

# Keys are derived from what they stand for, so that the same attempt always has the same key.
KEY_NAMESPACE = uuid.UUID("8d1f6a0b-4a57-5b0e-9a53-0c9a1f7f2b64")


MerchantId = NewType("MerchantId", str)
CustomerId = NewType("CustomerId", str)


# Tuples, since keys and items are made and compared more often than anything else.
class CustomerKey(NamedTuple):
    """Which customer; everything of one customer lives together."""

    merchant: MerchantId
    customer: CustomerId

    @property
    def name(self) -> str:
        """The resource name."""
        return f"merchants/{self.merchant}/customers/{self.customer}"


class PaymentMethodKey(NamedTuple):
    """Which payment method."""

    owner: CustomerKey
    payment_method: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.owner.name}/paymentMethods/{self.payment_method}"


class MandateKey(NamedTuple):
    """Which mandate."""

    owner: CustomerKey
    mandate: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.owner.name}/mandates/{self.mandate}"


class ChargeKey(NamedTuple):
    """Which charge."""

    owner: CustomerKey
    charge: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.owner.name}/charges/{self.charge}"


class RefundKey(NamedTuple):
    """Which refund."""

    charge: ChargeKey
    refund: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.charge.name}/refunds/{self.refund}"


def derived_key(*parts: str) -> str:
    """A key for the provider, the same for the same parts."""
    return str(uuid.uuid5(KEY_NAMESPACE, "|".join(parts)))
