"""Money in the currencies of ISO 4217, in minor units.

Source: list one of the standard's maintenance agency, from the package `iso4217`. Excluded are codes
without a minor unit (gold, testing, "no currency") and funds codes, which are units of account and not
means of payment (CLF, UYW, CHE …). Withdrawn currencies (HRK, BGN) are not on the list.
"""

from dataclasses import dataclass

import iso4217

# Stored amounts in a currency that has been withdrawn since are shown with the usual two digits.
_DIGITS_DEFAULT = 2
# Flagged as funds in list one, and UYW, a unit of account as CLF is.
_FUNDS = frozenset({"BOV", "CHE", "CHW", "CLF", "COU", "MXV", "USN", "UYI", "UYW"})


def _digits() -> dict[str, int]:
    return {
        code: int(str(entry["CcyMnrUnts"]))
        for code, entry in iso4217.raw_table.items()
        if code and code not in _FUNDS and str(entry["CcyMnrUnts"]).isdigit()
    }


# Code -> how many decimal digits its minor unit has.
DIGITS = _digits()
# The maximum of a price and of a payment, in minor units: twelve digits, as in field 4 of ISO 8583, the
# message format of cards. 100 items of 10 000 units each still fit into 64 bits.
AMOUNT_MINOR_MAX = 10**12 - 1


def minor_digits(currency: str) -> int:
    """How many decimal digits the currency's minor unit has (ISO 4217)."""
    return DIGITS.get(currency, _DIGITS_DEFAULT)


def minor_factor(currency: str) -> int:
    """How many minor units are one unit of the currency: 100 cents are a euro."""
    factor: int = 10 ** minor_digits(currency)
    return factor


def format_minor(amount_minor: int, currency: str) -> str:
    """An amount with its currency, for example 12.50 EUR."""
    digits = minor_digits(currency)
    sign = "-" if amount_minor < 0 else ""
    units, rest = divmod(abs(amount_minor), 10**digits)
    fraction = f".{rest:0{digits}d}" if digits else ""
    return f"{sign}{units}{fraction} {currency}"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in the currency's minor units (cents for EUR)."""

    amount_minor: int
    currency: str
