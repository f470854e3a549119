"""From the wire to the domain: names are checked against the caller's merchant."""

from services.payments.domain.keys import (
    ChargeKey,
    CustomerKey,
    MandateKey,
    PaymentMethodKey,
    RefundKey,
)
from services.payments.names import (
    CHARGE,
    CUSTOMER_OR_ANY,
    MANDATE,
    MERCHANT,
    PAYMENT_METHOD,
    REFUND,
)
from services.runtime.auth.call_context import caller
from services.runtime.errors import Violations

ANY_CUSTOMER = "-"


def read_merchant(name: str) -> str:
    """A merchant. Raises PERMISSION_DENIED if it is not the caller's."""
    (merchant,) = MERCHANT.parse(name)
    caller().check(merchant)
    return merchant


def read_customer(name: str) -> CustomerKey:
    """A customer, or `-` for any where the contract allows it. Raises like `read_merchant`."""
    merchant, customer = CUSTOMER_OR_ANY.parse(name)
    caller().check(merchant)
    return CustomerKey(customer, merchant)


def read_payment_method(name: str) -> PaymentMethodKey:
    """A payment method. Raises like `read_merchant`."""
    merchant, customer, method = PAYMENT_METHOD.parse(name)
    caller().check(merchant)
    return PaymentMethodKey(CustomerKey(customer, merchant), method)


def read_mandate(name: str) -> MandateKey:
    """A mandate. Raises like `read_merchant`."""
    merchant, customer, mandate = MANDATE.parse(name)
    caller().check(merchant)
    return MandateKey(CustomerKey(customer, merchant), mandate)


def read_charge(name: str) -> ChargeKey:
    """A charge. Raises like `read_merchant`."""
    merchant, customer, charge = CHARGE.parse(name)
    caller().check(merchant)
    return ChargeKey(CustomerKey(customer, merchant), charge)


def read_refund(name: str) -> RefundKey:
    """A refund. Raises like `read_merchant`."""
    merchant, customer, charge, refund = REFUND.parse(name)
    caller().check(merchant)
    return RefundKey(ChargeKey(CustomerKey(customer, merchant), charge), refund)


def read_payment_method_of(violations: Violations, field: str, name: str, owner_name: str) -> str:
    """The id of a payment method that has to be the same customer's."""
    *_, method = PAYMENT_METHOD.parse(name)
    if not name.startswith(f"{owner_name}/"):
        violations.add(field, "must be of the same customer")
    return method
