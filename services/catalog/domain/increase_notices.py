"""How long before an increase its notice comes, and whose rule asks for that. Pure functions."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from services.catalog.domain.prices import Price
from services.catalog.domain.products import PriceId, Product
from services.catalog.domain.rule_packs import (
    ChargeRules,
    MerchantRulePack,
    OfferEndNotice,
    PriceIncreaseNotice,
    RulePackKey,
    binding,
    charge_rules,
)

# Of what nobody was notified: no notice period that begins then is ever over.
NEVER = datetime(9000, 1, 1, tzinfo=UTC)
RULES_CACHED_MAX = 1000


class Announcement(NamedTuple):
    """A price version as it was announced: a correction announces it again."""

    price: PriceId
    announce_time: datetime


def announcement_of(price: Price) -> Announcement:
    """The present one of a price version."""
    return Announcement(price.price, price.announce_time)


class IncreaseNotice(NamedTuple):
    """How many days before an increase its notice comes, at least and at most (0: no maximum)."""

    min_days: int
    max_days: int
    # The pack that asks for it; None: the product does.
    rule_pack: RulePackKey | None = None

    @property
    def period(self) -> timedelta:
        """From when the customer was notified until the increase applies."""
        return timedelta(days=self.min_days)


class MerchantRules:
    """The packs of a merchant, and what binds by them, which is asked for each line of each cart."""

    def __init__(self, packs: Sequence[MerchantRulePack]) -> None:
        self._packs = tuple(packs)
        self._binding: dict[tuple[str, date], tuple[PriceIncreaseNotice, RulePackKey] | None] = {}
        self._charge_rules: dict[tuple[str, date], ChargeRules] = {}

    def increase_notice(self, product: Product, region: str, day: date) -> IncreaseNotice:
        """The longer of the product's notice and that of the strictest rule that binds."""
        found = self._bound(region, day)
        if found is None:
            return IncreaseNotice(product.increase_notice_days, 0)
        (min_days, max_days), rule_pack = found
        if min_days <= product.increase_notice_days:
            return IncreaseNotice(product.increase_notice_days, max_days)
        return IncreaseNotice(min_days, max_days, rule_pack)

    def charge_rules(self, region: str, day: date) -> ChargeRules:
        """What is asked of a charge in a region on a day, by payment scheme."""
        if (region, day) not in self._charge_rules:
            if len(self._charge_rules) >= RULES_CACHED_MAX:
                self._charge_rules.clear()
            self._charge_rules[region, day] = charge_rules(self._packs, region, day)
        return self._charge_rules[region, day]

    def offer_end_notice_days(self, day: date) -> int:
        """How many days before an offer ends its customer is notified, by the strictest rule.

        It is that of all regions and schemes, since a standing order can move to another: 0 if no rule
        asks for it.
        """
        return max(
            (
                rule.requirement.min_days
                for pack in self._packs
                for rule in pack.pack.rules
                if isinstance(rule.requirement, OfferEndNotice) and rule.in_force(day)
            ),
            default=0,
        )

    def _bound(self, region: str, day: date) -> tuple[PriceIncreaseNotice, RulePackKey] | None:
        if (region, day) not in self._binding:
            if len(self._binding) >= RULES_CACHED_MAX:
                self._binding.clear()
            rules = binding(self._packs, region, None, day)
            self._binding[region, day] = next(
                (
                    (bound.rule.requirement, bound.rule_pack)
                    for bound in rules
                    if isinstance(bound.rule.requirement, PriceIncreaseNotice)
                ),
                None,
            )
        return self._binding[region, day]


NO_RULES = MerchantRules(())


def notified_times(
    prices: Sequence[Price], notified: Mapping[Announcement, datetime], sign_up_time: datetime
) -> list[datetime]:
    """When a subscriber was notified of each price version, if they were.

    What was in force at sign-up needs no notice: it counts from its announcement.
    """
    return [
        price.announce_time
        if price.effective_time <= sign_up_time
        else notified.get(announcement_of(price), NEVER)
        for price in prices
    ]
