"""Offers of price protection, which customers accept with their standing orders."""

from datetime import datetime
from typing import Annotated

import typer
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.command import command, group
from cli.connect import Session, all_pages, new_request_id
from cli.names import OFFER, PRODUCT, last_id
from cli.output import Columns
from cli.values import (
    format_basis_points,
    format_timestamp,
    parse_basis_points,
    parse_moment,
    to_timestamp,
)

offers = group("Manage offers of price protection.")

OfferArgument = Annotated[str, typer.Argument(metavar="OFFER", help="Id or resource name.")]


def describe_offer(offer: pb.PriceProtectionOffer) -> str:
    """What an offer promises, in words."""
    if offer.HasField("cap"):
        share = format_basis_points(offer.cap.increase_limit_bps) or "0 %"
        return f"never more than {share} above the price"
    if offer.lock.cycle_count:
        return f"the price for {offer.lock.cycle_count} cycles"
    return f"the price until {format_timestamp(offer.lock.until_time)}"


OFFER_COLUMNS: Columns[pb.PriceProtectionOffer] = {
    "offer": lambda it: last_id(it.name),
    "title": lambda it: it.title,
    "promises": describe_offer,
    "products": lambda it: ", ".join(map(last_id, it.products)) or "all",
    "from": lambda it: format_timestamp(it.start_time),
    "until": lambda it: format_timestamp(it.end_time),
    "added products": lambda it: "protected" if it.protects_added_products else "not protected",
    "another schedule": lambda it: "goes on" if it.survives_schedule_changes else "ends it",
    "state": lambda it: pb.PriceProtectionOffer.State.Name(it.state),
    "created": lambda it: format_timestamp(it.create_time),
}


@command(offers, "create")
async def create_offer(
    session: Session,
    offer: Annotated[str, typer.Argument(metavar="ID", help="The id of the new offer.")],
    title: Annotated[str, typer.Option(help="What it is called.")],
    lock_cycles: Annotated[
        int | None, typer.Option(min=1, help="Keep the price for so many cycles.")
    ] = None,
    lock_until: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="Keep the price until then."),
    ] = None,
    cap_percent: Annotated[
        int | None,
        typer.Option(
            parser=parse_basis_points,
            metavar="PERCENT",
            help="Let the price rise by no more than that, for example 2.5.",
        ),
    ] = None,
    products: Annotated[
        list[str] | None,
        typer.Option("--product", metavar="PRODUCT", help="For this product only. Repeatable."),
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option(
            "--from", parser=parse_moment, metavar="TIME", help="From when on it is open."
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="When nobody accepts it any more."),
    ] = None,
    protects_added_products: Annotated[
        bool,
        typer.Option("--protect-added-products", help="Protect products that are added later."),
    ] = False,
    survives_schedule_changes: Annotated[
        bool, typer.Option("--survive-schedule-changes", help="Go on under another schedule.")
    ] = False,
) -> None:
    """Create an offer: a lock for some cycles or until a time, or a cap. Its terms never change."""
    made = pb.PriceProtectionOffer(
        title=title,
        products=[session.name(PRODUCT, product) for product in products or ()],
        start_time=to_timestamp(start),
        end_time=to_timestamp(until),
        protects_added_products=protects_added_products,
        survives_schedule_changes=survives_schedule_changes,
    )
    given = [it for it in (lock_cycles, lock_until, cap_percent) if it is not None]
    if len(given) != 1:
        hint = "--lock-cycles, --lock-until, --cap-percent"
        raise typer.BadParameter("give one of the three", param_hint=hint)
    if cap_percent is not None:
        made.cap.increase_limit_bps = cap_percent
    else:
        lock = pb.PriceLock(cycle_count=lock_cycles or 0, until_time=to_timestamp(lock_until))
        made.lock.CopyFrom(lock)
    request = pb.CreatePriceProtectionOfferRequest(
        parent=session.parent,
        price_protection_offer_id=offer,
        price_protection_offer=made,
        request_id=new_request_id(),
    )
    session.output.one(await session.catalog.CreatePriceProtectionOffer(request), OFFER_COLUMNS)


@command(offers, "list")
async def list_offers(session: Session) -> None:
    """List the offers."""
    request = pb.ListPriceProtectionOffersRequest(parent=session.parent)
    method = session.catalog.ListPriceProtectionOffers
    listed = await all_pages(method, request, "price_protection_offers")
    session.output.many(listed, OFFER_COLUMNS, "no offers")


@command(offers, "get")
async def get_offer(session: Session, offer: OfferArgument) -> None:
    """Show an offer."""
    request = pb.GetPriceProtectionOfferRequest(name=session.name(OFFER, offer))
    session.output.one(await session.catalog.GetPriceProtectionOffer(request), OFFER_COLUMNS)


@command(offers, "end")
async def end_offer(session: Session, offer: OfferArgument) -> None:
    """End an offer. Who has accepted it keeps what it promised."""
    request = pb.EndPriceProtectionOfferRequest(
        name=session.name(OFFER, offer), request_id=new_request_id()
    )
    session.output.one(await session.catalog.EndPriceProtectionOffer(request), OFFER_COLUMNS)
