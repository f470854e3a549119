"""The dated prices of products."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer
from google.protobuf import field_mask_pb2
from google.type import money_pb2
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.names import PRICE, PRODUCT, short_name
from cli.output import Columns
from cli.products import ProductArgument
from cli.values import (
    format_basis_points,
    format_money,
    format_timestamp,
    parse_basis_points,
    parse_moment,
    parse_money,
    parse_number,
    to_timestamp,
)

prices = group("Manage the dated prices of products.")

PRICE_COLUMNS: Columns[pb.Price] = {
    "price": lambda it: short_name(it.name),
    "a unit": lambda it: format_money(it.unit_price),
    "tiers": lambda it: "\n".join(
        [pb.Price.TierMode.Name(it.tier_mode).lower() if it.tier_mode else ""]
        + [f"{tier.first_quantity}+ {format_money(tier.unit_price)}" for tier in it.tiers]
    ),
    "subscribers": lambda it: format_discount(it.subscriber_discount_bps),
    "from": lambda it: format_timestamp(it.effective_time),
    "announced": lambda it: format_timestamp(it.announce_time),
    "withdrawn": lambda it: format_timestamp(it.withdraw_time),
}


def format_discount(discount_bps: int) -> str:
    """What is taken off; empty if nothing is."""
    return f"-{format_basis_points(discount_bps)}" if discount_bps else ""


def parse_tier(text: str) -> pb.PriceTier:
    """What a unit costs from so many on: `10=9.00 EUR`."""
    quantity, separator, amount = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{text!r} is not QUANTITY=AMOUNT")
    return pb.PriceTier(
        first_quantity=parse_number(quantity, low=2), unit_price=parse_money(amount)
    )


@dataclass(frozen=True)
class PriceOptions:
    """What is said of a new price beside its amount."""

    effective: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            parser=parse_moment,
            metavar="TIME",
            help="When it takes effect. Default: now.",
        ),
    ] = None
    tiers: Annotated[
        list[str] | None,
        typer.Option(
            "--tier",
            metavar="QUANTITY=AMOUNT",
            help='What a unit costs from so many on, for example "10=9.00 EUR". Repeatable.',
        ),
    ] = None
    tier_mode: Annotated[
        pb.Price.TierMode.ValueType,
        one_of(
            pb.Price.TierMode,
            "Whether the tier of their number counts for all units, or for each its own.",
        ),
    ] = pb.Price.TIER_MODE_UNSPECIFIED
    discount_bps: Annotated[
        int,
        typer.Option(
            "--subscriber-discount",
            parser=parse_basis_points,
            metavar="PERCENT",
            help="What standing orders are given off, for example 7.5.",
            show_default=False,
        ),
    ] = 0

    def price_of(self, unit_price: money_pb2.Money) -> pb.Price:
        """The price with this amount."""
        return pb.Price(
            unit_price=unit_price,
            effective_time=to_timestamp(self.effective),
            tiers=map(parse_tier, self.tiers or ()),
            tier_mode=self.tier_mode,
            subscriber_discount_bps=self.discount_bps,
        )


@command(prices, "add")
async def add_price(
    session: Session,
    product: ProductArgument,
    unit_price: Annotated[
        money_pb2.Money,
        typer.Argument(metavar="AMOUNT", parser=parse_money, help='For example "12.50 EUR".'),
    ],
    options: PriceOptions,
    price: Annotated[
        str, typer.Option("--id", help="The id of the new price. Default: generated.")
    ] = "",
) -> None:
    """Add a price from a time on. Earlier prices stay."""
    request_id = new_request_id()
    request = pb.CreatePriceRequest(
        parent=session.name(PRODUCT, product),
        price_id=price or f"p-{request_id[:8]}",
        price=options.price_of(unit_price),
        request_id=request_id,
    )
    session.output.one(await session.catalog.CreatePrice(request), PRICE_COLUMNS)


@command(prices, "get")
async def get_price(
    session: Session,
    price: Annotated[
        str,
        typer.Argument(
            metavar="PRODUCT[/PRICE]", help="Ids or resource name; a product alone: at --at."
        ),
    ],
    at: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="When. Default: now."),
    ] = None,
    currency: Annotated[
        str, typer.Option(metavar="CODE", help="In which currency. Default: the only one.")
    ] = "",
) -> None:
    """Show a price, or the one of a product at any time."""
    wanted = price if "/" in price else f"{price}/-"
    request = pb.GetPriceRequest(
        name=session.name(PRICE, wanted), time=to_timestamp(at), currency=currency
    )
    session.output.one(await session.catalog.GetPrice(request), PRICE_COLUMNS)


@command(prices, "correct")
async def correct_price(
    session: Session,
    price: Annotated[str, typer.Argument(metavar="PRODUCT/PRICE", help="Ids or resource name.")],
    unit_price: Annotated[
        money_pb2.Money | None,
        typer.Option("--amount", parser=parse_money, metavar="AMOUNT", help="What one costs."),
    ] = None,
    effective: Annotated[
        datetime | None,
        typer.Option("--from", parser=parse_moment, metavar="TIME", help="When it takes effect."),
    ] = None,
    tiers: Annotated[
        list[str] | None,
        typer.Option("--tier", metavar="QUANTITY=AMOUNT", help="All of its tiers. Repeatable."),
    ] = None,
    tier_mode: Annotated[
        pb.Price.TierMode.ValueType,
        one_of(pb.Price.TierMode, "How its tiers count."),
    ] = pb.Price.TIER_MODE_UNSPECIFIED,
    discount_bps: Annotated[
        int | None,
        typer.Option(
            "--subscriber-discount",
            parser=parse_basis_points,
            metavar="PERCENT",
            help="What standing orders are given off.",
        ),
    ] = None,
) -> None:
    """Correct a price that has not taken effect yet. It is announced again."""
    wanted = pb.Price(
        name=session.name(PRICE, price),
        unit_price=unit_price,
        effective_time=to_timestamp(effective),
        tiers=map(parse_tier, tiers or ()),
        tier_mode=tier_mode,
        subscriber_discount_bps=discount_bps or 0,
    )
    paths = [field.name for field, _ in wanted.ListFields() if field.name != "name"]
    if discount_bps == 0:
        paths.append("subscriber_discount_bps")
    request = pb.UpdatePriceRequest(
        price=wanted,
        update_mask=field_mask_pb2.FieldMask(paths=paths),
        request_id=new_request_id(),
    )
    session.output.one(await session.catalog.UpdatePrice(request), PRICE_COLUMNS)


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
    listed = await all_pages(session.catalog.ListPrices, request, "prices")
    session.output.many(listed, PRICE_COLUMNS, "no prices")
