"""The mandates that exist here: which account is debited, and what its bank says to a payment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

# The schemes of GoCardless, and the one currency that each debits in.
CURRENCIES = {
    "ach": "USD", "autogiro": "SEK", "bacs": "GBP", "becs": "AUD", "becs_nz": "NZD",
    "betalingsservice": "DKK", "pad": "CAD", "sepa_core": "EUR",
}  # fmt: skip
# The least that is debited, in minor units; of ACH none is published.
LEAST = {"SEK": 1000, "GBP": 100, "AUD": 200, "NZD": 200, "DKK": 1000, "CAD": 200, "EUR": 100}


@dataclass(frozen=True)
class Mandate:
    """A mandate of an account, and what becomes of its payments."""

    scheme: str = "sepa_core"
    account_number_ending: str = "00"
    bank_name: str = "SANDBOX BANK"
    status: str = "active"
    # Why the bank sends a payment back, days after it was submitted; None: it pays.
    failure_cause: str | None = None
    # Only the first payment of each charge is sent back.
    first_alone: bool = False
    # Whether the payer gets the money back, days after it was paid out.
    is_charged_back: bool = False
    # Whether the payer then lets the merchant have it all the same.
    chargeback_is_cancelled: bool = False
    # Whether the bank sends it back after the payment was confirmed.
    fails_late: bool = False
    # Since when (unix) another one stands in its place; None: it does not.
    replaced_from: int | None = None

    def is_replaced(self, now: int) -> bool:
        """Whether another one stands in its place at a time (unix)."""
        return self.replaced_from is not None and now >= self.replaced_from

    @property
    def currency(self) -> str:
        """What it is debited in."""
        return CURRENCIES[self.scheme]


POOR = "insufficient_funds"
MANDATES = {
    "MD_sandbox_sepa": Mandate(),
    "MD_sandbox_bacs": Mandate("bacs", "11"),
    "MD_sandbox_poor": Mandate(account_number_ending="51", failure_cause=POOR),
    "MD_sandbox_poorAtFirst": Mandate(
        account_number_ending="52", failure_cause=POOR, first_alone=True
    ),
    "MD_sandbox_failsAfterConfirmation": Mandate(
        account_number_ending="53", failure_cause=POOR, fails_late=True
    ),
    "MD_sandbox_chargedBack": Mandate(account_number_ending="54", is_charged_back=True),
    "MD_sandbox_chargebackCancelled": Mandate(
        account_number_ending="56", is_charged_back=True, chargeback_is_cancelled=True
    ),
    "MD_sandbox_cancelled": Mandate(account_number_ending="55", status="cancelled"),
}
# What stands in the place of those that are replaced.
REPLACEMENT = "MD_sandbox_sepa"
# One that is replaced at the beginning of a month.
_REPLACED = re.compile(r"MD_sandbox_replaced(?P<year>20[0-9]{2})(?P<month>0[1-9]|1[0-2])")
# One whose payments are sent back for a cause.
_FAILING = re.compile(r"MD_sandbox_fails_(?P<cause>[a-z_]{1,60})")


def mandate_of(name: str) -> Mandate | None:
    """The mandate of an id; None if there is none."""
    if match := _FAILING.fullmatch(name):
        return Mandate(account_number_ending="59", failure_cause=match["cause"])
    if match := _REPLACED.fullmatch(name):
        month = datetime(int(match["year"]), int(match["month"]), 1, tzinfo=UTC)
        return Mandate(account_number_ending="57", replaced_from=int(month.timestamp()))
    return MANDATES.get(name)


def describe_mandate(name: str, mandate: Mandate, now: int) -> Mapping[str, object]:
    """A mandate as the API shows it at a time (unix)."""
    suffix = name.removeprefix("MD_")
    replaced = mandate.is_replaced(now)
    return {
        "id": name,
        "created_at": "2020-01-01T00:00:00.000Z",
        "reference": f"REF-{suffix}"[:18],
        "status": "cancelled" if replaced else mandate.status,
        "scheme": mandate.scheme,
        "metadata": {},
        "links": {
            "customer_bank_account": f"BA_{suffix}",
            "creditor": "CR_sandbox",
            "customer": f"CU_{suffix}",
            **({"new_mandate": REPLACEMENT} if replaced else {}),
        },
    }


def describe_account(name: str, mandate: Mandate) -> Mapping[str, object]:
    """A bank account as the API shows it."""
    suffix = name.removeprefix("BA_")
    return {
        "id": name,
        "created_at": "2020-01-01T00:00:00.000Z",
        "account_number_ending": mandate.account_number_ending,
        "account_type": None,
        "bank_name": mandate.bank_name,
        "currency": mandate.currency,
        "enabled": True,
        "metadata": {},
        "links": {"customer": f"CU_{suffix}"},
    }
