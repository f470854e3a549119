"""Resource names as callers give them, checked against the caller's merchant."""

from services.payments.domain.keys import (
    ChargeKey,
    CustomerKey,
    MandateKey,
    PaymentMethodKey,
    RefundKey,
)
from services.runtime.access import caller
from services.runtime.errors import Violations
from services.runtime.wire import NamePattern

ANY_CUSTOMER = "-"

MERCHANT = NamePattern("merchants/{merchant}")
CUSTOMER = NamePattern("merchants/{merchant}/customers/{customer}")
CUSTOMER_OR_ANY = NamePattern("merchants/{merchant}/customers/{customer}", wildcard="customer")
PAYMENT_METHOD = NamePattern(
    "merchants/{merchant}/customers/{customer}/paymentMethods/{payment_method}"
)
MANDATE = NamePattern("merchants/{merchant}/customers/{customer}/mandates/{mandate}")
CHARGE = NamePattern("merchants/{merchant}/customers/{customer}/charges/{charge}", derived="charge")
REFUND = NamePattern(
    "merchants/{merchant}/customers/{customer}/charges/{charge}/refunds/{refund}", derived="charge"
)
LEDGER_ACCOUNT = NamePattern("merchants/{merchant}/ledgerAccounts/{account}")
LEDGER_ENTRY = NamePattern("merchants/{merchant}/ledgerEntries/{entry}")


def read_merchant(violations: Violations, field: str, name: str) -> str:
    """A merchant. Raises if anything was wrong, or the merchant is not the caller's."""
    (merchant,) = MERCHANT.read(violations, field, name)
    violations.check()
    caller().check(merchant)
    return merchant


def read_customer(
    violations: Violations, field: str, name: str, *, wildcard: bool = False
) -> CustomerKey:
    """A customer, or `-` for any if that is allowed. Raises like `read_merchant`."""
    pattern = CUSTOMER_OR_ANY if wildcard else CUSTOMER
    merchant, customer = pattern.read(violations, field, name)
    violations.check()
    caller().check(merchant)
    return CustomerKey(customer, merchant)


def read_payment_method(violations: Violations, field: str, name: str) -> PaymentMethodKey:
    """A payment method. Raises like `read_merchant`."""
    merchant, customer, method = PAYMENT_METHOD.read(violations, field, name)
    violations.check()
    caller().check(merchant)
    return PaymentMethodKey(CustomerKey(customer, merchant), method)


def read_mandate(violations: Violations, field: str, name: str) -> MandateKey:
    """A mandate. Raises like `read_merchant`."""
    merchant, customer, mandate = MANDATE.read(violations, field, name)
    violations.check()
    caller().check(merchant)
    return MandateKey(CustomerKey(customer, merchant), mandate)


def read_charge(violations: Violations, field: str, name: str) -> ChargeKey:
    """A charge. Raises like `read_merchant`."""
    merchant, customer, charge = CHARGE.read(violations, field, name)
    violations.check()
    caller().check(merchant)
    return ChargeKey(CustomerKey(customer, merchant), charge)


def read_refund(violations: Violations, field: str, name: str) -> RefundKey:
    """A refund. Raises like `read_merchant`."""
    merchant, customer, charge, refund = REFUND.read(violations, field, name)
    violations.check()
    caller().check(merchant)
    return RefundKey(ChargeKey(CustomerKey(customer, merchant), charge), refund)


def read_payment_method_of(violations: Violations, field: str, name: str, owner_name: str) -> str:
    """The id of a payment method that has to be the same customer's."""
    *_, method = PAYMENT_METHOD.read(violations, field, name)
    if method and not name.startswith(f"{owner_name}/"):
        violations.add(field, "must be of the same customer")
    return method
