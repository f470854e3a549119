"""Bundles: what they consist of, and how many of them their parts make."""

from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.bundles import (
    bundle_faults,
    bundle_stock,
    expanded,
    faults_as_ordered,
    flattened,
)
from services.catalog.domain.products import Item, MerchantId, ProductId, ProductKey
from services.catalog.domain.stock import Stock, shortages

ACME = MerchantId("acme")


def key(product: str) -> ProductKey:
    return ProductKey(ACME, ProductId(product))


BOX, TEA, CUP = key("box"), key("tea"), key("cup")
quantities = st.integers(1, 5)
units = st.integers(0, 30)


def stock(product: ProductKey, available_units: int) -> Stock:
    return Stock(*product, available_units, 0, 0, is_awaited=False, version=1)


def test_a_bundle_within_a_bundle_stands_for_its_parts() -> None:
    known = {key("pair"): (Item(TEA, 2), Item(CUP, 1)), TEA: ()}
    parts = [Item(key("pair"), 3), Item(TEA, 1)]
    assert bundle_faults(BOX, parts, known) == []
    assert flattened(parts, known) == (Item(TEA, 7), Item(CUP, 3))


def test_a_bundle_of_itself_of_nothing_or_of_too_much_is_refused() -> None:
    known = {TEA: ()}
    assert bundle_faults(BOX, [Item(TEA, 1), Item(BOX, 1)], {**known, BOX: ()}) == [
        (1, "BUNDLE_CONTAINS_ITSELF")
    ]
    assert bundle_faults(BOX, [Item(CUP, 1)], known) == [(0, "BUNDLE_PART_NOT_FOUND")]
    crate = {key("crate"): (Item(TEA, 200),)}
    assert bundle_faults(BOX, [Item(key("crate"), 51)], crate) == [(None, "BUNDLE_TOO_LARGE")]


@given(of_tea=quantities, of_cups=quantities, teas=units, cups=units, wanted=quantities)
def test_a_bundle_can_be_had_exactly_as_often_as_its_parts_make_it(
    of_tea: int, of_cups: int, teas: int, cups: int, wanted: int
) -> None:
    parts = (Item(TEA, of_tea), Item(CUP, of_cups), Item(key("card"), 1))
    available = {TEA: teas, CUP: cups}
    made = bundle_stock(BOX, parts, {TEA: stock(TEA, teas), CUP: stock(CUP, cups)})
    ordered = [Item(BOX, wanted)]
    short = shortages(expanded(ordered, {BOX: parts}), available)
    faults = faults_as_ordered(ordered, short, {BOX: parts}, available)
    assert bool(faults) == (made.available_units < wanted)
    assert [(fault.key, fault.available_units) for fault in faults] in (
        [],
        [(BOX, made.available_units)],
    )
