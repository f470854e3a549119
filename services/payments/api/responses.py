"""From the domain to the wire."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from google.type import date_pb2, dayofweek_pb2, money_pb2
from recurring.payments.v1 import payments_pb2

from services.payments.api.mandate_responses import reason_values, verdict_message
from services.payments.application.charges import ChargeView
from services.payments.application.erasure import Kept
from services.payments.application.payment_links import LinkedRequest
from services.payments.domain.accounts import account_type
from services.payments.domain.attempts import Attempt
from services.payments.domain.credit import Credit, CreditTransaction
from services.payments.domain.declines import code_for_customer
from services.payments.domain.disputes import Dispute, DisputePolicy
from services.payments.domain.dunning import DunningPolicy
from services.payments.domain.dunning_replay import Replay, RetryOutcome, Totals
from services.payments.domain.ledger_periods import LedgerPeriod
from services.payments.domain.payment_methods import PaymentMethod
from services.payments.domain.payment_routing import PaymentRouting
from services.payments.domain.provider_amounts import AS_OF, SOURCE, AmountRule
from services.payments.domain.reconciliation import Finding, RecordedFinding, mending
from services.payments.domain.refunds import Refund, load_refund_lines
from services.payments.domain.revenue import LedgerSettings
from services.payments.domain.verdicts import Verdict
from services.payments.names import (
    DISPUTE_POLICY,
    DUNNING_POLICY,
    LEDGER_ACCOUNT,
    LEDGER_ENTRY,
    LEDGER_PERIOD,
    LEDGER_SETTINGS,
    PAYMENT_ROUTING,
)
from services.payments.publishers import applied_rule_messages
from services.payments.store.encrypted import dispute_evidence_aad, note_aad
from services.payments.store.ledger import Balance, Entry
from services.payments.store.provider_balance import Payout
from services.runtime.auth import call_context
from services.runtime.crypto.encryption import Keyring
from services.runtime.rpc.conversions import (
    etag,
    optional_date,
    optional_timestamp,
    to_date,
    to_money,
    to_timestamp,
)

# What is only proposed is not booked yet.
_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def payment_method_message(now: datetime, method: PaymentMethod) -> payments_pb2.PaymentMethod:
    """A payment method as it stands at an instant, without its token."""
    month = method.expire_month
    return payments_pb2.PaymentMethod(
        name=method.key.name,
        kind=payments_pb2.PaymentMethod.Kind.Value(method.kind),
        provider=method.provider,
        brand=method.brand,
        last4=method.last4,
        create_time=to_timestamp(method.create_time),
        state=payments_pb2.PaymentMethod.State.Value(method.state(now)),
        decline_code=_shown_code(method.decline_code),
        block_time=optional_timestamp(method.block_time),
        expire_date=date_pb2.Date(year=month.year, month=month.month) if month else None,
        provider_customer_id=method.provider_customer,
        default_method=method.is_default,
        fallback_order=method.fallback_order,
        detach_time=optional_timestamp(method.detach_time),
    )


def amount_rules_message(name: str, rules: Iterable[AmountRule]) -> payments_pb2.AmountRules:
    """Which amounts the provider takes."""
    return payments_pb2.AmountRules(
        name=name,
        rules=[
            payments_pb2.AmountRule(
                currency_code=rule.currency,
                step=to_money(rule.step_minor, rule.currency),
                charge_min=to_money(rule.least_minor, rule.currency),
                charge_max=to_money(rule.most_minor, rule.currency),
            )
            for rule in rules
        ],
        source_uri=SOURCE,
        read_date=to_date(AS_OF),
    )


def credit_transaction_message(transaction: CreditTransaction) -> payments_pb2.CreditTransaction:
    """A change of a customer's credit."""
    currency = transaction.currency
    return payments_pb2.CreditTransaction(
        name=transaction.key.name,
        amount=to_money(transaction.amount_minor, currency),
        type=payments_pb2.CreditTransaction.Type.Value(transaction.type),
        source=transaction.source,
        balance_after=to_money(transaction.balance_after_minor, currency),
        create_time=to_timestamp(transaction.create_time),
    )


def credit_balance_message(name: str, held: Iterable[Credit]) -> payments_pb2.CreditBalance:
    """What a customer has of credit."""
    return payments_pb2.CreditBalance(
        name=name,
        amounts=[
            payments_pb2.CreditBalance.Amount(
                balance=to_money(credit.balance_minor, credit.currency),
                reserved=to_money(credit.reserved_minor, credit.currency),
            )
            for credit in held
        ],
    )


def simulation_response(
    since_time: datetime, replay: Replay
) -> payments_pb2.SimulateDunningPolicyResponse:
    """What a policy would have brought."""
    message = payments_pb2.SimulateDunningPolicyResponse
    classes = message.DeclineClass
    return message(
        since_time=to_timestamp(since_time),
        declined=_total_message(replay.declined),
        recovered_in_fact=_total_message(replay.recovered_in_fact),
        recovered=_total_message(replay.recovered),
        unknown=_total_message(replay.unknown),
        retries=[
            message.Retry(
                number=number,
                declined_count=replay.retries[number, RetryOutcome.DECLINED],
                recovered_count=replay.retries[number, RetryOutcome.RECOVERED],
                unknown_count=replay.retries[number, RetryOutcome.UNKNOWN],
            )
            for number in sorted({number for number, _ in replay.retries})
        ],
        history=[
            message.Delay(
                decline_class=classes.Value(decline_class),
                delay_days=days,
                retry_count=count,
                recovered_count=replay.paid[decline_class, days],
            )
            for (decline_class, days), count in sorted(replay.tried.items())
        ],
    )


def _total_message(totals: Totals) -> payments_pb2.SimulateDunningPolicyResponse.Total:
    return payments_pb2.SimulateDunningPolicyResponse.Total(
        charge_count=totals.charge_count,
        amounts=[
            to_money(minor, currency) for currency, minor in sorted(totals.amount_minor.items())
        ],
    )


def dunning_policy_message(policy: DunningPolicy) -> payments_pb2.DunningPolicy:
    """A merchant's policy on declines."""
    return payments_pb2.DunningPolicy(
        name=DUNNING_POLICY.format(policy.merchant),
        schedule=payments_pb2.DunningPolicy.Schedule.Value(policy.schedule),
        retry_days=policy.retry_days,
        retry_hour=policy.retry_hour,
        weekdays=[dayofweek_pb2.DayOfWeek.Name(day) for day in policy.weekdays],
        uses_fallbacks=policy.uses_fallbacks,
        awaits_new_method=policy.awaits_new_method,
        ask_to_pay_days=policy.ask_to_pay_days,
        reminder_hours=policy.reminder_hours,
        payment_page_uri=policy.payment_page_uri,
        version=policy.version,
        etag=etag(policy.version),
    )


def payment_request_message(now: datetime, linked: LinkedRequest) -> payments_pb2.PaymentRequest:
    """What a customer sees who follows a link."""
    link, charge, methods = linked
    return payments_pb2.PaymentRequest(
        charge=charge.key.name,
        title=charge.title,
        amount=to_money(charge.amount_minor, charge.currency),
        state=payments_pb2.Charge.State.Value(charge.state),
        expire_time=optional_timestamp(charge.expire_time),
        overdue_time=optional_timestamp(charge.overdue_time),
        link_use_time=optional_timestamp(link.use_time),
        payment_methods=[payment_method_message(now, method) for method in methods],
    )


def charge_message(view: ChargeView) -> payments_pb2.Charge:
    """A charge with its attempts."""
    charge, attempts, refunded_minor = view
    credit = to_money(charge.credit_minor, charge.currency) if charge.credit_minor else None
    return payments_pb2.Charge(
        name=charge.key.name,
        order=charge.order_name,
        amount=to_money(charge.amount_minor, charge.currency),
        mandate=charge.mandate,
        state=payments_pb2.Charge.State.Value(charge.state),
        attempts=[_attempt_message(attempt) for attempt in attempts],
        refusal_reasons=reason_values(charge.refusal_reasons),
        refunded_amount=to_money(refunded_minor, charge.currency),
        credit_amount=credit,
        create_time=to_timestamp(charge.create_time),
        update_time=to_timestamp(charge.update_time),
        notice=charge.notice,
        applied_rules=applied_rule_messages(charge),
        next_attempt_time=optional_timestamp(charge.next_attempt_time),
        expire_time=optional_timestamp(charge.expire_time),
        overdue_time=optional_timestamp(charge.overdue_time),
        period_start_date=optional_date(charge.period_start_date),
        period_end_date=optional_date(charge.period_end_date),
    )


def explanation(
    view: ChargeView, verdicts: Iterable[Verdict]
) -> payments_pb2.ExplainChargeResponse:
    """A charge, with what the guard said of it."""
    return payments_pb2.ExplainChargeResponse(
        charge=charge_message(view),
        due_time=to_timestamp(view.charge.due_time),
        verdicts=map(verdict_message, verdicts),
    )


def _attempt_message(attempt: Attempt) -> payments_pb2.Charge.Attempt:
    return payments_pb2.Charge.Attempt(
        number=attempt.number,
        state=payments_pb2.Charge.Attempt.State.Value(attempt.state),
        decline_code=_shown_code(attempt.decline_code),
        policy_version=attempt.policy_version,
        start_time=to_timestamp(attempt.start_time),
        provider_payment=attempt.provider_payment,
        payment_method=attempt.method_key.name,
        end_time=optional_timestamp(attempt.end_time),
        action_uri=attempt.action_url,
        action_expire_time=optional_timestamp(
            attempt.action_expire_time if attempt.action_url else None
        ),
    )


def _shown_code(code: str) -> str:
    """The code of a decline as the caller may see it."""
    return code_for_customer(code) if call_context.customer() else code


def erasure_response(kept: Kept) -> payments_pb2.EraseCustomerResponse:
    """Until when some of it is kept, if anything is."""
    return payments_pb2.EraseCustomerResponse(
        evidence_until_time=optional_timestamp(kept.evidence_until),
        documents_until_time=optional_timestamp(kept.documents_until),
    )


def refund_message(keyring: Keyring, refund: Refund) -> payments_pb2.Refund:
    """A refund, its note opened."""
    credit = to_money(refund.credit_minor, refund.currency) if refund.credit_minor else None
    return payments_pb2.Refund(
        name=refund.key.name,
        amount=to_money(refund.amount_minor, refund.currency),
        note=keyring.decrypt(refund.note, *note_aad(refund.key)).decode(),
        state=payments_pb2.Refund.State.Value(refund.state),
        failure_code=refund.failure_code,
        credit_amount=credit,
        lines=[
            payments_pb2.RefundLine(
                product_id=line.product, amount=to_money(line.amount_minor, refund.currency)
            )
            for line in load_refund_lines(refund.lines)
        ],
        create_time=to_timestamp(refund.create_time),
        update_time=to_timestamp(refund.update_time),
    )


def dispute_message(keyring: Keyring, dispute: Dispute) -> payments_pb2.Dispute:
    """A dispute, its evidence opened."""
    message = payments_pb2.Dispute(
        name=dispute.name,
        charge=dispute.charge_key.name,
        mandate=dispute.mandate_name,
        amount=to_money(dispute.amount_minor, dispute.currency),
        reason=dispute.reason,
        state=payments_pb2.Dispute.State.Value(dispute.state),
        provider_dispute_id=dispute.provider_dispute,
        open_time=to_timestamp(dispute.open_time),
        evidence_due_time=optional_timestamp(dispute.evidence_due_time),
        withdraw_time=optional_timestamp(dispute.withdraw_time),
        reinstate_time=optional_timestamp(dispute.reinstate_time),
        fee=to_money(dispute.fee_minor, dispute.fee_currency) if dispute.fee_minor else None,
        response=payments_pb2.Dispute.Response.Value(dispute.response),
        response_time=optional_timestamp(dispute.response_time),
        response_send_time=optional_timestamp(dispute.response_send_time),
        response_failure=dispute.response_failure,
        close_time=optional_timestamp(dispute.close_time),
        update_time=to_timestamp(dispute.update_time),
        late_failure=dispute.late_failure,
    )
    if dispute.evidence:
        opened = keyring.decrypt(dispute.evidence, *dispute_evidence_aad(dispute.key))
        for field, text in json.loads(opened).items():
            message.evidence.add(field=field, text=text)
    return message


def payment_routing_message(routing: PaymentRouting) -> payments_pb2.PaymentRouting:
    """Which providers take a merchant's new payment methods."""
    return payments_pb2.PaymentRouting(
        name=PAYMENT_ROUTING.format(routing.merchant),
        card_provider=routing.card_provider,
        bank_debit_provider=routing.bank_debit_provider,
        etag=etag(routing.version),
    )


def ledger_settings_message(settings: LedgerSettings) -> payments_pb2.LedgerSettings:
    """How a merchant's ledger is kept."""
    return payments_pb2.LedgerSettings(
        name=LEDGER_SETTINGS.format(settings.merchant),
        revenue_recognition=payments_pb2.LedgerSettings.RevenueRecognition.Value(
            settings.revenue_recognition
        ),
        etag=etag(settings.version),
    )


def dispute_policy_message(policy: DisputePolicy) -> payments_pb2.DisputePolicy:
    """What is done about a merchant's disputes."""
    return payments_pb2.DisputePolicy(
        name=DISPUTE_POLICY.format(policy.merchant),
        charging=payments_pb2.DisputePolicy.Charging.Value(policy.charging),
        etag=etag(policy.version),
    )


def ledger_account_message(merchant: str, balance: Balance) -> payments_pb2.LedgerAccount:
    """An account's balance in one currency."""
    return payments_pb2.LedgerAccount(
        name=LEDGER_ACCOUNT.format(merchant, balance.account),
        balance=to_money(balance.balance_minor, balance.currency),
        type=payments_pb2.LedgerAccount.Type.Value(account_type(balance.account)),
    )


def ledger_entry_message(entry: Entry) -> payments_pb2.LedgerEntry:
    """One side of a transfer."""
    return payments_pb2.LedgerEntry(
        name=LEDGER_ENTRY.format(entry.merchant, f"{entry.transaction}-{entry.leg}"),
        transaction=str(entry.transaction),
        account=LEDGER_ACCOUNT.format(entry.merchant, entry.account),
        amount=to_money(entry.amount_minor, entry.currency),
        source=entry.source,
        book_time=to_timestamp(entry.book_time),
        occur_time=to_timestamp(entry.occur_time),
    )


def ledger_period_message(period: LedgerPeriod) -> payments_pb2.LedgerPeriod:
    """The books of a merchant through a day, as they were closed."""
    return payments_pb2.LedgerPeriod(
        name=LEDGER_PERIOD.format(period.merchant, period.through_date.isoformat()),
        through_date=to_date(period.through_date),
        close_time=to_timestamp(period.close_time),
        balance_digest=period.balance_digest,
    )


def payout_message(payout: Payout) -> payments_pb2.Payout:
    """What a payout brought to a merchant."""
    share, currency = payout.share, payout.currency
    return payments_pb2.Payout(
        name=share.name,
        provider_payout_id=payout.payout,
        amount=to_money(share.amount_minor, currency),
        charge_amount=to_money(payout.charges_minor, currency),
        refund_amount=to_money(payout.refunds_minor, currency),
        dispute_amount=to_money(payout.disputes_minor, currency),
        other_amount=to_money(payout.others_minor, currency),
        fee_amount=to_money(payout.fees_minor, currency),
        transaction_count=payout.transaction_count,
        arrive_time=to_timestamp(payout.arrive_time),
    )


def finding_message(found: Finding) -> payments_pb2.ReconciliationFinding:
    """What the books and the provider's list do not agree on."""
    return payments_pb2.ReconciliationFinding(
        kind=payments_pb2.ReconciliationFinding.Kind.Value(found.kind),
        source=found.source,
        booked_amount=_moved(found.booked_minor, found.currency),
        provider_amount=_moved(found.provider_minor, found.provider_currency),
        proposed_entry=_proposed_entry(found),
    )


def _moved(minor: int, currency: str) -> money_pb2.Money | None:
    return to_money(abs(minor), currency) if minor else None


def _proposed_entry(found: Finding) -> payments_pb2.ReconciliationFinding.Entry | None:
    entry = mending(found, "", _ANY_TIME)
    if entry is None:
        return None
    return payments_pb2.ReconciliationFinding.Entry(
        debit_account=LEDGER_ACCOUNT.format(found.merchant, entry.debit_account),
        credit_account=LEDGER_ACCOUNT.format(found.merchant, entry.credit_account),
        amount=to_money(entry.amount_minor, entry.currency),
    )


def recorded_finding_message(recorded: RecordedFinding) -> payments_pb2.ReconciliationFinding:
    """A finding of a finished day, and what became of it."""
    message = finding_message(recorded.found)
    message.name = recorded.key.name
    message.provider = recorded.provider
    message.date.CopyFrom(to_date(recorded.compare_date))
    message.find_time.CopyFrom(to_timestamp(recorded.find_time))
    if recorded.resolve_time is not None:
        message.resolve_time.CopyFrom(to_timestamp(recorded.resolve_time))
    if recorded.apply_time is not None:
        message.apply_time.CopyFrom(to_timestamp(recorded.apply_time))
    return message
