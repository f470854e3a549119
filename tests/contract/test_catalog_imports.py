"""Taking over products and prices: two streams of rows, and each reason that they document."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from recurring.audit.v1 import audit_pb2
from recurring.catalog.v1 import catalog_pb2 as pb
from recurring.catalog.v1 import events_pb2

from services.runtime.rpc.conversions import from_timestamp, to_money, to_timestamp
from tests.suite import Client, Suite, new_id, refused

DAY = timedelta(days=1)
DEADLINE_SECONDS = 60.0
BATCH_ROWS = 500
# Some more than an import takes, in few messages.
LARGE_TITLE, LARGE_ROWS = "x" * 250_000, 70
Response = pb.ImportProductsResponse | pb.ImportPricesResponse


@pytest.fixture
def shop(suite: Suite) -> Client:
    """A merchant of the test's own."""
    return suite.client()


@pytest.fixture
async def tomorrow(suite: Suite) -> datetime:
    return await suite.sandbox.now() + DAY


class Sending:
    """An import whose caller has not sent everything yet; of products or of prices, by its rows."""

    def __init__(
        self,
        shop: Client,
        rows: Sequence[pb.NewProduct] | Sequence[pb.NewPrice],
        config: pb.ImportConfig | None,
        method: str,
    ) -> None:
        self._rest = asyncio.Event()
        call = getattr(shop.catalog, f"Import{method}")
        self._request: Any = getattr(pb, f"Import{method}Request")
        sent = self._requests(rows, config)
        self.call = call(sent, metadata=shop.metadata, timeout=DEADLINE_SECONDS)
        self.answer = asyncio.ensure_future(self.call)

    async def _requests(
        self,
        rows: Sequence[pb.NewProduct] | Sequence[pb.NewPrice],
        config: pb.ImportConfig | None,
    ) -> AsyncIterator[Any]:
        if config is not None:
            yield self._request(config=config)
        for row in rows:
            yield self._request(row=row)
        await self._rest.wait()

    async def finish(self) -> Any:  # noqa: ANN401 - the response of either
        self._rest.set()
        return await self.answer

    async def break_off(self) -> None:
        self.call.cancel()
        await asyncio.gather(self.answer, return_exceptions=True)


async def send(
    shop: Client,
    rows: Sequence[pb.NewProduct] | Sequence[pb.NewPrice],
    *,
    without_config: bool = False,
    parent: str = "",
    **how: bool,
) -> Any:  # noqa: ANN401 - the response of either
    config = None if without_config else pb.ImportConfig(parent=parent or shop.name, **how)
    method = "Prices" if rows and isinstance(rows[0], pb.NewPrice) else "Products"
    return await Sending(shop, rows, config, method).finish()


def product(product_id: str = "tea", **fields: Any) -> pb.NewProduct:  # noqa: ANN401
    usual: dict[str, Any] = {"title": product_id.title()}
    return pb.NewProduct(product_id=product_id, product=pb.Product(**usual | fields))


def bundle(shop: Client, product_id: str, **parts: int) -> pb.NewProduct:
    items = [
        pb.Item(product=f"{shop.name}/products/{part}", quantity=quantity)
        for part, quantity in parts.items()
    ]
    return product(product_id, bundle_parts=items)


def price(
    shop: Client,
    price_id: str = "first",
    minor: int = 1000,
    *,
    product: str = "tea",
    currency: str = "EUR",
    effective: datetime | None = None,
    **fields: Any,  # noqa: ANN401
) -> pb.NewPrice:
    made = pb.Price(unit_price=to_money(minor, currency), **fields)
    if effective is not None:
        made.effective_time.CopyFrom(to_timestamp(effective))
    parent = f"{shop.name}/products/{product}"
    return pb.NewPrice(parent=parent, price_id=price_id, price=made)


def counts(response: Response) -> tuple[int, int, int]:
    return response.imported_count, response.unchanged_count, response.refused_count


def found(response: Response) -> list[tuple[int, str, str]]:
    return [(problem.row, problem.field, problem.reason) for problem in response.problems]


async def products(shop: Client) -> list[pb.Product]:
    listed = await shop.catalog.ListProducts(pb.ListProductsRequest(parent=shop.name))
    return list(listed.products)


async def prices(shop: Client, product: str = "tea") -> list[pb.Price]:
    request = pb.ListPricesRequest(parent=f"{shop.name}/products/{product}")
    return list((await shop.catalog.ListPrices(request)).prices)


async def discontinue(shop: Client, product: str) -> None:
    request = pb.DiscontinueProductRequest(
        name=f"{shop.name}/products/{product}", request_id=new_id()
    )
    await shop.catalog.DiscontinueProduct(request)


# --- products -----------------------------------------------------------------------------------


async def test_products_are_imported_as_if_each_had_been_created(shop: Client) -> None:
    rows = [
        product(stock_tracked=True, low_stock_threshold=3, tax_category="food"),
        product("cup", increase_notice_days=0),
        bundle(shop, "box", tea=2, cup=1),
    ]
    assert counts(await send(shop, rows)) == (3, 0, 0)
    box, cup, tea = await products(shop)
    assert (tea.title, tea.stock_tracked, tea.low_stock_threshold) == ("Tea", True, 3)
    assert (tea.tax_category, tea.increase_notice_days, cup.increase_notice_days) == ("food", 30, 0)
    assert [(part.product, part.quantity) for part in box.bundle_parts] == [
        (tea.name, 2),
        (cup.name, 1),
    ]
    stock = await shop.catalog.GetStock(pb.GetStockRequest(product=tea.name))
    assert (stock.on_hand_units, stock.available_units) == (0, 0)


async def test_importing_products_again_changes_nothing(shop: Client) -> None:
    rows = [product(), product("cup"), bundle(shop, "box", tea=2), bundle(shop, "crate", box=3)]
    assert counts(await send(shop, rows)) == (4, 0, 0)
    before = await products(shop)
    assert counts(await send(shop, rows)) == (0, 4, 0)
    assert await products(shop) == before


async def test_one_bad_product_and_none_is_imported(shop: Client) -> None:
    response = await send(shop, [product(), product("cup", title="")])
    assert counts(response) == (0, 0, 1)
    assert found(response) == [(2, "product.title", "FIELD_INVALID")]
    assert response.problems[0].id == "cup"
    assert await products(shop) == []


async def test_the_good_products_are_imported_if_that_is_wanted(shop: Client) -> None:
    response = await send(shop, [product(), product("cup", title="")], partial=True)
    assert counts(response) == (1, 0, 1)
    assert [made.title for made in await products(shop)] == ["Tea"]


async def test_a_dry_run_of_products_says_the_same_and_stores_nothing(shop: Client) -> None:
    rows = [product(), bundle(shop, "box", tea=2), bundle(shop, "crate", tin=1)]
    tried = await send(shop, rows, dry_run=True, partial=True)
    assert await products(shop) == []
    assert tried == await send(shop, rows, partial=True)
    assert counts(tried) == (2, 0, 1)


async def test_what_is_wrong_with_products_is_said_by_row_and_field(shop: Client) -> None:
    await send(shop, [product("old")])
    rows = [
        product("No id!"),
        product("tea"),
        product("tea", title="Another"),
        product("old", title="Not so old"),
        product("low", low_stock_threshold=-1, increase_notice_days=366),
        bundle(shop, "lacking", gone=1),
        bundle(shop, "itself", itself=1),
        bundle(shop, "large", tea=10_000),
        bundle(shop, "larger", large=2),
        product("service", capacity_by_day=True),
        bundle(shop, "with-service", service=1),
    ]
    rows[7].product.stock_tracked = True
    response = await send(shop, rows)
    assert found(response) == [
        (1, "product_id", "FIELD_INVALID"),
        (3, "product_id", "ROW_REPEATED"),
        (4, "product_id", "PRODUCT_ALREADY_EXISTS"),
        (5, "product.increase_notice_days", "FIELD_INVALID"),
        (5, "product.low_stock_threshold", "FIELD_INVALID"),
        (6, "product.bundle_parts[0].product", "BUNDLE_PART_NOT_FOUND"),
        (7, "product.bundle_parts[0].product", "BUNDLE_CONTAINS_ITSELF"),
        (8, "product.stock_tracked", "FIELD_INVALID"),
        (9, "product.bundle_parts[0].product", "BUNDLE_PART_NOT_FOUND"),
        (11, "product.bundle_parts[0].product", "BUNDLE_PART_BY_DAY"),
    ]
    assert counts(response) == (0, 0, 9)
    assert "row 2" in response.problems[1].description


async def test_an_import_of_products_is_audited_by_how_many_rows(shop: Client) -> None:
    await send(shop, [product(), product("cup", title="")], partial=True)
    request = audit_pb2.ListAuditEntriesRequest(parent=shop.name, resource=shop.name)
    [entry] = (await shop.catalog.ListAuditEntries(request)).audit_entries
    assert entry.method == "ImportProducts"
    assert dict(entry.after)["imported_count"] == 1


async def test_more_products_than_a_batch_are_one_import(shop: Client) -> None:
    rows = [product(f"p{number}") for number in range(BATCH_ROWS + 1)]
    # Its parts are in a batch before.
    rows.append(bundle(shop, "box", p0=1))
    assert counts(await send(shop, [*rows, product("bad", title="")])) == (0, 0, 1)
    assert await products(shop) == []
    assert counts(await send(shop, rows)) == (BATCH_ROWS + 2, 0, 0)


# --- prices -------------------------------------------------------------------------------------


@pytest.fixture
async def tea(shop: Client) -> Client:
    """A merchant with tea, and with a cup."""
    await send(shop, [product(), product("cup")])
    return shop


async def test_prices_are_imported_as_if_each_had_been_created(
    suite: Suite, tea: Client, tomorrow: datetime
) -> None:
    tier = pb.PriceTier(first_quantity=10, unit_price=to_money(900, "EUR"))
    rows = [
        price(tea),
        price(tea, "later", 1200, effective=tomorrow, tiers=[tier], tier_mode=pb.Price.VOLUME),
        price(tea, "yen", 1500, currency="JPY", subscriber_discount_bps=500),
    ]
    async with suite.subscribe_events() as subscription:
        assert counts(await send(tea, rows)) == (3, 0, 0)
        announced = [
            (await subscription.next(events_pb2.PriceChangeScheduled, tea.merchant)).message
            for _ in rows
        ]
    names = {event.price.rpartition("/")[2]: event for event in announced}
    assert names["later"].previous_unit_price == to_money(1000, "EUR")
    assert not names["yen"].HasField("previous_unit_price")
    made = {made.name.rpartition("/")[2]: made for made in await prices(tea)}
    assert from_timestamp(made["later"].effective_time) == tomorrow
    assert list(made["later"].tiers) == [tier]
    assert made["yen"].subscriber_discount_bps == 500


async def test_importing_prices_again_changes_nothing(
    suite: Suite, tea: Client, tomorrow: datetime
) -> None:
    rows = [price(tea), price(tea, "later", 1200, effective=tomorrow), price(tea, product="cup")]
    assert counts(await send(tea, rows)) == (3, 0, 0)
    before = await prices(tea)
    # They have taken effect meanwhile.
    await suite.advance(2 * DAY)
    assert counts(await send(tea, rows)) == (0, 3, 0)
    assert await prices(tea) == before


async def test_one_bad_price_and_none_is_imported(tea: Client) -> None:
    response = await send(tea, [price(tea), price(tea, product="gone")])
    assert counts(response) == (0, 0, 1)
    assert found(response) == [(2, "parent", "PRODUCT_NOT_FOUND")]
    assert response.problems[0].id == "gone/first"
    assert await prices(tea) == []


async def test_a_dry_run_of_prices_says_the_same_and_stores_nothing(
    suite: Suite, tea: Client, tomorrow: datetime
) -> None:
    rows = [price(tea), price(tea, "second", 1100, effective=tomorrow), price(tea, product="gone")]
    async with suite.subscribe_events() as subscription:
        tried = await send(tea, rows, dry_run=True, partial=True)
        assert await prices(tea) == []
        assert tried == await send(tea, rows, partial=True)
        await subscription.next(events_pb2.PriceChangeScheduled, tea.merchant)
        await subscription.next(events_pb2.PriceChangeScheduled, tea.merchant)
    assert counts(tried) == (2, 0, 1)


async def test_what_is_wrong_with_prices_is_said_by_row_and_field(
    tea: Client, tomorrow: datetime
) -> None:
    await discontinue(tea, "cup")
    await send(
        tea,
        [
            price(tea, "old", effective=tomorrow),
            price(tea, "gone", 1, currency="JPY", effective=tomorrow),
        ],
    )
    await tea.catalog.WithdrawPrice(
        pb.WithdrawPriceRequest(name=f"{tea.name}/products/tea/prices/gone", request_id=new_id())
    )
    falling = [
        pb.PriceTier(first_quantity=first, unit_price=to_money(minor, "EUR"))
        for first, minor in ((10, 900), (5, 950))
    ]
    broken = price(tea, "broken")
    broken.price.unit_price.nanos = 1
    rows = [
        price(tea, "No id!"),
        price(tea, "zero", 0),
        broken,
        price(tea, "past", effective=tomorrow - 3 * DAY),
        price(tea, "old", 2000, effective=tomorrow),
        price(tea, "clash", 2000, effective=tomorrow),
        price(tea, "gone", 1, currency="JPY", effective=tomorrow),
        price(tea, product="cup"),
        price(tea, "now"),
        price(tea, "now", 3),
        price(tea, "same-now"),
        price(tea, "falls", effective=tomorrow + DAY, tiers=falling, tier_mode=pb.Price.VOLUME),
    ]
    response = await send(tea, rows)
    assert found(response) == [
        (1, "price_id", "FIELD_INVALID"),
        (2, "price.unit_price", "FIELD_INVALID"),
        (3, "price.unit_price.nanos", "FIELD_INVALID"),
        (4, "price.effective_time", "FIELD_INVALID"),
        (5, "price_id", "PRICE_ALREADY_EXISTS"),
        (6, "price_id", "PRICE_ALREADY_EXISTS"),
        (7, "price_id", "PRICE_ALREADY_EXISTS"),
        (8, "parent", "PRODUCT_DISCONTINUED"),
        (10, "price_id", "ROW_REPEATED"),
        (11, "price_id", "PRICE_ALREADY_EXISTS"),
        (12, "price.tiers[1].first_quantity", "TIER_FALLS"),
        (12, "price.tiers[1].unit_price", "TIER_DEARER"),
    ]
    assert "was withdrawn" in response.problems[6].description


async def test_a_price_of_another_merchants_product_is_a_problem(suite: Suite, tea: Client) -> None:
    row = price(suite.client())
    response = await send(tea, [row])
    assert found(response) == [(1, "parent", "FIELD_INVALID")]


async def test_more_prices_than_a_batch_are_one_import(tea: Client, tomorrow: datetime) -> None:
    rows = [
        price(tea, f"p{hour}", 1000 + hour, effective=tomorrow + timedelta(hours=hour))
        for hour in range(BATCH_ROWS + 1)
    ]
    assert counts(await send(tea, [*rows, price(tea, product="gone")])) == (0, 0, 1)
    assert await prices(tea) == []
    assert counts(await send(tea, rows)) == (BATCH_ROWS + 1, 0, 0)
    assert counts(await send(tea, rows)) == (0, BATCH_ROWS + 1, 0)
    more = [
        price(tea, f"q{hour}", effective=tomorrow + timedelta(days=30, hours=hour))
        for hour in range(BATCH_ROWS)
    ]
    response = await send(tea, more)
    assert found(response) == [(BATCH_ROWS, "parent", "PRICES_TOO_MANY")]


async def test_two_imports_of_the_same_prices_at_once_add_each_once(tea: Client) -> None:
    rows = [price(tea), price(tea, product="cup")]
    answers = await asyncio.gather(send(tea, rows), send(tea, rows[::-1]))
    assert sorted(map(counts, answers)) == [(0, 2, 0), (2, 0, 0)]


# --- both ---------------------------------------------------------------------------------------


@pytest.fixture(params=["Products", "Prices"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def config(shop: Client) -> pb.ImportConfig:
    return pb.ImportConfig(parent=shop.name)


async def test_an_import_that_breaks_off_has_stored_nothing(shop: Client) -> None:
    sending = Sending(shop, [product()], config(shop), "Products")
    await asyncio.sleep(0.2)
    await sending.break_off()
    assert await products(shop) == []
    assert counts(await send(shop, [product()])) == (1, 0, 0)


async def test_nothing_is_imported_without_a_row(shop: Client, method: str) -> None:
    assert counts(await Sending(shop, [], config(shop), method).finish()) == (0, 0, 0)


async def test_an_import_without_a_config_is_refused(shop: Client, method: str) -> None:
    refusal = await refused(Sending(shop, [], None, method).finish())
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "CONFIG_MISSING")


async def test_an_import_that_is_too_large_is_refused_with_the_limit(
    shop: Client, method: str
) -> None:
    large: Any = product(title=LARGE_TITLE)
    if method == "Prices":
        large = price(shop, LARGE_TITLE)
    refusal = await refused(Sending(shop, [large] * LARGE_ROWS, config(shop), method).finish())
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "IMPORT_TOO_LARGE")
    assert "16777216 bytes" in refusal.message


async def test_a_merchant_imports_once_at_a_time(shop: Client, method: str) -> None:
    sending = [Sending(shop, [], config(shop), method) for _ in range(2)]
    answers = [call.answer for call in sending]
    [turned_away], _ = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    refusal = await refused(turned_away)
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "IMPORTS_BUSY")
    assert refusal.retry_seconds > 0
    for call in sending:
        await call.break_off()


async def test_another_merchants_catalog_is_not_imported_into(
    suite: Suite, shop: Client, method: str
) -> None:
    refusal = await refused(Sending(suite.client(), [], config(shop), method).finish())
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "MERCHANT_FORBIDDEN")
