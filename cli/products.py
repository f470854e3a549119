"""Products."""

from typing import Annotated, Any

import typer
from google.protobuf import field_mask_pb2
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.command import command, group
from cli.connect import Session, all_pages, new_request_id
from cli.names import PRODUCT, last_id
from cli.output import Columns
from cli.standing_orders import parse_item
from cli.values import format_timestamp

products = group("Manage products.")

ProductArgument = Annotated[str, typer.Argument(metavar="PRODUCT", help="Id or resource name.")]

PRODUCT_COLUMNS: Columns[pb.Product] = {
    "product": lambda it: last_id(it.name),
    "title": lambda it: it.title,
    "state": lambda it: pb.Product.State.Name(it.state),
    "stock": lambda it: (
        "by day" if it.capacity_by_day else "counted" if it.stock_tracked else "unlimited"
    ),
    "parts": lambda it: ", ".join(
        f"{part.quantity} {last_id(part.product)}" for part in it.bundle_parts
    ),
    "tax category": lambda it: it.tax_category,
    "low at": lambda it: str(it.low_stock_threshold) if it.stock_tracked else "",
    "increase notice": lambda it: f"{it.increase_notice_days}d",
    "created": lambda it: format_timestamp(it.create_time),
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
    capacity_by_day: Annotated[
        bool, typer.Option(help="Whether it is a service, with slots by day.")
    ] = False,
    low_stock_threshold: Annotated[
        int, typer.Option(min=0, help="Publish StockLow at so few units.")
    ] = 0,
    tax_category: Annotated[
        str, typer.Option(help='Which tax rates are for it, such as "food". Default: standard.')
    ] = "",
    part: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRODUCT[=QUANTITY]", help="A part of it, which makes it a bundle. Repeatable."
        ),
    ] = None,
) -> None:
    """Create a product. It can be ordered when it has a price."""
    parts = map(parse_item, part or ())
    made = pb.Product(
        bundle_parts=[
            pb.Item(product=session.name(PRODUCT, name), quantity=quantity)
            for name, quantity in parts
        ],
        title=title,
        increase_notice_days=increase_notice_days,
        stock_tracked=stock_tracked,
        capacity_by_day=capacity_by_day,
        low_stock_threshold=low_stock_threshold,
        tax_category=tax_category,
    )
    request = pb.CreateProductRequest(
        parent=session.parent, product_id=product, product=made, request_id=new_request_id()
    )
    session.output.one(await session.catalog.CreateProduct(request), PRODUCT_COLUMNS)


@command(products, "update")
async def update_product(
    session: Session,
    product: ProductArgument,
    title: Annotated[str | None, typer.Option(help="The title in messages to customers.")] = None,
    increase_notice_days: Annotated[
        int | None,
        typer.Option(min=0, help="Days between the notice of a price increase and its effect."),
    ] = None,
    low_stock_threshold: Annotated[
        int | None, typer.Option(min=0, help="Publish StockLow at so few units.")
    ] = None,
    tax_category: Annotated[
        str | None, typer.Option(help='Which tax rates are for it; "" is standard.')
    ] = None,
) -> None:
    """Change a product. Orders that were announced keep their lines and their taxes."""
    given = {
        "title": title,
        "increase_notice_days": increase_notice_days,
        "low_stock_threshold": low_stock_threshold,
        "tax_category": tax_category,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise typer.BadParameter("say what to change")
    request = pb.UpdateProductRequest(
        product=pb.Product(name=session.name(PRODUCT, product), **changes),
        update_mask=field_mask_pb2.FieldMask(paths=list(changes)),
        request_id=new_request_id(),
    )
    session.output.one(await session.catalog.UpdateProduct(request), PRODUCT_COLUMNS)


@command(products, "list")
async def list_products(session: Session) -> None:
    """List the products."""
    request = pb.ListProductsRequest(parent=session.parent)
    listed = await all_pages(session.catalog.ListProducts, request, "products")
    session.output.many(listed, PRODUCT_COLUMNS, "no products")


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
