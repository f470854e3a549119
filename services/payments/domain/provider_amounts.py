"""Amounts as the payment provider counts them, which is not everywhere as ISO 4217 does.

Source: https://docs.stripe.com/currencies, as of 2026-07-10 (zero-decimal currencies, special cases,
minimum and maximum amounts); for currencies of three decimals the page as of 2022-12-31, whose rule
that the last digit is 0 has not been taken back. Minimums hold for an account that is paid out in the
same currency; where the page has none, one unit of the API's amount is the least.

HUF and TWD have a rule for payouts only, which we do not make: they are charged with two decimals.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import NamedTuple

from services.runtime.money import AMOUNT_MINOR_MAX, DIGITS, minor_factor

SOURCE = "https://docs.stripe.com/currencies"
AS_OF = date(2026, 7, 10)

# The largest amount of a card payment, in the provider's units.
_DIGITS_MAX = 12
_FACTOR_DEFAULT = 100
# Charged without decimals. UGX stands among them on the page, and below as the exception that it is.
_ZERO_DECIMAL = frozenset({
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
    "XOF", "XPF",
})  # fmt: skip
# Written with two decimals, which are always 00.
_WHOLE_UNITS = frozenset({"ISK", "UGX"})
# Written with three decimals, of which the last is always 0.
_THREE_DECIMAL = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
_TWO_DECIMAL = frozenset({
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BMD",
    "BND", "BOB", "BRL", "BSD", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CNY", "COP", "CRC",
    "CVE", "CZK", "DKK", "DOP", "DZD", "EGP", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GIP",
    "GMD", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "JMD", "KES", "KGS",
    "KHR", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MKD", "MMK", "MNT",
    "MOP", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD",
    "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SBD", "SCR",
    "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SZL", "THB", "TJS", "TOP", "TRY", "TTD", "TWD",
    "TZS", "UAH", "USD", "UYU", "UZS", "WST", "XCD", "XCG", "YER", "ZAR", "ZMW",
})  # fmt: skip
# In the provider's units.
_LEAST = {
    "AED": 200, "ARS": 50, "AUD": 50, "BRL": 50, "CAD": 50, "CHF": 50, "COP": 50, "CZK": 1500,
    "DKK": 250, "EUR": 50, "GBP": 30, "HKD": 400, "HUF": 17500, "IDR": 50, "ILS": 50, "INR": 50,
    "JPY": 50, "KRW": 50, "MXN": 1000, "MYR": 200, "NOK": 300, "NZD": 50, "PHP": 50, "PLN": 200,
    "RON": 200, "RUB": 50, "SEK": 300, "SGD": 50, "THB": 1000, "USD": 50, "ZAR": 50,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProviderCurrency:
    """How the provider counts one currency, in units of its API's amount."""

    # So many are one unit of the currency.
    factor: int
    # An amount must be a multiple of this.
    step: int
    # A charge is at least and at most this much.
    least: int
    most: int


def _currency(code: str) -> ProviderCurrency:
    factor, step = _FACTOR_DEFAULT, 1
    if code in _ZERO_DECIMAL:
        factor = 1
    elif code in _WHOLE_UNITS:
        step = factor
    elif code in _THREE_DECIMAL:
        factor, step = 1000, 10
    return ProviderCurrency(factor, step, _LEAST.get(code, step), 10**_DIGITS_MAX - 1)


# Of those in which we have prices, the currencies that the provider charges in.
PROVIDER_CURRENCIES = {
    code: _currency(code)
    for code in sorted(_ZERO_DECIMAL | _WHOLE_UNITS | _THREE_DECIMAL | _TWO_DECIMAL)
    if code in DIGITS
}


class AmountRule(NamedTuple):
    """What the provider takes in one currency, in minor units of ISO 4217."""

    currency: str
    # Every amount is a multiple of this.
    step_minor: int
    # A charge is at least and at most this much.
    least_minor: int
    most_minor: int


@cache
def amount_rules() -> tuple[AmountRule, ...]:
    """The rules of all currencies that the provider charges in, by code."""
    return tuple(map(_rule, PROVIDER_CURRENCIES))


def least_minor(currency: str) -> int:
    """The least that is charged. Raises UnsupportedCurrencyError."""
    _known(currency)
    return _rule(currency).least_minor


def _rule(currency: str) -> AmountRule:
    known, minor = PROVIDER_CURRENCIES[currency], minor_factor(currency)
    step = step_minor(currency)
    least = -(-known.least * minor // known.factor)
    most = min(AMOUNT_MINOR_MAX, known.most * minor // known.factor)
    # Both are amounts that can be charged.
    return AmountRule(currency, step, -(-least // step) * step, most // step * step)


class UnsupportedCurrencyError(ValueError):
    """The provider does not charge in this currency."""


class UnsupportedAmountError(ValueError):
    """The provider has no such amount in this currency; nothing is ever rounded to one."""


def to_provider(amount_minor: int, currency: str) -> int:
    """An amount in minor units of ISO 4217 as the provider's API takes it, in a charge or a refund.

    Raises UnsupportedCurrencyError, or UnsupportedAmountError if it is no whole number of steps.
    """
    known = _known(currency)
    amount, rest = divmod(amount_minor * known.factor, minor_factor(currency))
    if rest or amount % known.step:
        message = (
            f"an amount in {currency} must be a multiple of {step_minor(currency)} minor units"
        )
        raise UnsupportedAmountError(message)
    return amount


def from_provider(amount: int, currency: str) -> int:
    """An amount of the provider's API, which may be negative, in minor units of ISO 4217.

    Raises UnsupportedCurrencyError, or UnsupportedAmountError if it is a fraction of a minor unit.
    """
    minor, rest = divmod(amount * minor_factor(currency), _known(currency).factor)
    if rest:
        raise UnsupportedAmountError(f"{amount} of the provider's units is no amount in {currency}")
    return minor


def check_charge(amount_minor: int, currency: str) -> None:
    """Raise UnsupportedCurrencyError or UnsupportedAmountError if it can't be charged at all."""
    known = _known(currency)
    amount = to_provider(amount_minor, currency)
    if not known.least <= amount <= known.most:
        message = f"a charge in {currency} is {known.least} to {known.most} of the provider's units"
        raise UnsupportedAmountError(message)


def step_minor(currency: str) -> int:
    """Of how many minor units the provider takes multiples. Raises UnsupportedCurrencyError."""
    known = _known(currency)
    return max(1, known.step * minor_factor(currency) // known.factor)


def _known(currency: str) -> ProviderCurrency:
    known = PROVIDER_CURRENCIES.get(currency)
    if known is None:
        message = f"the provider does not charge in {currency}"
        raise UnsupportedCurrencyError(message)
    return known
