"""Accounts of Stripe beside the first, each a provider with a name, a key and secrets of its own.

A deployment has several where its merchants' money goes to companies of their own, or where merchants
are in countries that one account does not serve.
"""

import re

# The gateway lets in webhooks of names that begin like this.
ACCOUNT_NAME = re.compile(r"stripe-[a-z0-9][a-z0-9-]{0,40}")
# Each has a pool of connections and some workers.
ACCOUNTS_MAX = 20


def values_by_account(text: str, values_max: int = 1) -> dict[str, list[str]]:
    """What a setting says of each account, as `NAME=VALUE` with spaces or lines between them.

    Raises ValueError, whose message names no value.
    """
    values: dict[str, list[str]] = {}
    for each in text.split():
        name, _, value = each.partition("=")
        if not ACCOUNT_NAME.fullmatch(name) or not value:
            raise ValueError("must be like stripe-uk=VALUE, with a name of a-z, 0-9 and -")
        values.setdefault(name, []).append(value)
    if len(values) > ACCOUNTS_MAX:
        raise ValueError(f"must name at most {ACCOUNTS_MAX} accounts")
    if any(len(of_account) > values_max for of_account in values.values()):
        raise ValueError(f"must name each account at most {values_max} times")
    return values
