"""Taxes on lines: which apply, what they come to, and how that is rounded. Pure functions.

Rates are whole parts per million, and shares of amounts are exact until each is rounded once.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, NewType

from services.catalog.domain.products import STANDARD_CATEGORY, MerchantId

TaxRateId = NewType("TaxRateId", str)

PARTS_PER_MILLION = 1_000_000
RATE_MAX_PPM = PARTS_PER_MILLION
# Prefixes of tax ids that are no codes of ISO 3166-1.
_COUNTRIES_OF_PREFIXES = {"EL": "GR", "XI": "GB"}


class TaxIdTreatment(StrEnum):
    """What becomes of a tax where the customer has given a tax id."""

    CHARGED = "CHARGED"
    # The customer of another country than the merchant's owes it by themselves.
    REVERSE_CHARGE = "REVERSE_CHARGE"
    EXEMPT = "EXEMPT"


class TaxBehavior(StrEnum):
    """Whether prices have the taxes in them, or taxes are added."""

    INCLUSIVE = "INCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"


class TaxSource(StrEnum):
    """Who works out the taxes."""

    OWN_RATES = "OWN_RATES"
    TAX_SERVICE = "TAX_SERVICE"


class TaxRounding(StrEnum):
    """What is rounded: each tax of each line, or the sum of each tax over a document."""

    LINE = "LINE"
    DOCUMENT = "DOCUMENT"


class HalfRounding(StrEnum):
    """Where exactly half a minor unit goes."""

    UP = "UP"
    EVEN = "EVEN"


class TaxRateKey(NamedTuple):
    """Which version of a tax."""

    merchant: MerchantId
    tax_rate: TaxRateId


@dataclass(frozen=True, slots=True)
class TaxRate:
    """What a tax comes to from an instant on: one version of it, in one place, for one category."""

    merchant: MerchantId
    tax_rate: TaxRateId
    # A country or its part, such as `DE` or `CA-QC`.
    region_code: str
    tax_category: str
    # Which tax of that place, such as `vat`.
    tax: str
    # For people.
    title: str
    rate_ppm: int
    # Whether it is due on the other taxes, too.
    compound: bool
    tax_id_treatment: TaxIdTreatment
    effective_time: datetime
    create_time: datetime
    # Set: it never took effect.
    withdraw_time: datetime | None = None

    @property
    def key(self) -> TaxRateKey:
        """Which it is."""
        return TaxRateKey(self.merchant, self.tax_rate)

    @property
    def version(self) -> int:
        """A rate changes once at most."""
        return 1 if self.withdraw_time is None else 2


@dataclass(frozen=True, slots=True)
class CatalogSettings:
    """How a merchant's prices and taxes are meant; each merchant has one set."""

    merchant: MerchantId
    tax_behavior: TaxBehavior = TaxBehavior.INCLUSIVE
    tax_rounding: TaxRounding = TaxRounding.LINE
    half_rounding: HalfRounding = HalfRounding.UP
    # Where the merchant is, and where an order goes that has no address; empty: not known.
    region_code: str = ""
    version: int = 0
    tax_source: TaxSource = TaxSource.OWN_RATES


# Tuples, since lines are made and compared more often than anything else.
class AppliedRate(NamedTuple):
    """A tax on a line, by which version, and what the customer's tax id made of it."""

    tax_rate: TaxRateId
    title: str
    rate_ppm: int
    compound: bool
    treatment: TaxIdTreatment


class LineTax(NamedTuple):
    """A tax on a line, and what is charged of it."""

    rate: AppliedRate
    amount_minor: int


class Taxed(NamedTuple):
    """A line's amount before taxes, and the taxes on it."""

    net_minor: int
    taxes: tuple[LineTax, ...] = ()

    @property
    def tax_minor(self) -> int:
        """All taxes that are charged."""
        return sum(tax.amount_minor for tax in self.taxes)

    @property
    def gross_minor(self) -> int:
        """What the customer pays."""
        return self.net_minor + self.tax_minor


class Destination(NamedTuple):
    """Where a line goes, and whose it is."""

    region_code: str
    # Of the customer; empty: a consumer.
    tax_id: str


class TaxTable:
    """A merchant's rates, ready to be looked up."""

    def __init__(self, settings: CatalogSettings, rates: Iterable[TaxRate]) -> None:
        self.settings = settings
        # By region and category, and by tax, its versions, the newest first.
        self._versions: dict[tuple[str, str], dict[str, list[TaxRate]]] = {}
        for rate in sorted(rates, key=lambda it: it.effective_time, reverse=True):
            place = self._versions.setdefault((rate.region_code, rate.tax_category), {})
            place.setdefault(rate.tax, []).append(rate)
        # A table is of one batch, whose lines have few of these.
        self._applying: dict[tuple[Destination, str, datetime], tuple[AppliedRate, ...]] = {}
        self._taxed: dict[tuple[int, tuple[AppliedRate, ...]], Taxed] = {}

    def __bool__(self) -> bool:
        return bool(self._versions)

    def applying(
        self, destination: Destination, tax_category: str, at: datetime
    ) -> tuple[AppliedRate, ...]:
        """The taxes on a line at an instant: those that are due on others come last."""
        asked = (destination, tax_category, at)
        found = self._applying.get(asked)
        if found is None:
            found = self._applying[asked] = self._find(destination, tax_category, at)
        return found

    def taxed(
        self, amounts_minor: Sequence[int], rates: Sequence[tuple[AppliedRate, ...]]
    ) -> list[Taxed]:
        """What the lines of a document come to before taxes, and their taxes."""
        if self.settings.tax_rounding is not TaxRounding.LINE:
            return taxed(amounts_minor, rates, self.settings)
        # No line depends on another one, and most customers pay the same.
        lines = list(zip(amounts_minor, rates, strict=True))
        for amount_minor, applied in lines:
            if (amount_minor, applied) not in self._taxed:
                [line] = taxed([amount_minor], [applied], self.settings)
                self._taxed[amount_minor, applied] = line
        return [self._taxed[line] for line in lines]

    def _find(
        self, destination: Destination, tax_category: str, at: datetime
    ) -> tuple[AppliedRate, ...]:
        """The taxes on a line.

        Tax by tax, what is said of a part of a country replaces what is said of the country, and what
        is said there of the category replaces what is said of the standard one.
        """
        region = destination.region_code or self.settings.region_code
        country = region.partition("-")[0]
        found: dict[str, TaxRate] = {}
        for place in dict.fromkeys((country, region)):
            for category in (STANDARD_CATEGORY, tax_category or STANDARD_CATEGORY):
                for tax, versions in self._versions.get((place, category), {}).items():
                    rate = next((it for it in versions if it.effective_time <= at), None)
                    if rate is not None:
                        found[tax] = rate
        ordered = sorted(found.values(), key=lambda rate: (rate.compound, rate.tax))
        return tuple(
            AppliedRate(
                rate.tax_rate,
                rate.title,
                rate.rate_ppm,
                rate.compound,
                self._treatment(rate, destination.tax_id),
            )
            for rate in ordered
        )

    def _treatment(self, rate: TaxRate, tax_id: str) -> TaxIdTreatment:
        if not tax_id:
            return TaxIdTreatment.CHARGED
        if rate.tax_id_treatment is TaxIdTreatment.REVERSE_CHARGE:
            own = self.settings.region_code.partition("-")[0]
            if own in {"", country_of_tax_id(tax_id)}:
                return TaxIdTreatment.CHARGED
        return rate.tax_id_treatment


def country_of_tax_id(tax_id: str) -> str:
    """The country (ISO 3166-1) that has given a tax id."""
    prefix = tax_id[:2]
    return _COUNTRIES_OF_PREFIXES.get(prefix, prefix)


def taxed(
    amounts_minor: Sequence[int],
    rates: Sequence[tuple[AppliedRate, ...]],
    settings: CatalogSettings,
) -> list[Taxed]:
    """What the lines of a document come to before taxes, and their taxes.

    A price is the same before taxes for all: where it includes them, what is not charged of them is
    taken off. With rounding by document, the lines' shares of a tax are rounded so that they come to
    the rounded sum.
    """
    inclusive = settings.tax_behavior is TaxBehavior.INCLUSIVE
    whole = _taxes(amounts_minor, rates, settings, inclusive=inclusive)
    if not inclusive:
        nets_minor = list(amounts_minor)
    else:
        nets_minor = [
            amount_minor - sum(shares)
            for amount_minor, shares in zip(amounts_minor, whole, strict=True)
        ]
    charged = [tuple(map(_is_charged, applied)) for applied in rates]
    if not all(map(all, charged)):
        left = [tuple(filter(_is_charged, applied)) for applied in rates]
        of_all = _taxes(nets_minor, left, settings, inclusive=False)
        if inclusive:
            # A line of which everything is charged keeps its amount.
            of_all = [
                shares if all(flags) else others
                for flags, shares, others in zip(charged, whole, of_all, strict=True)
            ]
        whole = [_spread(flags, shares) for flags, shares in zip(charged, of_all, strict=True)]
    return [
        Taxed(net_minor, tuple(map(LineTax, applied, shares)))
        for net_minor, applied, shares in zip(nets_minor, rates, whole, strict=True)
    ]


def _is_charged(rate: AppliedRate) -> bool:
    return rate.treatment is TaxIdTreatment.CHARGED


def _spread(flags: Sequence[bool], shares: Sequence[int]) -> list[int]:
    """The amounts of all taxes, given those of the ones that are charged."""
    charged = iter(shares)
    return [next(charged) if flag else 0 for flag in flags]


def _taxes(
    amounts_minor: Sequence[int],
    rates: Sequence[tuple[AppliedRate, ...]],
    settings: CatalogSettings,
    *,
    inclusive: bool,
) -> list[list[int]]:
    """Of each line, its taxes in minor units."""
    shares = [
        _shares(tuple((rate.rate_ppm, rate.compound) for rate in applied), inclusive)
        for applied in rates
    ]
    if settings.tax_rounding is TaxRounding.LINE:
        return [
            [rounded(amount_minor * part, whole, settings.half_rounding) for part in parts]
            for amount_minor, (parts, whole) in zip(amounts_minor, shares, strict=True)
        ]
    return _rounded_by_document(amounts_minor, rates, shares, settings.half_rounding)


def _rounded_by_document(
    amounts_minor: Sequence[int],
    rates: Sequence[tuple[AppliedRate, ...]],
    shares: Sequence[tuple[tuple[int, ...], int]],
    half: HalfRounding,
) -> list[list[int]]:
    exact: dict[AppliedRate, list[tuple[int, int, Fraction]]] = {}
    for line, (amount_minor, applied, (parts, whole)) in enumerate(
        zip(amounts_minor, rates, shares, strict=True)
    ):
        for place, (rate, part) in enumerate(zip(applied, parts, strict=True)):
            share = Fraction(amount_minor * part, whole)
            exact.setdefault(rate, []).append((line, place, share))
    amounts = [[0] * len(applied) for applied in rates]
    for entries in exact.values():
        total = sum((share for _, _, share in entries), Fraction())
        left = rounded(total.numerator, total.denominator, half)
        for line, place, share in entries:
            amounts[line][place] = math.floor(share)
            left -= amounts[line][place]
        # The largest remainders are rounded up; of equal ones the first.
        entries.sort(key=lambda entry: entry[2] - math.floor(entry[2]), reverse=True)
        for line, place, _ in entries[:left]:
            amounts[line][place] += 1
    return amounts


@lru_cache(maxsize=4096)
def _shares(rates: tuple[tuple[int, bool], ...], inclusive: bool) -> tuple[tuple[int, ...], int]:  # noqa: FBT001
    """What of an amount each tax is, as numerators and their denominator.

    A compound tax is due on the net amount and on the taxes before it.
    """
    shares: list[Fraction] = []
    for rate_ppm, compound in rates:
        base = 1 + sum(shares) if compound else Fraction(1)
        shares.append(base * Fraction(rate_ppm, PARTS_PER_MILLION))
    if inclusive:
        gross = 1 + sum(shares)
        shares = [share / gross for share in shares]
    whole = math.lcm(*(share.denominator for share in shares))
    return tuple(int(share * whole) for share in shares), whole


def rounded(numerator: int, denominator: int, half: HalfRounding) -> int:
    """A fraction of minor units, 0 or more, as whole ones."""
    floor, rest = divmod(numerator, denominator)
    if 2 * rest == denominator:
        return floor + (1 if half is HalfRounding.UP else floor % 2)
    return floor + (2 * rest > denominator)
