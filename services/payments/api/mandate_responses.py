"""From the domain to the wire: mandates, and what the guard says of them."""

from collections.abc import Iterable
from datetime import datetime

from google.protobuf import duration_pb2
from google.type import money_pb2
from recurring.payments.v1 import payments_pb2

from services.payments.application.mandates import CheckedMandate
from services.payments.clients.charge_rules import scheme_value
from services.payments.domain.amendments import Amendment, Terms, terms_of
from services.payments.domain.consent import Mandate, RefusalReason
from services.payments.domain.keys import CustomerKey, MandateKey, PaymentMethodKey
from services.payments.domain.verdicts import RESENDING, Verdict, causes
from services.payments.names import STANDING_ORDER
from services.payments.publishers import rule_messages
from services.payments.store.encrypted import amendment_aad, evidence_aad
from services.runtime.crypto.encryption import Keyring
from services.runtime.rpc.conversions import etag, optional_timestamp, to_money, to_timestamp


def mandate_message(
    keyring: Keyring, now: datetime, mandate: Mandate, amendments: Iterable[Amendment] = ()
) -> payments_pb2.Mandate:
    """A mandate as it stands at an instant, its evidence opened."""
    message = payments_pb2.Mandate(
        name=mandate.key.name,
        payment_method=mandate.method_key.name if mandate.method_key else "",
        charge_ceiling=to_money(mandate.charge_ceiling_minor, mandate.currency),
        valid_from_time=to_timestamp(mandate.valid_from_time),
        state=payments_pb2.Mandate.State.Value(mandate.state(now)),
        create_time=to_timestamp(mandate.create_time),
        etag=etag(mandate.version),
        valid_until_time=optional_timestamp(mandate.valid_until_time),
        revoke_time=optional_timestamp(mandate.revoke_time),
        pause_time=optional_timestamp(mandate.pause_time),
        lapse_time=optional_timestamp(mandate.lapse_time),
        time_zone=mandate.time_zone,
        standing_orders=_standing_orders(mandate.merchant, mandate.standing_orders),
        lead=_duration(mandate.lead_seconds),
    )
    if mandate.pause_reason is not None:
        message.pause_reason = payments_pb2.Mandate.PauseReason.Value(mandate.pause_reason)
    if mandate.evidence:
        message.evidence.CopyFrom(_evidence(keyring, mandate.evidence, evidence_aad(mandate.key)))
    if mandate.period_ceiling_minor is not None:
        message.period_ceiling.CopyFrom(_period_ceiling(terms_of(mandate), mandate.currency))
    message.amendments.extend(
        _amendment_message(keyring, mandate, amendment) for amendment in amendments
    )
    return message


def _amendment_message(
    keyring: Keyring, mandate: Mandate, amendment: Amendment
) -> payments_pb2.MandateAmendment:
    terms, currency = terms_of(amendment), mandate.currency
    message = payments_pb2.MandateAmendment(
        amend_time=to_timestamp(amendment.amend_time),
        former_terms=payments_pb2.MandateTerms(
            charge_ceiling=to_money(terms.charge_ceiling_minor, currency),
            time_zone=terms.time_zone,
            valid_until_time=optional_timestamp(terms.valid_until_time),
            standing_orders=_standing_orders(mandate.merchant, terms.standing_orders),
            lead=_duration(terms.lead_seconds),
        ),
        mandate_etag=etag(amendment.version),
    )
    if terms.period_ceiling_minor is not None:
        message.former_terms.period_ceiling.CopyFrom(_period_ceiling(terms, currency))
    if amendment.evidence:
        aad = amendment_aad(mandate.key, amendment.version)
        message.evidence.CopyFrom(_evidence(keyring, amendment.evidence, aad))
    return message


def _evidence(
    keyring: Keyring, encrypted: bytes, aad: tuple[str, ...]
) -> payments_pb2.Mandate.Evidence:
    return payments_pb2.Mandate.Evidence.FromString(keyring.decrypt(encrypted, *aad))


def _period_ceiling(terms: Terms, currency: str) -> payments_pb2.PeriodCeiling:
    return payments_pb2.PeriodCeiling(
        amount=to_money(terms.period_ceiling_minor or 0, currency),
        rolling_days=terms.period_days or 0,
    )


def _standing_orders(merchant: str, ids: Iterable[str]) -> list[str]:
    return [STANDING_ORDER.format(merchant, standing_order) for standing_order in ids]


def verdict_message(verdict: Verdict) -> payments_pb2.Verdict:
    """What the guard said, with all that it compared."""
    customer = CustomerKey(verdict.merchant, verdict.customer)
    method, mandate = verdict.payment_method, verdict.mandate

    def money(amount_minor: int | None, currency: str | None) -> money_pb2.Money | None:
        return None if amount_minor is None else to_money(amount_minor, currency or "")

    return payments_pb2.Verdict(
        attempt=verdict.number,
        resend=verdict.permit == RESENDING,
        decide_time=to_timestamp(verdict.decide_time),
        causes=[
            payments_pb2.Verdict.Cause(
                reason=payments_pb2.RefusalReason.Value(reason), source=source
            )
            for reason, source in causes(verdict)
        ],
        amount=to_money(verdict.amount_minor, verdict.currency),
        payment_method=PaymentMethodKey(*customer, method).name if method else "",
        mandate=MandateKey(*customer, mandate).name if mandate else "",
        mandate_etag=etag(verdict.mandate_version) if verdict.mandate_version else "",
        charge_ceiling=money(verdict.charge_ceiling_minor, verdict.currency),
        period_ceiling=money(verdict.period_ceiling_minor, verdict.currency),
        period_spent_amount=money(verdict.spent_minor, verdict.currency),
        period_start_time=optional_timestamp(verdict.period_start_time),
        last_charge_time=optional_timestamp(verdict.last_charge_time),
        notice=verdict.notice or "",
        notice_amount=money(verdict.notice_amount_minor, verdict.notice_currency),
        charge_not_before_time=optional_timestamp(verdict.charge_not_before_time),
        deliver_time=optional_timestamp(verdict.deliver_time),
        applied_rules=rule_messages(verdict.applied_rules),
    )


def check_response(
    results: Iterable[CheckedMandate],
) -> payments_pb2.BatchCheckMandatesResponse:
    """What is against each charge that was checked, and what it would be paid by."""
    return payments_pb2.BatchCheckMandatesResponse(
        results=[
            payments_pb2.MandateCheckResult(
                reasons=reason_values(result.reasons),
                payment_scheme=scheme_value(result.scheme),
                has_period_ceiling=result.has_period_ceiling,
                lead=_duration(result.lead_seconds),
                credit_amount=(
                    to_money(result.credit.amount_minor, result.credit.currency)
                    if result.credit
                    else None
                ),
            )
            for result in results
        ]
    )


def reason_values(
    reasons: Iterable[RefusalReason],
) -> list[payments_pb2.RefusalReason.ValueType]:
    """Refusal reasons on the wire."""
    return [payments_pb2.RefusalReason.Value(reason) for reason in reasons]


def _duration(seconds: int) -> duration_pb2.Duration | None:
    return duration_pb2.Duration(seconds=seconds) if seconds else None
