"""Rule packs, from requests to the domain and from the domain to messages."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from google.protobuf import duration_pb2
from google.type import date_pb2, money_pb2
from recurring.catalog.v1 import catalog_pb2 as pb

from services.catalog.domain.rule_pack_data import RULE_PACKS
from services.catalog.domain.rule_packs import (
    OWN,
    BindingRule,
    ChargeRules,
    ConfirmationAbove,
    DebitNoticeContent,
    DebitNoticeLead,
    Element,
    MandateLapse,
    MandateTerms,
    MerchantRulePack,
    OfferEndNotice,
    PaymentScheme,
    PriceIncreaseNotice,
    ReceiptContent,
    RefundRight,
    Reminder,
    Requirement,
    RetryLimit,
    Rule,
    RulePackKey,
    ordered,
    overlapping,
)
from services.catalog.names import RULE_PACK
from services.runtime.errors import Violations
from services.runtime.rpc.conversions import etag, read_date, read_money, to_date, to_money
from services.runtime.rpc.names import read_name


class RulePackChange(NamedTuple):
    """What a merchant's additions to a pack are to be."""

    key: RulePackKey
    extra_regions: Sequence[str]
    rules: Sequence[Rule]
    etag: str


def read_change(message: pb.RulePack) -> RulePackChange:
    """The change of a pack; raises INVALID_ARGUMENT with all that is wrong with it."""
    key = read_name(RULE_PACK, message.name)
    violations = Violations()
    rules = [
        _read_rule(violations, f"rule_pack.rules[{index}]", rule)
        for index, rule in enumerate(message.rules)
    ]
    violations.check()
    pack = RULE_PACKS.get(key.rule_pack)
    if pack is not None:
        violations.require(
            "rule_pack.extra_regions",
            "must be empty, since the pack applies everywhere",
            met=bool(pack.regions) or not message.extra_regions,
        )
        violations.require(
            "rule_pack.rules",
            "must be left out, since only those of the merchant's own pack can be changed",
            met=pack.id == OWN or not rules or ordered(rules) == pack.rules,
        )
    twice = overlapping(rules)
    violations.require(
        "rule_pack.rules", f"must have one version of {twice} on each day", met=not twice
    )
    violations.check()
    return RulePackChange(key, message.extra_regions, rules, message.etag)


def _read_rule(violations: Violations, field: str, message: pb.Rule) -> Rule:
    start_date = _read_optional_date(violations, f"{field}.start_date", message, "start_date")
    end_date = _read_optional_date(violations, f"{field}.end_date", message, "end_date")
    violations.require(
        f"{field}.end_date",
        "must be after start_date",
        met=end_date is None or end_date > (start_date or date.min),
    )
    requirement = _read_requirement(violations, field, message)
    return Rule(message.id, requirement, message.source, start_date, end_date)


def _read_optional_date(
    violations: Violations, field: str, message: pb.Rule | pb.GetBindingRulesRequest, name: str
) -> date | None:
    if not message.HasField(name):  # type: ignore[arg-type]
        return None
    return read_date(violations, field, getattr(message, name))


def _read_lead(violations: Violations, field: str, lead: duration_pb2.Duration) -> Requirement:
    violations.require(field, "must be whole seconds", met=not lead.nanos)
    return DebitNoticeLead(lead.seconds)


def _read_confirmation(violations: Violations, field: str, money: money_pb2.Money) -> Requirement:
    amount = read_money(violations, field, money)
    return ConfirmationAbove(amount.amount_minor, amount.currency)


def _read_elements(content: pb.NoticeContent) -> tuple[Element, ...]:
    return tuple(Element(pb.NoticeContent.Element.Name(element)) for element in content.elements)


# By the name of its field, how what is asked is read.
_READERS: Mapping[str, Callable[[Violations, str, Any], Requirement]] = {
    "debit_notice_lead": _read_lead,
    "debit_notice_content": lambda _v, _f, it: DebitNoticeContent(_read_elements(it)),
    "confirmation_above": _read_confirmation,
    "receipt_content": lambda _v, _f, it: ReceiptContent(_read_elements(it)),
    "mandate_terms": lambda _v, _f, it: MandateTerms(it.maximum, it.validity),
    "mandate_lapse_months": lambda _v, _f, it: MandateLapse(it),
    "refund_right_days": lambda _v, _f, it: RefundRight(it),
    "retry_limit": lambda _v, _f, it: RetryLimit(it.attempt_count, it.window_hours),
    "price_increase_notice": lambda _v, _f, it: PriceIncreaseNotice(it.min_days, it.max_days),
    "offer_end_notice": lambda _v, _f, it: OfferEndNotice(it.min_days, it.max_days),
    "reminder_months": lambda _v, _f, it: Reminder(it),
}


def _read_requirement(violations: Violations, field: str, message: pb.Rule) -> Requirement:
    name = message.WhichOneof("kind")
    assert name is not None  # noqa: S101 - the contract requires one
    return _READERS[name](violations, f"{field}.{name}", getattr(message, name))


def read_scheme(scheme: pb.PaymentScheme.ValueType) -> PaymentScheme | None:
    """A payment scheme; None where none is given."""
    return PaymentScheme(pb.PaymentScheme.Name(scheme)) if scheme else None


def read_day(request: pb.GetBindingRulesRequest, today: date) -> date:
    """The day that is asked about. Raises INVALID_ARGUMENT if there is no such day."""
    violations = Violations()
    day = _read_optional_date(violations, "local_date", request, "local_date")
    violations.check()
    return day or today


def rule_pack_message(pack: MerchantRulePack) -> pb.RulePack:
    """A pack as its merchant sees it."""
    return pb.RulePack(
        name=RULE_PACK.format(*pack.key),
        title=pack.pack.title,
        regions=sorted(pack.pack.regions),
        payment_schemes=[
            pb.PaymentScheme.Value(scheme) for scheme in sorted(pack.pack.payment_schemes)
        ],
        extra_regions=pack.extra_regions,
        rules=[_rule_message(rule) for rule in pack.pack.rules],
        etag=etag(pack.version),
    )


def binding_message(rules: Sequence[BindingRule]) -> pb.BindingRules:
    """The rules that bind a charge."""
    return pb.BindingRules(rules=map(_binding_rule_message, rules))


def charge_rules_message(rules: ChargeRules) -> pb.ChargeRules:
    """What binds a charge, by payment scheme."""
    return pb.ChargeRules(
        schemes=[
            pb.SchemeRules(
                payment_scheme=pb.PaymentScheme.Value(scheme or "PAYMENT_SCHEME_UNSPECIFIED"),
                rules=map(_binding_rule_message, bound),
            )
            for scheme, bound in rules
        ]
    )


def _binding_rule_message(binding: BindingRule) -> pb.BindingRule:
    return pb.BindingRule(
        rule_pack=RULE_PACK.format(*binding.rule_pack), rule=_rule_message(binding.rule)
    )


def _rule_message(rule: Rule) -> pb.Rule:
    field, value = _WRITERS[type(rule.requirement)](rule.requirement)
    return pb.Rule(
        id=rule.id,
        source=rule.source,
        start_date=_optional_date(rule.start_date),
        end_date=_optional_date(rule.end_date),
        **{field: value},
    )


def _content_message(elements: Sequence[Element]) -> pb.NoticeContent:
    return pb.NoticeContent(
        elements=[pb.NoticeContent.Element.Value(element) for element in elements]
    )


# The field of what is asked, and its value.
_WRITERS: Mapping[type, Callable[[Any], tuple[str, Any]]] = {
    DebitNoticeLead: lambda it: (
        "debit_notice_lead", duration_pb2.Duration(seconds=it.lead_seconds)
    ),
    DebitNoticeContent: lambda it: ("debit_notice_content", _content_message(it.elements)),
    ConfirmationAbove: lambda it: ("confirmation_above", to_money(*it)),
    ReceiptContent: lambda it: ("receipt_content", _content_message(it.elements)),
    MandateTerms: lambda it: ("mandate_terms", pb.MandateTerms(**it._asdict())),
    MandateLapse: lambda it: ("mandate_lapse_months", it.months),
    RefundRight: lambda it: ("refund_right_days", it.days),
    RetryLimit: lambda it: ("retry_limit", pb.RetryLimit(**it._asdict())),
    PriceIncreaseNotice: lambda it: ("price_increase_notice", pb.NoticePeriod(**it._asdict())),
    OfferEndNotice: lambda it: ("offer_end_notice", pb.NoticePeriod(**it._asdict())),
    Reminder: lambda it: ("reminder_months", it.months),
}  # fmt: skip


def _optional_date(day: date | None) -> date_pb2.Date | None:
    return None if day is None else to_date(day)
