"""Amounts on their way to the payment provider and back: never another amount, never rounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.prove.witness import provider_minor
from sandbox.provider import currencies as sandbox
from services.payments.domain.consent import RefusalReason, provider_reasons
from services.payments.domain.provider_amounts import (
    PROVIDER_CURRENCIES,
    UnsupportedAmountError,
    UnsupportedCurrencyError,
    amount_rules,
    check_charge,
    step_minor,
    to_provider,
)
from services.runtime.money import AMOUNT_MINOR_MAX, DIGITS, minor_digits, minor_factor

charged = st.sampled_from(sorted(PROVIDER_CURRENCIES))
amounts_minor = st.integers(1, AMOUNT_MINOR_MAX)


@given(amounts_minor, charged)
def test_an_amount_comes_back_from_the_provider_as_it_went(
    amount_minor: int, currency: str
) -> None:
    amount_minor = -(-amount_minor // step_minor(currency)) * step_minor(currency)
    amount = to_provider(amount_minor, currency)
    assert amount % PROVIDER_CURRENCIES[currency].step == 0
    # The audit, which has a table of its own, reads the same.
    assert provider_minor(amount, currency) == amount_minor


@given(amounts_minor, charged)
def test_what_is_published_is_what_is_charged(amount_minor: int, currency: str) -> None:
    rule = next(rule for rule in amount_rules() if rule.currency == currency)
    is_taken = (
        amount_minor % rule.step_minor == 0 and rule.least_minor <= amount_minor <= rule.most_minor
    )
    assert is_taken == (provider_reasons(amount_minor, currency) == set())


@pytest.mark.parametrize(
    ("currency", "step_minor", "least_minor"),
    [
        ("EUR", 1, 50), ("GBP", 1, 30), ("JPY", 1, 50), ("HUF", 1, 17_500), ("TWD", 1, 1),
        ("ISK", 1, 1), ("UGX", 1, 1), ("KWD", 10, 10), ("BHD", 10, 10), ("MGA", 100, 100),
    ],
)  # fmt: skip
def test_the_rules_are_in_minor_units_of_iso_4217(
    currency: str, step_minor: int, least_minor: int
) -> None:
    rule = next(rule for rule in amount_rules() if rule.currency == currency)
    assert (rule.step_minor, rule.least_minor) == (step_minor, least_minor)


@given(amounts_minor, charged)
def test_an_amount_that_the_provider_does_not_have_is_refused_and_not_rounded(
    amount_minor: int, currency: str
) -> None:
    if amount_minor % step_minor(currency) == 0:
        to_provider(amount_minor, currency)
        return
    with pytest.raises(UnsupportedAmountError):
        to_provider(amount_minor, currency)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "amount"),
    [
        (1250, "EUR", 1250),
        (3000, "ISK", 300_000),
        (5, "UGX", 500),
        (500, "JPY", 500),
        (5_120, "KWD", 5_120),
        (1_000, "MGA", 10),
        (1045, "HUF", 1045),
        (80_045, "TWD", 80_045),
    ],
)
def test_the_provider_is_sent_its_own_units(amount_minor: int, currency: str, amount: int) -> None:
    assert to_provider(amount_minor, currency) == amount


@pytest.mark.parametrize(("amount_minor", "currency"), [(5_124, "KWD"), (1_050, "MGA")])
def test_no_unit_is_lost_on_the_way(amount_minor: int, currency: str) -> None:
    with pytest.raises(UnsupportedAmountError):
        to_provider(amount_minor, currency)
    assert provider_reasons(amount_minor, currency) == {RefusalReason.AMOUNT_NOT_CHARGEABLE}


@pytest.mark.parametrize("currency", ["GHS", "IQD", "XXX", "HRK", "eur", ""])
def test_a_currency_that_is_not_charged_in_is_said_so(currency: str) -> None:
    for refused in (to_provider, check_charge):
        with pytest.raises(UnsupportedCurrencyError):
            refused(1000, currency)
    assert provider_reasons(1000, currency) == {RefusalReason.CURRENCY_NOT_CHARGEABLE}


@pytest.mark.parametrize(
    ("amount_minor", "currency"),
    [(49, "EUR"), (17_499, "HUF"), (49, "JPY"), (10**12, "EUR"), (10**10, "ISK")],
)
def test_a_charge_below_the_least_or_with_too_many_digits_is_not_made(
    amount_minor: int, currency: str
) -> None:
    assert provider_reasons(amount_minor, currency) == {RefusalReason.AMOUNT_NOT_CHARGEABLE}


@given(charged)
def test_the_least_and_the_most_can_be_charged(currency: str) -> None:
    known = PROVIDER_CURRENCIES[currency]
    for amount in (known.least, known.most // known.step * known.step):
        assert provider_reasons(provider_minor(amount, currency), currency) == set()


def test_the_sandbox_is_as_strict_as_the_table() -> None:
    assert {code.upper() for code in sandbox.SUPPORTED} == set(PROVIDER_CURRENCIES)
    for currency, known in PROVIDER_CURRENCIES.items():
        theirs = currency.lower()
        assert sandbox.STEPS.get(theirs, 1) == known.step
        assert max(sandbox.LEAST.get(theirs, 1), known.step) == known.least
        assert known.most == sandbox.MOST


def test_the_provider_counts_as_the_standard_does_but_for_three_currencies() -> None:
    others = {
        currency
        for currency, known in PROVIDER_CURRENCIES.items()
        if known.factor != minor_factor(currency)
    }
    assert others == {"ISK", "UGX", "MGA"}
    assert {minor_digits(currency) for currency in PROVIDER_CURRENCIES} == {0, 2, 3}
    assert set(PROVIDER_CURRENCIES) < set(DIGITS)
