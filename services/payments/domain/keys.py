"""What things are called. Keys sort by the shard key first; rows are always locked in that order."""

import uuid
from dataclasses import dataclass

# Keys are derived from what they stand for, so that the same attempt always has the same key.
KEY_NAMESPACE = uuid.UUID("8d1f6a0b-4a57-5b0e-9a53-0c9a1f7f2b64")


@dataclass(frozen=True, slots=True, order=True)
class CustomerKey:
    """Which customer; everything of one customer lives together."""

    customer: str
    merchant: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"merchants/{self.merchant}/customers/{self.customer}"


@dataclass(frozen=True, slots=True, order=True)
class PaymentMethodKey:
    """Which payment method."""

    owner: CustomerKey
    payment_method: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.owner.name}/paymentMethods/{self.payment_method}"


@dataclass(frozen=True, slots=True, order=True)
class MandateKey:
    """Which mandate."""

    owner: CustomerKey
    mandate: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.owner.name}/mandates/{self.mandate}"


@dataclass(frozen=True, slots=True, order=True)
class ChargeKey:
    """Which charge."""

    owner: CustomerKey
    charge: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.owner.name}/charges/{self.charge}"


@dataclass(frozen=True, slots=True, order=True)
class RefundKey:
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
