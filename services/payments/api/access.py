"""Who may call which method of payments, and what customers may set by it."""

from services.runtime.auth.authenticator import Access
from services.runtime.auth.customer_access import by_name, by_row

READ, WRITE = "payments:read", "payments:write"
# Of a page for customers: by itself it opens nothing, since each call needs the token of a link.
PAY = "payments:pay"
# What customers set of their own. Which provider has it is the merchant's routing.
_OWN_METHOD = (
    "payment_method_id", "payment_method.provider_token", "payment_method.kind",
    "payment_method.fallback_order",
)  # fmt: skip
_OWN_MANDATE = ("mandate_id", "mandate")
_OWN_TERMS = ("terms", "evidence", "region_code")
_OWN_BILLING = (
    "billing_details.display_name", "billing_details.address_lines", "billing_details.region_code",
    "billing_details.tax_id",
)  # fmt: skip
# Method -> who may call it. What is not named here is closed to all.
ACCESS = {
    "CreatePaymentMethod": Access(WRITE, customer=by_name("parent", *_OWN_METHOD)),
    "GetPaymentMethod": Access(READ, customer=by_name("name")),
    "ListPaymentMethods": Access(READ, customer=by_name("parent")),
    "UpdatePaymentMethod": Access(
        WRITE, customer=by_name("payment_method.name", "payment_method.fallback_order")
    ),
    "SetDefaultPaymentMethod": Access(WRITE, customer=by_name("name")),
    "ReplacePaymentMethod": Access(WRITE, customer=by_name("name", *_OWN_METHOD)),
    "DetachPaymentMethod": Access(WRITE, customer=by_name("name")),
    "CreateMandate": Access(WRITE, customer=by_name("parent", *_OWN_MANDATE)),
    "GetMandate": Access(READ, customer=by_name("name")),
    "ListMandates": Access(READ, customer=by_name("parent")),
    "ConfirmMandate": Access(WRITE, customer=by_name("name", "evidence")),
    "AmendMandate": Access(WRITE, customer=by_name("name", *_OWN_TERMS)),
    "PauseMandate": Access(WRITE, customer=by_name("name")),
    "ResumeMandate": Access(WRITE, customer=by_name("name")),
    "RevokeMandate": Access(WRITE, customer=by_name("name")),
    "GetCharge": Access(READ, services=("scheduler",), customer=by_name("name")),
    "ExplainCharge": Access(READ),
    "ListCharges": Access(READ, customer=by_name("parent", "state")),
    "ConfirmPaymentRequest": Access(
        WRITE, services=("notify",), customer=by_name("name", "payment_method", "amount")
    ),
    "ResolvePaymentLink": Access(PAY),
    "PayByLink": Access(PAY),
    "CreateRefund": Access(WRITE),
    "GetRefund": Access(READ),
    "ListRefunds": Access(READ),
    "CreateCreditTransaction": Access(WRITE),
    "GetCreditBalance": Access(READ, customer=by_name("name")),
    "ListCreditTransactions": Access(READ, customer=by_name("parent")),
    "GetDispute": Access(READ),
    "ListDisputes": Access(READ),
    "SubmitDisputeEvidence": Access(WRITE),
    "AcceptDispute": Access(WRITE),
    "GetDisputePolicy": Access(READ),
    "UpdateDisputePolicy": Access(WRITE),
    "GetPaymentRouting": Access(READ),
    "UpdatePaymentRouting": Access(WRITE),
    "GetLedgerSettings": Access(READ),
    "UpdateLedgerSettings": Access(WRITE),
    "EraseCustomer": Access(WRITE),
    "ListLedgerAccounts": Access(READ),
    "ListLedgerEntries": Access(READ),
    "CloseLedgerPeriod": Access(WRITE),
    "ListLedgerPeriods": Access(READ),
    "GetPayout": Access(READ),
    "ListPayouts": Access(READ),
    "PreviewReconciliation": Access(READ),
    "ListReconciliationFindings": Access(READ),
    "ApplyReconciliationEntry": Access(WRITE),
    "GetDocumentSettings": Access(READ),
    "UpdateDocumentSettings": Access(WRITE),
    "GetBillingDetails": Access(READ, customer=by_name("name")),
    "UpdateBillingDetails": Access(WRITE, customer=by_name("billing_details.name", *_OWN_BILLING)),
    "GetDocument": Access(READ, customer=by_row("name")),
    "ListDocuments": Access(READ, customer=by_name("customer", "charge")),
    "DownloadDocument": Access(READ, customer=by_row("name", "format", "language_code")),
    "BatchDownloadDocuments": Access(services=("notify",)),
    "BatchCheckMandates": Access(services=("scheduler",)),
    "GetAmountRules": Access(READ, services=("catalog",)),
    "GetDunningPolicy": Access(READ),
    "UpdateDunningPolicy": Access(WRITE),
    "SimulateDunningPolicy": Access(READ),
    "ListProductSales": Access(READ),
    "ListTaxSummaries": Access(READ),
    "ListReceivables": Access(READ),
    "GetStatement": Access(READ, customer=by_name("name")),
    "DownloadStatement": Access(READ, customer=by_name("name", "format", "language_code")),
    "ListDunningOutcomes": Access(READ),
    "ListAuditEntries": Access("audit:read"),
}
