"""What a setting says of several accounts."""

import pytest

from services.payments.clients.stripe_accounts import ACCOUNTS_MAX, values_by_account


def test_an_account_has_what_is_said_of_it_with_spaces_or_lines_between() -> None:
    text = "stripe-uk=first\nstripe-us=other stripe-uk=second=\n"
    assert values_by_account(text, 2) == {
        "stripe-uk": ["first", "second="],
        "stripe-us": ["other"],
    }


@pytest.mark.parametrize(
    "text",
    [
        "sk_live_secret", "stripe=secret", "stripe-=secret", "stripe-UK=secret", "uk=secret",
        "stripe-uk=", "stripe-uk=secret stripe-uk=secret",
        " ".join(f"stripe-{number}=secret" for number in range(ACCOUNTS_MAX + 1)),
    ],
)  # fmt: skip
def test_what_names_no_account_is_refused_and_no_secret_is_shown(text: str) -> None:
    with pytest.raises(ValueError, match="must") as refused:
        values_by_account(text)
    assert "secret" not in str(refused.value)
