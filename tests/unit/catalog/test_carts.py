"""Carts are priced whole or not at all, and stock is given out whole or not at all."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.prices import Price
from services.catalog.domain.pricing import Cart, Line, quote
from services.catalog.domain.products import (
    Fault,
    Item,
    ItemFault,
    MerchantId,
    PriceId,
    Product,
    ProductId,
    ProductKey,
    ProductState,
    StandingOrderId,
)
from services.catalog.domain.stock import HoldRequest, allocate

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def key(product: str, merchant: str = "acme") -> ProductKey:
    return ProductKey(MerchantId(merchant), ProductId(product))


TEA, COFFEE, MILK = key("tea"), key("coffee"), key("milk")


def product(key: ProductKey, state: ProductState = ProductState.ACTIVE) -> Product:
    return Product(*key, key.product.title(), 30, False, 0, state, NOW)  # noqa: FBT003


def cart(*items: tuple[ProductKey, int]) -> Cart:
    return Cart(StandingOrderId("order"), 1, tuple(Item(*item) for item in items), NOW)


def price(amount_minor: int, currency: str = "EUR") -> list[Price]:
    return [Price(*TEA, PriceId("p"), amount_minor, currency, NOW, NOW)]


PRODUCTS = {key: product(key) for key in (TEA, COFFEE, MILK)}
PRICES = {TEA: price(250), COFFEE: price(1200), MILK: price(100)}


def faults(
    wanted: Cart,
    products: Mapping[ProductKey, Product] = PRODUCTS,
    prices: Mapping[ProductKey, Sequence[Price]] = PRICES,
) -> list[Fault]:
    return [fault for fault in quote(wanted, products, prices, {}) if isinstance(fault, Fault)]


# --- quotes -------------------------------------------------------------------------------------


def test_a_cart_has_a_line_an_item_in_its_order() -> None:
    lines = quote(cart((COFFEE, 2), (TEA, 3)), PRODUCTS, PRICES, {})
    assert [
        (line.item.key, line.title, line.amount_minor) for line in lines if isinstance(line, Line)
    ] == [(COFFEE, "Coffee", 2400), (TEA, "Tea", 750)]


def test_a_product_that_is_not_there_cannot_be_priced() -> None:
    wanted = cart((TEA, 1), (key("gone"), 1))
    assert faults(wanted) == [Fault(key("gone"), ItemFault.PRODUCT_NOT_FOUND)]


def test_a_product_of_somebody_else_is_not_there() -> None:
    other = key("tea", "other")
    assert faults(cart((other, 1))) == [Fault(other, ItemFault.PRODUCT_NOT_FOUND)]


def test_a_product_off_sale_cannot_be_priced() -> None:
    products = {**PRODUCTS, TEA: product(TEA, ProductState.DISCONTINUED)}
    assert faults(cart((TEA, 1)), products) == [Fault(TEA, ItemFault.PRODUCT_DISCONTINUED)]


def test_a_product_without_a_price_cannot_be_priced() -> None:
    assert faults(cart((TEA, 1)), prices={}) == [Fault(TEA, ItemFault.PRICE_NOT_FOUND)]


def test_a_cart_is_in_one_currency() -> None:
    prices = {**PRICES, COFFEE: price(1200, "USD")}
    assert faults(cart((TEA, 1), (COFFEE, 1), (MILK, 1)), prices=prices) == [
        Fault(COFFEE, ItemFault.CURRENCY_MISMATCH)
    ]


def test_everything_wrong_with_a_cart_is_reported() -> None:
    products = {TEA: product(TEA, ProductState.DISCONTINUED), COFFEE: product(COFFEE)}
    assert [
        fault.fault for fault in faults(cart((TEA, 1), (COFFEE, 1), (MILK, 1)), products, {})
    ] == [
        ItemFault.PRODUCT_DISCONTINUED,
        ItemFault.PRICE_NOT_FOUND,
        ItemFault.PRODUCT_NOT_FOUND,
    ]


# --- stock --------------------------------------------------------------------------------------


def hold(order: str, *items: tuple[ProductKey, int]) -> HoldRequest:
    return HoldRequest(order, 1, tuple(Item(*item) for item in items), NOW, NOW)


def test_who_asks_first_is_served_first() -> None:
    requests = [hold("a", (TEA, 3)), hold("b", (TEA, 3)), hold("c", (TEA, 2))]
    granted, short = allocate(requests, {TEA: 5})
    assert [request.order for request in granted] == ["a", "c"]
    assert short == {"b": [Fault(TEA, ItemFault.OUT_OF_STOCK)]}


def test_an_order_gets_all_or_nothing() -> None:
    requests = [hold("a", (TEA, 1), (COFFEE, 2), (MILK, 1)), hold("b", (TEA, 5))]
    granted, short = allocate(requests, {TEA: 5, COFFEE: 1, MILK: 0})
    assert [request.order for request in granted] == ["b"]
    assert short == {
        "a": [Fault(COFFEE, ItemFault.OUT_OF_STOCK), Fault(MILK, ItemFault.OUT_OF_STOCK)]
    }


def test_what_is_not_counted_is_never_short() -> None:
    granted, short = allocate([hold("a", (TEA, 10_000))], {})
    assert ([request.order for request in granted], short) == (["a"], {})


@pytest.mark.parametrize("available", [3, 4, 5])
def test_a_product_that_is_named_twice_counts_twice(available: int) -> None:
    granted, short = allocate([hold("a", (TEA, 3), (TEA, 2))], {TEA: available})
    assert (bool(granted), bool(short)) == (available >= 5, available < 5)


items = st.tuples(st.sampled_from([TEA, COFFEE, MILK]), st.integers(1, 6))
wishes = st.lists(st.lists(items, min_size=1, max_size=4), max_size=8).map(
    lambda carts: [hold(f"o{number}", *cart) for number, cart in enumerate(carts)]
)
stocks = st.dictionaries(st.sampled_from([TEA, COFFEE, MILK]), st.integers(0, 12))


def units(requests: Sequence[HoldRequest]) -> Counter[ProductKey]:
    given_out: Counter[ProductKey] = Counter()
    for request in requests:
        for item in request.items:
            given_out[item.key] += item.quantity
    return given_out


@given(wishes, stocks)
def test_no_more_is_given_out_than_there_is(
    requests: list[HoldRequest], available: dict[ProductKey, int]
) -> None:
    given_out = units(allocate(requests, available)[0])
    assert all(given_out[key] <= there for key, there in available.items())


@given(wishes, stocks)
def test_every_order_is_served_or_reported_with_what_it_lacks(
    requests: list[HoldRequest], available: dict[ProductKey, int]
) -> None:
    granted, short = allocate(requests, available)
    assert {request.order for request in granted} | set(short) == {r.order for r in requests}
    assert not {request.order for request in granted} & set(short)
    assert all(short.values())


@given(wishes, stocks)
def test_nobody_is_turned_away_while_there_is_enough_for_him(
    requests: list[HoldRequest], available: dict[ProductKey, int]
) -> None:
    _, short = allocate(requests, available)
    for place, request in enumerate(requests):
        before = units([request for request in requests[:place] if request.order not in short])
        wanted = units([request])
        fits = all(wanted[key] + before[key] <= there for key, there in available.items())
        assert (request.order in short) is not fits
