"""The resource names that payments reads and writes (AIP-122)."""

from services.payments.domain.keys import ChargeKey, CustomerId, CustomerKey, MerchantId
from services.runtime.resource_names import NamePattern

# Of a merchant, where a contract allows it in place of one customer.
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
ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}")


def customer_key(merchant: str, customer: str) -> CustomerKey:
    """The customer of the ids in a name, in its order."""
    return CustomerKey(MerchantId(merchant), CustomerId(customer))


def parse_customer(name: str) -> CustomerKey:
    """The customer in its name. Raises ValueError."""
    merchant, customer = CUSTOMER.parse(name)
    return customer_key(merchant, customer)


def charge_key(order: str, owner: CustomerKey) -> ChargeKey:
    """The charge of an order: derived from it, so that it can have one only.

    Raises ValueError if the order is not one of the customer's merchant.
    """
    merchant, standing_order, cycle = ORDER.parse(order)
    if merchant != owner.merchant:
        msg = f"{order} is not an order of {owner.name}'s merchant"
        raise ValueError(msg)
    return ChargeKey(owner, f"{standing_order}-{cycle}")
