"""From the wire to the domain: names are checked against the caller's merchant."""

from datetime import date, datetime

from recurring.payments.v1 import payments_pb2

from services.payments.application.payment_methods import WantedToken
from services.payments.application.refunds import WantedLine
from services.payments.domain.accounts import ROUNDING, SUSPENSE, WRITE_OFFS
from services.payments.domain.credit import (
    GIVING_TYPES,
    TAKING_TYPES,
    CreditTransaction,
    CreditType,
)
from services.payments.domain.disputes import ChargingPolicy, DisputePolicy
from services.payments.domain.dunning import PUBLISHED_DAYS, DunningPolicy, RetrySchedule
from services.payments.domain.keys import (
    ChargeKey,
    CreditTransactionId,
    CustomerId,
    MerchantId,
    PaymentMethodId,
    PaymentMethodKey,
    RefundId,
    RefundKey,
)
from services.payments.domain.payment_methods import PaymentMethodKind
from services.payments.domain.payment_routing import PaymentRouting
from services.payments.domain.revenue import LedgerSettings, RevenueRecognition
from services.payments.names import (
    CHARGE,
    CUSTOMER,
    DISPUTE_POLICY,
    DUNNING_POLICY,
    LEDGER_SETTINGS,
    MERCHANT,
    PAYMENT_METHOD,
    PAYMENT_ROUTING,
)
from services.runtime.errors import Violations
from services.runtime.money import Money
from services.runtime.resource_names import require_within
from services.runtime.rpc.conversions import (
    read_bound,
    read_date,
    read_money,
    read_signed_money,
)
from services.runtime.rpc.names import read_name

_KINDS = payments_pb2.PaymentMethod.Kind

_Account = payments_pb2.ApplyReconciliationEntryRequest.Account
# The accounts that the difference of a finding can go to.
MENDED_AGAINST = {
    _Account.ACCOUNT_UNSPECIFIED: SUSPENSE,
    _Account.SUSPENSE: SUSPENSE,
    _Account.WRITE_OFFS: WRITE_OFFS,
    _Account.ROUNDING: ROUNDING,
}


def read_new_payment_method(
    request: payments_pb2.CreatePaymentMethodRequest,
) -> tuple[PaymentMethodKey, WantedToken]:
    """The payment method that is to be registered, and its token. Raises like `read_name`."""
    method = PaymentMethodId(request.payment_method_id)
    key = PaymentMethodKey(*read_name(CUSTOMER, request.parent), method)
    return key, _read_token(request.payment_method)


def read_replacement(
    request: payments_pb2.ReplacePaymentMethodRequest,
) -> tuple[PaymentMethodKey, PaymentMethodId, WantedToken]:
    """What is replaced, and the id and token of what takes its place. Raises like `read_name`."""
    old = read_name(PAYMENT_METHOD, request.name)
    return old, PaymentMethodId(request.payment_method_id), _read_token(request.payment_method)


def _read_token(method: payments_pb2.PaymentMethod) -> WantedToken:
    violations = Violations()
    token = method.provider_token
    violations.require("payment_method.provider_token", "must be set", met=bool(token))
    violations.check()
    kind = PaymentMethodKind(_KINDS.Name(method.kind)) if method.kind else None
    return WantedToken(token, method.provider, kind)


def read_payment_method_update(
    request: payments_pb2.UpdatePaymentMethodRequest,
) -> tuple[PaymentMethodKey, int]:
    """Which payment method gets which place among the fallbacks. Raises like `read_name`."""
    violations = Violations()
    name = request.payment_method.name
    violations.require("payment_method.name", "must be set", met=bool(name))
    violations.require(
        "update_mask",
        "must name fallback_order, and nothing else",
        met=set(request.update_mask.paths) == {"fallback_order"},
    )
    violations.check()
    return read_name(PAYMENT_METHOD, name), request.payment_method.fallback_order


def read_dunning_policy(wanted: payments_pb2.DunningPolicy) -> DunningPolicy:
    """What a merchant's policy on declines is to be. Raises like `read_name`."""
    merchant = read_name(DUNNING_POLICY, wanted.name)
    violations = Violations()
    names = payments_pb2.DunningPolicy.Schedule
    violations.require("dunning_policy.schedule", "must be set", met=bool(wanted.schedule))
    violations.check()
    schedule = RetrySchedule(names.Name(wanted.schedule))
    retry_days = tuple(wanted.retry_days)
    if schedule is not RetrySchedule.CUSTOM:
        published = PUBLISHED_DAYS[schedule]
        violations.require(
            "dunning_policy.retry_days",
            "must be empty, or those of the schedule, unless it is CUSTOM",
            met=retry_days in {(), published},
        )
        retry_days = published
    violations.check()
    return DunningPolicy(
        merchant,
        schedule,
        retry_days,
        wanted.retry_hour if wanted.HasField("retry_hour") else None,
        tuple(sorted(wanted.weekdays)),
        uses_fallbacks=wanted.uses_fallbacks,
        awaits_new_method=wanted.awaits_new_method,
        ask_to_pay_days=wanted.ask_to_pay_days,
        reminder_hours=tuple(sorted(wanted.reminder_hours, reverse=True)),
        payment_page_uri=wanted.payment_page_uri,
    )


def read_confirmation(
    request: payments_pb2.ConfirmPaymentRequestRequest,
) -> tuple[ChargeKey, PaymentMethodKey | None, Money | None]:
    """What the customer confirms, what with and how much, if they say. Raises like `read_name`."""
    key = read_name(CHARGE, request.name)
    violations = Violations()
    method = None
    if request.payment_method:
        method = read_method_of(violations, "payment_method", request.payment_method, key[:2])
    amount = None
    if request.HasField("amount"):
        amount = read_money(violations, "amount", request.amount)
    violations.check()
    return key, method, amount


def read_payment_by_link(
    request: payments_pb2.PayByLinkRequest,
) -> tuple[MerchantId, str, PaymentMethodKey, Money]:
    """Whose link it is, its token, what is paid with, and how much. Raises like `read_name`."""
    merchant = read_name(MERCHANT, request.parent)
    violations = Violations()
    method = PAYMENT_METHOD.key(request.payment_method)
    violations.require(
        "payment_method", f"must be of {request.parent}", met=method.merchant == merchant
    )
    amount = read_money(violations, "amount", request.amount)
    violations.check()
    return merchant, request.link_token, method, amount


def read_new_refund(request: payments_pb2.CreateRefundRequest) -> tuple[RefundKey, Money | None]:
    """The refund that is wanted, and its amount; None for all that is left. Raises like `read_name`."""
    key = RefundKey(*read_name(CHARGE, request.parent), RefundId(request.refund_id))
    if not request.refund.HasField("amount"):
        return key, None
    violations = Violations()
    amount = read_money(violations, "refund.amount", request.refund.amount)
    violations.check()
    return key, amount


def read_refund_lines(request: payments_pb2.CreateRefundRequest) -> list[WantedLine]:
    """Which products of the charge are given back, and how much of each. Raises like `read_name`."""
    violations = Violations()
    lines = request.refund.lines
    violations.require(
        "refund.amount",
        "must not be set beside lines, which say it",
        met=not (lines and request.refund.HasField("amount")),
    )
    products = [line.product_id for line in lines]
    violations.require(
        "refund.lines", "must name each product once", met=len(products) == len(set(products))
    )
    wanted: list[WantedLine] = []
    for index, line in enumerate(lines):
        field = f"refund.lines[{index}].amount"
        amount = read_money(violations, field, line.amount) if line.HasField("amount") else None
        wanted.append((line.product_id, amount))
    violations.check()
    return wanted


def read_new_credit_transaction(
    request: payments_pb2.CreateCreditTransactionRequest, now: datetime
) -> CreditTransaction:
    """What is to be given to a customer, or taken. Raises like `read_name`."""
    wanted = request.credit_transaction
    violations = Violations()
    amount = read_signed_money(violations, "credit_transaction.amount", wanted.amount)
    violations.check()
    taken = amount.amount_minor < 0
    type_ = CreditType(payments_pb2.CreditTransaction.Type.Name(wanted.type))
    if type_ not in (TAKING_TYPES if taken else GIVING_TYPES):
        rule = (
            "must be PAYOUT or CORRECTION if the amount is below 0, and not PAYOUT if it is above"
        )
        violations.add("credit_transaction.type", rule, "NOT_OF_THIS_SIGN")
    violations.check()
    return CreditTransaction(
        *read_name(CUSTOMER, request.parent),
        CreditTransactionId(request.credit_transaction_id),
        type_,
        amount.amount_minor,
        amount.currency,
        source="",
        create_time=now,
    )


def read_dispute_filter(
    request: payments_pb2.ListDisputesRequest,
) -> tuple[MerchantId, str, ChargeKey | None]:
    """Whose disputes are wanted, in which state and of which charge. Raises like `read_name`."""
    merchant = read_name(MERCHANT, request.parent)
    state = payments_pb2.Dispute.State.Name(request.state) if request.state else ""
    violations = Violations()
    require_within(violations, "charge", request.charge, merchant)
    violations.check()
    return merchant, state, CHARGE.key(request.charge) if request.charge else None


def read_payment_routing(
    request: payments_pb2.UpdatePaymentRoutingRequest,
) -> PaymentRouting:
    """Which providers a merchant wants. Raises like `read_name`."""
    wanted = request.payment_routing
    merchant = read_name(PAYMENT_ROUTING, wanted.name)
    return PaymentRouting(merchant, wanted.card_provider, wanted.bank_debit_provider)


def read_ledger_settings(request: payments_pb2.UpdateLedgerSettingsRequest) -> LedgerSettings:
    """How a merchant's ledger is to be kept. Raises like `read_name`."""
    wanted = request.ledger_settings
    name = payments_pb2.LedgerSettings.RevenueRecognition.Name(wanted.revenue_recognition)
    return LedgerSettings(read_name(LEDGER_SETTINGS, wanted.name), RevenueRecognition(name))


def read_dispute_policy(request: payments_pb2.UpdateDisputePolicyRequest) -> DisputePolicy:
    """What is to be done about a merchant's disputes. Raises like `read_name`."""
    wanted = request.dispute_policy
    merchant = read_name(DISPUTE_POLICY, wanted.name)
    charging = payments_pb2.DisputePolicy.Charging.Name(wanted.charging)
    return DisputePolicy(merchant, ChargingPolicy(charging))


def read_balances(
    request: payments_pb2.ListLedgerAccountsRequest,
) -> tuple[MerchantId, datetime | None]:
    """Whose balances are wanted, and of when; None for now. Raises like `read_name`."""
    merchant = read_name(MERCHANT, request.parent)
    if not request.HasField("as_of_time"):
        return merchant, None
    violations = Violations()
    as_of_time = read_bound(violations, "as_of_time", request.as_of_time)
    violations.check()
    return merchant, as_of_time


def read_day(
    request: payments_pb2.PreviewReconciliationRequest, now: datetime
) -> tuple[MerchantId, date]:
    """Whose day is to be compared, of those that have begun. Raises like `read_name`."""
    merchant = read_name(MERCHANT, request.parent)
    violations = Violations()
    day = read_date(violations, "date", request.date)
    violations.require("date", "must not be after today (UTC)", met=day <= now.date())
    violations.check()
    return merchant, day


def read_findings(
    request: payments_pb2.ListReconciliationFindingsRequest,
) -> tuple[MerchantId, bool]:
    """Whose findings are wanted, and whether with resolved ones. Raises like `read_name`."""
    return read_name(MERCHANT, request.parent), request.show_resolved


def read_period(request: payments_pb2.CloseLedgerPeriodRequest) -> tuple[MerchantId, date]:
    """Whose books are to be closed, and through which day. Raises like `read_name`."""
    merchant = read_name(MERCHANT, request.parent)
    violations = Violations()
    day = read_date(violations, "through_date", request.through_date)
    violations.check()
    return merchant, day


def read_method_of(
    violations: Violations, field: str, name: str, customer: tuple[MerchantId, CustomerId]
) -> PaymentMethodKey:
    """A payment method that has to be of a customer."""
    method = PAYMENT_METHOD.key(name)
    violations.require(field, "must be of the same customer", met=method[:2] == customer)
    return method
