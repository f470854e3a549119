"""What an SMS costs by the country that it goes to, as the tariff of the operator's gateway says. Pure.

Tariffs have fractions of a cent, so amounts are in micros: millionths of the currency's unit.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from services.notify.domain.phone_numbers import region_of
from services.runtime.money import Money, minor_factor

MICROS_PER_UNIT = 1_000_000
# At most 999 999 of the currency's unit for a segment, and six decimal digits.
AMOUNT = r"[0-9]{1,6}(\.[0-9]{1,6})?"
# The currency, the price of countries that are not listed, and those of others: "EUR *=0.08 DE=0.06".
SMS_PRICES = rf"^[A-Z]{{3}} \*={AMOUNT}( [A-Z]{{2}}={AMOUNT})*$"
_ANY = "*"
_ENTRY = re.compile(rf"(\*|[A-Z]{{2}})=({AMOUNT})", re.ASCII)


class SmsUsage(NamedTuple):
    """Where an SMS went, and what a gateway took of it."""

    # ISO 3166-1; empty: of no country, or it was not attempted.
    region_code: str = ""
    segment_count: int = 0
    cost_micros: int = 0
    cost_currency: str = ""


NO_SMS = SmsUsage()


@dataclass(frozen=True, slots=True)
class SmsPrices:
    """The prices of a segment."""

    # ISO 4217.
    currency: str
    # Of countries (ISO 3166-1) that are not listed, and of numbers of none.
    default_micros: int
    micros_by_region: Mapping[str, int] = field(default_factory=dict)

    def cost_micros(self, phone: str, segment_count: int) -> int:
        """What an SMS to a number costs."""
        return self._price(region_of(phone)) * segment_count

    def usage(self, phone: str, segment_count: int) -> SmsUsage:
        """What an SMS to a number takes; of no segments: it was refused."""
        region_code = region_of(phone)
        cost_micros = self._price(region_code) * segment_count
        return SmsUsage(region_code, segment_count, cost_micros, self.currency)

    def _price(self, region_code: str) -> int:
        return self.micros_by_region.get(region_code, self.default_micros)


def parse_prices(text: str) -> SmsPrices:
    """Read a list of the form of SMS_PRICES."""
    prices = {region: to_micros(amount) for region, amount, _ in _ENTRY.findall(text)}
    return SmsPrices(text[:3], prices.pop(_ANY), prices)


def to_micros(amount: str) -> int:
    """A decimal number in micros."""
    return int(Decimal(amount) * MICROS_PER_UNIT)


def money_to_micros(money: Money) -> int:
    """An amount of minor units in micros."""
    return money.amount_minor * (MICROS_PER_UNIT // minor_factor(money.currency))
