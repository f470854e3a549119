"""Standing orders: what to order, when and how to pay for it, again and again."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer
from google.protobuf import field_mask_pb2
from google.type import date_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.command import command, group, naming, one_of
from cli.conditions import describe_condition
from cli.connect import Session, all_pages, new_request_id
from cli.names import CUSTOMER, OFFER, PRODUCT, STANDING_ORDER, last_id
from cli.output import Columns
from cli.preview import SIDE_BY_SIDE, StandingOrderArgument, side_by_side
from cli.schedules import ScheduleOptions, describe_schedule
from cli.terms import TermOptions, describe_catch_up, describe_protection, parse_protection
from cli.values import (
    format_address,
    format_date,
    format_duration,
    format_timestamp,
    parse_date,
    parse_moment,
    parse_number,
    to_timestamp,
)

TITLE_HELP = "The title in messages to the customer; no personal data."

standing_orders = group("Manage standing orders, which order and pay the same items every cycle.")


def describe_repurchase(standing_order: pb.StandingOrder) -> str:
    """What a purchase elsewhere does, for example "skip within 7d"; empty where it does nothing."""
    if not standing_order.HasField("repurchase_window"):
        return ""
    action = pb.Otherwise.Action.Name(standing_order.repurchase_action)
    window = format_duration(standing_order.repurchase_window)
    return f"{action.lower().replace('_', ' ')} within {window}"


def describe_items(items: Iterable[pb.Item]) -> str:
    """Items in words, for example "2 tea, 1 milk or oat-milk"."""
    return ", ".join(
        f"{item.quantity} {OR.join(map(last_id, [item.product, *item.substitutes]))}"
        for item in items
    )


def describe_cycle_change(change: pb.CycleChange) -> str:
    """What was changed for one cycle, for example "cycle 4: on 2026-03-01; 2 tea"."""
    parts = [
        f"on {format_date(change.local_date)}" if change.HasField("local_date") else "",
        describe_items(change.items),
        f"to {format_address(change.ship_to)}" if change.HasField("ship_to") else "",
    ]
    return f"cycle {change.cycle}: {'; '.join(filter(None, parts))}"


STANDING_ORDER_COLUMNS: Columns[pb.StandingOrder] = {
    "standing order": lambda it: last_id(it.name),
    "customer": lambda it: last_id(it.customer),
    "title": lambda it: it.title,
    "items": lambda it: describe_items(it.items),
    "when": lambda it: describe_schedule(it.schedule),
    "pays": lambda it: pb.BillingMode.Name(it.billing_mode).lower().replace("_", " "),
    "notice lead": lambda it: " ".join(
        filter(
            None,
            [
                format_duration(it.effective_notice_lead),
                f"(by {last_id(it.notice_rule_pack)})" if it.notice_rule_pack else "",
            ],
        )
    ),
    "lead asked for": lambda it: format_duration(it.notice_lead),
    "bought elsewhere": describe_repurchase,
    "state": lambda it: pb.StandingOrder.State.Name(it.state),
    "next": lambda it: (
        f"{it.next_cycle}: {format_timestamp(it.next_due_time)}" if it.next_cycle else ""
    ),
    "resumes": lambda it: format_timestamp(it.resume_time),
    "last": lambda it: str(it.last_cycle) if it.last_cycle else "",
    "skipped": lambda it: ", ".join(map(str, it.skipped_cycles)),
    "changed": lambda it: ", ".join(str(cycle_change.cycle) for cycle_change in it.cycle_changes),
    "paid": lambda it: str(it.paid_order_count),
}
# The columns of a single standing order.
DETAIL_COLUMNS: Columns[pb.StandingOrder] = {
    **STANDING_ORDER_COLUMNS,
    "under mandate": lambda it: last_id(it.mandate),
    "asked to pay within": lambda it: format_duration(it.payment_window),
    "price": lambda it: describe_protection(it.price_protection),
    "currency": lambda it: it.currency,
    "promotion": lambda it: it.promotion_code,
    "sent to": lambda it: format_address(it.ship_to),
    "region": lambda it: it.region_code,
    "tax id": lambda it: it.tax_id,
    "missed cycles": lambda it: describe_catch_up(it.catch_up),
    "moves for a slot": lambda it: (
        f"{it.slot_days_before} days before, {it.slot_days_after} after"
        if it.slot_days_before or it.slot_days_after
        else ""
    ),
    "conditions": lambda it: "\n".join(map(describe_condition, it.conditions)),
    "changes": lambda it: "\n".join(map(describe_cycle_change, it.cycle_changes)),
    "created": lambda it: format_timestamp(it.create_time),
    "updated": lambda it: format_timestamp(it.update_time),
}

AllowDuplicateOption = Annotated[
    bool,
    typer.Option(
        "--allow-duplicate", help="Accept a product that the customer has in another one."
    ),
]


# Between a product and what the customer takes instead of it.
OR = " or "


def parse_item(text: str) -> tuple[str, int]:
    """A product and how many of it: `tea` is one, `tea=2` two."""
    product, separator, quantity = text.partition("=")
    if product.split() != [product] or (separator and not quantity.strip()):
        raise typer.BadParameter(f"{text!r} is not PRODUCT or PRODUCT=QUANTITY")
    try:
        # Whether there may be none, the service judges, with all else that is wrong.
        return product, parse_number(quantity, low=0) if separator else 1
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{text!r}: {error.message}") from None


class Clearable(StrEnum):
    """What a standing order need not have."""

    CONDITIONS = "conditions"
    PRICE_PROTECTION = "price_protection"
    REPURCHASE_WINDOW = "repurchase_window"
    SLOT_DAYS_BEFORE = "slot_days_before"
    SLOT_DAYS_AFTER = "slot_days_after"
    SHIP_TO = "ship_to"
    TAX_ID = "tax_id"


@dataclass(frozen=True)
class ChangeOptions:
    """What can be changed beside the schedule and the terms."""

    title: Annotated[str, typer.Option(help=TITLE_HELP)] = ""
    items: Annotated[
        list[str] | None,
        typer.Option("--item", metavar="PRODUCT=QUANTITY", help="All items. Repeatable."),
    ] = None
    pay_on_notice: Annotated[
        bool, typer.Option("--pay-on-notice", help="Have the customer confirm each payment.")
    ] = False
    clear: Annotated[
        list[Clearable] | None,
        typer.Option(metavar="|".join(Clearable), help="Remove these. Repeatable."),
    ] = None


def items_of(product_name: Callable[[str], str], texts: Iterable[str]) -> list[pb.Item]:
    """Items such as `tea`, `tea=2` or `tea=2 or mate`, each product once."""
    items: list[pb.Item] = []
    for text in texts:
        first, *substitutes = text.split(OR)
        product, quantity = parse_item(first)
        item = pb.Item(
            product=product_name(product),
            quantity=quantity,
            substitutes=[product_name(substitute) for substitute in substitutes],
        )
        if any(item.product == other.product for other in items):
            raise typer.BadParameter(f"{text!r}: {product} comes twice; give each product once")
        items.append(item)
    return items


def item_options(session: Session, texts: Iterable[str] | None) -> list[pb.Item]:
    """The items that were given as options."""
    with naming("--item"):
        return items_of(partial(session.name, PRODUCT), texts or ())


@command(standing_orders, "create")
async def create_standing_order(
    session: Session,
    customer: Annotated[str, typer.Option(help="Id or resource name.")],
    title: Annotated[str, typer.Option(help=TITLE_HELP)],
    items: Annotated[
        list[str], typer.Option("--item", metavar="PRODUCT=QUANTITY", help="An item. Repeatable.")
    ],
    schedule: ScheduleOptions,
    terms: TermOptions,
    standing_order: Annotated[
        str, typer.Option("--id", help="The id of the new standing order. Default: generated.")
    ] = "",
    lock_cycles: Annotated[
        int | None, typer.Option(min=1, help="Keep today's prices for so many cycles.")
    ] = None,
    lock_until: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="Keep today's prices until then."),
    ] = None,
    cap_percent: Annotated[
        int | None,
        typer.Option(min=0, help="Never charge more than so many percent above today's prices."),
    ] = None,
    currency: Annotated[
        str, typer.Option(metavar="CODE", help="What it is billed in. Default: the only one.")
    ] = "",
    promotion: Annotated[
        str, typer.Option(metavar="CODE", help="The promotion that it redeems.")
    ] = "",
    allow_duplicate: AllowDuplicateOption = False,
) -> None:
    """Create a standing order. Without --mandate the customer confirms each payment."""
    schedule.check_complete()
    customer_name = session.name(CUSTOMER, customer)
    made = pb.StandingOrder(
        customer=customer_name,
        title=title,
        items=item_options(session, items),
        schedule=schedule.changed(pb.Schedule()),
        billing_mode=pb.PAY_ON_NOTICE,
        price_protection=parse_protection(
            lock_cycles, lock_until, cap_percent, terms.offer and session.name(OFFER, terms.offer)
        ),
        currency=currency,
        promotion_code=promotion.upper(),
    )
    made.MergeFrom(terms.message(session, customer_name))
    request = pb.CreateStandingOrderRequest(
        parent=session.parent,
        standing_order_id=standing_order,
        standing_order=made,
        request_id=new_request_id(),
        allow_duplicate=allow_duplicate,
    )
    session.output.one(await session.scheduler.CreateStandingOrder(request), DETAIL_COLUMNS)


@command(standing_orders, "update")
async def update_standing_order(
    session: Session,
    standing_order: StandingOrderArgument,
    change: ChangeOptions,
    schedule: ScheduleOptions,
    terms: TermOptions,
    allow_duplicate: AllowDuplicateOption = False,
) -> None:
    """Change the given parts of a standing order, from its next cycle on."""
    wanted, mask = await _change(session, standing_order, change, schedule, terms)
    request = pb.UpdateStandingOrderRequest(
        standing_order=wanted,
        update_mask=mask,
        request_id=new_request_id(),
        allow_duplicate=allow_duplicate,
    )
    session.output.one(await session.scheduler.UpdateStandingOrder(request), DETAIL_COLUMNS)


@command(standing_orders, "preview-update")
async def preview_standing_order_update(
    session: Session,
    standing_order: StandingOrderArgument,
    change: ChangeOptions,
    schedule: ScheduleOptions,
    terms: TermOptions,
    cycles: Annotated[int, typer.Option(min=1, help="How many cycles.")] = 12,
) -> None:
    """Show the next cycles before and after an update. Nothing is stored."""
    wanted, mask = await _change(session, standing_order, change, schedule, terms)
    request = pb.PreviewStandingOrderUpdateRequest(
        standing_order=wanted, update_mask=mask, cycle_count=cycles
    )
    response = await session.scheduler.PreviewStandingOrderUpdate(request)
    if session.output.as_json:
        session.output.one(response, {})
        return
    session.output.rows(SIDE_BY_SIDE, side_by_side(response), "no further cycles")


def changed_paths(wanted: pb.StandingOrder, terms: TermOptions) -> list[str]:
    """The fields that were given, and those that were given as 0, which a message does not show."""
    zeros = [name for name in ("slot_days_before", "slot_days_after") if getattr(terms, name) == 0]
    return [*(field.name for field, _ in wanted.ListFields()), *zeros]


async def _change(
    session: Session,
    standing_order: str,
    change: ChangeOptions,
    schedule: ScheduleOptions,
    terms: TermOptions,
) -> tuple[pb.StandingOrder, field_mask_pb2.FieldMask]:
    """What the options make of a standing order, and the fields that they name.

    It carries the etag of what it was decided on, so that nobody's change meanwhile is undone.
    """
    present = await session.scheduler.GetStandingOrder(
        pb.GetStandingOrderRequest(name=session.name(STANDING_ORDER, standing_order))
    )
    wanted = terms.message(session, present.customer, present)
    wanted.MergeFrom(
        pb.StandingOrder(title=change.title, items=item_options(session, change.items))
    )
    if schedule.given():
        wanted.schedule.CopyFrom(schedule.changed(present.schedule))
    paths = changed_paths(wanted, terms)
    if change.pay_on_notice:
        if wanted.mandate:
            raise typer.BadParameter("--pay-on-notice goes without --mandate")
        wanted.billing_mode = pb.PAY_ON_NOTICE
        paths += ["billing_mode", "mandate"]
    for path in change.clear or ():
        if path in paths:
            raise typer.BadParameter(
                f"{path}: say it once, and without a new one", param_hint="--clear"
            )
        paths.append(path)
    if not paths:
        raise typer.BadParameter("say what to change")
    wanted.name, wanted.etag = present.name, present.etag
    return wanted, field_mask_pb2.FieldMask(paths=paths)


@command(standing_orders, "list")
async def list_standing_orders(
    session: Session,
    customer: Annotated[str, typer.Option(help="Only standing orders of this customer.")] = "",
    state: Annotated[
        pb.StandingOrder.State.ValueType,
        one_of(pb.StandingOrder.State, "Only standing orders in this state."),
    ] = pb.StandingOrder.STATE_UNSPECIFIED,
    product: Annotated[str, typer.Option(help="Only standing orders with this product.")] = "",
) -> None:
    """List standing orders."""
    request = pb.ListStandingOrdersRequest(
        parent=session.parent,
        customer=session.name(CUSTOMER, customer) if customer else "",
        state=state,
        product=session.name(PRODUCT, product) if product else "",
    )
    listed = await all_pages(session.scheduler.ListStandingOrders, request, "standing_orders")
    session.output.many(listed, STANDING_ORDER_COLUMNS, "no standing orders")


@command(standing_orders, "get")
async def get_standing_order(session: Session, standing_order: StandingOrderArgument) -> None:
    """Show a standing order."""
    request = pb.GetStandingOrderRequest(name=session.name(STANDING_ORDER, standing_order))
    session.output.one(await session.scheduler.GetStandingOrder(request), DETAIL_COLUMNS)


@command(standing_orders, "pause")
async def pause_standing_order(
    session: Session,
    standing_order: StandingOrderArgument,
    until: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="Resume then."),
    ] = None,
    cycles: Annotated[int | None, typer.Option(min=1, help="Resume after so many cycles.")] = None,
) -> None:
    """Pause a standing order until a time, for a number of cycles, or until it is resumed."""
    if until is not None and cycles is not None:
        raise typer.BadParameter("say either --until or --cycles")
    request = pb.PauseStandingOrderRequest(
        name=session.name(STANDING_ORDER, standing_order),
        until_time=to_timestamp(until),
        request_id=new_request_id(),
    )
    if cycles is not None:
        request.cycle_count = cycles
    session.output.one(await session.scheduler.PauseStandingOrder(request), DETAIL_COLUMNS)


@command(standing_orders, "resume")
async def resume_standing_order(
    session: Session,
    standing_order: StandingOrderArgument,
    anchor: Annotated[
        date_pb2.Date | None,
        typer.Option(
            parser=parse_date, metavar="DATE", help="Compute the due dates from this one on."
        ),
    ] = None,
) -> None:
    """Resume a paused standing order, on its original dates or on those of a new anchor."""
    request = pb.ResumeStandingOrderRequest(
        name=session.name(STANDING_ORDER, standing_order),
        anchor_date=anchor,
        request_id=new_request_id(),
    )
    session.output.one(await session.scheduler.ResumeStandingOrder(request), DETAIL_COLUMNS)


@command(standing_orders, "cancel")
async def cancel_standing_order(
    session: Session,
    standing_order: StandingOrderArgument,
    after_current: Annotated[
        bool, typer.Option("--after-current", help="Let the current cycle be the last one.")
    ] = False,
) -> None:
    """Cancel a standing order for good, at once or after its current cycle."""
    request = pb.CancelStandingOrderRequest(
        name=session.name(STANDING_ORDER, standing_order),
        after_current_cycle=after_current,
        request_id=new_request_id(),
    )
    session.output.one(await session.scheduler.CancelStandingOrder(request), DETAIL_COLUMNS)
