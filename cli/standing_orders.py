"""Standing orders: what to order, when and how to pay for it, again and again."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated

import typer
from google.type import date_pb2, dayofweek_pb2, timeofday_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.names import CUSTOMER, MANDATE, PRODUCT, STANDING_ORDER, last_id
from cli.output import Columns
from cli.values import (
    format_date,
    format_duration,
    format_money,
    format_timestamp,
    parse_date,
    parse_duration,
    parse_moment,
    parse_time_of_day,
    to_duration,
    to_timestamp,
)

standing_orders = group("Templates that order and pay by themselves.")

StandingOrderArgument = Annotated[
    str, typer.Argument(metavar="STANDING_ORDER", help="Its id or name.")
]

BASIS_POINTS_PER_PERCENT = 100
_EVERY = re.compile(r"(\d{1,6})? ?(day|week|month|year)s?")
_WEEKDAYS = {name[:3].lower(): number for name, number in dayofweek_pb2.DayOfWeek.items() if number}


def describe_repurchase(standing_order: pb.StandingOrder) -> str:
    """What a purchase elsewhere does, for example "skip within 7d"; empty where it does nothing."""
    if not standing_order.HasField("repurchase_window"):
        return ""
    action = pb.Otherwise.Action.Name(standing_order.repurchase_action)
    window = format_duration(standing_order.repurchase_window)
    return f"{action.lower().replace('_', ' ')} within {window}"


STANDING_ORDER_COLUMNS: Columns[pb.StandingOrder] = {
    "standing order": lambda it: last_id(it.name),
    "customer": lambda it: last_id(it.customer),
    "title": lambda it: it.title,
    "items": lambda it: ", ".join(f"{each.quantity} {last_id(each.product)}" for each in it.items),
    "when": lambda it: describe_schedule(it.schedule),
    "pays": lambda it: pb.BillingMode.Name(it.billing_mode).lower().replace("_", " "),
    "told before": lambda it: format_duration(it.notice_lead),
    "bought elsewhere": describe_repurchase,
    "state": lambda it: pb.StandingOrder.State.Name(it.state),
    "next": lambda it: (
        f"{it.next_cycle}: {format_timestamp(it.next_due_time)}" if it.next_cycle else ""
    ),
    "skipped": lambda it: ", ".join(map(str, it.skipped_cycles)),
    "paid": lambda it: str(it.paid_order_count),
}
PREVIEW_COLUMNS: Columns[pb.CyclePreview] = {
    "cycle": lambda it: str(it.cycle),
    "date": lambda it: format_date(it.local_date),
    "due": lambda it: format_timestamp(it.due_time),
    "told": lambda it: format_timestamp(it.notice_time),
    "amount": lambda it: format_money(it.amount),
    "why": lambda it: ", ".join(sorted({line.basis for line in it.lines})),
    "left out": lambda it: pb.OrderReason.Name(it.skip_reason) if it.skip_reason else "",
    "problems": lambda it: ", ".join(map(pb.OrderReason.Name, it.problems)),
}


def parse_item(text: str) -> tuple[str, int]:
    """A product and how many of it: `tea` or `tea=2`."""
    product, _, quantity = text.partition("=")
    if not product or not (quantity or "1").isdecimal():
        raise typer.BadParameter(f"{text!r} is not PRODUCT or PRODUCT=QUANTITY")
    return product, int(quantity or "1")


def parse_recurrence(every: str, on: str) -> pb.Schedule:
    """A schedule that has only its recurrence: `every` such as "2 weeks", `on` such as "mon,thu".

    `on` is days of the month for months ("31" or "1,15" or "-1"), weekdays for weeks, and else empty.
    """
    match = _EVERY.fullmatch(every.strip())
    if match is None:
        raise typer.BadParameter(f'{every!r} is not "month", "2 weeks", "10 days" or "year"')
    number, unit = int(match[1] or "1"), match[2]
    days = [day.strip().lower() for day in on.split(",") if day.strip()]
    if unit == "week":
        return pb.Schedule(weekly=pb.Schedule.Weekly(every_weeks=number, weekdays=_weekdays(days)))
    if unit == "month":
        month_days = _month_days(days)
        return pb.Schedule(monthly=pb.Schedule.Monthly(every_months=number, month_days=month_days))
    if days:
        raise typer.BadParameter(f"--on goes with weeks and months, not with {unit}s")
    if unit == "day":
        return pb.Schedule(daily=pb.Schedule.Daily(every_days=number))
    return pb.Schedule(yearly=pb.Schedule.Yearly(every_years=number))


def describe_schedule(schedule: pb.Schedule) -> str:
    """A schedule in a few words, for example "every month on 31 at 09:00 Europe/Berlin"."""
    local_time = schedule.local_time
    at = f"at {local_time.hours:02}:{local_time.minutes:02} {schedule.time_zone}"
    match schedule.WhichOneof("recurrence"):
        case "daily":
            when = _every(schedule.daily.every_days, "day")
        case "weekly":
            names = [dayofweek_pb2.DayOfWeek.Name(day)[:3] for day in schedule.weekly.weekdays]
            when = _every(schedule.weekly.every_weeks, "week") + _on(name.title() for name in names)
        case "monthly":
            days = map(str, schedule.monthly.month_days)
            when = _every(schedule.monthly.every_months, "month") + _on(days)
        case "yearly":
            when = _every(schedule.yearly.every_years, "year")
        case _:
            when = "never"
    return f"{when} {at} from {format_date(schedule.start_date)}"


@command(standing_orders, "create")
async def create_standing_order(
    session: Session,
    customer: Annotated[str, typer.Option(help="Their id or name.")],
    title: Annotated[str, typer.Option(help="What the customer calls it.")],
    items: Annotated[
        list[str], typer.Option("--item", metavar="PRODUCT=QUANTITY", help="As often as needed.")
    ],
    every: Annotated[str, typer.Option(help='"month", "2 weeks", "10 days", "year".')],
    start: Annotated[
        date_pb2.Date, typer.Option(parser=parse_date, metavar="DATE", help="First possible date.")
    ],
    zone: Annotated[str, typer.Option(help="IANA time zone.")],
    standing_order: Annotated[str, typer.Option("--id", help="Default: one that is free.")] = "",
    on: Annotated[
        str, typer.Option(help='Month days ("31", "1,15", "-1"); weekdays ("mon").')
    ] = "",
    at: Annotated[
        timeofday_pb2.TimeOfDay | None, typer.Option(parser=parse_time_of_day, metavar="HH:MM")
    ] = None,
    count: Annotated[int | None, typer.Option(help="How many cycles.")] = None,
    until: Annotated[
        date_pb2.Date | None, typer.Option(parser=parse_date, metavar="DATE", help="Last date.")
    ] = None,
    mandate: Annotated[str, typer.Option(help="Charge automatically under it: its id.")] = "",
    lead: Annotated[
        timedelta | None,
        typer.Option(parser=parse_duration, metavar="72h", help="Told so long before."),
    ] = None,
    window: Annotated[
        timedelta | None,
        typer.Option(parser=parse_duration, metavar="72h", help="A request to pay stands so long."),
    ] = None,
    lock_cycles: Annotated[int | None, typer.Option(help="Today's price for so many.")] = None,
    lock_until: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="TIME")
    ] = None,
    cap_percent: Annotated[int | None, typer.Option(help="Never more above today's price.")] = None,
    repurchase_window: Annotated[
        timedelta | None,
        typer.Option(parser=parse_duration, metavar="7d", help="Bought elsewhere so long before."),
    ] = None,
    repurchase_action: Annotated[
        pb.Otherwise.Action.ValueType, one_of(pb.Otherwise.Action)
    ] = pb.Otherwise.ACTION_UNSPECIFIED,
    allow_duplicate: Annotated[
        bool, typer.Option("--allow-duplicate", help="Another one with the product may be there.")
    ] = False,
) -> None:
    """Create a standing order; without a mandate the customer confirms each payment."""
    schedule = parse_recurrence(every, on)
    schedule.MergeFrom(pb.Schedule(start_date=start, local_time=at, time_zone=zone, end_date=until))
    if count is not None:
        schedule.cycle_count = count
    customer_name = session.name(CUSTOMER, customer)
    made = pb.StandingOrder(
        customer=customer_name,
        title=title,
        items=[
            pb.Item(product=session.name(PRODUCT, product), quantity=quantity)
            for product, quantity in map(parse_item, items)
        ],
        schedule=schedule,
        billing_mode=pb.AUTOMATIC if mandate else pb.PAY_ON_NOTICE,
        mandate=_mandate(session, customer_name, mandate),
        price_protection=parse_protection(lock_cycles, lock_until, cap_percent),
        notice_lead=to_duration(lead),
        payment_window=to_duration(window),
        repurchase_window=to_duration(repurchase_window),
        repurchase_action=repurchase_action,
    )
    request = pb.CreateStandingOrderRequest(
        parent=session.parent,
        standing_order_id=standing_order,
        standing_order=made,
        request_id=new_request_id(),
        allow_duplicate=allow_duplicate,
    )
    session.output.one(await session.scheduler.CreateStandingOrder(request), STANDING_ORDER_COLUMNS)


@command(standing_orders, "list")
async def list_standing_orders(
    session: Session,
    customer: Annotated[str, typer.Option(help="Only those of this customer.")] = "",
    state: Annotated[
        pb.StandingOrder.State.ValueType, one_of(pb.StandingOrder.State)
    ] = pb.StandingOrder.STATE_UNSPECIFIED,
) -> None:
    """List standing orders."""
    request = pb.ListStandingOrdersRequest(
        parent=session.parent,
        customer=session.name(CUSTOMER, customer) if customer else "",
        state=state,
    )
    found = await all_pages(session.scheduler.ListStandingOrders, request, "standing_orders")
    session.output.many(found, STANDING_ORDER_COLUMNS, "no standing orders")


@command(standing_orders, "get")
async def get_standing_order(session: Session, standing_order: StandingOrderArgument) -> None:
    """Show a standing order."""
    request = pb.GetStandingOrderRequest(name=session.name(STANDING_ORDER, standing_order))
    session.output.one(await session.scheduler.GetStandingOrder(request), STANDING_ORDER_COLUMNS)


@command(standing_orders, "pause")
async def pause_standing_order(session: Session, standing_order: StandingOrderArgument) -> None:
    """Open no cycle until it is resumed."""
    request = pb.PauseStandingOrderRequest(
        name=session.name(STANDING_ORDER, standing_order), request_id=new_request_id()
    )
    session.output.one(await session.scheduler.PauseStandingOrder(request), STANDING_ORDER_COLUMNS)


@command(standing_orders, "resume")
async def resume_standing_order(session: Session, standing_order: StandingOrderArgument) -> None:
    """Go on after a pause, on the original dates."""
    request = pb.ResumeStandingOrderRequest(
        name=session.name(STANDING_ORDER, standing_order), request_id=new_request_id()
    )
    session.output.one(await session.scheduler.ResumeStandingOrder(request), STANDING_ORDER_COLUMNS)


@command(standing_orders, "cancel")
async def cancel_standing_order(session: Session, standing_order: StandingOrderArgument) -> None:
    """End a standing order for good."""
    request = pb.CancelStandingOrderRequest(
        name=session.name(STANDING_ORDER, standing_order), request_id=new_request_id()
    )
    session.output.one(await session.scheduler.CancelStandingOrder(request), STANDING_ORDER_COLUMNS)


@command(standing_orders, "skip")
async def skip_cycle(
    session: Session,
    standing_order: StandingOrderArgument,
    cycle: Annotated[int, typer.Option(help="Default: the next that can be left out.")] = 0,
) -> None:
    """Leave out one cycle."""
    request = pb.SkipCycleRequest(
        name=session.name(STANDING_ORDER, standing_order), cycle=cycle, request_id=new_request_id()
    )
    session.output.one(await session.scheduler.SkipCycle(request), STANDING_ORDER_COLUMNS)


@command(standing_orders, "preview")
async def preview_cycles(
    session: Session,
    standing_order: StandingOrderArgument,
    cycles: Annotated[int, typer.Option(help="How many.")] = 12,
) -> None:
    """Show the coming cycles: dates, amounts and the reason for each. Nothing is stored."""
    request = pb.PreviewCyclesRequest(
        name=session.name(STANDING_ORDER, standing_order), cycle_count=cycles
    )
    response = await session.scheduler.PreviewCycles(request)
    session.output.many(response.cycles, PREVIEW_COLUMNS, "no further cycles")


def _weekdays(days: list[str]) -> list[dayofweek_pb2.DayOfWeek]:
    unknown = [day for day in days if day[:3] not in _WEEKDAYS]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: give weekdays such as mon,thu")
    return [_WEEKDAYS[day[:3]] for day in days]


def _month_days(days: list[str]) -> list[int]:
    try:
        return [int(day) for day in days]
    except ValueError:
        raise typer.BadParameter(f"{', '.join(days)}: give days such as 31 or 1,15") from None


def _mandate(session: Session, customer: str, mandate: str) -> str:
    """The full name of a mandate; its id alone means one of the customer."""
    if not mandate or "/" in mandate:
        return session.name(MANDATE, mandate) if mandate else ""
    return f"{customer}/mandates/{mandate}"


def parse_protection(
    lock_cycles: int | None, lock_until: datetime | None, cap_percent: int | None
) -> pb.PriceProtection | None:
    """A lock or a cap; None where neither is wanted."""
    if cap_percent is not None:
        if lock_cycles is not None or lock_until is not None:
            raise typer.BadParameter("a price is either locked or capped")
        cap = pb.PriceProtection.Cap(increase_limit_bps=cap_percent * BASIS_POINTS_PER_PERCENT)
        return pb.PriceProtection(cap=cap)
    if lock_cycles is None and lock_until is None:
        return None
    until_time = to_timestamp(lock_until)
    lock = pb.PriceProtection.Lock(cycle_count=lock_cycles or 0, until_time=until_time)
    return pb.PriceProtection(lock=lock)


def _every(number: int, unit: str) -> str:
    return f"every {unit}" if number == 1 else f"every {number} {unit}s"


def _on(days: Iterable[str]) -> str:
    joined = ", ".join(days)
    return f" on {joined}" if joined else ""
