"""The chart of accounts of a merchant. What is booked names an account of it.

An account of one's own: its name here, its type in `ACCOUNT_TYPES`, and its row in docs/books.md.
"""

from enum import StrEnum


class AccountType(StrEnum):
    """On which side of the books an account stands."""

    ASSET = "ASSET"
    LIABILITY = "LIABILITY"
    INCOME = "INCOME"
    EXPENSE = "EXPENSE"


# What customers owe for what was sold to them.
RECEIVABLE = "receivable"
# What the provider holds for the merchant.
PROVIDER_CLEARING = "provider-clearing"
# What the merchant has in the bank.
BANK = "bank"
# What was sold, without taxes; and what was given back of it.
REVENUE = "revenue"
REFUNDS = "refunds"
# What was sold of a period that is not over, and is owed until then.
DEFERRED_REVENUE = "deferred-revenue"
# What the provider keeps.
FEES = "fees"
# What customers' banks took back.
DISPUTES = "disputes"
# What customers have of credit; what a customer has is the part of it with the customer's name.
CUSTOMER_CREDIT = "customer-credit"
# What credit that nobody paid for has cost the merchant.
CREDIT_GRANTED = "credit-granted"
# What is not paid any more.
WRITE_OFFS = "write-offs"
# What the provider and the books do not agree on, until it is explained.
SUSPENSE = "suspense"
ROUNDING = "rounding"
# What is owed to a tax office: an account for each rate.
_TAX_PAYABLE = "tax-payable-"
# Of rates without an id, which a tax service gave.
_SERVICE_RATE = "service"

ACCOUNT_TYPES = {
    RECEIVABLE: AccountType.ASSET,
    PROVIDER_CLEARING: AccountType.ASSET,
    BANK: AccountType.ASSET,
    REVENUE: AccountType.INCOME,
    REFUNDS: AccountType.INCOME,
    DEFERRED_REVENUE: AccountType.LIABILITY,
    FEES: AccountType.EXPENSE,
    DISPUTES: AccountType.EXPENSE,
    CUSTOMER_CREDIT: AccountType.LIABILITY,
    CREDIT_GRANTED: AccountType.EXPENSE,
    SUSPENSE: AccountType.LIABILITY,
    WRITE_OFFS: AccountType.EXPENSE,
    ROUNDING: AccountType.EXPENSE,
}


def tax_account(region_code: str, tax_rate: str, rate_ppm: int) -> str:
    """The account of what is owed at a tax rate: by its id, or by its place and height."""
    if tax_rate:
        return _TAX_PAYABLE + tax_rate
    place = region_code.lower() or "nowhere"
    return f"{_TAX_PAYABLE}{_SERVICE_RATE}-{place}-{rate_ppm}"


def is_tax_account(account: str) -> bool:
    """Whether an account is of a tax rate."""
    return account.startswith(_TAX_PAYABLE)


def account_type(account: str) -> AccountType:
    """On which side an account stands. Raises KeyError for what is none of the chart."""
    return AccountType.LIABILITY if is_tax_account(account) else ACCOUNT_TYPES[account]
