"""Which phone numbers a code may be sent to. Pure; the numbering plans are libphonenumber's.

Artificial traffic goes to numbers that earn their owner money (premium rate, shared cost, satellites),
so only what can be a mobile phone of a country is taken.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import phonenumbers
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    PhoneNumber,
    PhoneNumberType,
    ValidationResult,
)

# Whoever rents a range of numbers for fraud has them in a row: a thousand are one prefix.
_PREFIX_SUFFIX_DIGITS = 3
_CALLING_CODE_MAX_DIGITS = 3
# Networks that belong to no country, for example satellites.
_NO_COUNTRY = "001"
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
_TYPE_WORDS = {
    PhoneNumberType.FIXED_LINE: "a landline",
    PhoneNumberType.TOLL_FREE: "toll-free",
    PhoneNumberType.PREMIUM_RATE: "premium-rate",
    PhoneNumberType.SHARED_COST: "shared-cost",
    PhoneNumberType.VOIP: "an internet telephone",
    PhoneNumberType.PERSONAL_NUMBER: "a personal number that forwards elsewhere",
    PhoneNumberType.PAGER: "a pager",
    PhoneNumberType.UAN: "a company's access number",
    PhoneNumberType.VOICEMAIL: "a voice mailbox",
}


class NumberProblem(StrEnum):
    """Why a number is not taken, as callers get it."""

    FIELD_INVALID = "FIELD_INVALID"
    PHONE_NOT_VALID = "PHONE_NOT_VALID"
    PHONE_NOT_MOBILE = "PHONE_NOT_MOBILE"
    PHONE_COUNTRY_NOT_ALLOWED = "PHONE_COUNTRY_NOT_ALLOWED"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a number is not taken."""

    problem: NumberProblem
    # What it has to be; never quotes the number.
    message: str


@dataclass(frozen=True, slots=True)
class NumberPolicy:
    """Which numbers are taken beside what the numbering plans say."""

    # ISO 3166-1 codes; empty: every country.
    countries: frozenset[str] = frozenset()
    # Numbers that begin so are taken though nobody has them: for development.
    test_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NumberPolicies:
    """The policy of each merchant."""

    # For merchants who have none of their own.
    default: NumberPolicy = NumberPolicy()
    of_merchants: Mapping[str, NumberPolicy] = field(default_factory=dict)

    def of(self, merchant: str) -> NumberPolicy:
        """The policy of a merchant."""
        return self.of_merchants.get(merchant, self.default)


EVERY_COUNTRY = NumberPolicies()


def check_number(phone: str, policy: NumberPolicy) -> Refusal | None:
    """Why no code may be sent to a number; None if one may."""
    if not _E164.fullmatch(phone):
        return Refusal(NumberProblem.FIELD_INVALID, _form_rule(phone))
    if policy.test_prefixes and phone.startswith(policy.test_prefixes):
        return None
    try:
        number = phonenumbers.parse(phone)
    except phonenumbers.NumberParseException:
        return Refusal(
            NumberProblem.PHONE_NOT_VALID, _LENGTHS[ValidationResult.INVALID_COUNTRY_CODE]
        )
    return _check_plan(number, phone) or _check_use(number, policy.countries)


def region_of(phone: str) -> str:
    """The country (ISO 3166-1) of a number; for one that nobody has, that of its calling code.

    Empty: none, for example of a satellite.
    """
    if not _E164.fullmatch(phone):
        return ""
    # No calling code begins another one.
    codes = (int(phone[1:end]) for end in range(2, _CALLING_CODE_MAX_DIGITS + 2))
    code = next((code for code in codes if code in COUNTRY_CODE_TO_REGION_CODE), 0)
    regions = COUNTRY_CODE_TO_REGION_CODE.get(code, ("",))
    region = regions[0] if len(regions) == 1 else _shared_region(code, phone)
    return region if is_region(region) else ""


def _shared_region(code: int, phone: str) -> str:
    """The country of a number whose calling code several share; the largest, if nobody has it.

    Parsing the text, which is in E.164 already, takes three times as long as the rest.
    """
    digits = phone.removeprefix(f"+{code}")
    zeros = len(digits) - len(digits.lstrip("0"))
    number = PhoneNumber(
        country_code=code,
        national_number=int(digits or 0),
        italian_leading_zero=bool(zeros),
        number_of_leading_zeros=zeros or None,
    )
    region = phonenumbers.region_code_for_number(number)
    return region or phonenumbers.region_code_for_country_code(code)


def is_region(code: str) -> bool:
    """Whether a code is that of a country that has a numbering plan."""
    return code in phonenumbers.SUPPORTED_REGIONS


def check_region(phone: str, regions: Collection[str]) -> Refusal | None:
    """Why no code may be sent to a number of its country; an empty list allows every country."""
    if regions and region_of(phone) not in regions:
        return Refusal(NumberProblem.PHONE_COUNTRY_NOT_ALLOWED, _REGION_RULE)
    return None


def prefix_of(phone: str) -> str:
    """What a number has in common with those that differ in the last digits only."""
    return phone[:-_PREFIX_SUFFIX_DIGITS]


def _check_plan(number: phonenumbers.PhoneNumber, phone: str) -> Refusal | None:
    """Whether the country's numbering plan has the number, spelled so."""
    length = phonenumbers.is_possible_number_with_reason(number)
    if length != ValidationResult.IS_POSSIBLE:
        rule = _LENGTHS.get(length, "must have a length that its country uses")
        return Refusal(NumberProblem.PHONE_NOT_VALID, rule)
    # The parser reads over a zero that is dialled only inside the country: two spellings of one number.
    if phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) != phone:
        rule = "must not have the 0 that is dialled inside the country"
        return Refusal(NumberProblem.FIELD_INVALID, rule)
    if not phonenumbers.is_valid_number(number):
        rule = "must be in a range that its country has given out"
        return Refusal(NumberProblem.PHONE_NOT_VALID, rule)
    return None


def _check_use(number: phonenumbers.PhoneNumber, countries: Collection[str]) -> Refusal | None:
    """Whether the number can be a mobile phone of a country that is served."""
    kind = phonenumbers.number_type(number)
    region = phonenumbers.region_code_for_number(number)
    if kind not in _MOBILE or region == _NO_COUNTRY:
        word = (
            "of no country" if region == _NO_COUNTRY else _TYPE_WORDS.get(kind, "of another kind")
        )
        rule = f"must be a mobile phone; this number is {word}"
        return Refusal(NumberProblem.PHONE_NOT_MOBILE, rule)
    if countries and region not in countries:
        return Refusal(NumberProblem.PHONE_COUNTRY_NOT_ALLOWED, _REGION_RULE)
    return None


_REGION_RULE = "must be of a country that codes are sent to"
_LENGTHS = {
    ValidationResult.TOO_SHORT: "is too short for its country",
    ValidationResult.TOO_LONG: "is too long for its country",
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "must have its area code",
    ValidationResult.INVALID_COUNTRY_CODE: "must begin with a country's calling code",
}
_EXAMPLE = "+491701234567"
# The first that a text matches says what is wrong with its form.
_FORM_RULES = (
    (re.compile(r""), "must be given"),
    (re.compile(r"00.*"), "must begin with + in place of 00"),
    (re.compile(r"[^+].*"), f"must begin with + and a country's calling code, as {_EXAMPLE} does"),
    (re.compile(r".*(?![0-9])\d.*"), "must have the digits 0 to 9, not those of another script"),
    (re.compile(r".*[\s./()\-].*"), "must have no spaces, hyphens, dots, slashes or brackets"),
    (re.compile(r".*([^\W\d_]|[;,#*=]).*"), "must have no letters and no extension"),
    (re.compile(r".*[^+0-9].*|\+.*\+.*"), "must have digits only after the +"),
    (re.compile(r"\+0.*"), "must have a country's calling code after the +; none begins with 0"),
)


def _form_rule(phone: str) -> str:
    return next(
        (rule for form, rule in _FORM_RULES if form.fullmatch(phone)), "must have 7 to 15 digits"
    )
