"""What orders are made of, as notices show it: lines, promotions and taxes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.runtime.money import Money


class Promotion(NamedTuple):
    """What a promotion took off; negative."""

    title: str
    amount: Money


@dataclass(frozen=True, slots=True)
class Line:
    """One product of an order."""

    title: str
    quantity: int
    amount: Money
    # The titles of what it is taken instead of.
    replaced: tuple[str, ...] = ()
    promotions: tuple[Promotion, ...] = ()


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax on an order."""

    title: str
    rate_ppm: int
    # What is charged of it.
    amount: Money
    # Why it is not charged, by the name that the catalog has for it; empty: it is.
    not_charged: str = ""


@dataclass(frozen=True, slots=True)
class MonthTotal:
    """What a customer's money did in a month, in one currency; None: nothing."""

    order_count: int
    paid_amount: Money | None
    refund_amount: Money | None
    # Against list prices.
    saved_amount: Money | None


def first_substitute(lines: Sequence[Line]) -> Line | None:
    """The first product that comes instead of another; None if none does."""
    return next((line for line in lines if line.replaced), None)


def more_substitutes(lines: Sequence[Line]) -> int:
    """How many come beside the first."""
    return max(sum(1 for line in lines if line.replaced) - 1, 0)


def tax_total(taxes: Sequence[Tax]) -> Money | None:
    """What the taxes in an amount come to; None if there are none."""
    charged = [tax.amount for tax in taxes if tax.amount.amount_minor]
    if not charged:
        return None
    return Money(sum(amount.amount_minor for amount in charged), charged[0].currency)
