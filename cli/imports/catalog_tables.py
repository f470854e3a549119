"""Files of products and of prices: what their columns mean."""

from functools import partial

import typer
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.imports.rows import CellReader, Kind
from cli.names import PRODUCT, full_name
from cli.prices import parse_tier
from cli.standing_orders import parse_item
from cli.values import (
    parse_basis_points,
    parse_moment,
    parse_money,
    parse_number,
    parse_yes_no,
    to_timestamp,
)

SEPARATOR = ";"


def _parts_of(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(SEPARATOR)]
    if not all(parts):
        raise typer.BadParameter(f"{text!r}: there is nothing between or beside two semicolons")
    return parts


def _read_parts(merchant: str, text: str) -> list[pb.Item]:
    items = map(parse_item, _parts_of(text))
    return [
        pb.Item(product=full_name(merchant, PRODUCT, name), quantity=quantity)
        for name, quantity in items
    ]


def _read_product(merchant: str, reader: CellReader) -> pb.NewProduct:
    count = partial(parse_number, low=0)
    return pb.NewProduct(
        product_id=reader.read("id", str),
        product=pb.Product(
            title=reader.read("title", str),
            increase_notice_days=reader.optional("increase_notice_days", count),
            stock_tracked=reader.optional("stock_tracked", parse_yes_no) or False,
            low_stock_threshold=reader.optional("low_stock_threshold", count) or 0,
            tax_category=reader.optional("tax_category", str) or "",
            capacity_by_day=reader.optional("capacity_by_day", parse_yes_no) or False,
            bundle_parts=reader.optional("parts", partial(_read_parts, merchant)) or (),
        ),
    )


def _read_tier_mode(text: str) -> pb.Price.TierMode.ValueType:
    modes = {"volume": pb.Price.VOLUME, "graduated": pb.Price.GRADUATED}
    if text.lower() not in modes:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(modes)}")
    return modes[text.lower()]


def _read_tiers(text: str) -> list[pb.PriceTier]:
    return list(map(parse_tier, _parts_of(text)))


def _read_price(merchant: str, reader: CellReader) -> pb.NewPrice:
    return pb.NewPrice(
        price_id=reader.read("id", str),
        parent=reader.read("product", partial(full_name, merchant, PRODUCT)),
        price=pb.Price(
            unit_price=reader.read("amount", parse_money),
            effective_time=to_timestamp(reader.optional("from", parse_moment)),
            tiers=reader.optional("tiers", _read_tiers) or (),
            tier_mode=reader.optional("tier_mode", _read_tier_mode)
            or pb.Price.TIER_MODE_UNSPECIFIED,
            subscriber_discount_bps=reader.optional("subscriber_discount", parse_basis_points) or 0,
        ),
    )


PRODUCTS = Kind(
    noun="product",
    message=pb.NewProduct,
    read_row=_read_product,
    required=("id", "title"),
    optional=(
        "increase_notice_days",
        "stock_tracked",
        "low_stock_threshold",
        "tax_category",
        "capacity_by_day",
        "parts",
    ),
    json_ids=("productId", "product_id"),
    key_of=lambda row: row.product_id,
    columns_by_path={"product_id": "id", "product.bundle_parts": "parts", "product": ""},
)
PRICES = Kind(
    noun="price",
    message=pb.NewPrice,
    read_row=_read_price,
    required=("id", "product", "amount"),
    optional=("from", "tiers", "tier_mode", "subscriber_discount"),
    json_ids=("priceId", "price_id"),
    key_of=lambda row: f"{row.parent.rpartition('/')[2]}/{row.price_id}",
    columns_by_path={
        "price_id": "id",
        "parent": "product",
        "price.unit_price": "amount",
        "price.effective_time": "from",
        "price.subscriber_discount_bps": "subscriber_discount",
        "price": "",
    },
)
