"""Schemes of bank debits: each moves one currency, by orders of its banks. Pure.

Source: https://developer.gocardless.com/api-reference#mandates (schemes) and its help pages on
supported currencies, read on 2026-11-30.
"""

from functools import cache

from services.payments.domain.provider_amounts import AmountRule
from services.runtime.money import AMOUNT_MINOR_MAX

# As the provider names the schemes.
SCHEME_CURRENCIES = {
    "ach": "USD", "autogiro": "SEK", "bacs": "GBP", "becs": "AUD", "becs_nz": "NZD",
    "betalingsservice": "DKK", "pad": "CAD", "sepa_core": "EUR",
}  # fmt: skip
# Not published: an account is debited of at least one unit of its currency's smallest.
LEAST_MINOR = 1


@cache
def amount_rules() -> tuple[AmountRule, ...]:
    """The amounts that are debited, by currency."""
    return tuple(
        AmountRule(currency, 1, LEAST_MINOR, AMOUNT_MINOR_MAX)
        for currency in sorted(set(SCHEME_CURRENCIES.values()))
    )


def debits_in(brand: str, currency: str) -> bool:
    """Whether a payment method can be charged in a currency, as far as its scheme says."""
    return SCHEME_CURRENCIES.get(brand, currency) == currency
