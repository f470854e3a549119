"""Schemes of bank debits: each moves one currency, by orders of its banks. Pure.

Sources, read on 2026-11-30: https://developer.gocardless.com/api-reference#mandates (schemes), its help
pages on supported currencies, and, of the least amounts,
https://support.gocardless.com/hc/en-au/articles/115002831125-Transactions-and-fees-FAQs. The most is
agreed with each merchant.
"""

from functools import cache
from typing import NamedTuple

from services.payments.domain.provider_amounts import AmountRule
from services.runtime.money import AMOUNT_MINOR_MAX


class Scheme(NamedTuple):
    """What a scheme debits."""

    currency: str
    least_minor: int


# As the provider names the schemes. The least of ACH is not published: it is that of most others here.
SCHEMES = {
    "ach": Scheme("USD", 100), "autogiro": Scheme("SEK", 1000), "bacs": Scheme("GBP", 100),
    "becs": Scheme("AUD", 200), "becs_nz": Scheme("NZD", 200),
    "betalingsservice": Scheme("DKK", 1000), "pad": Scheme("CAD", 200),
    "sepa_core": Scheme("EUR", 100),
}  # fmt: skip
LEAST_MINOR = {scheme.currency: scheme.least_minor for scheme in SCHEMES.values()}


@cache
def amount_rules() -> tuple[AmountRule, ...]:
    """The amounts that are debited, by currency."""
    return tuple(
        AmountRule(currency, 1, least_minor, AMOUNT_MINOR_MAX)
        for currency, least_minor in sorted(LEAST_MINOR.items())
    )


def debits_in(brand: str, currency: str) -> bool:
    """Whether a payment method can be charged in a currency, as far as its scheme says."""
    scheme = SCHEMES.get(brand)
    return scheme is None or scheme.currency == currency


def debits(brand: str, amount_minor: int) -> bool:
    """Whether a payment method can be charged so much, as far as its scheme says."""
    return amount_minor >= least_debited_minor(brand)


def least_debited_minor(brand: str) -> int:
    """The least that a payment method can be charged, as far as its scheme says."""
    scheme = SCHEMES.get(brand)
    return 0 if scheme is None else scheme.least_minor
