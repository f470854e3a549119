"""What a merchant changes about a product, and what stays as it was promised."""

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf import field_mask_pb2
from google.protobuf.json_format import MessageToDict
from recurring.audit.v1 import audit_pb2
from recurring.catalog.v1 import catalog_pb2 as pb
from recurring.catalog.v1 import events_pb2

from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.suite import Client, Suite, new_id, refused

DAY = timedelta(days=1)


@pytest.fixture
async def shop(suite: Suite) -> Client:
    """A merchant with tea, whose increases need 30 days of notice."""
    shop = suite.client()
    product = pb.Product(title="Tea", stock_tracked=True, low_stock_threshold=3)
    await shop.catalog.CreateProduct(
        pb.CreateProductRequest(
            parent=shop.name, product_id="tea", product=product, request_id=new_id()
        )
    )
    return shop


async def update(shop: Client, *paths: str, **fields: Any) -> pb.Product:  # noqa: ANN401
    """Change the fields that are given, or those that the paths name."""
    request = pb.UpdateProductRequest(
        product=pb.Product(name=f"{shop.name}/products/tea", **fields),
        update_mask=field_mask_pb2.FieldMask(paths=paths or fields),
        request_id=new_id(),
    )
    changed: pb.Product = await shop.catalog.UpdateProduct(request)
    return changed


async def get(shop: Client) -> pb.Product:
    request = pb.GetProductRequest(name=f"{shop.name}/products/tea")
    product: pb.Product = await shop.catalog.GetProduct(request)
    return product


async def add_price(shop: Client, suite: Suite, price: str, minor: int, days: int) -> None:
    effective_time = to_timestamp(await suite.sandbox.now() + days * DAY)
    await shop.catalog.CreatePrice(
        pb.CreatePriceRequest(
            parent=f"{shop.name}/products/tea",
            price_id=price,
            price=pb.Price(unit_price=to_money(minor, "EUR"), effective_time=effective_time),
            request_id=new_id(),
        )
    )


async def test_only_what_is_named_changes(shop: Client) -> None:
    before = await get(shop)
    await update(shop, "tax_category", title="Ignored", tax_category="food")
    changed = await update(shop, title="Green tea", increase_notice_days=60, low_stock_threshold=0)
    wanted = pb.Product()
    wanted.CopyFrom(before)
    wanted.MergeFrom(pb.Product(title="Green tea", tax_category="food", increase_notice_days=60))
    wanted.low_stock_threshold, wanted.etag = 0, changed.etag
    assert changed == wanted == await get(shop)
    assert changed.etag != before.etag


async def test_what_is_named_without_a_value_gets_its_default(shop: Client) -> None:
    await update(shop, tax_category="food", increase_notice_days=7)
    changed = await update(shop, "tax_category", "increase_notice_days")
    assert (changed.tax_category, changed.increase_notice_days) == ("standard", 30)


async def test_a_change_that_changes_nothing_leaves_the_etag(shop: Client) -> None:
    before = await get(shop)
    assert await update(shop, title="Tea", low_stock_threshold=3) == before


async def test_the_audit_has_the_old_and_the_new_value(shop: Client) -> None:
    before, after = await get(shop), await update(shop, title="Green tea")
    entry = (
        await shop.catalog.ListAuditEntries(audit_pb2.ListAuditEntriesRequest(parent=shop.name))
    ).audit_entries[0]
    assert (entry.method, entry.resource) == ("UpdateProduct", before.name)
    titles = [MessageToDict(value)["title"] for value in (entry.before, entry.after)]
    assert titles == [before.title, after.title] == ["Tea", "Green tea"]


@pytest.mark.parametrize(
    ("paths", "fields", "violated"),
    [
        ((), {}, "update_mask"),
        (("state",), {}, "update_mask"),
        (("stock_tracked",), {}, "update_mask"),
        (("bundle_parts",), {}, "update_mask"),
        (("name",), {}, "update_mask"),
        (("title",), {}, "product.title"),
        ((), {"title": "x" * 101}, "product.title"),
        ((), {"increase_notice_days": 366}, "product.increase_notice_days"),
        ((), {"low_stock_threshold": -1}, "product.low_stock_threshold"),
        ((), {"tax_category": "Food & drink"}, "product.tax_category"),
    ],
)
async def test_what_cannot_be_changed_is_named(
    shop: Client, paths: tuple[str, ...], fields: dict[str, Any], violated: str
) -> None:
    refusal = await refused(update(shop, *paths, **fields))
    assert refusal.fields == {violated: "FIELD_INVALID"}


async def test_a_product_without_a_name_is_refused(shop: Client) -> None:
    request = pb.UpdateProductRequest(
        product=pb.Product(title="Tea"),
        update_mask=field_mask_pb2.FieldMask(paths=["title"]),
        request_id=new_id(),
    )
    refusal = await refused(shop.catalog.UpdateProduct(request))
    assert refusal.fields == {"product.name": "FIELD_INVALID"}


async def test_a_product_off_sale_stays_as_it_is(shop: Client) -> None:
    request = pb.DiscontinueProductRequest(name=f"{shop.name}/products/tea", request_id=new_id())
    await shop.catalog.DiscontinueProduct(request)
    refusal = await refused(update(shop, title="Green tea"))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "PRODUCT_DISCONTINUED")


async def test_a_notice_is_not_made_shorter_while_an_increase_is_announced(
    shop: Client, suite: Suite
) -> None:
    await add_price(shop, suite, "first", 1000, 0)
    await update(shop, increase_notice_days=2)
    await add_price(shop, suite, "dearer", 1200, 1)
    refusal = await refused(update(shop, increase_notice_days=1))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "INCREASE_ANNOUNCED")
    assert f"{shop.name}/products/tea/prices/dearer" in refusal.message
    assert (await update(shop, increase_notice_days=3)).increase_notice_days == 3
    # Shared by all tests, the clock is moved no further than it must.
    await suite.advance(4 * DAY)
    assert (await update(shop, increase_notice_days=1)).increase_notice_days == 1


async def test_a_notice_can_be_made_shorter_while_a_drop_is_announced(
    shop: Client, suite: Suite
) -> None:
    await add_price(shop, suite, "first", 1000, 0)
    await add_price(shop, suite, "cheaper", 900, 5)
    assert (await update(shop, increase_notice_days=10)).increase_notice_days == 10


async def test_a_threshold_that_rises_to_the_available_units_is_published(
    shop: Client, suite: Suite
) -> None:
    request = pb.AdjustStockRequest(
        product=f"{shop.name}/products/tea", delta_units=5, request_id=new_id()
    )
    await shop.catalog.AdjustStock(request)
    async with suite.subscribe_events() as subscription:
        await update(shop, low_stock_threshold=4)
        await update(shop, low_stock_threshold=5)
        low = (await subscription.next(events_pb2.StockLow, shop.merchant)).message
    assert (low.available_units, low.low_stock_threshold) == (5, 5)
