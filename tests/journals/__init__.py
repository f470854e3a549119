"""Histories of transfers, and the journals that are written of them."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from cli.journals import Account, Entry, Format, Journal
from cli.values import minor_digits

CURRENCIES = ("EUR", "JPY", "KWD")
# Without a zone, as hypothesis wants its bounds.
FIRST, LAST = (datetime(year, 1, 1) for year in (2020, 2100))  # noqa: DTZ001
ACCOUNTS = [
    Account(account, type_name, currency)
    for account, type_name in (("provider-clearing", "ASSET"), ("tax-payable-de-19", "LIABILITY"))
    for currency in CURRENCIES
]
TRANSFERS = st.lists(
    st.tuples(
        st.sampled_from(CURRENCIES),
        st.integers(1, 10**12),
        st.datetimes(FIRST, LAST, timezones=st.just(UTC)),
        st.booleans(),
    ),
    max_size=8,
)


def entries(transfers: Sequence[tuple[str, int, datetime, bool]]) -> list[Entry]:
    made = []
    for number, (currency, amount_minor, book_time, is_charge) in enumerate(transfers):
        debit, credit = ("provider-clearing", "tax-payable-de-19")[:: 1 if is_charge else -1]
        for account, signed_minor in ((debit, amount_minor), (credit, -amount_minor)):
            source = f"merchants/acme/customers/ada/charges/tea-{number}"
            # Some happened on the day before they were booked.
            happened = book_time - timedelta(days=number % 2)
            what = (f"t-{number}", account, signed_minor, currency, source)
            made.append(Entry(*what, book_time, happened))
    return made


def written(form: Format, listed: Sequence[Entry]) -> str:
    journal = Journal(form, "acme", ACCOUNTS)
    return "".join([*journal.head(), *(line for entry in listed for line in journal.entry(entry))])


def balances_of(listed: Sequence[Entry]) -> dict[tuple[str, str], Decimal]:
    """What each account comes to, by account and currency."""
    balances: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for entry in listed:
        amount = Decimal(entry.amount_minor).scaleb(-minor_digits(entry.currency))
        balances[entry.account, entry.currency] += amount
    return balances
