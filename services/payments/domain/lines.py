"""What a charge is for: the net amounts and taxes of its order's lines."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

# Most charges of a merchant are for the same few lines.
_CACHED_LINES = 1024


class LineTax(NamedTuple):
    """A tax on a line."""

    # Its rate's id; empty: a tax service gave it.
    tax_rate: str
    # In parts per million.
    rate_ppm: int
    # What is charged of it.
    amount_minor: int
    title: str = ""
    # What the customer's tax id has made of it, such as REVERSE_CHARGE; empty: nobody said.
    treatment: str = ""


class LineAdjustment(NamedTuple):
    """A step from the list price of a line to what is paid."""

    # As recurring.catalog.v1.PriceAdjustment.Kind names it.
    kind: str
    # What it adds; what it takes off is negative.
    amount_minor: int
    # Of the promotion, if it is one.
    title: str = ""


class ChargeLine(NamedTuple):
    """A product that is paid for; amounts in minor units of the charge's currency."""

    # Its id.
    product: str
    quantity: int
    # Before taxes.
    net_minor: int
    taxes: tuple[LineTax, ...] = ()
    title: str = ""
    # By the list price; None: nobody said.
    list_minor: int | None = None
    adjustments: tuple[LineAdjustment, ...] = ()

    @property
    def gross_minor(self) -> int:
        """What the customer pays."""
        return self.net_minor + sum(tax.amount_minor for tax in self.taxes)


def checked_lines(lines: Sequence[ChargeLine], amount_minor: int) -> tuple[ChargeLine, ...]:
    """The lines of a charge; none where nobody said. Raises ValueError if they are another amount."""
    if lines and sum(line.gross_minor for line in lines) != amount_minor:
        raise ValueError("the lines of a payment do not add up to its amount")
    return tuple(lines)


# --- as they are stored -----------------------------------------------------------------------------


@lru_cache(maxsize=_CACHED_LINES)
def dump_lines(lines: tuple[ChargeLine, ...]) -> str:
    """Lines as JSON."""
    return json.dumps(
        [
            {
                "product": line.product,
                "quantity": line.quantity,
                "net_minor": line.net_minor,
                "taxes": [tax._asdict() for tax in line.taxes],
                "title": line.title,
                "list_minor": line.list_minor,
                "adjustments": [adjustment._asdict() for adjustment in line.adjustments],
            }
            for line in lines
        ],
        separators=(",", ":"),
    )


@lru_cache(maxsize=_CACHED_LINES)
def load_lines(text: str) -> tuple[ChargeLine, ...]:
    """Lines from their JSON."""
    return tuple(
        ChargeLine(
            line["product"],
            line["quantity"],
            line["net_minor"],
            tuple(LineTax(**tax) for tax in line["taxes"]),
            line["title"],
            line["list_minor"],
            tuple(LineAdjustment(**adjustment) for adjustment in line["adjustments"]),
        )
        for line in json.loads(text)
    )
