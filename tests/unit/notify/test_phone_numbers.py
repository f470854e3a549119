"""Which phone numbers codes may be sent to."""

import phonenumbers
import pytest

from services.notify.domain.phone_numbers import (
    NumberPolicy,
    NumberProblem,
    check_number,
    region_of,
)

POLICY = NumberPolicy()


@pytest.mark.parametrize(
    "phone", ["+491701234567", "+447911123456", "+12025550123", "+919876543210", "+33612345678"]
)
def test_a_mobile_phone_in_e164_is_taken(phone: str) -> None:
    assert check_number(phone, POLICY) is None


@pytest.mark.parametrize(
    ("phone", "rule"),
    [
        ("", "must be given"),
        ("00491701234567", "must begin with + in place of 00"),
        ("01701234567", "must begin with + and a country's calling code, as +491701234567 does"),
        (
            "\uff0b4917012345",
            "must begin with + and a country's calling code, as +491701234567 does",
        ),
        ("+4917012345\u06667", "must have the digits 0 to 9, not those of another script"),
        ("+49170123456\uff17", "must have the digits 0 to 9, not those of another script"),
        ("+49170123456\u260e", "must have digits only after the +"),
        ("+49 170 1234567", "must have no spaces, hyphens, dots, slashes or brackets"),
        ("+49\u00a01701234567", "must have no spaces, hyphens, dots, slashes or brackets"),
        ("+49(0)1701234567", "must have no spaces, hyphens, dots, slashes or brackets"),
        ("+491701234567x12", "must have no letters and no extension"),
        ("+491701234567;ext=2", "must have no letters and no extension"),
        ("+49170123456O", "must have no letters and no extension"),
        ("++491701234567", "must have digits only after the +"),
        ("+0491701234567", "must have a country's calling code after the +; none begins with 0"),
        ("+4901701234567", "must not have the 0 that is dialled inside the country"),
        ("+4917012345671234", "must have 7 to 15 digits"),
    ],
)
def test_another_form_is_refused_with_what_is_wrong_with_it(phone: str, rule: str) -> None:
    refusal = check_number(phone, POLICY)
    assert refusal is not None
    assert (refusal.problem, refusal.message) == (NumberProblem.FIELD_INVALID, rule)


def test_a_line_end_after_a_number_is_no_part_of_it() -> None:
    refusal = check_number("+491701234567\n", POLICY)
    assert refusal is not None
    assert refusal.problem is NumberProblem.FIELD_INVALID


@pytest.mark.parametrize(
    ("phone", "problem"),
    [
        ("+1234567", NumberProblem.PHONE_NOT_VALID),
        ("+999123456789", NumberProblem.PHONE_NOT_VALID),
        ("+15555550123", NumberProblem.PHONE_NOT_VALID),
        ("+447700900123", NumberProblem.PHONE_NOT_VALID),  # Of films; nobody has it.
        ("+493012345678", NumberProblem.PHONE_NOT_MOBILE),
        ("+19005551234", NumberProblem.PHONE_NOT_MOBILE),
        ("+449091234567", NumberProblem.PHONE_NOT_MOBILE),
        ("+448001111111", NumberProblem.PHONE_NOT_MOBILE),
        ("+448443123456", NumberProblem.PHONE_NOT_MOBILE),
        ("+447012345678", NumberProblem.PHONE_NOT_MOBILE),
        ("+881612345678", NumberProblem.PHONE_NOT_MOBILE),
        ("+8823456789012", NumberProblem.PHONE_NOT_MOBILE),
    ],
)
def test_what_is_no_mobile_phone_of_a_country_is_refused(
    phone: str, problem: NumberProblem
) -> None:
    refusal = check_number(phone, POLICY)
    assert refusal is not None
    assert refusal.problem is problem


def test_countries_and_numbers_for_tests_are_the_operator_s_choice() -> None:
    german = NumberPolicy(frozenset({"DE"}), ("+447700900",))
    refusal = check_number("+12025550123", german)
    assert refusal is not None
    assert refusal.problem is NumberProblem.PHONE_COUNTRY_NOT_ALLOWED
    assert check_number("+491701234567", german) is None
    assert check_number("+447700900123", german) is None


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_the_country_of_a_number_is_that_of_its_numbering_plan(region: str) -> None:
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
        if number := phonenumbers.example_number_for_type(region, kind):
            phone = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            assert region_of(phone) == phonenumbers.region_code_for_number(number)


@pytest.mark.parametrize(
    ("phone", "region"),
    [
        ("+15555550123", "US"),
        ("+447700900123", "GB"),
        # A landline of the Vatican: the zero is part of the number.
        ("+390669812345", "VA"),
        ("+3901", ""),
        ("+1", ""),
        ("+881612345678", ""),
        ("+999123456789", ""),
        ("491701234567", ""),
        ("", ""),
    ],
)
def test_a_number_that_nobody_has_is_of_its_calling_codes_country_and_others_of_none(
    phone: str, region: str
) -> None:
    assert region_of(phone) == region
