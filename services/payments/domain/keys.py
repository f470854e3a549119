"""What things are called. Rows are always locked in the order of their keys."""

import uuid
from typing import NamedTuple, NewType

# Keys are derived from what they stand for, so that the same attempt always has the same key.
KEY_NAMESPACE = uuid.UUID("8d1f6a0b-4a57-5b0e-9a53-0c9a1f7f2b64")

MerchantId = NewType("MerchantId", str)
CustomerId = NewType("CustomerId", str)
PaymentMethodId = NewType("PaymentMethodId", str)
MandateId = NewType("MandateId", str)
ChargeId = NewType("ChargeId", str)
RefundId = NewType("RefundId", str)
DisputeId = NewType("DisputeId", str)
CreditTransactionId = NewType("CreditTransactionId", str)
DocumentId = NewType("DocumentId", str)


# Tuples, since keys and items are made and compared more often than anything else.
class CustomerKey(NamedTuple):
    """Which customer; the shard key of everything of one customer."""

    merchant: MerchantId
    customer: CustomerId

    @property
    def name(self) -> str:
        """The resource name."""
        return f"merchants/{self.merchant}/customers/{self.customer}"


class PaymentMethodKey(NamedTuple):
    """Which payment method."""

    merchant: MerchantId
    customer: CustomerId
    payment_method: PaymentMethodId

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{CustomerKey(*self[:2]).name}/paymentMethods/{self.payment_method}"


class MandateKey(NamedTuple):
    """Which mandate."""

    merchant: MerchantId
    customer: CustomerId
    mandate: MandateId

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{CustomerKey(*self[:2]).name}/mandates/{self.mandate}"


class ChargeKey(NamedTuple):
    """Which charge."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{CustomerKey(*self[:2]).name}/charges/{self.charge}"


class RefundKey(NamedTuple):
    """Which refund."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    refund: RefundId

    @property
    def charge_key(self) -> ChargeKey:
        """The charge that it gives back."""
        return ChargeKey(self.merchant, self.customer, self.charge)

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.charge_key.name}/refunds/{self.refund}"


class StatementKey(NamedTuple):
    """Which statement."""

    merchant: MerchantId
    customer: CustomerId
    # Its period, as people write it.
    statement: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{CustomerKey(*self[:2]).name}/statements/{self.statement}"


class CreditTransactionKey(NamedTuple):
    """Which change of a customer's credit."""

    merchant: MerchantId
    customer: CustomerId
    credit_transaction: CreditTransactionId

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{CustomerKey(*self[:2]).name}/creditTransactions/{self.credit_transaction}"


class CreditKey(NamedTuple):
    """Which customer's credit in one currency."""

    merchant: MerchantId
    customer: CustomerId
    currency: str


class DisputeName(NamedTuple):
    """Which dispute, as callers name it."""

    merchant: MerchantId
    dispute: DisputeId

    @property
    def name(self) -> str:
        """The resource name."""
        return f"merchants/{self.merchant}/disputes/{self.dispute}"


class PayoutName(NamedTuple):
    """What a payout brought in a currency, as callers name it."""

    merchant: MerchantId
    share: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"merchants/{self.merchant}/payouts/{self.share}"


class FindingName(NamedTuple):
    """Which finding of a reconciliation, as callers name it."""

    merchant: MerchantId
    finding: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"merchants/{self.merchant}/reconciliationFindings/{self.finding}"


class DisputeKey(NamedTuple):
    """Which dispute, and whose."""

    merchant: MerchantId
    customer: CustomerId
    dispute: DisputeId

    @property
    def name(self) -> str:
        """The resource name, without the customer."""
        return DisputeName(self.merchant, self.dispute).name


class DocumentKey(NamedTuple):
    """Which document."""

    merchant: MerchantId
    document: DocumentId

    @property
    def name(self) -> str:
        """The resource name."""
        return f"merchants/{self.merchant}/documents/{self.document}"


def derived_key(*parts: str) -> str:
    """A key for the provider, the same for the same parts."""
    return str(uuid.uuid5(KEY_NAMESPACE, "|".join(parts)))
