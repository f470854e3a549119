"""The resource names that payments reads and writes (AIP-122)."""

from services.payments.domain.keys import (
    ChargeId,
    ChargeKey,
    CreditTransactionKey,
    CustomerKey,
    DisputeName,
    DocumentKey,
    FindingName,
    MandateKey,
    MerchantId,
    PaymentMethodKey,
    PayoutName,
    RefundKey,
    StatementKey,
)
from services.runtime.resource_names import KeyPattern, NamePattern

# All customers of a merchant, where a contract allows a list of them.
ANY_CUSTOMER = "-"
_CUSTOMER = "merchants/{merchant}/customers/{customer}"

MERCHANT = KeyPattern("merchants/{merchant}", MerchantId)
AMOUNT_RULES = KeyPattern("merchants/{merchant}/amountRules", MerchantId)
CUSTOMER = KeyPattern(_CUSTOMER, CustomerKey)
CUSTOMER_OR_ANY = KeyPattern(_CUSTOMER, CustomerKey, wildcard="customer")
PAYMENT_METHOD = KeyPattern(_CUSTOMER + "/paymentMethods/{payment_method}", PaymentMethodKey)
DUNNING_POLICY = KeyPattern("merchants/{merchant}/dunningPolicy", MerchantId)
MANDATE = KeyPattern(_CUSTOMER + "/mandates/{mandate}", MandateKey)
CHARGE = KeyPattern(_CUSTOMER + "/charges/{charge}", ChargeKey, derived="charge")
REFUND = KeyPattern(_CUSTOMER + "/charges/{charge}/refunds/{refund}", RefundKey, derived="charge")
CREDIT_BALANCE = KeyPattern(_CUSTOMER + "/creditBalance", CustomerKey)
CREDIT_TRANSACTION = KeyPattern(
    _CUSTOMER + "/creditTransactions/{credit_transaction}",
    CreditTransactionKey,
    derived="credit_transaction",
)
BILLING_DETAILS = KeyPattern(_CUSTOMER + "/billingDetails", CustomerKey)
DISPUTE = KeyPattern("merchants/{merchant}/disputes/{dispute}", DisputeName)
LEDGER_SETTINGS = KeyPattern("merchants/{merchant}/ledgerSettings", MerchantId)
PAYMENT_ROUTING = KeyPattern("merchants/{merchant}/paymentRouting", MerchantId)
DISPUTE_POLICY = KeyPattern("merchants/{merchant}/disputePolicy", MerchantId)
DOCUMENT = KeyPattern("merchants/{merchant}/documents/{document}", DocumentKey)
DOCUMENT_SETTINGS = KeyPattern("merchants/{merchant}/documentSettings", MerchantId)
STATEMENT = KeyPattern(_CUSTOMER + "/statements/{statement}", StatementKey)
LEDGER_ACCOUNT = NamePattern("merchants/{merchant}/ledgerAccounts/{account}")
LEDGER_ENTRY = NamePattern("merchants/{merchant}/ledgerEntries/{entry}")
PAYOUT = KeyPattern("merchants/{merchant}/payouts/{share}", PayoutName)
RECONCILIATION_FINDING = KeyPattern(
    "merchants/{merchant}/reconciliationFindings/{finding}", FindingName
)
LEDGER_PERIOD = NamePattern("merchants/{merchant}/ledgerPeriods/{ledger_period}")
TAX_RATE = NamePattern("merchants/{merchant}/taxRates/{tax_rate}")
PRODUCT = NamePattern("merchants/{merchant}/products/{product}")
STANDING_ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}")
ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}")


def charge_key(order: str, customer: CustomerKey) -> ChargeKey:
    """The charge of an order: derived from it, so that it can have one only.

    Raises ValueError if the order is not one of the customer's merchant.
    """
    merchant, standing_order, cycle = ORDER.parse(order)
    if merchant != customer.merchant:
        msg = f"{order} is not an order of {customer.name}'s merchant"
        raise ValueError(msg)
    return ChargeKey(*customer, ChargeId(f"{standing_order}-{cycle}"))
