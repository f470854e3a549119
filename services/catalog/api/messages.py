"""From the domain to messages."""

from collections.abc import Sequence
from typing import Any

from recurring.catalog.v1 import catalog_pb2

from services.catalog import events
from services.catalog.domain import (
    Fault,
    HoldRequest,
    Line,
    Price,
    Product,
    ProductKey,
    UnitPrice,
)
from services.runtime.db import audit
from services.runtime.rpc.conversions import etag, to_money, to_timestamp


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
    withdrawn = price.withdraw_time
    return catalog_pb2.Price(
        name=events.PRICE.format(key.merchant, key.product, price.price),
        unit_price=to_money(price.amount_minor, price.currency),
        effective_time=to_timestamp(price.effective_time),
        announce_time=to_timestamp(price.announce_time),
        withdraw_time=to_timestamp(withdrawn) if withdrawn else None,
        etag=etag(price.version),
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
            title=fault.title,
        )
        for fault in result
        if isinstance(fault, Fault)
    ]


def protection_change(entry: catalog_pb2.ProtectPrices, lines: Sequence[Line]) -> audit.Change:
    """What is remembered anew for a standing order: prices, and what protects them."""
    products = [
        {
            "product": events.product_name(line.item.key),
            "unit_price": audit.masked(to_money(line.unit.list_amount_minor, line.unit.currency)),
        }
        for line in lines
    ]
    after = {
        "standing_order": entry.standing_order,
        "products": products,
        "sign_up_time": entry.sign_up_time.ToJsonString(),
        "protection": audit.masked(entry.protection),
    }
    return audit.Change(lines[0].item.key.merchant, entry.standing_order, after)


def hold_change(hold: HoldRequest) -> audit.Change:
    """What is held for an order."""
    after = {
        "order": hold.order,
        "items": [
            {"product": events.product_name(item.key), "quantity": item.quantity}
            for item in hold.items
        ],
        "expire_time": to_timestamp(hold.expire_time).ToJsonString(),
    }
    return audit.Change(hold.items[0].key.merchant, hold.order, after)


def quote_messages(results: Sequence[Sequence[Line | Fault]]) -> catalog_pb2.BatchQuoteResponse:
    """Quotes, or why there are none, with each unit price once."""
    response = catalog_pb2.BatchQuoteResponse()
    places: dict[tuple[ProductKey, UnitPrice], int] = {}
    for result in results:
        lines = [line for line in result if isinstance(line, Line)]
        if len(lines) < len(result):
            response.results.add().problems.problems.extend(problem_messages(result))
            continue
        quote = response.results.add().quote
        currency = lines[0].unit.currency
        quote.total.CopyFrom(to_money(sum(line.amount_minor for line in lines), currency))
        for line in lines:
            place = places.setdefault((line.item.key, line.unit), len(places))
            if place == len(response.unit_prices):
                response.unit_prices.append(_unit_price_message(line))
            quote.lines.add(unit_price_index=place, quantity=line.item.quantity)
    return response


def _unit_price_message(line: Line) -> catalog_pb2.UnitPrice:
    unit, key = line.unit, line.item.key
    return catalog_pb2.UnitPrice(
        product=events.product_name(key),
        title=line.title,
        amount=to_money(unit.amount_minor, unit.currency),
        price=events.PRICE.format(key.merchant, key.product, unit.price),
        list_amount=to_money(unit.list_amount_minor, unit.currency),
        list_price=events.PRICE.format(key.merchant, key.product, unit.list_price),
        basis=catalog_pb2.UnitPrice.Basis.Value(unit.basis),
    )
