"""From the domain to messages."""

from collections.abc import Sequence
from typing import Any

from recurring.catalog.v1 import catalog_pb2

from services.catalog import events
from services.catalog.domain import Fault, Line, Price, Product, ProductKey
from services.runtime.wire import etag, to_money, to_timestamp


def product_message(product: Product) -> catalog_pb2.Product:
    """A product as callers see it."""
    return catalog_pb2.Product(
        name=events.product_name(product.key),
        title=product.title,
        increase_notice_days=product.increase_notice_days,
        stock_tracked=product.stock_tracked,
        low_stock_threshold=product.low_stock_threshold,
        state=catalog_pb2.Product.State.Value(product.state),
        create_time=to_timestamp(product.create_time),
        etag=etag(product.version),
    )


def price_message(key: ProductKey, price: Price) -> catalog_pb2.Price:
    """A price as callers see it."""
    return catalog_pb2.Price(
        name=events.PRICE.format(key.merchant, key.product, price.price),
        unit_price=to_money(price.amount_minor, price.currency),
        effective_time=to_timestamp(price.effective_time),
        announce_time=to_timestamp(price.announce_time),
    )


def stock_message(key: ProductKey, row: Any) -> catalog_pb2.Stock:  # noqa: ANN401 - a row
    """The units of a product as callers see them."""
    return catalog_pb2.Stock(
        product=events.product_name(key),
        on_hand_units=row.on_hand_units,
        held_units=row.held_units,
        available_units=row.on_hand_units - row.held_units,
    )


def problem_messages(result: Sequence[Line | Fault]) -> list[catalog_pb2.ItemProblem]:
    """What is wrong with the items of an entry; empty if nothing is."""
    return [
        catalog_pb2.ItemProblem(
            product=events.product_name(fault.key),
            reason=catalog_pb2.ItemProblem.Reason.Value(fault.fault),
        )
        for fault in result
        if isinstance(fault, Fault)
    ]


def quote_message(result: Sequence[Line | Fault]) -> catalog_pb2.QuoteResult:
    """A quote, or why there is none."""
    problems = problem_messages(result)
    if problems:
        return catalog_pb2.QuoteResult(problems=catalog_pb2.QuoteProblems(problems=problems))
    lines = [line for line in result if isinstance(line, Line)]
    total_minor = sum(line.amount_minor for line in lines)
    return catalog_pb2.QuoteResult(
        quote=catalog_pb2.Quote(
            total=to_money(total_minor, lines[0].unit.currency),
            lines=[_line_message(line) for line in lines],
        )
    )


def _line_message(line: Line) -> catalog_pb2.QuoteLine:
    unit, key = line.unit, line.item.key
    return catalog_pb2.QuoteLine(
        product=events.product_name(key),
        title=line.title,
        quantity=line.item.quantity,
        unit_price=to_money(unit.amount_minor, unit.currency),
        amount=to_money(line.amount_minor, unit.currency),
        price=events.PRICE.format(key.merchant, key.product, unit.price),
        list_unit_price=to_money(unit.list_amount_minor, unit.currency),
        basis=catalog_pb2.QuoteLine.Basis.Value(unit.basis),
    )
