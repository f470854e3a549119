"""What rule packs ask of the charge of an order, as the catalog says it with each quote. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple


class ChargeRule(NamedTuple):
    """A rule that decides how an order is announced; what it does not ask for is None."""

    # Its resource name, and what the rule is called in it.
    rule_pack: str
    rule: str
    source: str
    # So long before a charge its notice has been delivered.
    notice_lead: timedelta | None = None
    # Above this the customer confirms each charge.
    confirmation_above_minor: int | None = None
    confirmation_currency: str = ""

    @property
    def data(self) -> Mapping[str, str]:
        """Which rule it is, for the history of an order."""
        return {"rule_pack": self.rule_pack, "rule": self.rule, "source": self.source}


@dataclass(frozen=True, slots=True)
class ChargeRules:
    """The rules that bind a charge, by the scheme that it is paid by."""

    # As the catalog said it, to be passed on.
    message: bytes = b""
    # By payment scheme; with "", whatever scheme is not named.
    schemes: Mapping[str, Sequence[ChargeRule]] = field(default_factory=dict)

    def of(self, scheme: str) -> Sequence[ChargeRule]:
        """The rules for a payment scheme; "": one that no rule pack is about."""
        return self.schemes.get(scheme, self.schemes.get("", ()))


NO_RULES = ChargeRules()


class RuleLead(NamedTuple):
    """How long before a charge its notice comes by rule packs, and which asks for that."""

    lead: timedelta = timedelta()
    rule_pack: str = ""


NO_RULE_LEAD = RuleLead()


def rule_lead(rules: Sequence[ChargeRule]) -> RuleLead:
    """The longest lead that rules ask for."""
    leads = (RuleLead(rule.notice_lead, rule.rule_pack) for rule in rules if rule.notice_lead)
    return max(leads, default=NO_RULE_LEAD, key=lambda it: it.lead)


def required_lead(rules: Sequence[ChargeRule], mandate_lead: timedelta) -> RuleLead:
    """The longest lead that rules ask for, or that a mandate promises beyond them."""
    lead = rule_lead(rules)
    return lead if lead.lead >= mandate_lead else RuleLead(mandate_lead)


def asks_to_confirm(
    rules: Sequence[ChargeRule], amount_minor: int, currency: str
) -> ChargeRule | None:
    """The rule by which the customer confirms a charge of an amount; None: there is none."""
    return next(
        (
            rule
            for rule in rules
            if rule.confirmation_above_minor is not None
            and rule.confirmation_currency == currency
            and amount_minor > rule.confirmation_above_minor
        ),
        None,
    )
