"""The catalog's contract: each method through its RPC, and each reason that it documents."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.protobuf import field_mask_pb2, timestamp_pb2
from recurring.catalog.v1 import catalog_pb2, events_pb2

from services.runtime.rpc.conversions import (
    from_timestamp,
    optional_timestamp,
    to_date,
    to_money,
    to_timestamp,
)
from tests.suite import Client, Refusal, Suite, new_id, refused

Product = catalog_pb2.Product


@pytest.fixture
def shop(suite: Suite) -> Client:
    """A merchant of the test's own."""
    return suite.client()


async def create(shop: Client, product: str = "tea", **fields: Any) -> Product:  # noqa: ANN401
    request = catalog_pb2.CreateProductRequest(
        parent=shop.name,
        product_id=product,
        product=Product(**{"title": product.title(), **fields}),
        request_id=new_id(),
    )
    made: Product = await shop.catalog.CreateProduct(request)
    return made


async def set_price(
    shop: Client,
    amount_minor: int = 1000,
    price: str = "first",
    *,
    product: str = "tea",
    currency: str = "EUR",
    effective: datetime | None = None,
    **fields: Any,  # noqa: ANN401
) -> catalog_pb2.Price:
    wanted = catalog_pb2.Price(unit_price=to_money(amount_minor, currency), **fields)
    if effective is not None:
        wanted.effective_time.CopyFrom(to_timestamp(effective))
    request = catalog_pb2.CreatePriceRequest(
        parent=f"{shop.name}/products/{product}",
        price_id=price,
        price=wanted,
        request_id=new_id(),
    )
    made: catalog_pb2.Price = await shop.catalog.CreatePrice(request)
    return made


async def adjust(shop: Client, delta_units: int, product: str = "tea") -> catalog_pb2.Stock:
    request = catalog_pb2.AdjustStockRequest(
        product=f"{shop.name}/products/{product}", delta_units=delta_units, request_id=new_id()
    )
    stock: catalog_pb2.Stock = await shop.catalog.AdjustStock(request)
    return stock


async def discontinue(shop: Client, product: str = "tea", etag: str = "") -> Product:
    request = catalog_pb2.DiscontinueProductRequest(
        name=f"{shop.name}/products/{product}", etag=etag, request_id=new_id()
    )
    made: Product = await shop.catalog.DiscontinueProduct(request)
    return made


def kind(refusal: Refusal) -> tuple[str, str]:
    assert refusal.domain == "catalog.recurring"
    return refusal.code, refusal.reason


# --- products -----------------------------------------------------------------------------------


async def test_a_product_is_as_it_was_wanted(shop: Client) -> None:
    made = await create(shop, increase_notice_days=7, stock_tracked=True, low_stock_threshold=3)
    assert made.name == f"{shop.name}/products/tea"
    assert (made.title, made.increase_notice_days, made.low_stock_threshold) == ("Tea", 7, 3)
    assert (made.state, made.stock_tracked, bool(made.etag)) == (Product.ACTIVE, True, True)
    assert await shop.catalog.GetProduct(catalog_pb2.GetProductRequest(name=made.name)) == made


async def test_a_product_has_thirty_days_of_notice_unless_it_says_none(shop: Client) -> None:
    assert (await create(shop)).increase_notice_days == 30
    assert (await create(shop, "coffee", increase_notice_days=0)).increase_notice_days == 0


async def test_a_product_is_created_once(shop: Client) -> None:
    await create(shop)
    assert kind(await refused(create(shop))) == ("ALREADY_EXISTS", "PRODUCT_ALREADY_EXISTS")


async def test_two_merchants_can_have_products_of_one_id(suite: Suite, shop: Client) -> None:
    other = suite.client()
    assert (await create(shop)).name != (await create(other)).name


async def test_a_product_that_is_not_there_is_not_found(shop: Client) -> None:
    name = f"{shop.name}/products/gone"
    calls: list[Awaitable[Any]] = [
        shop.catalog.GetProduct(catalog_pb2.GetProductRequest(name=name)),
        shop.catalog.GetStock(catalog_pb2.GetStockRequest(product=name)),
        shop.catalog.ListPrices(catalog_pb2.ListPricesRequest(parent=name)),
        discontinue(shop, "gone"),
        set_price(shop, product="gone"),
        adjust(shop, 1, "gone"),
    ]
    for call in calls:
        assert kind(await refused(call)) == ("NOT_FOUND", "PRODUCT_NOT_FOUND")


async def test_products_are_listed_by_id_page_by_page(shop: Client) -> None:
    for product in ("tea", "coffee", "milk", "bread", "eggs"):
        await create(shop, product)
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        page = await shop.catalog.ListProducts(
            catalog_pb2.ListProductsRequest(parent=shop.name, page_size=2, page_token=token)
        )
        pages.append([product.title for product in page.products])
        token = page.next_page_token
    assert pages == [["Bread", "Coffee"], ["Eggs", "Milk"], ["Tea"]]


async def test_a_discontinued_product_is_published_once(suite: Suite, shop: Client) -> None:
    made = await create(shop)
    async with suite.subscribe_events() as subscription:
        ended = await discontinue(shop, etag=made.etag)
        again = await discontinue(shop)
        received = await subscription.next(events_pb2.ProductDiscontinued, shop.merchant)
    assert ended.state == again.state == Product.DISCONTINUED
    assert ended.etag == again.etag != made.etag
    assert (received.message.product, received.message.title) == (made.name, "Tea")
    assert received.event.type == "recurring.catalog.v1.ProductDiscontinued"
    assert received.event.source == "//recurring/catalog"
    assert received.event.attributes["partitionkey"].ce_string == made.name
    assert received.event.attributes["traceparent"].ce_string


async def test_a_stale_etag_changes_nothing(shop: Client) -> None:
    made = await create(shop)
    await discontinue(shop, etag=made.etag)
    refusal = await refused(discontinue(shop, etag=made.etag))
    assert kind(refusal) == ("ABORTED", "ETAG_MISMATCH")
    assert refusal.fields == {"etag": "ETAG_MISMATCH"}


# --- prices -------------------------------------------------------------------------------------


async def test_a_price_from_now_on_is_announced_now(suite: Suite, shop: Client) -> None:
    await create(shop)
    made = await set_price(shop)
    assert made.name == f"{shop.name}/products/tea/prices/first"
    assert made.unit_price == to_money(1000, "EUR")
    now = await suite.sandbox.now()
    assert from_timestamp(made.effective_time) == from_timestamp(made.announce_time) == now


async def test_prices_are_listed_the_newest_first_page_by_page(suite: Suite, shop: Client) -> None:
    await create(shop)
    now = await suite.sandbox.now()
    for days in (20, 0, 10):
        await set_price(shop, 1000 + days, f"p{days}", effective=now + timedelta(days=days))
    parent = f"{shop.name}/products/tea"
    first = await shop.catalog.ListPrices(catalog_pb2.ListPricesRequest(parent=parent, page_size=2))
    rest = await shop.catalog.ListPrices(
        catalog_pb2.ListPricesRequest(parent=parent, page_size=2, page_token=first.next_page_token)
    )
    names = [price.name.rpartition("/")[2] for page in (first, rest) for price in page.prices]
    assert (names, rest.next_page_token) == (["p20", "p10", "p0"], "")


async def test_a_future_price_is_published_to_whom_it_concerns(suite: Suite, shop: Client) -> None:
    await create(shop)
    now = await suite.sandbox.now()
    async with suite.subscribe_events() as subscription:
        await set_price(shop, 1000)
        await set_price(shop, 1200, "second", effective=now + timedelta(days=5))
        await subscription.next(events_pb2.PriceChangeScheduled, shop.merchant)
        event = (await subscription.next(events_pb2.PriceChangeScheduled, shop.merchant)).message
    assert event.price == f"{shop.name}/products/tea/prices/second"
    assert (event.unit_price, event.previous_unit_price) == (
        to_money(1200, "EUR"),
        to_money(1000, "EUR"),
    )
    assert from_timestamp(event.effective_time) == now + timedelta(days=5)
    assert from_timestamp(event.subscriber_effective_time) == now + timedelta(days=30)


async def test_a_product_has_prices_in_several_currencies(shop: Client) -> None:
    await create(shop)
    await set_price(shop)
    await set_price(shop, 1200, "second", currency="USD")
    listed = await shop.catalog.ListPrices(
        catalog_pb2.ListPricesRequest(parent=f"{shop.name}/products/tea")
    )
    assert sorted(price.unit_price.currency_code for price in listed.prices) == ["EUR", "USD"]


def tiers(*tiers: tuple[int, int, int], currency: str = "EUR") -> list[catalog_pb2.PriceTier]:
    return [
        catalog_pb2.PriceTier(
            first_quantity=first, last_quantity=last, unit_price=to_money(amount_minor, currency)
        )
        for first, last, amount_minor in tiers
    ]


async def test_a_price_has_tiers_and_a_discount_for_standing_orders(shop: Client) -> None:
    await create(shop)
    made = await set_price(
        shop,
        tiers=tiers((10, 99, 900), (100, 0, 800)),
        tier_mode=catalog_pb2.Price.GRADUATED,
        subscriber_discount_bps=500,
    )
    listed = await shop.catalog.ListPrices(
        catalog_pb2.ListPricesRequest(parent=f"{shop.name}/products/tea")
    )
    assert list(listed.prices) == [made]
    assert (len(made.tiers), made.subscriber_discount_bps) == (2, 500)


@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        (tiers((10, 0, 900), (5, 0, 800)), "tiers[1].first_quantity", "TIER_FALLS"),
        (tiers((10, 20, 900), (22, 0, 800)), "tiers[0].last_quantity", "TIER_SKIPS"),
        (tiers((10, 0, 1001)), "tiers[0].unit_price", "TIER_DEARER"),
        (
            tiers((10, 0, 9), currency="USD"),
            "tiers[0].unit_price.currency_code",
            "CURRENCY_MISMATCH",
        ),
    ],
)
async def test_wrong_tiers_are_refused(
    shop: Client, wrong: list[catalog_pb2.PriceTier], field: str, reason: str
) -> None:
    await create(shop)
    call = set_price(shop, tiers=wrong, tier_mode=catalog_pb2.Price.VOLUME)
    refusal = await refused(call)
    assert refusal.fields == {f"price.{field}": reason}


async def test_a_product_off_sale_gets_no_price(shop: Client) -> None:
    await create(shop)
    await discontinue(shop)
    refusal = await refused(set_price(shop))
    assert kind(refusal) == ("FAILED_PRECONDITION", "PRODUCT_DISCONTINUED")


async def test_an_instant_has_one_price_and_an_id_too(suite: Suite, shop: Client) -> None:
    await create(shop)
    at = await suite.sandbox.now() + timedelta(days=1)
    await set_price(shop, effective=at)
    for price, effective in (("second", at), ("first", at + timedelta(days=1))):
        refusal = await refused(set_price(shop, 1100, price, effective=effective))
        assert kind(refusal) == ("ALREADY_EXISTS", "PRICE_ALREADY_EXISTS")


async def test_a_price_of_the_past_is_refused_beyond_a_minute(suite: Suite, shop: Client) -> None:
    await create(shop)
    now = await suite.sandbox.now()
    await set_price(shop, effective=now - timedelta(seconds=60))
    refusal = await refused(set_price(shop, 1, "p2", effective=now - timedelta(seconds=61)))
    assert kind(refusal) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert list(refusal.fields) == ["price.effective_time"]


async def withdraw(shop: Client, price: str, etag: str = "") -> catalog_pb2.Price:
    request = catalog_pb2.WithdrawPriceRequest(
        name=f"{shop.name}/products/tea/prices/{price}", etag=etag, request_id=new_id()
    )
    made: catalog_pb2.Price = await shop.catalog.WithdrawPrice(request)
    return made


async def test_a_mistyped_price_is_withdrawn_and_published(suite: Suite, shop: Client) -> None:
    await create(shop)
    at = await suite.sandbox.now() + timedelta(days=5)
    made = await set_price(shop, 120, effective=at)
    async with suite.subscribe_events() as subscription:
        withdrawn = await withdraw(shop, "first", made.etag)
        event = (await subscription.next(events_pb2.PriceChangeWithdrawn, shop.merchant)).message
    assert (event.price, event.unit_price) == (made.name, made.unit_price)
    assert event.withdraw_time == withdrawn.withdraw_time
    assert (await set_price(shop, 1200, "second", effective=at)).effective_time == (
        made.effective_time
    )
    assert kind(await refused(withdraw(shop, "first", made.etag))) == ("ABORTED", "ETAG_MISMATCH")


async def test_a_price_in_effect_or_that_is_not_there_is_not_withdrawn(shop: Client) -> None:
    await create(shop)
    await set_price(shop)
    refusal = await refused(withdraw(shop, "first"))
    assert kind(refusal) == ("FAILED_PRECONDITION", "PRICE_IN_EFFECT")
    assert kind(await refused(withdraw(shop, "gone"))) == ("NOT_FOUND", "PRICE_NOT_FOUND")


async def correct(
    shop: Client,
    price: str,
    paths: list[str],
    etag: str = "",
    **fields: Any,  # noqa: ANN401
) -> catalog_pb2.Price:
    wanted = catalog_pb2.Price(name=f"{shop.name}/products/tea/prices/{price}", etag=etag, **fields)
    request = catalog_pb2.UpdatePriceRequest(
        price=wanted,
        update_mask=field_mask_pb2.FieldMask(paths=paths),
        request_id=new_id(),
    )
    made: catalog_pb2.Price = await shop.catalog.UpdatePrice(request)
    return made


async def test_a_scheduled_price_is_corrected_and_announced_anew(
    suite: Suite, shop: Client
) -> None:
    await create(shop)
    at = await suite.sandbox.now() + timedelta(days=5)
    async with suite.subscribe_events() as subscription:
        made = await set_price(shop, 120, effective=at)
        await subscription.next(events_pb2.PriceChangeScheduled, shop.merchant)
        corrected = await correct(
            shop, "first", ["unit_price"], made.etag, unit_price=to_money(1200, "EUR")
        )
        event = (await subscription.next(events_pb2.PriceChangeScheduled, shop.merchant)).message
    assert (event.price, event.unit_price) == (made.name, to_money(1200, "EUR"))
    assert (corrected.unit_price, corrected.effective_time) == (
        event.unit_price,
        made.effective_time,
    )
    stale = correct(shop, "first", ["tiers"], made.etag)
    assert kind(await refused(stale)) == ("ABORTED", "ETAG_MISMATCH")


async def test_what_cannot_be_corrected(suite: Suite, shop: Client) -> None:
    await create(shop)
    now = await suite.sandbox.now()
    await set_price(shop)
    await set_price(shop, 1100, "second", effective=now + timedelta(days=5))
    await set_price(shop, 1200, "third", effective=now + timedelta(days=6))
    await set_price(shop, 1300, "gone", effective=now + timedelta(days=7))
    await withdraw(shop, "gone")
    money = to_money(1, "EUR")
    for price, expected in {
        "first": ("FAILED_PRECONDITION", "PRICE_IN_EFFECT"),
        "gone": ("FAILED_PRECONDITION", "PRICE_WITHDRAWN"),
        "never": ("NOT_FOUND", "PRICE_NOT_FOUND"),
    }.items():
        refusal = await refused(correct(shop, price, ["unit_price"], unit_price=money))
        assert kind(refusal) == expected
    same = to_timestamp(now + timedelta(days=6))
    refusal = await refused(correct(shop, "second", ["effective_time"], effective_time=same))
    assert kind(refusal) == ("ALREADY_EXISTS", "PRICE_ALREADY_EXISTS")
    usd = correct(shop, "second", ["unit_price"], unit_price=to_money(1, "USD"))
    assert (await refused(usd)).fields == {"price.unit_price.currency_code": "CURRENCY_MISMATCH"}


@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        (tiers((10, 0, 900), (5, 0, 800)), "tiers[1].first_quantity", "TIER_FALLS"),
        (tiers((10, 20, 900), (22, 0, 800)), "tiers[0].last_quantity", "TIER_SKIPS"),
        (tiers((10, 0, 1001)), "tiers[0].unit_price", "TIER_DEARER"),
    ],
)
async def test_a_correction_is_read_as_strictly_as_a_new_price(
    suite: Suite, shop: Client, wrong: list[catalog_pb2.PriceTier], field: str, reason: str
) -> None:
    await create(shop)
    await set_price(shop, effective=await suite.sandbox.now() + timedelta(days=5))
    call = correct(
        shop, "first", ["tiers", "tier_mode"], tiers=wrong, tier_mode=catalog_pb2.Price.VOLUME
    )
    assert (await refused(call)).fields == {f"price.{field}": reason}


async def price_at(
    shop: Client, at: datetime | None = None, currency: str = ""
) -> catalog_pb2.Price:
    request = catalog_pb2.GetPriceRequest(
        name=f"{shop.name}/products/tea/prices/-",
        time=optional_timestamp(at),
        currency=currency,
    )
    price: catalog_pb2.Price = await shop.catalog.GetPrice(request)
    return price


async def test_the_price_of_any_instant_can_be_read(suite: Suite, shop: Client) -> None:
    await create(shop)
    now = await suite.sandbox.now()
    first = await set_price(shop)
    second = await set_price(shop, 1100, "second", effective=now + timedelta(days=5))
    assert await price_at(shop) == first
    assert await price_at(shop, now + timedelta(days=5)) == second
    assert await shop.catalog.GetPrice(catalog_pb2.GetPriceRequest(name=second.name)) == second
    before = await refused(price_at(shop, now - timedelta(days=1)))
    assert kind(before) == ("NOT_FOUND", "PRICE_NOT_FOUND")
    usd = await set_price(shop, 1200, "usd", currency="USD")
    assert await price_at(shop, currency="USD") == usd
    assert (await refused(price_at(shop))).fields == {"currency": "CURRENCY_NEEDED"}


def new_price(
    shop: Client,
    product: str,
    price_id: str = "new",
    **fields: Any,  # noqa: ANN401
) -> catalog_pb2.NewPrice:
    price = catalog_pb2.Price(**{"unit_price": to_money(900, "EUR"), **fields})
    return catalog_pb2.NewPrice(
        parent=f"{shop.name}/products/{product}", price_id=price_id, price=price
    )


async def set_prices(
    shop: Client, *entries: catalog_pb2.NewPrice
) -> catalog_pb2.BatchCreatePricesResponse:
    request = catalog_pb2.BatchCreatePricesRequest(
        parent=shop.name, entries=entries, request_id=new_id()
    )
    made: catalog_pb2.BatchCreatePricesResponse = await shop.catalog.BatchCreatePrices(request)
    return made


async def test_prices_of_many_products_change_in_one_call(suite: Suite, shop: Client) -> None:
    await create(shop)
    await create(shop, "coffee")
    at = to_timestamp(await suite.sandbox.now() + timedelta(days=1))
    async with suite.subscribe_events() as subscription:
        await set_price(shop)
        await subscription.next(events_pb2.PriceChangeScheduled, shop.merchant)
        made = await set_prices(
            shop,
            new_price(shop, "tea", effective_time=at),
            new_price(shop, "coffee", effective_time=at),
        )
        event = (await subscription.next(events_pb2.PriceChangeScheduled, shop.merchant)).message
    assert [price.name for price in made.prices] == [
        f"{shop.name}/products/tea/prices/new",
        f"{shop.name}/products/coffee/prices/new",
    ]
    assert event.previous_unit_price == to_money(1000, "EUR")


async def test_of_prices_with_a_wrong_one_none_is_made_and_each_is_named(
    suite: Suite, shop: Client
) -> None:
    at = to_timestamp(await suite.sandbox.now() + timedelta(days=1))
    await create(shop)
    await set_price(shop)
    await create(shop, "coffee")
    await discontinue(shop, "coffee")
    call = set_prices(
        shop,
        new_price(shop, "tea", effective_time=at),
        new_price(shop, "gone"),
        new_price(shop, "coffee"),
        new_price(shop, "tea", "first"),
        new_price(shop, "tea", "other", effective_time=at),
    )
    assert (await refused(call)).fields == {
        "entries[1].parent": "PRODUCT_NOT_FOUND",
        "entries[2].parent": "PRODUCT_DISCONTINUED",
        "entries[3].price_id": "PRICE_ALREADY_EXISTS",
        "entries[4].price_id": "PRICE_ALREADY_EXISTS",
    }
    listed = await shop.catalog.ListPrices(
        catalog_pb2.ListPricesRequest(parent=f"{shop.name}/products/tea")
    )
    assert len(listed.prices) == 1


async def test_the_tiers_of_a_price_among_many_are_read_as_strictly(shop: Client) -> None:
    await create(shop)
    volume = {"tier_mode": catalog_pb2.Price.VOLUME}
    wrong = {
        "tiers[1].first_quantity": tiers((10, 0, 900), (5, 0, 800)),
        "tiers[0].last_quantity": tiers((10, 20, 900), (22, 0, 800)),
        "tiers[0].unit_price": tiers((10, 0, 901)),
        "tiers[0].unit_price.currency_code": tiers((10, 0, 9), currency="USD"),
    }
    call = set_prices(
        shop,
        *(new_price(shop, "tea", f"p{i}", tiers=t, **volume) for i, t in enumerate(wrong.values())),
    )
    assert (await refused(call)).fields == {
        f"entries[{index}].price.{field}": reason
        for index, (field, reason) in enumerate(
            zip(
                wrong,
                ["TIER_FALLS", "TIER_SKIPS", "TIER_DEARER", "CURRENCY_MISMATCH"],
                strict=True,
            )
        )
    }


# --- stock --------------------------------------------------------------------------------------


async def test_deliveries_add_up(shop: Client) -> None:
    made = await create(shop, stock_tracked=True)
    await adjust(shop, 10)
    stock = await adjust(shop, -3)
    assert (stock.on_hand_units, stock.held_units, stock.available_units) == (7, 0, 7)
    request = catalog_pb2.GetStockRequest(product=made.name)
    assert await shop.catalog.GetStock(request) == stock


async def test_deliveries_at_once_all_count(shop: Client) -> None:
    await create(shop, stock_tracked=True)
    stocks = await asyncio.gather(*(adjust(shop, 1) for _ in range(20)))
    assert max(stock.on_hand_units for stock in stocks) == 20


async def test_stock_that_is_not_counted_cannot_be_adjusted(shop: Client) -> None:
    await create(shop)
    assert kind(await refused(adjust(shop, 1))) == ("FAILED_PRECONDITION", "STOCK_NOT_TRACKED")


async def test_no_more_can_be_taken_than_there_is(shop: Client) -> None:
    await create(shop, stock_tracked=True)
    await adjust(shop, 2)
    assert kind(await refused(adjust(shop, -3))) == ("FAILED_PRECONDITION", "STOCK_INSUFFICIENT")


async def test_low_stock_is_published(suite: Suite, shop: Client) -> None:
    made = await create(shop, stock_tracked=True, low_stock_threshold=5)
    await adjust(shop, 9)
    async with suite.subscribe_events() as subscription:
        await adjust(shop, -4)
        received = await subscription.next(events_pb2.StockLow, shop.merchant)
    assert (received.message.product, received.message.available_units) == (made.name, 5)


async def test_a_bundle_is_what_its_parts_are_and_never_itself(shop: Client) -> None:
    await create(shop, stock_tracked=True)
    await adjust(shop, 5)

    async def bundle(product: str, part: str, quantity: int = 2) -> Product:
        item = catalog_pb2.Item(product=f"{shop.name}/products/{part}", quantity=quantity)
        made: Product = await shop.catalog.CreateProduct(
            catalog_pb2.CreateProductRequest(
                parent=shop.name,
                product_id=product,
                product=Product(title="Box", bundle_parts=[item]),
                request_id=new_id(),
            )
        )
        return made

    made = await bundle("box", "tea")
    stock = await shop.catalog.GetStock(catalog_pb2.GetStockRequest(product=made.name))
    assert (stock.on_hand_units, stock.available_units) == (2, 2)
    part = "product.bundle_parts[0].product"
    for wanted, reason in (("odd", "BUNDLE_CONTAINS_ITSELF"), ("gone", "BUNDLE_PART_NOT_FOUND")):
        assert (await refused(bundle("odd", wanted))).fields == {part: reason}
    refusal = await refused(bundle("odd", "box", 5001))
    assert refusal.fields == {"product.bundle_parts": "BUNDLE_TOO_LARGE"}


async def test_the_last_unit_and_the_next_delivery_are_published(
    suite: Suite, shop: Client
) -> None:
    made = await create(shop, stock_tracked=True)
    await adjust(shop, 2)
    async with suite.subscribe_events() as subscription:
        await adjust(shop, -2)
        out = await subscription.next(events_pb2.StockOut, shop.merchant)
        await adjust(shop, 7)
        restocked = await subscription.next(events_pb2.StockRestocked, shop.merchant)
    assert out.message.product == made.name
    assert (restocked.message.product, restocked.message.available_units) == (made.name, 7)


# --- for the suite ------------------------------------------------------------------------------


def cart(shop: Client, product: str = "tea", **fields: Any) -> catalog_pb2.Cart:  # noqa: ANN401
    item = catalog_pb2.Item(product=f"{shop.name}/products/{product}", quantity=2)
    good = {
        "standing_order": f"{shop.name}/standingOrders/weekly",
        "cycle": 1,
        "items": [item],
        "price_time": to_timestamp(datetime(2030, 1, 1, tzinfo=UTC)),
    }
    return catalog_pb2.Cart(**{**good, **fields})


def hold(shop: Client, **fields: Any) -> catalog_pb2.StockHoldRequest:  # noqa: ANN401
    good = {
        "order": f"{shop.name}/standingOrders/weekly/orders/1",
        "announcement_count": 1,
        "items": cart(shop).items,
        "expire_time": to_timestamp(datetime(2030, 1, 1, tzinfo=UTC)),
        "due_time": to_timestamp(datetime(2029, 12, 1, tzinfo=UTC)),
    }
    return catalog_pb2.StockHoldRequest(**{**good, **fields})


def slot(shop: Client) -> catalog_pb2.SlotRequest:
    wanted = hold(shop)
    return catalog_pb2.SlotRequest(
        order=wanted.order,
        items=wanted.items,
        dates=[catalog_pb2.SlotDate(date=to_date(date(2029, 12, 1)), due_time=wanted.due_time)],
        expire_time=wanted.expire_time,
    )


def protect(shop: Client, **fields: Any) -> catalog_pb2.ProtectPrices:  # noqa: ANN401
    good = {
        "standing_order": f"{shop.name}/standingOrders/weekly",
        "products": [f"{shop.name}/products/tea"],
        "sign_up_time": to_timestamp(datetime(2030, 1, 1, tzinfo=UTC)),
    }
    return catalog_pb2.ProtectPrices(**{**good, **fields})


def price_change(shop: Client, product: str = "tea", **fields: Any) -> catalog_pb2.PriceChangeCart:  # noqa: ANN401
    good = {
        "cart": cart(shop),
        "price": f"{shop.name}/products/{product}/prices/second",
        "notice_time": to_timestamp(datetime(2029, 1, 1, tzinfo=UTC)),
    }
    return catalog_pb2.PriceChangeCart(**{**good, **fields})


async def test_a_price_change_is_quoted_with_it_and_without_it(suite: Suite, shop: Client) -> None:
    await create(shop)
    await set_price(shop, 250)
    effective = await suite.sandbox.now() + timedelta(days=1)
    await set_price(shop, 300, "second", effective=effective)
    gone = catalog_pb2.Item(product=f"{shop.name}/products/gone", quantity=1)
    with_unknown = cart(shop, items=[*cart(shop).items, gone])
    request = catalog_pb2.BatchQuotePriceChangesRequest(
        entries=[price_change(shop), price_change(shop, cart=with_unknown)]
    )
    response = await suite.suite_client().catalog.BatchQuotePriceChanges(request)
    changed, unknown = response.results
    assert (changed.quote.amount, changed.quote.previous_amount) == (
        to_money(600, "EUR"),
        to_money(500, "EUR"),
    )
    [problem] = unknown.problems.problems
    assert problem.reason == catalog_pb2.ItemProblem.PRODUCT_NOT_FOUND


def draft_price(shop: Client, product: str = "tea", **fields: Any) -> catalog_pb2.DraftPrice:  # noqa: ANN401
    good = {"unit_price": to_money(300, "EUR")}
    return catalog_pb2.DraftPrice(
        product=f"{shop.name}/products/{product}", price=catalog_pb2.Price(**{**good, **fields})
    )


async def test_a_draft_is_quoted_as_if_it_were_created(suite: Suite, shop: Client) -> None:
    await create(shop)
    await set_price(shop, 250)
    effective = await suite.sandbox.now() + timedelta(days=1)
    draft = draft_price(shop, effective_time=to_timestamp(effective))
    before = cart(shop, price_time=to_timestamp(effective - timedelta(hours=1)))
    request = catalog_pb2.BatchQuotePriceChangesRequest(
        entries=[
            price_change(shop, price=None, draft=draft),
            price_change(shop, price=None, draft=draft, cart=before),
        ]
    )
    response = await suite.suite_client().catalog.BatchQuotePriceChanges(request)
    assert [(result.quote.amount, result.quote.previous_amount) for result in response.results] == [
        (to_money(600, "EUR"), to_money(500, "EUR")),
        (to_money(500, "EUR"), to_money(500, "EUR")),
    ]


async def test_a_quote_answers_each_cart_in_its_place(suite: Suite, shop: Client) -> None:
    await create(shop)
    await set_price(shop, 250)
    request = catalog_pb2.BatchQuoteRequest(carts=[cart(shop), cart(shop, "gone"), cart(shop)])
    response = await suite.suite_client().catalog.BatchQuote(request)
    assert [result.WhichOneof("result") for result in response.results] == [
        "quote",
        "problems",
        "quote",
    ]
    assert response.results[0].quote.total == to_money(500, "EUR")
    [problem] = response.results[1].problems.problems
    assert problem.reason == catalog_pb2.ItemProblem.PRODUCT_NOT_FOUND


async def test_prices_are_protected_and_quoted(suite: Suite, shop: Client) -> None:
    await create(shop, increase_notice_days=0)
    now = await suite.sandbox.now()
    await set_price(shop, 250)
    await set_price(shop, 300, "second", effective=now + timedelta(days=1))
    lock = catalog_pb2.PriceProtection(lock=catalog_pb2.PriceLock(cycle_count=1))
    agreement = catalog_pb2.PriceAgreement(
        price_protection=lock, first_cycle=1, agree_time=to_timestamp(now)
    )
    entry = protect(shop, sign_up_time=to_timestamp(now), agreement=agreement)
    own = suite.suite_client().catalog
    await own.BatchProtectPrices(catalog_pb2.BatchProtectPricesRequest(entries=[entry]))
    request = catalog_pb2.BatchQuoteRequest(
        carts=[cart(shop, cycle=cycle, agreement=agreement) for cycle in (1, 2)]
    )
    response = await own.BatchQuote(request)
    first, second = (result.quote for result in response.results)
    assert (first.total, second.total) == (to_money(500, "EUR"), to_money(600, "EUR"))
    line = response.lines[first.line_indexes[0]]
    [step] = line.adjustments
    assert (step.kind, step.amount) == (
        catalog_pb2.PriceAdjustment.PRICE_LOCK,
        to_money(-100, "EUR"),
    )
    assert (line.list_amount, line.amount) == (to_money(600, "EUR"), to_money(500, "EUR"))
    assert (line.price.rpartition("/")[2], line.list_price.rpartition("/")[2]) == (
        "first",
        "second",
    )


async def test_stock_is_held(suite: Suite, shop: Client) -> None:
    made = await create(shop, stock_tracked=True)
    await adjust(shop, 3)
    other = hold(shop, order=f"{shop.name}/standingOrders/weekly/orders/2")
    request = catalog_pb2.BatchHoldStockRequest(entries=[hold(shop), other])
    response = await suite.suite_client().catalog.BatchHoldStock(request)
    served, short = response.results
    assert not served.problems
    assert short.problems[0].reason == catalog_pb2.ItemProblem.OUT_OF_STOCK
    assert short.problems[0].available_units == 1
    stock = await shop.catalog.GetStock(catalog_pb2.GetStockRequest(product=made.name))
    assert (stock.on_hand_units, stock.held_units, stock.available_units) == (3, 2, 1)


async def test_a_hold_is_shown_and_released_by_hand(suite: Suite, shop: Client) -> None:
    made = await create(shop, stock_tracked=True)
    await adjust(shop, 3)
    wanted = hold(shop)
    request = catalog_pb2.BatchHoldStockRequest(entries=[wanted])
    await suite.suite_client().catalog.BatchHoldStock(request)
    shown = await shop.catalog.GetStockHold(catalog_pb2.GetStockHoldRequest(order=wanted.order))
    assert (shown.state, list(shown.items)) == (catalog_pb2.StockHold.HELD, list(wanted.items))
    for _ in range(2):
        released = await shop.catalog.ReleaseStockHold(
            catalog_pb2.ReleaseStockHoldRequest(order=wanted.order, request_id=new_id())
        )
        assert released.state == catalog_pb2.StockHold.RELEASED
    stock = await shop.catalog.GetStock(catalog_pb2.GetStockRequest(product=made.name))
    assert (stock.on_hand_units, stock.held_units, stock.available_units) == (3, 0, 3)


def agreement(
    first_cycle: int = 1,
    agree_time: timestamp_pb2.Timestamp | None = None,
    **kind: Any,  # noqa: ANN401
) -> catalog_pb2.PriceAgreement:
    return catalog_pb2.PriceAgreement(
        price_protection=catalog_pb2.PriceProtection(**kind),
        first_cycle=first_cycle,
        agree_time=agree_time or timestamp_pb2.Timestamp(seconds=1),
    )


def bad_entries(shop: Client) -> dict[str, tuple[str, Any]]:
    """Field -> the method and an entry that is bad in that field only."""
    foreign = catalog_pb2.Item(product="merchants/other/products/tea", quantity=1)
    none = catalog_pb2.Item(product=f"{shop.name}/products/tea")
    no_time = timestamp_pb2.Timestamp(seconds=2**62)
    cap = catalog_pb2.PriceCap(increase_limit_bps=-1)
    return {
        "carts[0].standing_order": ("BatchQuote", cart(shop, standing_order="weekly")),
        "carts[0].cycle": ("BatchQuote", cart(shop, cycle=0)),
        "carts[0].items": ("BatchQuote", cart(shop, items=[])),
        "carts[0].items[0].product": ("BatchQuote", cart(shop, items=[foreign])),
        "carts[0].items[0].quantity": ("BatchQuote", cart(shop, items=[none])),
        "carts[0].price_time": ("BatchQuote", cart(shop, price_time=None)),
        "entries[0].cart": ("BatchQuotePriceChanges", price_change(shop, cart=None)),
        "entries[0].price": ("BatchQuotePriceChanges", price_change(shop, "coffee")),
        "entries[0].draft.product": (
            "BatchQuotePriceChanges",
            price_change(shop, price=None, draft=draft_price(shop, "coffee")),
        ),
        "entries[0].draft.price.unit_price": (
            "BatchQuotePriceChanges",
            price_change(shop, price=None, draft=draft_price(shop, unit_price=to_money(0, "EUR"))),
        ),
        "entries[0].notice_time": ("BatchQuotePriceChanges", price_change(shop, notice_time=None)),
        "entries[0].order": ("BatchHoldStock", hold(shop, order="weekly")),
        "entries[0].announcement_count": ("BatchHoldStock", hold(shop, announcement_count=0)),
        "entries[0].items": ("BatchHoldStock", hold(shop, items=[])),
        "entries[0].items[0].product": ("BatchHoldStock", hold(shop, items=[foreign])),
        "entries[0].items[0].quantity": ("BatchHoldStock", hold(shop, items=[none])),
        "entries[0].expire_time": ("BatchHoldStock", hold(shop, expire_time=no_time)),
        "entries[0].due_time": ("BatchHoldStock", hold(shop, due_time=no_time)),
        "entries[0].standing_order": ("BatchProtectPrices", protect(shop, standing_order="")),
        "entries[0].products": ("BatchProtectPrices", protect(shop, products=[])),
        "entries[0].products[0]": ("BatchProtectPrices", protect(shop, products=["tea"])),
        "entries[0].sign_up_time": ("BatchProtectPrices", protect(shop, sign_up_time=None)),
        "entries[0].agreement.price_protection.cap.increase_limit_bps": (
            "BatchProtectPrices",
            protect(shop, agreement=agreement(cap=cap)),
        ),
        "entries[0].agreement.price_protection.offer": (
            "BatchProtectPrices",
            protect(shop, agreement=agreement(offer="merchants/other/priceProtectionOffers/o")),
        ),
        "carts[0].agreement.first_cycle": (
            "BatchQuote",
            cart(shop, agreement=agreement(first_cycle=0, cap=catalog_pb2.PriceCap())),
        ),
        "carts[0].agreement.agree_time": (
            "BatchQuote",
            cart(shop, agreement=agreement(agree_time=no_time, cap=catalog_pb2.PriceCap())),
        ),
    }


# Method -> its request, the request's field of entries, and a good entry.
BATCHES: dict[str, tuple[Any, str, Callable[[Client], Any]]] = {
    "BatchQuote": (catalog_pb2.BatchQuoteRequest, "carts", cart),
    "BatchQuotePriceChanges": (
        catalog_pb2.BatchQuotePriceChangesRequest,
        "entries",
        price_change,
    ),
    "BatchHoldStock": (catalog_pb2.BatchHoldStockRequest, "entries", hold),
    "BatchBookSlots": (catalog_pb2.BatchBookSlotsRequest, "entries", slot),
    "BatchProtectPrices": (catalog_pb2.BatchProtectPricesRequest, "entries", protect),
}


async def test_a_bad_entry_of_a_batch_is_refused_by_its_field(suite: Suite, shop: Client) -> None:
    own = suite.suite_client()
    errors = {}
    for field, (method, entry) in bad_entries(shop).items():
        request_type, name, _ = BATCHES[method]
        call = getattr(own.catalog, method)(request_type(**{name: [entry]}))
        refusal = await refused(call)
        assert kind(refusal) == ("INVALID_ARGUMENT", "FIELD_INVALID")
        errors[field] = list(refusal.fields)
    assert errors == {field: [field] for field in errors}


async def test_a_lock_that_is_kept_for_a_standing_order_has_one_end(
    suite: Suite, shop: Client
) -> None:
    both = catalog_pb2.PriceLock(cycle_count=3)
    both.until_time.FromSeconds(2_000_000_000)
    locks = {"LOCK_END_MISSING": catalog_pb2.PriceLock(), "LOCK_END_AMBIGUOUS": both}
    for reason, lock in locks.items():
        request = catalog_pb2.BatchProtectPricesRequest(
            entries=[protect(shop, agreement=agreement(lock=lock))]
        )
        refusal = await refused(suite.suite_client().catalog.BatchProtectPrices(request))
        assert refusal.fields == {"entries[0].agreement.price_protection.lock": reason}


@pytest.mark.parametrize("method", BATCHES)
@pytest.mark.parametrize("count", [0, 501])
async def test_a_batch_has_its_limits(suite: Suite, shop: Client, method: str, count: int) -> None:
    request_type, name, entry = BATCHES[method]
    request = request_type(**{name: [entry(shop)] * count})
    refusal = await refused(getattr(suite.suite_client().catalog, method)(request))
    assert (kind(refusal), list(refusal.fields)) == (("INVALID_ARGUMENT", "FIELD_INVALID"), [name])


@pytest.mark.parametrize("method", BATCHES)
async def test_batches_are_for_the_suite_only(shop: Client, method: str) -> None:
    request_type, _, _ = BATCHES[method]
    refusal = await refused(getattr(shop.catalog, method)(request_type()))
    assert kind(refusal) == ("PERMISSION_DENIED", "SCOPE_MISSING")
