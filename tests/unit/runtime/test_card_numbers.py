# ruff: noqa: RUF001 - digits of many scripts
"""Card numbers are recognized however they are written, and other numbers are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.card_numbers import has_card_number, is_in_identifier

# Test numbers that the networks and providers publish.
CARDS = [
    "4242424242424242", "4111111111111111", "4000056655665556", "5555555555554444",
    "2223003122003222", "378282246310005", "371449635398431", "6011111111111117",
    "6011000990139424", "30569309025904", "38520000023237", "3566002020360505",
    "6200000000000005", "6304000000000000", "4222222222222", "6759649826438453",
]  # fmt: skip
NUMBERS = [
    "4242424242424241",  # another check digit
    "1234567890123452",  # no network's first digits
    "4006381333931",  # the GTIN of a pencil, which starts as a Visa card
    "9780306406157",  # an ISBN
    "49015420323751",  # fourteen digits: no Visa card has them
    "+49 170 1234567 / +44 7700 900123",
    "2026-01-31 2026-02-28 2026-03-31",
    "352099001761481",  # an IMEI
    "00340123450000000000",  # more digits than a card has
    "DE89 3704 0044 0532 0130 00",
]


def test_numbers_of_cards_are_valid_numbers() -> None:
    assert [number for number in CARDS if not has_card_number(number)] == []


@pytest.mark.parametrize("number", CARDS)
@pytest.mark.parametrize("between", [" ", "-", ".", "\u00a0", "\u2013", "_", "/", " - "])
def test_it_is_seen_in_groups_and_within_a_sentence(number: str, between: str) -> None:
    if between == " - ":
        between = "- "
    groups = between.join(number[place : place + 4] for place in range(0, len(number), 4))
    assert has_card_number(f"Charge {groups}, please (12 items)")
    assert has_card_number(f"12 {groups} 27")


@pytest.mark.parametrize("zero", ["０", "٠", "۰", "०", "𝟎"])
def test_it_is_seen_in_digits_of_other_scripts(zero: str) -> None:
    number = "".join(chr(ord(zero) + int(digit)) for digit in CARDS[0])
    assert has_card_number(number)


@pytest.mark.parametrize("number", ["+4917012345675", "+49 170 12345675"])
def test_a_telephone_with_its_plus_sign_is_let_be(number: str) -> None:
    assert has_card_number(number.removeprefix("+"))
    assert not has_card_number(f"Ring {number} at noon")
    assert has_card_number(f"+{CARDS[0]}")


@pytest.mark.parametrize("number", NUMBERS)
def test_another_number_is_let_be(number: str) -> None:
    assert not has_card_number(number)


@given(st.text(max_size=60))
def test_any_text_is_looked_at(text: str) -> None:
    assert not has_card_number(
        "".join(character for character in text if not character.isnumeric())
    )


@pytest.mark.parametrize(
    "identifier",
    [
        "4242424242424242", "card-4242424242424242", "4242-4242-4242-4242", "x_4242_4242_4242_4242",
        "3782-822463-10005", "merchants/demo/customers/4242424242424242/charges/tea-1",
        "4242424242424242@example.com",
    ],
)  # fmt: skip
def test_an_identifier_does_not_hold_a_cards_number(identifier: str) -> None:
    assert is_in_identifier(identifier)


@given(st.uuids())
def test_a_uuid_is_no_cards_number(identifier: object) -> None:
    assert not is_in_identifier(str(identifier))


@pytest.mark.parametrize(
    "identifier", ["4222222222222", "pm_1MqLiJLkdIwHu7ixUEgbFdYF", "tea-2026-01-31"]
)
def test_the_ids_of_shops_are_let_be(identifier: str) -> None:
    assert not is_in_identifier(identifier)
