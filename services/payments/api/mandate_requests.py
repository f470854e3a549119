"""From the wire to the domain: mandates, and what is asked about them."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from recurring.payments.v1 import payments_pb2

from services.payments.api.requests import read_method_of
from services.payments.application.mandates import MandateCheck, PlannedCharges, WantedTerms
from services.payments.clients.charge_rules import read_charge_rules
from services.payments.domain.consent import Mandate
from services.payments.domain.keys import MandateId, MandateKey, MerchantId
from services.payments.domain.provider_amounts import PROVIDER_CURRENCIES, least_minor
from services.payments.domain.rules import ChargeRules
from services.payments.names import CUSTOMER, MANDATE, STANDING_ORDER
from services.payments.store.encrypted import evidence_aad
from services.runtime.crypto.encryption import Keyring
from services.runtime.errors import Violations
from services.runtime.money import DIGITS, Money, format_minor
from services.runtime.resource_names import require_within
from services.runtime.rpc.conversions import read_money, read_timestamp
from services.runtime.rpc.names import read_name
from services.runtime.time_zones import is_time_zone

_AMENDABLE = (
    "charge_ceiling", "period_ceiling", "time_zone", "valid_until_time", "standing_orders", "lead",
)  # fmt: skip


def read_new_mandate(
    request: payments_pb2.CreateMandateRequest, keyring: Keyring, now: datetime
) -> Mandate:
    """The consent that is to be recorded, its evidence encrypted."""
    wanted = request.mandate
    key = MandateKey(*read_name(CUSTOMER, request.parent), MandateId(request.mandate_id))
    violations = Violations()
    method = None
    if wanted.payment_method:
        method = read_method_of(
            violations, "mandate.payment_method", wanted.payment_method, key[:2]
        )
    ceiling = read_money(violations, "mandate.charge_ceiling", wanted.charge_ceiling)
    violations.require(
        "mandate.charge_ceiling.currency_code",
        "must be a currency in which the payment provider charges",
        met=ceiling.currency not in DIGITS or ceiling.currency in PROVIDER_CURRENCIES,
    )
    _require_chargeable(violations, "mandate.charge_ceiling", ceiling)
    period_ceiling, period_days = _read_period_ceiling(violations, "mandate", wanted)
    violations.require(
        "mandate.period_ceiling.amount.currency_code",
        "must be the currency of charge_ceiling",
        met=period_ceiling is None or period_ceiling.currency == ceiling.currency,
    )
    time_zone = _read_time_zone(violations, "mandate", wanted)
    valid_from_time, valid_until_time = _read_validity(violations, wanted, now)
    scope = _read_scope(violations, "mandate", wanted, key.merchant)
    lead_seconds = _read_lead(violations, "mandate", wanted)
    pending = wanted.await_confirmation
    violations.require(
        "mandate.evidence",
        "must be set if await_confirmation is not, and only then",
        met=wanted.HasField("evidence") is not pending,
    )
    evidence = b""
    if not pending:
        evidence = _read_evidence(violations, "mandate.evidence", wanted.evidence)
    violations.check()
    return Mandate(
        *key,
        payment_method=method.payment_method if method else None,
        charge_ceiling_minor=ceiling.amount_minor,
        period_ceiling_minor=period_ceiling.amount_minor if period_ceiling else None,
        currency=ceiling.currency,
        valid_from_time=valid_from_time,
        valid_until_time=valid_until_time,
        evidence=keyring.encrypt(evidence, *evidence_aad(key)),
        create_time=now,
        is_pending=pending,
        period_days=period_days,
        time_zone=time_zone,
        standing_orders=scope,
        lead_seconds=lead_seconds,
    )


def read_consent(
    request: payments_pb2.ConfirmMandateRequest, keyring: Keyring
) -> tuple[MandateKey, bytes]:
    """The mandate that a customer consents to, and the evidence, encrypted. Raises like `read_name`."""
    key = read_name(MANDATE, request.name)
    violations = Violations()
    evidence = _read_evidence(violations, "evidence", request.evidence)
    violations.check()
    return key, keyring.encrypt(evidence, *evidence_aad(key))


def read_amendment(request: payments_pb2.AmendMandateRequest) -> tuple[WantedTerms, bytes]:
    """What of a mandate is to be changed, and the evidence, in the clear. Raises like `read_name`."""
    key = read_name(MANDATE, request.name)
    violations = Violations()
    wanted, paths = request.terms, set(request.update_mask.paths)
    violations.require(
        "update_mask",
        f"must name some of {', '.join(_AMENDABLE)}, and nothing else",
        met=bool(paths) and paths <= set(_AMENDABLE),
    )
    violations.check()
    terms: dict[str, Any] = {}
    ceilings: list[Money] = []
    if "charge_ceiling" in paths:
        ceiling = read_money(violations, "terms.charge_ceiling", wanted.charge_ceiling)
        _require_chargeable(violations, "terms.charge_ceiling", ceiling)
        ceilings.append(ceiling)
        terms["charge_ceiling_minor"] = ceiling.amount_minor
    if "period_ceiling" in paths:
        period_ceiling, terms["period_days"] = _read_period_ceiling(violations, "terms", wanted)
        ceilings += [period_ceiling] if period_ceiling else []
        terms["period_ceiling_minor"] = period_ceiling.amount_minor if period_ceiling else None
    if "time_zone" in paths:
        terms["time_zone"] = _read_time_zone(violations, "terms", wanted)
    if "valid_until_time" in paths:
        terms["valid_until_time"] = _read_end(violations, wanted)
    # A name of another merchant is refused even where it would change nothing.
    scope = _read_scope(violations, "terms", wanted, key.merchant)
    if "standing_orders" in paths:
        terms["standing_orders"] = scope
    if "lead" in paths:
        terms["lead_seconds"] = _read_lead(violations, "terms", wanted)
    evidence = b""
    if request.HasField("evidence"):
        evidence = _read_evidence(violations, "evidence", request.evidence)
    violations.check()
    return WantedTerms(key, terms, frozenset(money.currency for money in ceilings)), evidence


def _read_end(violations: Violations, wanted: payments_pb2.MandateTerms) -> datetime | None:
    if not wanted.HasField("valid_until_time"):
        return None
    return read_timestamp(violations, "terms.valid_until_time", wanted.valid_until_time)


def _read_evidence(
    violations: Violations, field: str, evidence: payments_pb2.Mandate.Evidence
) -> bytes:
    """The evidence as it is stored, in the clear, with the SHA-256 of its text."""
    read_timestamp(violations, f"{field}.accept_time", evidence.accept_time)
    kept = payments_pb2.Mandate.Evidence()
    kept.CopyFrom(evidence)
    kept.text_sha256 = sha256(evidence.text.encode()).hexdigest()
    violations.require(
        f"{field}.text_sha256",
        "must be the SHA-256 of the text",
        met=evidence.text_sha256 in {"", kept.text_sha256},
    )
    return kept.SerializeToString(deterministic=True)


def _read_scope(
    violations: Violations,
    field: str,
    wanted: payments_pb2.Mandate | payments_pb2.MandateTerms,
    merchant: MerchantId,
) -> tuple[str, ...]:
    """Ids of the standing orders of the merchant that a mandate is for, in their order."""
    for index, name in enumerate(wanted.standing_orders):
        require_within(violations, f"{field}.standing_orders[{index}]", name, merchant)
    return tuple(sorted(STANDING_ORDER.parse(name)[1] for name in wanted.standing_orders))


def _read_lead(
    violations: Violations, field: str, wanted: payments_pb2.Mandate | payments_pb2.MandateTerms
) -> int:
    violations.require(f"{field}.lead", "must be whole seconds", met=not wanted.lead.nanos)
    return wanted.lead.seconds


def _require_chargeable(violations: Violations, field: str, ceiling: Money) -> None:
    """A ceiling below the least that the provider charges is consent to nothing."""
    if ceiling.currency not in PROVIDER_CURRENCIES or ceiling.amount_minor <= 0:
        return
    least = least_minor(ceiling.currency)
    if ceiling.amount_minor < least:
        shown = format_minor(least, ceiling.currency)
        rule = f"must be at least {shown}: the payment provider charges no less"
        violations.add(field, rule, "AMOUNT_NOT_CHARGEABLE")


def _read_period_ceiling(
    violations: Violations, field: str, wanted: payments_pb2.Mandate | payments_pb2.MandateTerms
) -> tuple[Money | None, int | None]:
    """The ceiling of the period, if there is one, and its days; None: it is a month."""
    if not wanted.HasField("period_ceiling"):
        return None, None
    message, field = wanted.period_ceiling, f"{field}.period_ceiling.amount"
    ceiling = read_money(violations, field, message.amount)
    _require_chargeable(violations, field, ceiling)
    return ceiling, message.rolling_days or None


def _read_time_zone(
    violations: Violations, field: str, wanted: payments_pb2.Mandate | payments_pb2.MandateTerms
) -> str:
    """The zone that is named; empty: the merchant's."""
    name = wanted.time_zone
    rule = "must be a time zone, such as Europe/Berlin"
    violations.require(f"{field}.time_zone", rule, met=not name or is_time_zone(name))
    return name


def _read_validity(
    violations: Violations, wanted: payments_pb2.Mandate, now: datetime
) -> tuple[datetime, datetime | None]:
    valid_from_time = now
    if wanted.HasField("valid_from_time"):
        valid_from_time = read_timestamp(
            violations, "mandate.valid_from_time", wanted.valid_from_time
        )
    if not wanted.HasField("valid_until_time"):
        return valid_from_time, None
    valid_until_time = read_timestamp(
        violations, "mandate.valid_until_time", wanted.valid_until_time
    )
    violations.require(
        "mandate.valid_until_time",
        "must be later than valid_from_time, and not past",
        met=valid_until_time > max(valid_from_time, now),
    )
    return valid_from_time, valid_until_time


def read_checks(
    request: payments_pb2.BatchCheckMandatesRequest,
) -> tuple[list[MandateCheck], PlannedCharges]:
    """What is to be checked, and what is planned beside it. The caller is a service."""
    violations = Violations()
    rules = [read_charge_rules(message) for message in request.charge_rules]
    checks = [
        _read_check(violations, f"checks[{index}]", check, rules)
        for index, check in enumerate(request.checks)
    ]
    planned = {
        MANDATE.key(charges.mandate): [
            _read_planned(violations, f"planned_charges[{index}].charges[{place}]", charge)
            for place, charge in enumerate(charges.charges)
        ]
        for index, charges in enumerate(request.planned_charges)
    }
    violations.check()
    return checks, planned


def _read_planned(
    violations: Violations, field: str, charge: payments_pb2.PlannedCharges.Charge
) -> tuple[datetime, Money]:
    charge_time = read_timestamp(violations, f"{field}.charge_time", charge.charge_time)
    return charge_time, read_money(violations, f"{field}.amount", charge.amount)


def _read_check(
    violations: Violations,
    field: str,
    check: payments_pb2.MandateCheck,
    charge_rules: Sequence[ChargeRules],
) -> MandateCheck:
    amount = read_money(violations, f"{field}.amount", check.amount)
    charge_time = read_timestamp(violations, f"{field}.charge_time", check.charge_time)
    rules: ChargeRules = ()
    if check.HasField("charge_rules_index"):
        known = check.charge_rules_index < len(charge_rules)
        violations.require(
            f"{field}.charge_rules_index", "must be a place in charge_rules", met=known
        )
        rules = charge_rules[check.charge_rules_index] if known else ()
    key = MANDATE.key(check.mandate)
    require_within(violations, f"{field}.standing_order", check.standing_order, key.merchant)
    standing_order = STANDING_ORDER.parse(check.standing_order)[1]
    return MandateCheck(key, standing_order, amount, charge_time, rules)
