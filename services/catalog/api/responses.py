"""From the domain to messages."""

from collections.abc import Sequence

from recurring.catalog.v1 import catalog_pb2

from services.catalog.domain.pricing import Line, Price, SignUpPrice, UnitPrice
from services.catalog.domain.products import Fault, Product, ProductKey, StandingOrderKey
from services.catalog.domain.stock import HoldRequest, Stock
from services.catalog.names import PRICE, PRODUCT, STANDING_ORDER
from services.runtime.db import audit
from services.runtime.rpc.conversions import etag, optional_timestamp, to_money, to_timestamp


def product_message(product: Product) -> catalog_pb2.Product:
    """A product as callers see it."""
    return catalog_pb2.Product(
        name=PRODUCT.format(*product.key),
        title=product.title,
        increase_notice_days=product.increase_notice_days,
        stock_tracked=product.stock_tracked,
        low_stock_threshold=product.low_stock_threshold,
        state=catalog_pb2.Product.State.Value(product.state),
        create_time=to_timestamp(product.create_time),
        etag=etag(product.version),
    )


def price_message(price: Price) -> catalog_pb2.Price:
    """A price as callers see it."""
    return catalog_pb2.Price(
        name=PRICE.format(*price.key),
        unit_price=to_money(price.amount_minor, price.currency),
        effective_time=to_timestamp(price.effective_time),
        announce_time=to_timestamp(price.announce_time),
        withdraw_time=optional_timestamp(price.withdraw_time),
        etag=etag(price.version),
    )


def stock_message(stock: Stock) -> catalog_pb2.Stock:
    """The units of a product as callers see them."""
    return catalog_pb2.Stock(
        product=PRODUCT.format(*stock.key),
        on_hand_units=stock.on_hand_units,
        held_units=stock.held_units,
        available_units=stock.available_units,
    )


def protection_response(
    results: Sequence[Sequence[Line | Fault]],
) -> catalog_pb2.BatchProtectPricesResponse:
    """What is wrong with each entry."""
    return catalog_pb2.BatchProtectPricesResponse(
        results=[
            catalog_pb2.ProtectPricesResult(problems=problem_messages(result)) for result in results
        ]
    )


def hold_response(faults: Sequence[Sequence[Fault]]) -> catalog_pb2.BatchHoldStockResponse:
    """What each order lacks; nothing if it has its hold."""
    return catalog_pb2.BatchHoldStockResponse(
        results=[
            catalog_pb2.StockHoldResult(problems=problem_messages(result)) for result in faults
        ]
    )


def check_response(faults: Sequence[Sequence[Fault]]) -> catalog_pb2.BatchCheckStockResponse:
    """What is short of each check's items."""
    return catalog_pb2.BatchCheckStockResponse(
        results=[
            catalog_pb2.StockCheckResult(problems=problem_messages(result)) for result in faults
        ]
    )


def problem_messages(result: Sequence[Line | Fault]) -> list[catalog_pb2.ItemProblem]:
    """What is wrong with the items of an entry; empty if nothing is."""
    return [
        catalog_pb2.ItemProblem(
            product=PRODUCT.format(*fault.key),
            reason=catalog_pb2.ItemProblem.Reason.Value(fault.fault),
            title=fault.title,
        )
        for fault in result
        if isinstance(fault, Fault)
    ]


def protection_changes(
    entries: Sequence[catalog_pb2.ProtectPrices], new: Sequence[SignUpPrice]
) -> list[audit.Change]:
    """What was remembered for standing orders: prices, and what protects them."""
    prices: dict[StandingOrderKey, list[SignUpPrice]] = {}
    for price in new:
        key = StandingOrderKey(price.merchant, price.standing_order)
        prices.setdefault(key, []).append(price)
    return [
        _protection_change(entry, signed_up)
        for entry in entries
        if (signed_up := prices.pop(STANDING_ORDER.key(entry.standing_order), []))
    ]


def _protection_change(
    entry: catalog_pb2.ProtectPrices, signed_up: Sequence[SignUpPrice]
) -> audit.Change:
    products = [
        {
            "product": PRODUCT.format(price.merchant, price.product),
            "unit_price": audit.masked(to_money(price.sign_up_amount_minor, price.currency)),
        }
        for price in signed_up
    ]
    after = {
        "standing_order": entry.standing_order,
        "products": products,
        "sign_up_time": entry.sign_up_time.ToJsonString(),
        "protection": audit.masked(entry.protection),
    }
    return audit.Change(signed_up[0].merchant, entry.standing_order, after)


def hold_change(hold: HoldRequest) -> audit.Change:
    """What is held for an order."""
    after = {
        "order": hold.order,
        "items": [
            {"product": PRODUCT.format(*item.key), "quantity": item.quantity} for item in hold.items
        ],
        "expire_time": to_timestamp(hold.expire_time).ToJsonString(),
    }
    return audit.Change(hold.items[0].key.merchant, hold.order, after)


def quote_response(results: Sequence[Sequence[Line | Fault]]) -> catalog_pb2.BatchQuoteResponse:
    """Quotes, or why there are none, with each unit price once."""
    response = catalog_pb2.BatchQuoteResponse()
    indexes: dict[tuple[ProductKey, UnitPrice], int] = {}
    for result in results:
        lines = [line for line in result if isinstance(line, Line)]
        if len(lines) < len(result):
            response.results.add().problems.problems.extend(problem_messages(result))
            continue
        quote = response.results.add().quote
        currency = lines[0].unit.currency
        quote.total.CopyFrom(to_money(sum(line.amount_minor for line in lines), currency))
        for line in lines:
            index = indexes.setdefault((line.item.key, line.unit), len(indexes))
            if index == len(response.unit_prices):
                response.unit_prices.append(_unit_price_message(line))
            quote.lines.add(unit_price_index=index, quantity=line.item.quantity)
    return response


def _unit_price_message(line: Line) -> catalog_pb2.UnitPrice:
    unit, key = line.unit, line.item.key
    return catalog_pb2.UnitPrice(
        product=PRODUCT.format(*key),
        title=line.title,
        amount=to_money(unit.amount_minor, unit.currency),
        price=PRICE.format(*key, unit.price),
        list_amount=to_money(unit.list_amount_minor, unit.currency),
        list_price=PRICE.format(*key, unit.list_price),
        basis=catalog_pb2.UnitPrice.Basis.Value(unit.basis),
    )
