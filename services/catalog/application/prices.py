"""Dated prices, what protects them, and what carts cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from services.catalog.clients.tax_service import TaxService
from services.catalog.domain.offers import Offer, OfferKey
from services.catalog.domain.price_changes import ChangedAmount, PriceChange, quote_change
from services.catalog.domain.prices import Price
from services.catalog.domain.pricing import Cart, Line, quote, with_taxes
from services.catalog.domain.products import (
    Fault,
    MerchantId,
    PriceKey,
    Product,
    ProductKey,
    ProductState,
)
from services.catalog.domain.promotions import Redemptions
from services.catalog.domain.protections import NO_OFFER, Protection, ProtectionKey
from services.catalog.domain.rule_packs import ChargeRules
from services.catalog.domain.service_taxes import TaxQuestion, question_of, with_answer
from services.catalog.domain.tax import TaxSource
from services.catalog.names import MERCHANT, PRICE, PRODUCT
from services.catalog.publishers import price_change_scheduled, price_change_withdrawn
from services.catalog.store import prices as price_store
from services.catalog.store import products as product_store
from services.catalog.store import protections as protection_store
from services.catalog.store import tax_rates as tax_rate_store
from services.catalog.store.tax_rates import MerchantTerms
from services.runtime.db.pool import Connection
from services.runtime.errors import (
    Problem,
    Violations,
    already_exists,
    not_found,
    wrong_state,
)
from services.runtime.messaging.events import OutboxEvent
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag

PRICES_MAX = 1000
PRICE_ALREADY_EXISTS = "PRICE_ALREADY_EXISTS"
# After every price there is, by effective time and id.
AFTER_ALL_PRICES = (datetime.max.replace(tzinfo=UTC), "~")

QuoteResult = list[Line] | list[Fault]
_Known = tuple[
    Mapping[ProductKey, Product],
    Mapping[ProductKey, Sequence[Price]],
    Mapping[ProtectionKey, Protection],
    Redemptions,
    Mapping[OfferKey, Offer],
]


class Quoted(NamedTuple):
    """What a cart costs, or what is wrong with it, and what rule packs ask of its charge."""

    result: QuoteResult
    charge_rules: ChargeRules
    # What a tax service is to be asked about it; None: nothing.
    tax_question: TaxQuestion | None = None


class Added(NamedTuple):
    """What became of prices that were to be added."""

    events: list[OutboxEvent]
    # By their place, why prices could not be added; as CreatePrice gives it.
    problems: dict[int, Problem]


async def add(tx: Connection, price: Price) -> Applied[Price]:
    """Add a dated price.

    Raises NOT_FOUND PRODUCT_NOT_FOUND, FAILED_PRECONDITION PRODUCT_DISCONTINUED or PRICES_TOO_MANY,
    ALREADY_EXISTS PRICE_ALREADY_EXISTS.
    """
    added = await add_all(tx, [price])
    for problem in added.problems.values():
        raise problem
    return Applied(price, events=added.events)


async def add_batch(
    tx: Connection, merchant: MerchantId, prices: Sequence[Price]
) -> Applied[Sequence[Price]]:
    """Add dated prices, all or none. Raises INVALID_ARGUMENT with what is wrong with each."""
    added = await add_all(tx, prices)
    violations = Violations()
    for index, problem in sorted(added.problems.items()):
        field = "price_id" if problem.reason == PRICE_ALREADY_EXISTS else "parent"
        violations.add(f"entries[{index}].{field}", problem.message, problem.reason)
    violations.check()
    return Applied(prices, events=added.events, resource=MERCHANT.format(merchant))


async def add_all(tx: Connection, prices: Sequence[Price]) -> Added:
    """Add those of the prices that can be added, with one statement a step, however many they are."""
    keys = {price.key.product_key for price in prices}
    known = await product_store.products_by_key(tx, keys, lock=True)
    counts = await price_store.counts(tx, keys)
    problems: dict[int, Problem] = {}
    to_add: dict[int, Price] = {}
    for index, price in enumerate(prices):
        key = price.key.product_key
        problem = _refusal(known.get(key), key, counts.get(key, 0))
        if problem is None:
            counts[key] = counts.get(key, 0) + 1
            to_add[index] = price
        else:
            problems[index] = problem
    inserted = await price_store.insert_prices(tx, list(to_add.values()))
    added: list[Price] = []
    for index, price in to_add.items():
        # Of two of one id, the first was added.
        if price.key in inserted:
            inserted.remove(price.key)
            added.append(price)
        else:
            problems[index] = await _price_taken(tx, price)
    previous = await price_store.previous_prices(tx, added)
    return Added(
        [
            price_change_scheduled(known[price.key.product_key], price, previous.get(price.key))
            for price in added
        ],
        problems,
    )


def _refusal(product: Product | None, key: ProductKey, price_count: int) -> Problem | None:
    """Why a product gets no further price."""
    if product is None:
        return not_found("PRODUCT_NOT_FOUND", PRODUCT.format(*key))
    if product.state is ProductState.DISCONTINUED:
        return wrong_state("PRODUCT_DISCONTINUED", "the product is off sale for good")
    if price_count >= PRICES_MAX:
        return wrong_state("PRICES_TOO_MANY", f"a product has at most {PRICES_MAX} prices")
    return None


async def at(connection: Connection, key: ProductKey, currency: str, moment: datetime) -> Price:
    """The price in force at an instant, in a currency or in the only one.

    Raises NOT_FOUND PRICE_NOT_FOUND, INVALID_ARGUMENT CURRENCY_NEEDED.
    """
    prices = await price_store.prices_by_key(connection, [key], moment)
    # The newest of each currency.
    current = {price.currency: price for price in prices.get(key, ())}
    if not currency and len(current) > 1:
        violations = Violations()
        rule = f"must be one of {', '.join(sorted(current))}"
        violations.add("currency", rule, "CURRENCY_NEEDED")
        violations.check()
    price = current.get(currency or next(iter(current), ""))
    if price is None:
        raise not_found("PRICE_NOT_FOUND", PRICE.format(*key, "-"))
    return price


async def existing(connection: Connection, key: PriceKey) -> Price:
    """A price, withdrawn or not. Raises NOT_FOUND PRICE_NOT_FOUND."""
    price = await price_store.price(connection, key)
    if price is None:
        raise not_found("PRICE_NOT_FOUND", PRICE.format(*key))
    return price


async def correct(
    tx: Connection,
    key: PriceKey,
    wanted_etag: str,
    merge: Callable[[Price], Price],
    now: datetime,
) -> Applied[Price]:
    """Correct a price that has not taken effect, and announce it again.

    Raises NOT_FOUND PRICE_NOT_FOUND, FAILED_PRECONDITION PRICE_IN_EFFECT or PRICE_WITHDRAWN,
    ALREADY_EXISTS PRICE_ALREADY_EXISTS, ABORTED if the etag is of another version, and what `merge`
    does.
    """
    product, price = await _locked(tx, key, wanted_etag)
    if price.withdraw_time is not None:
        raise wrong_state("PRICE_WITHDRAWN", "the price was withdrawn; add another one")
    _refuse_in_effect(price, now)
    wanted = merge(price)
    other = await price_store.taken(tx, wanted)
    if other is not None and other.key != key:
        raise _already_exists(other)
    corrected = await price_store.correct(tx, replace(wanted, announce_time=now))
    previous = await price_store.previous_prices(tx, [corrected])
    event = price_change_scheduled(product, corrected, previous.get(key))
    return Applied(corrected, before=price, events=[event])


async def withdraw(
    tx: Connection, key: PriceKey, wanted_etag: str, now: datetime
) -> Applied[Price]:
    """Take back a price that has not taken effect; one that was withdrawn stays as it is.

    Raises NOT_FOUND PRICE_NOT_FOUND, FAILED_PRECONDITION PRICE_IN_EFFECT, and ABORTED if the etag is
    another version's.
    """
    product, price = await _locked(tx, key, wanted_etag)
    if price.withdraw_time is not None:
        return Applied(price, before=price)
    _refuse_in_effect(price, now)
    withdrawn = await price_store.withdraw(tx, key, now)
    event = price_change_withdrawn(product, price, now)
    return Applied(withdrawn, before=price, events=[event])


async def _locked(tx: Connection, key: PriceKey, wanted_etag: str) -> tuple[Product, Price]:
    """A price and its product: prices of a product come, change and go one after the other."""
    product = await product_store.product(tx, key.product_key, lock=True)
    if product is None:
        raise not_found("PRICE_NOT_FOUND", PRICE.format(*key))
    price = await existing(tx, key)
    check_etag(wanted_etag, price.version, PRICE.format(*key))
    return product, price


def _refuse_in_effect(price: Price, now: datetime) -> None:
    if price.effective_time <= now:
        raise wrong_state("PRICE_IN_EFFECT", "the price has taken effect; add another one")


async def quote_carts(connection: Connection, carts: Sequence[Cart]) -> list[Quoted]:
    """Price carts, with their taxes and rules, with three statements, however many they are."""
    quoted = await price_carts(connection, carts)
    terms = await tax_rate_store.terms(connection, carts)
    return [
        with_terms(cart, result, terms[cart.items[0].key.merchant])
        for cart, result in zip(carts, quoted, strict=True)
    ]


def with_terms(cart: Cart, result: QuoteResult, terms: MerchantTerms) -> Quoted:
    """What a cart costs with its taxes, and the rules for its charge."""
    region = cart.region_code or terms.settings.region_code
    return Quoted(
        with_taxes(cart, result, terms.table),
        terms.rules.charge_rules(region, cart.price_time.date()),
        _tax_question(cart, result, region, terms),
    )


def _tax_question(
    cart: Cart, result: QuoteResult, region: str, terms: MerchantTerms
) -> TaxQuestion | None:
    lines = [line for line in result if isinstance(line, Line)]
    if terms.settings.tax_source is TaxSource.OWN_RATES or len(lines) < len(result):
        return None
    return question_of(cart, lines, region, terms.settings.tax_behavior)


async def with_service_taxes(service: TaxService, quoted: Sequence[Quoted]) -> list[Quoted]:
    """Quotes with the taxes that a tax service works out, asked once for all of them.

    Never within a transaction: another one answers. What is not answered has no quote.
    """
    asked = {at: quote.tax_question for at, quote in enumerate(quoted) if quote.tax_question}
    if not asked:
        return list(quoted)
    answers = dict(zip(asked, await service.taxes(list(asked.values())), strict=True))
    return [
        quote._replace(
            result=with_answer(
                [line for line in quote.result if isinstance(line, Line)], answers[at]
            )
        )
        if at in answers
        else quote
        for at, quote in enumerate(quoted)
    ]


async def price_carts(connection: Connection, carts: Sequence[Cart]) -> list[QuoteResult]:
    """Price carts, without taxes, with two statements."""
    known = await known_for(connection, carts)
    return [quote(cart, *known) for cart in carts]


async def quote_changes(
    connection: Connection, changes: Sequence[PriceChange]
) -> list[ChangedAmount | list[Fault]]:
    """What price versions change for carts, with as many statements as `quote_carts`."""
    carts = [change.cart for change in changes]
    known = await known_for(connection, carts)
    terms = await tax_rate_store.terms(connection, carts)
    return [quote_change(change, *known, terms[change.price.merchant].table) for change in changes]


async def known_for(connection: Connection, carts: Sequence[Cart]) -> _Known:
    """What decides the prices of carts, in two statements."""
    keys = {item.key for cart in carts for item in cart.items}
    until = max(cart.price_time for cart in carts)
    products, prices = await price_store.priced_products(connection, keys, until)
    standing_orders = {
        protection_store.Accepted(
            cart.items[0].key.merchant,
            cart.standing_order,
            cart.agreement.offer if cart.agreement else NO_OFFER,
        )
        for cart in carts
    }
    return products, prices, *await protection_store.signed_up(connection, standing_orders)


async def protect(tx: Connection, wanted: Sequence[Protection]) -> list[Protection]:
    """Remember what standing orders signed up to; returns what was not remembered before."""
    new = await protection_store.insert_protections(tx, wanted)
    return [protection for protection in wanted if protection.key in new]


async def _price_taken(tx: Connection, price: Price) -> Problem:
    """Which price has the id, or the currency and instant, of a new one."""
    return _already_exists(await price_store.taken(tx, price) or price)


def _already_exists(other: Price) -> Problem:
    name = PRICE.format(*other.key)
    since = other.effective_time.isoformat(timespec="seconds").replace("+00:00", "Z")
    return already_exists(
        PRICE_ALREADY_EXISTS,
        f"{name}, in force from {since},",
        price=name,
        effective_time=since,
    )
