"""The events that payments publishes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from google.protobuf import duration_pb2
from google.type import date_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.payments.v1 import events_pb2, payments_pb2

from services.payments.domain.attempts import Attempt
from services.payments.domain.charges import Charge
from services.payments.domain.disputes import CLOSED, INQUIRIES, Dispute
from services.payments.domain.documents import Document
from services.payments.domain.keys import ChargeKey, CustomerKey, DocumentKey, MandateKey
from services.payments.domain.outcomes import Declined, NotMade
from services.payments.domain.payment_methods import PaymentMethod
from services.payments.domain.refunds import Refund
from services.payments.domain.rules import NoticeTerms, load_applied
from services.payments.domain.transitions import ChargeState, RefundState
from services.runtime.messaging.events import OutboxEvent
from services.runtime.observability import tracing
from services.runtime.rpc.conversions import optional_timestamp, to_money, to_timestamp


def payment_requested(charge: Charge, now: datetime, link_uri: str = "") -> OutboxEvent:
    """The customer has to confirm the payment."""
    message = events_pb2.PaymentRequested(
        ref=_ref(charge), expire_time=optional_timestamp(charge.expire_time), link_uri=link_uri
    )
    return _event(charge, charge.key.name, message, now)


def payment_request_reminder(charge: Charge, now: datetime, link_uri: str) -> OutboxEvent:
    """The customer has not confirmed the payment yet, and the request is about to end."""
    message = events_pb2.PaymentRequestReminder(
        ref=_ref(charge), expire_time=optional_timestamp(charge.expire_time), link_uri=link_uri
    )
    reminder = charge.next_reminder_time
    return _event(charge, f"{charge.key.name}@{reminder and reminder.isoformat()}", message, now)


def payment_succeeded(charge: Charge, method: PaymentMethod | None, now: datetime) -> OutboxEvent:
    """The money moved, or credit was enough: then no payment method was charged."""
    message = events_pb2.PaymentSucceeded(
        ref=_ref(charge),
        pay_time=to_timestamp(now),
        attempt_count=charge.attempt_count,
        brand=method.brand if method else "",
        last4=method.last4 if method else "",
    )
    if charge.credit_minor:
        message.credit_amount.CopyFrom(to_money(charge.credit_minor, charge.currency))
    return _event(charge, charge.key.name, message, now)


def payment_action_required(
    charge: Charge, attempt: Attempt, url: str, now: datetime
) -> OutboxEvent:
    """The customer has to confirm an attempt with their bank."""
    message = events_pb2.PaymentActionRequired(
        ref=_ref(charge),
        attempt=attempt.number,
        action_uri=url,
        expire_time=optional_timestamp(attempt.action_expire_time),
    )
    return _event(charge, f"{charge.key.name}@{attempt.number}", message, now)


def payment_declined(
    charge: Charge, now: datetime, *, method_blocked: bool, link_uri: str = ""
) -> OutboxEvent:
    """The last attempt was declined, and the charge goes on."""
    message = events_pb2.PaymentDeclined(
        ref=_ref(charge),
        attempt=charge.attempt_count,
        decline_code=charge.decline_code,
        payment_method_blocked=method_blocked,
        next_attempt_time=optional_timestamp(charge.next_attempt_time),
        link_uri=link_uri,
        expire_time=optional_timestamp(
            charge.expire_time if charge.state is ChargeState.REQUESTED else None
        ),
    )
    step = f"{charge.attempt_count}.{charge.retry_count}"
    return _event(charge, f"{charge.key.name}@{step}", message, now)


def payment_refused(charge: Charge, now: datetime) -> OutboxEvent:
    """The guard did not allow it."""
    message = events_pb2.PaymentRefused(
        ref=_ref(charge),
        reasons=[payments_pb2.RefusalReason.Value(reason) for reason in charge.refusal_reasons],
        applied_rules=applied_rule_messages(charge),
    )
    return _event(charge, charge.key.name, message, now)


def applied_rule_messages(charge: Charge) -> list[payments_pb2.AppliedRule]:
    """What rule packs said of a charge when it was last decided."""
    return rule_messages(charge.applied_rules)


def rule_messages(applied_rules: str) -> list[payments_pb2.AppliedRule]:
    """What rule packs said, from its JSON."""
    return [
        payments_pb2.AppliedRule(
            rule_pack=applied.rule_pack,
            rule=applied.rule,
            source=applied.source,
            refusal_reason=payments_pb2.RefusalReason.Value(
                applied.reason or "REFUSAL_REASON_UNSPECIFIED"
            ),
        )
        for applied in load_applied(applied_rules)
    ]


def payment_abandoned(
    charge: Charge, now: datetime, *, method_blocked: bool = False
) -> OutboxEvent:
    """The charge is over without money."""
    message = events_pb2.PaymentAbandoned(
        ref=_ref(charge),
        reason=events_pb2.PaymentAbandoned.Reason.Value(str(charge.abandon_reason)),
        decline_code=charge.decline_code,
        payment_method_blocked=method_blocked,
    )
    return _event(charge, charge.key.name, message, now)


def payment_overdue(
    charge: Charge, now: datetime, *, method_blocked: bool = False, link_uri: str = ""
) -> OutboxEvent:
    """The charge was not paid in time, and can be paid late."""
    message = events_pb2.PaymentOverdue(
        ref=_ref(charge),
        reason=events_pb2.PaymentAbandoned.Reason.Value(str(charge.overdue_reason)),
        decline_code=charge.decline_code,
        payment_method_blocked=method_blocked,
        expire_time=optional_timestamp(charge.expire_time),
        link_uri=link_uri,
    )
    return _event(charge, charge.key.name, message, now)


def given_up(
    charges: Sequence[Charge], now: datetime, links: Mapping[ChargeKey, str]
) -> list[OutboxEvent]:
    """Charges whose requests have ended: over, or to be paid late."""
    return [
        payment_overdue(charge, now, link_uri=links.get(charge.key, ""))
        if charge.overdue_reason
        else payment_abandoned(charge, now)
        for charge in charges
    ]


def refund_succeeded(refund: Refund, charge: Charge, now: datetime) -> OutboxEvent:
    """Money was given back."""
    message = events_pb2.RefundSucceeded(
        ref=_ref(charge),
        refund=refund.key.name,
        refund_amount=to_money(refund.amount_minor, refund.currency),
    )
    if refund.credit_minor:
        message.credit_amount.CopyFrom(to_money(refund.credit_minor, refund.currency))
    return _event(charge, refund.key.name, message, now, refund.traceparent)


def refund_settled(refund: Refund, charge: Charge, now: datetime) -> OutboxEvent:
    """What became of a refund."""
    publish = refund_succeeded if refund.state is RefundState.SUCCEEDED else refund_failed
    return publish(refund, charge, now)


def refund_failed(refund: Refund, charge: Charge, now: datetime) -> OutboxEvent:
    """Money was not given back, or came back."""
    message = events_pb2.RefundFailed(
        ref=_ref(charge),
        refund=refund.key.name,
        refund_amount=to_money(refund.method_minor, refund.currency),
        failure_code=refund.failure_code,
    )
    return _event(charge, refund.key.name, message, now, refund.traceparent)


def document_issued(
    document: Document, charge: Charge, now: datetime, *, email_to_customer: bool
) -> OutboxEvent:
    """A document can be downloaded."""
    name = DocumentKey(document.merchant, document.document).name
    message = events_pb2.DocumentIssued(
        ref=_ref(charge),
        document=name,
        type=payments_pb2.Document.Type.Value(document.type),
        number=document.number,
        document_amount=to_money(document.content.amount_minor, document.currency),
        email_to_customer=email_to_customer,
    )
    return _event(charge, name, message, now)


def dispute_changed(
    before: Dispute | None,
    dispute: Dispute,
    charge: Charge,
    now: datetime,
    *,
    mandate_paused: bool,
) -> list[OutboxEvent]:
    """What a dispute's change is to others: it was opened, became a chargeback, or is over."""
    events = []
    was_inquiry = before is not None and before.state in INQUIRIES
    if before is None or (was_inquiry and dispute.state not in INQUIRIES):
        opened = events_pb2.DisputeOpened(
            ref=_ref(charge),
            dispute=dispute.name,
            dispute_amount=to_money(dispute.amount_minor, dispute.currency),
            reason=dispute.reason,
            inquiry=dispute.state in INQUIRIES,
            evidence_due_time=optional_timestamp(dispute.evidence_due_time),
            state=payments_pb2.Dispute.State.Value(dispute.state),
            late_failure=dispute.late_failure,
            mandate=dispute.mandate_name,
            mandate_paused=mandate_paused,
        )
        kind = "inquiry" if dispute.state in INQUIRIES else "chargeback"
        events.append(_event(charge, f"{dispute.name}@{kind}", opened, now))
    if dispute.state in CLOSED and (before is None or before.state is not dispute.state):
        closed = events_pb2.DisputeClosed(
            ref=_ref(charge),
            dispute=dispute.name,
            dispute_amount=to_money(dispute.amount_minor, dispute.currency),
            state=payments_pb2.Dispute.State.Value(dispute.state),
            late_failure=dispute.late_failure,
            mandate=dispute.mandate_name,
            mandate_paused=mandate_paused,
        )
        events.append(_event(charge, f"{dispute.name}@{dispute.state}", closed, now))
    return events


def decided(
    before: Sequence[Charge],
    charges: Sequence[Charge],
    now: datetime,
    links: Mapping[ChargeKey, str] = {},
) -> list[OutboxEvent]:
    """What the guard's decisions are to others: an attempt or a wait is not yet news.

    A retry that was not made, since there is no other payment method yet, is news, as the next one is.
    """
    publish = {
        ChargeState.REFUSED: payment_refused,
        ChargeState.ABANDONED: payment_abandoned,
        ChargeState.SUCCEEDED: _paid_by_credit,
    }
    ended = [publish[charge.state](charge, now) for charge in charges if charge.state in publish]
    overdue = given_up([charge for charge in charges if charge.overdue_reason], now, links)
    requested = [
        payment_requested(charge, now, links.get(charge.key, ""))
        for charge in charges
        if charge.state is ChargeState.REQUESTED and not charge.overdue_reason
    ]
    put_off = [
        payment_declined(charge, now, method_blocked=False)
        for was, charge in zip(before, charges, strict=True)
        if charge.state is ChargeState.SCHEDULED and charge.retry_count > was.retry_count
    ]
    return ended + overdue + requested + put_off


def _paid_by_credit(charge: Charge, now: datetime) -> OutboxEvent:
    return payment_succeeded(charge, None, now)


def payment_method_blocked(method: PaymentMethod, charge: Charge, now: datetime) -> OutboxEvent:
    """A payment method was declined for good: no order is paid by it any more."""
    message = events_pb2.PaymentMethodBlocked(
        ref=_ref(charge),
        payment_method=method.key.name,
        decline_code=method.decline_code,
        block_time=to_timestamp(now),
        brand=method.brand,
        last4=method.last4,
    )
    return _event(charge, method.key.name, message, now)


def payment_method_expiring(method: PaymentMethod, now: datetime) -> OutboxEvent:
    """A payment method is about to expire; once a method and month."""
    month = method.expire_month
    assert month is not None  # noqa: S101 - what does not expire is not announced to
    message = events_pb2.PaymentMethodExpiring(
        payment_method=method.key.name,
        customer=method.customer_key.name,
        kind=payments_pb2.PaymentMethod.Kind.Value(method.kind),
        brand=method.brand,
        last4=method.last4,
        expire_date=date_pb2.Date(year=month.year, month=month.month),
    )
    return OutboxEvent(
        key=f"{method.key.name}@{month:%Y-%m}",
        message=message,
        tenant=method.merchant,
        partition_key=method.customer_key.name,
        occur_time=now,
        traceparent=tracing.current_traceparent(),
    )


def mandate_terms_changed(mandate: MandateKey, terms: NoticeTerms, now: datetime) -> OutboxEvent:
    """Other rules bind the charges under a mandate than before."""
    scheme, lead_seconds = terms
    message = events_pb2.MandateTermsChanged(
        mandate=mandate.name,
        payment_scheme=catalog_pb2.PaymentScheme.Value(scheme or "PAYMENT_SCHEME_UNSPECIFIED"),
        lead=duration_pb2.Duration(seconds=lead_seconds),
    )
    return OutboxEvent(
        key=f"{mandate.name}@{now.isoformat()}@{scheme}@{lead_seconds}",
        message=message,
        tenant=mandate.merchant,
        partition_key=CustomerKey(mandate.merchant, mandate.customer).name,
        occur_time=now,
        traceparent=tracing.current_traceparent(),
    )


def not_paid(
    charge: Charge,
    outcome: Declined | NotMade,
    now: datetime,
    *,
    method_blocked: bool,
    is_last_resort: bool = False,
    link_uri: str = "",
) -> list[OutboxEvent]:
    """What a decline is to others; the last one is published once, as what it led to.

    An attempt that was not made is no news while the charge goes on. As a last resort, an automatic
    charge has just become a request to pay.
    """
    if charge.state is ChargeState.ABANDONED:
        return [payment_abandoned(charge, now, method_blocked=method_blocked)]
    if charge.overdue_reason:
        return [payment_overdue(charge, now, method_blocked=method_blocked, link_uri=link_uri)]
    if isinstance(outcome, NotMade):
        return []
    if is_last_resort:
        return [
            payment_declined(charge, now, method_blocked=method_blocked),
            payment_requested(charge, now, link_uri),
        ]
    return [payment_declined(charge, now, method_blocked=method_blocked, link_uri=link_uri)]


def _ref(charge: Charge) -> events_pb2.ChargeRef:
    return events_pb2.ChargeRef(
        charge=charge.key.name,
        order=charge.order_name,
        customer=charge.customer_key.name,
        amount=to_money(charge.amount_minor, charge.currency),
        title=charge.title,
        time_zone=charge.time_zone,
    )


def _event(charge: Charge, key: str, message: Any, now: datetime, parent: str = "") -> OutboxEvent:  # noqa: ANN401
    return OutboxEvent(
        key=key,
        message=message,
        tenant=charge.merchant,
        partition_key=charge.customer_key.name,
        occur_time=now,
        traceparent=tracing.continued(
            f"publish {message.DESCRIPTOR.name}", parent or charge.traceparent
        ),
    )
