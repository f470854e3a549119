"""Products, their prices and their stock."""

from datetime import datetime
from typing import Annotated

import typer
from google.type import money_pb2
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.command import command, group
from cli.connect import Session, all_pages, new_request_id
from cli.names import PRICE, PRODUCT, last_id, short_name
from cli.output import Columns
from cli.values import format_money, format_timestamp, parse_moment, parse_money, to_timestamp

products = group("Manage products.")
prices = group("Manage the dated prices of products.")
stock = group("Show and adjust the stock of products.")

ProductArgument = Annotated[str, typer.Argument(metavar="PRODUCT", help="Id or resource name.")]

PRODUCT_COLUMNS: Columns[pb.Product] = {
    "product": lambda it: last_id(it.name),
    "title": lambda it: it.title,
    "state": lambda it: pb.Product.State.Name(it.state),
    "stock": lambda it: "counted" if it.stock_tracked else "unlimited",
    "low at": lambda it: str(it.low_stock_threshold) if it.stock_tracked else "",
    "increase notice": lambda it: f"{it.increase_notice_days}d",
    "created": lambda it: format_timestamp(it.create_time),
}
PRICE_COLUMNS: Columns[pb.Price] = {
    "price": lambda it: short_name(it.name),
    "a unit": lambda it: format_money(it.unit_price),
    "from": lambda it: format_timestamp(it.effective_time),
    "announced": lambda it: format_timestamp(it.announce_time),
    "withdrawn": lambda it: format_timestamp(it.withdraw_time),
}
STOCK_COLUMNS: Columns[pb.Stock] = {
    "product": lambda it: last_id(it.product),
    "on hand": lambda it: str(it.on_hand_units),
    "held": lambda it: str(it.held_units),
    "available": lambda it: str(it.available_units),
}


@command(products, "create")
async def create_product(
    session: Session,
    product: Annotated[str, typer.Argument(metavar="ID", help="The id of the new product.")],
    title: Annotated[str, typer.Option(help="The title in messages to customers.")],
    increase_notice_days: Annotated[
        int | None,
        typer.Option(min=0, help="Days between the notice of a price increase and its effect."),
    ] = None,
    stock_tracked: Annotated[bool, typer.Option(help="Whether its units are counted.")] = False,
    low_stock_threshold: Annotated[
        int, typer.Option(min=0, help="Publish StockLow at so few units.")
    ] = 0,
) -> None:
    """Create a product. It can be ordered when it has a price."""
    made = pb.Product(
        title=title,
        increase_notice_days=increase_notice_days,
        stock_tracked=stock_tracked,
        low_stock_threshold=low_stock_threshold,
    )
    request = pb.CreateProductRequest(
        parent=session.parent, product_id=product, product=made, request_id=new_request_id()
    )
    session.output.one(await session.catalog.CreateProduct(request), PRODUCT_COLUMNS)


@command(products, "list")
async def list_products(session: Session) -> None:
    """List the products."""
    request = pb.ListProductsRequest(parent=session.parent)
    found = await all_pages(session.catalog.ListProducts, request, "products")
    session.output.many(found, PRODUCT_COLUMNS, "no products")


@command(products, "get")
async def get_product(session: Session, product: ProductArgument) -> None:
    """Show a product."""
    request = pb.GetProductRequest(name=session.name(PRODUCT, product))
    session.output.one(await session.catalog.GetProduct(request), PRODUCT_COLUMNS)


@command(products, "discontinue")
async def discontinue_product(session: Session, product: ProductArgument) -> None:
    """Discontinue a product for good."""
    request = pb.DiscontinueProductRequest(
        name=session.name(PRODUCT, product), request_id=new_request_id()
    )
    session.output.one(await session.catalog.DiscontinueProduct(request), PRODUCT_COLUMNS)


@command(prices, "add")
async def add_price(
    session: Session,
    product: ProductArgument,
    unit_price: Annotated[
        money_pb2.Money,
        typer.Argument(metavar="AMOUNT", parser=parse_money, help='For example "12.50 EUR".'),
    ],
    effective: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            parser=parse_moment,
            metavar="TIME",
            help="When it takes effect. Default: now.",
        ),
    ] = None,
    price: Annotated[
        str, typer.Option("--id", help="The id of the new price. Default: generated.")
    ] = "",
) -> None:
    """Add a price from a time on. Earlier prices stay."""
    request_id = new_request_id()
    request = pb.CreatePriceRequest(
        parent=session.name(PRODUCT, product),
        price_id=price or f"p-{request_id[:8]}",
        price=pb.Price(unit_price=unit_price, effective_time=to_timestamp(effective)),
        request_id=request_id,
    )
    session.output.one(await session.catalog.CreatePrice(request), PRICE_COLUMNS)


@command(prices, "withdraw")
async def withdraw_price(
    session: Session,
    price: Annotated[str, typer.Argument(metavar="PRODUCT/PRICE", help="Ids or resource name.")],
) -> None:
    """Withdraw a price that has not taken effect yet."""
    request = pb.WithdrawPriceRequest(name=session.name(PRICE, price), request_id=new_request_id())
    session.output.one(await session.catalog.WithdrawPrice(request), PRICE_COLUMNS)


@command(prices, "list")
async def list_prices(session: Session, product: ProductArgument) -> None:
    """List the prices of a product, the newest first."""
    request = pb.ListPricesRequest(parent=session.name(PRODUCT, product))
    found = await all_pages(session.catalog.ListPrices, request, "prices")
    session.output.many(found, PRICE_COLUMNS, "no prices")


@command(stock, "get")
async def get_stock(session: Session, product: ProductArgument) -> None:
    """Show the stock of a product."""
    request = pb.GetStockRequest(product=session.name(PRODUCT, product))
    session.output.one(await session.catalog.GetStock(request), STOCK_COLUMNS)


@command(stock, "adjust")
async def adjust_stock(
    session: Session,
    product: ProductArgument,
    by: Annotated[int, typer.Option(help="Units to add; a negative number removes units.")],
) -> None:
    """Add units to the stock, or remove some."""
    request = pb.AdjustStockRequest(
        product=session.name(PRODUCT, product), delta_units=by, request_id=new_request_id()
    )
    session.output.one(await session.catalog.AdjustStock(request), STOCK_COLUMNS)
