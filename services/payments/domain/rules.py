"""What rule packs ask of a charge, and what each rule says of it. Pure functions.

The catalog keeps the packs and says which rules bind, by what the charge may be paid by. It comes with
the charge and is stored with it: so a decision can be explained by what it was made with.
"""

import json
from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from services.payments.domain.consent import Mandate, Notice, RefusalReason

_CACHED_RULES = 1000
_MONTHS_A_YEAR = 12


class PaymentScheme(StrEnum):
    """By whose rules money moves."""

    VISA = "VISA"
    MASTERCARD = "MASTERCARD"
    SEPA_DIRECT_DEBIT = "SEPA_DIRECT_DEBIT"


# As the provider names them.
_SCHEMES = {
    "visa": PaymentScheme.VISA,
    "mastercard": PaymentScheme.MASTERCARD,
    "sepa_debit": PaymentScheme.SEPA_DIRECT_DEBIT,
    "sepa_core": PaymentScheme.SEPA_DIRECT_DEBIT,
}


def scheme_of(brand: str) -> PaymentScheme | None:
    """The scheme of a payment method; None: one that no rule pack is about."""
    return _SCHEMES.get(brand)


class NoticeTerms(NamedTuple):
    """What says how early the charges under a mandate are announced, beside where the customer is."""

    scheme: PaymentScheme | None
    # As the mandate promises it.
    lead_seconds: int


class ChargeRule(NamedTuple):
    """A rule of a rule pack; it asks for one thing, and what it does not ask for is None."""

    # Its resource name, and what the rule is called in it.
    rule_pack: str
    rule: str
    source: str
    # So long before the charge its notice was delivered.
    notice_lead_seconds: int | None = None
    # Above this the customer confirms each charge.
    confirmation_above_minor: int | None = None
    confirmation_currency: str = ""
    # Each mandate has a day on which it ends.
    mandate_ends: bool = False
    # A mandate lapses so long after its last charge.
    mandate_lapse_months: int | None = None


# By payment scheme, the rules that bind; with "", whatever scheme is not named.
ChargeRules = Sequence[tuple[str, Sequence[ChargeRule]]]


class AppliedRule(NamedTuple):
    """A rule that decided about a charge, and what it refused it for; None: it allowed it."""

    rule_pack: str
    rule: str
    source: str
    reason: RefusalReason | None


class Subject(NamedTuple):
    """A charge as rules see it: what is to be charged, on what grounds, and when."""

    amount_minor: int
    currency: str
    notice: Notice | None
    mandate: Mandate | None
    # When the mandate was charged last, or may have been; None: never.
    last_charge_time: datetime | None
    at: datetime


def applied_rules(rules: Sequence[ChargeRule], subject: Subject) -> tuple[AppliedRule, ...]:
    """What each rule says of a charge that is made without asking the customer."""
    return tuple(
        AppliedRule(rule.rule_pack, rule.rule, rule.source, next(_reasons(rule, subject), None))
        for rule in rules
    )


def _reasons(rule: ChargeRule, subject: Subject) -> Iterator[RefusalReason]:
    notice, mandate = subject.notice, subject.mandate
    if notice is not None and subject.at < notice_over_time(rule, notice):
        yield RefusalReason.NOTICE_TOO_RECENT
    if rule.confirmation_above_minor is not None:
        same_currency = subject.currency == rule.confirmation_currency
        if same_currency and subject.amount_minor > rule.confirmation_above_minor:
            yield RefusalReason.CONFIRMATION_REQUIRED
    if mandate is None:
        return
    if rule.mandate_ends and mandate.valid_until_time is None:
        yield RefusalReason.MANDATE_WITHOUT_END
    if rule.mandate_lapse_months is not None:
        used = subject.last_charge_time or mandate.valid_from_time
        if subject.at >= months_after(used, rule.mandate_lapse_months):
            yield RefusalReason.MANDATE_LAPSED


def notice_over_time(rule: ChargeRule, notice: Notice) -> datetime:
    """From when on a rule lets a charge follow its notice."""
    return notice.deliver_time + timedelta(seconds=rule.notice_lead_seconds or 0)


def months_after(moment: datetime, months: int) -> datetime:
    """The same day and time so many months later, or the last day of a month that lacks it."""
    years, month = divmod(moment.month - 1 + months, _MONTHS_A_YEAR)
    year, month = moment.year + years, month + 1
    return moment.replace(year=year, month=month, day=min(moment.day, monthrange(year, month)[1]))


def binding(rules: ChargeRules, brand: str) -> Sequence[ChargeRule]:
    """The rules that bind a charge by a payment method of a brand."""
    by_scheme = dict(rules)
    return by_scheme.get(scheme_of(brand) or "", by_scheme.get("", ()))


def mandate_rules(rules: ChargeRules, brand: str) -> Sequence[ChargeRule]:
    """Those of the binding rules that are about mandates, whatever notice or confirmation comes."""
    return [
        rule
        for rule in binding(rules, brand)
        if rule.mandate_ends or rule.mandate_lapse_months is not None
    ]


def lapsing_mandates(rules: Sequence[ChargeRule]) -> bool:
    """Whether one of the rules is about when a mandate was used last."""
    return any(rule.mandate_lapse_months is not None for rule in rules)


# --- as they are stored -----------------------------------------------------------------------------


def dump_rules(rules: ChargeRules) -> str:
    """Rules as JSON."""
    return json.dumps(rules, separators=(",", ":"))


@lru_cache(maxsize=_CACHED_RULES)
def load_rules(text: str) -> ChargeRules:
    """Rules from their JSON: the same for most charges of a merchant."""
    return tuple(
        (scheme, tuple(ChargeRule(*rule) for rule in rules)) for scheme, rules in json.loads(text)
    )


@lru_cache(maxsize=_CACHED_RULES)
def dump_applied(applied: tuple[AppliedRule, ...]) -> str:
    """What rules said, as JSON: the same of most charges of a merchant."""
    return json.dumps(applied, separators=(",", ":"))


def load_applied(text: str) -> list[AppliedRule]:
    """What rules said, from its JSON."""
    return [
        AppliedRule(rule_pack, rule, source, RefusalReason(reason) if reason else None)
        for rule_pack, rule, source, reason in json.loads(text)
    ]
