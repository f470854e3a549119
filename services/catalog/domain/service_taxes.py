"""Taxes that a tax service works out: what it is asked, and how far its answer is believed. Pure."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from services.catalog.domain.pricing import Cart, Line
from services.catalog.domain.products import Fault, ItemFault
from services.catalog.domain.tax import TaxBehavior, Taxed
from services.runtime.money import AMOUNT_MINOR_MAX


class TaxedItem(NamedTuple):
    """A line as a tax service sees it."""

    amount_minor: int
    tax_category: str


class TaxQuestion(NamedTuple):
    """What a tax service is asked of one cart."""

    currency: str
    tax_date: date
    # A country or its part, such as `DE` or `US-CA`; empty: unknown.
    region_code: str
    tax_id: str
    tax_behavior: TaxBehavior
    items: tuple[TaxedItem, ...]


# What is charged on each item, in their order; None: nobody can say now.
TaxAnswer = Sequence[Taxed] | None


def question_of(
    cart: Cart, lines: Sequence[Line], region_code: str, behavior: TaxBehavior
) -> TaxQuestion:
    """What is asked about the lines of a cart."""
    return TaxQuestion(
        lines[0].currency,
        cart.price_time.date(),
        region_code,
        cart.tax_id,
        behavior,
        tuple(TaxedItem(line.amount_minor, line.tax_category) for line in lines),
    )


def with_answer(lines: Sequence[Line], answer: TaxAnswer) -> list[Line] | list[Fault]:
    """The lines with their taxes; without an answer no quote: nothing is charged without its taxes."""
    if answer is None:
        return [Fault(line.item.key, ItemFault.TAX_UNAVAILABLE, line.title) for line in lines]
    taxed = [line._replace(taxed=tax) for line, tax in zip(lines, answer, strict=True)]
    if sum(line.gross_minor for line in taxed) > AMOUNT_MINOR_MAX:
        last = taxed[-1]
        return [Fault(last.item.key, ItemFault.TOTAL_TOO_LARGE, last.title)]
    return taxed
