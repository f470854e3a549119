"""What law, payment schemes and the merchant ask of recurring charges. Pure.

A rule pack is dated data: each version of a rule has the days on which it is in force, and its source.
Of all rules that apply, the strictest of each kind binds, so no pack makes another one laxer.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import NamedTuple, NewType

from services.catalog.domain.products import MerchantId

RulePackId = NewType("RulePackId", str)
OWN = RulePackId("own")
RULES_MAX = 50


class PaymentScheme(StrEnum):
    """By whose rules money moves."""

    VISA = "VISA"
    MASTERCARD = "MASTERCARD"
    SEPA_DIRECT_DEBIT = "SEPA_DIRECT_DEBIT"


class Element(StrEnum):
    """What a message has to say."""

    MERCHANT_NAME = "MERCHANT_NAME"
    AMOUNT = "AMOUNT"
    DATE = "DATE"
    REFERENCE = "REFERENCE"
    REASON = "REASON"
    OPT_OUT = "OPT_OUT"
    HOW_TO_CANCEL = "HOW_TO_CANCEL"
    GRIEVANCE_CONTACT = "GRIEVANCE_CONTACT"


# --- what can be asked: each kind says what it competes with, and how strict it is -------------------


class DebitNoticeLead(NamedTuple):
    """So long before a charge its notice has been delivered."""

    lead_seconds: int

    def strictness(self) -> int:
        """Earlier is stricter."""
        return self.lead_seconds


class DebitNoticeContent(NamedTuple):
    """What the notice before a charge says."""

    elements: tuple[Element, ...]


class ConfirmationAbove(NamedTuple):
    """The customer confirms each charge above an amount."""

    amount_minor: int
    currency: str

    def strictness(self) -> int:
        """Less is stricter."""
        return -self.amount_minor


class ReceiptContent(NamedTuple):
    """What the notice after a charge says."""

    elements: tuple[Element, ...]


class MandateTerms(NamedTuple):
    """What each mandate has: an amount that no charge is above, a day on which it ends."""

    maximum: bool
    validity: bool


class MandateLapse(NamedTuple):
    """A mandate lapses so many months after its last charge."""

    months: int

    def strictness(self) -> int:
        """Sooner is stricter."""
        return -self.months


class RefundRight(NamedTuple):
    """The customer gets a charge back within so many days without a reason."""

    days: int

    def strictness(self) -> int:
        """Longer is stricter."""
        return self.days


class RetryLimit(NamedTuple):
    """One payment is tried at most so often within any so many hours."""

    attempt_count: int
    window_hours: int

    def strictness(self) -> int:
        """Less often is stricter."""
        return -self.attempt_count


class PriceIncreaseNotice(NamedTuple):
    """How many days before an increase its notice comes, at least and at most (0: no maximum)."""

    min_days: int
    max_days: int

    def strictness(self) -> int:
        """Earlier is stricter."""
        return self.min_days


class OfferEndNotice(NamedTuple):
    """How many days before a trial, an introductory price or a promotion ends its notice comes."""

    min_days: int
    max_days: int

    def strictness(self) -> int:
        """Earlier is stricter."""
        return self.min_days


class Reminder(NamedTuple):
    """The customer is reminded of the standing order at least so often."""

    months: int

    def strictness(self) -> int:
        """More often is stricter."""
        return -self.months


# What messages must say, and what a mandate must have, adds up.
Additive = DebitNoticeContent | ReceiptContent | MandateTerms
Requirement = (
    DebitNoticeLead
    | ConfirmationAbove
    | MandateLapse
    | RefundRight
    | RetryLimit
    | PriceIncreaseNotice
    | OfferEndNotice
    | Reminder
    | Additive
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One version of one thing that is asked."""

    id: str
    requirement: Requirement
    # Where it says so.
    source: str = ""
    # The first day on which it is in force; None: since ever.
    start_date: date | None = None
    # The first day on which it is not any more; None: until further notice.
    end_date: date | None = None

    def in_force(self, day: date) -> bool:
        """Whether it is in force on a day."""
        return (self.start_date or date.min) <= day and (
            self.end_date is None or day < self.end_date
        )


@dataclass(frozen=True, slots=True)
class RulePack:
    """Rules of one origin, and where they apply."""

    id: RulePackId
    title: str
    # Countries (ISO 3166-1) and their parts (ISO 3166-2); empty: everywhere.
    regions: frozenset[str]
    # Empty: all.
    payment_schemes: frozenset[PaymentScheme]
    rules: tuple[Rule, ...]


class RulePackKey(NamedTuple):
    """Which pack, as it is for a merchant."""

    merchant: MerchantId
    rule_pack: RulePackId


@dataclass(frozen=True, slots=True)
class MerchantRulePack:
    """A pack, with what a merchant has added to it."""

    merchant: MerchantId
    pack: RulePack
    extra_regions: tuple[str, ...] = ()
    version: int = 0

    @property
    def key(self) -> RulePackKey:
        """Which it is."""
        return RulePackKey(self.merchant, self.pack.id)

    def applies(self, region: str, scheme: PaymentScheme | None) -> bool:
        """Whether it is about charges in a region ("" is none) by a payment scheme (None: any)."""
        schemes = self.pack.payment_schemes
        if schemes and scheme not in schemes:
            return False
        # A part of a country is in the country, too.
        places = {region, region.partition("-")[0]} - {""}
        return not self.pack.regions or bool(places & {*self.pack.regions, *self.extra_regions})

    def changed(self, extra_regions: Sequence[str], rules: Sequence[Rule]) -> "MerchantRulePack":
        """With what a merchant adds; `rules` are of the merchant's own pack."""
        pack = replace(self.pack, rules=ordered(rules)) if self.pack.id == OWN else self.pack
        return replace(self, pack=pack, extra_regions=tuple(sorted(extra_regions)))


class BindingRule(NamedTuple):
    """A rule that binds, and whose it is."""

    rule_pack: RulePackKey
    rule: Rule


# By payment scheme, what binds a charge; first, with None, whatever scheme is not named.
ChargeRules = tuple[tuple[PaymentScheme | None, tuple[BindingRule, ...]], ...]


def ordered(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Rules by their ids and dates."""
    return tuple(sorted(rules, key=lambda rule: (rule.id, rule.start_date or date.min)))


def overlapping(rules: Sequence[Rule]) -> str:
    """The id of a rule of which two versions are in force on one day; empty if there is none."""
    by_id = ordered(rules)
    for former, latter in itertools.pairwise(by_id):
        start_date = latter.start_date or date.min
        if former.id == latter.id and (former.end_date is None or former.end_date > start_date):
            return former.id
    return ""


def binding(
    packs: Iterable[MerchantRulePack], region: str, scheme: PaymentScheme | None, day: date
) -> list[BindingRule]:
    """The rules that bind a charge: of each kind the strictest that applies, of additive kinds all.

    Of equally strict ones the first is named.
    """
    strictest: dict[object, BindingRule] = {}
    for pack in packs:
        if not pack.applies(region, scheme):
            continue
        for rule in pack.pack.rules:
            if not rule.in_force(day):
                continue
            kind = _kind(pack.key, rule)
            present = strictest.get(kind)
            if present is None or _strictness(rule) > _strictness(present.rule):
                strictest[kind] = BindingRule(pack.key, rule)
    return list(strictest.values())


# What the guard, the notice planner and the mandate keep to.
_CHARGE_KINDS = (DebitNoticeLead, ConfirmationAbove, MandateTerms, MandateLapse)


def charge_rules(packs: Sequence[MerchantRulePack], region: str, day: date) -> ChargeRules:
    """The rules that bind a charge, whatever it is paid by, and where a scheme has others."""

    def of(scheme: PaymentScheme | None) -> tuple[BindingRule, ...]:
        return tuple(
            bound
            for bound in binding(packs, region, scheme, day)
            if isinstance(bound.rule.requirement, _CHARGE_KINDS)
        )

    of_all = of(None)
    of_schemes = ((scheme, of(scheme)) for scheme in PaymentScheme)
    others = [(scheme, rules) for scheme, rules in of_schemes if rules != of_all]
    return ((None, of_all), *others)


def _kind(pack: RulePackKey, rule: Rule) -> object:
    """Rules of one kind compete; what adds up competes with nothing."""
    requirement = rule.requirement
    match requirement:
        case ConfirmationAbove():
            return type(requirement), requirement.currency
        case RetryLimit():
            return type(requirement), requirement.window_hours
        case DebitNoticeContent() | ReceiptContent() | MandateTerms():
            return pack, rule.id
    return type(requirement)


def _strictness(rule: Rule) -> int:
    return 0 if isinstance(rule.requirement, Additive) else rule.requirement.strictness()
