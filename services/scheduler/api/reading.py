"""From a caller's messages to the domain, noting everything that is wrong with them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

from google.protobuf import duration_pb2
from google.protobuf.json_format import MessageToDict
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.errors import Violations
from services.runtime.wire import NamePattern, read_date, read_timestamp
from services.scheduler.domain import calendar, validation
from services.scheduler.domain.order import BillingMode, Item
from services.scheduler.domain.purchases import RepurchaseAction, RepurchaseRule
from services.scheduler.domain.rrule import from_rrule
from services.scheduler.domain.schedule import (
    EVERY_DAY,
    MAX_BLACKOUTS,
    BlackoutRule,
    BusinessDayRule,
    BusinessDays,
    Daily,
    DateRange,
    End,
    EndAfter,
    EndOn,
    Monthly,
    NthWeekday,
    Recurrence,
    Schedule,
    Weekday,
    Weekly,
    Yearly,
)
from services.scheduler.domain.standing_order import (
    CATCH_UP_WINDOW_DEFAULT,
    NOTICE_LEAD_DEFAULT,
    PAYMENT_WINDOW_DEFAULT,
    CatchUp,
    CatchUpMode,
    StandingOrder,
    at_cycle,
)

MERCHANT = NamePattern("merchants/{merchant}")
CUSTOMER = NamePattern("merchants/{merchant}/customers/{customer}")
MANDATE = NamePattern("merchants/{merchant}/customers/{customer}/mandates/{mandate}")
PRODUCT = NamePattern("merchants/{merchant}/products/{product}")
STANDING_ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}")

TITLE_MAX_CHARACTERS = 60
ITEMS_MAX = 100
QUANTITY_MAX = 10_000
NOTICE_LEAD_MIN, NOTICE_LEAD_MAX = timedelta(hours=1), timedelta(days=60)
PAYMENT_WINDOW_MIN, PAYMENT_WINDOW_MAX = timedelta(hours=1), timedelta(days=30)
SHIP_TO_MAX_BYTES = 2000
CATCH_UP_WINDOW_MIN, CATCH_UP_WINDOW_MAX = timedelta(hours=1), timedelta(days=60)
REPURCHASE_WINDOW_MIN, REPURCHASE_WINDOW_MAX = timedelta(hours=1), timedelta(days=366)
RRULE_MAX_CHARACTERS = 2000
LOCK_MAX_CYCLES = 1000
CAP_MAX_BPS = 100_000
LOCAL_TIME_DEFAULT = time(9, 0)

Shipped = scheduler_pb2.StandingOrder | scheduler_pb2.CycleChange

_BLACKOUT_RULES = {
    scheduler_pb2.Schedule.SKIP: BlackoutRule.SKIP,
    scheduler_pb2.Schedule.MOVE_TO_NEXT_ALLOWED: BlackoutRule.MOVE_TO_NEXT_ALLOWED,
}
_REPURCHASE_ACTIONS = {
    scheduler_pb2.Otherwise.SKIP: RepurchaseAction.SKIP,
    scheduler_pb2.Otherwise.HOLD_AND_ASK: RepurchaseAction.HOLD_AND_ASK,
}
_BUSINESS_DAY_RULES = {
    scheduler_pb2.Schedule.BusinessDays.NEXT: BusinessDayRule.NEXT,
    scheduler_pb2.Schedule.BusinessDays.PREVIOUS: BusinessDayRule.PREVIOUS,
}


def read_standing_order(
    merchant: str,
    standing_order_id: str,
    message: scheduler_pb2.StandingOrder,
    now: datetime,
    violations: Violations,
    known_start: date | None = None,
    *,
    began_elsewhere: bool = False,
) -> StandingOrder | None:
    """A standing order; None, with violations, if the message does not describe one.

    Its schedule starts today or later, or on `known_start`, the start of one that runs already; at
    any time if it began in another system.
    """
    field = "standing_order"
    customer = _read_customer(violations, f"{field}.customer", merchant, message.customer)
    violations.require_length(f"{field}.title", message.title, 1, TITLE_MAX_CHARACTERS)
    items = read_items(violations, f"{field}.items", merchant, message.items)
    today_at = None if began_elsewhere else now
    schedule = _read_schedule(
        violations, f"{field}.schedule", message.schedule, today_at, known_start
    )
    mode = _read_mode(violations, field, merchant, customer, message)
    _read_protection(violations, f"{field}.price_protection", message.price_protection)
    ship_to = read_ship_to(violations, f"{field}.ship_to", message)
    lead = _read_duration(
        violations, f"{field}.notice_lead", message, NOTICE_LEAD_DEFAULT,
        NOTICE_LEAD_MIN, NOTICE_LEAD_MAX,
    )  # fmt: skip
    window = _read_duration(
        violations, f"{field}.payment_window", message, PAYMENT_WINDOW_DEFAULT,
        PAYMENT_WINDOW_MIN, PAYMENT_WINDOW_MAX,
    )  # fmt: skip
    catch_up = _read_catch_up(violations, f"{field}.catch_up", message)
    repurchase = _read_repurchase(violations, field, message)
    if mode is None or schedule is None:
        return None
    template = StandingOrder(
        merchant=merchant,
        standing_order=standing_order_id,
        customer=customer,
        title=message.title,
        items=items,
        schedule=schedule,
        billing_mode=mode,
        mandate=message.mandate,
        ship_to=ship_to,
        price_protection=_data(message, "price_protection"),
        notice_lead=lead,
        payment_window=window,
        catch_up=catch_up,
        repurchase=repurchase,
        create_time=now,
        update_time=now,
    )
    return at_cycle(template, template.base_cycle)


def _read_customer(violations: Violations, field: str, merchant: str, name: str) -> str:
    owner, customer = CUSTOMER.read(violations, field, name)
    if customer and owner != merchant:
        violations.add(field, "must be a customer of the parent merchant")
    return customer


def read_items(
    violations: Violations, field: str, merchant: str, messages: Sequence[scheduler_pb2.Item]
) -> tuple[Item, ...]:
    """The items of a template or of one cycle: 1 to ITEMS_MAX, each product once."""
    count = len(messages)
    violations.require(field, f"must have 1 to {ITEMS_MAX} items", met=1 <= count <= ITEMS_MAX)
    items: list[Item] = []
    for place, item in enumerate(messages[:ITEMS_MAX]):
        owner, product = PRODUCT.read(violations, f"{field}[{place}].product", item.product)
        if product and owner != merchant:
            violations.add(f"{field}[{place}].product", "must be a product of the parent merchant")
        if any(known.product == product for known in items):
            violations.add(f"{field}[{place}].product", "must not repeat a product")
        violations.require_range(f"{field}[{place}].quantity", item.quantity, 1, QUANTITY_MAX)
        items.append(Item(product, item.quantity))
    return tuple(items)


def _read_mode(
    violations: Violations,
    field: str,
    merchant: str,
    customer: str,
    message: scheduler_pb2.StandingOrder,
) -> BillingMode | None:
    if message.billing_mode == scheduler_pb2.AUTOMATIC:
        owner, payer, mandate = MANDATE.read(violations, f"{field}.mandate", message.mandate)
        if mandate and (owner, payer) != (merchant, customer):
            violations.add(f"{field}.mandate", "must be a mandate of the same customer")
        return BillingMode.AUTOMATIC
    if message.billing_mode == scheduler_pb2.PAY_ON_NOTICE:
        violations.require(
            f"{field}.mandate", "must be empty for PAY_ON_NOTICE", met=not message.mandate
        )
        return BillingMode.PAY_ON_NOTICE
    violations.add(f"{field}.billing_mode", "must be AUTOMATIC or PAY_ON_NOTICE")
    return None


def _read_protection(
    violations: Violations, field: str, protection: scheduler_pb2.PriceProtection
) -> None:
    kind = protection.WhichOneof("kind")
    if kind == "cap":
        violations.require_range(
            f"{field}.cap.increase_limit_bps", protection.cap.increase_limit_bps, 0, CAP_MAX_BPS
        )
    elif kind == "lock":
        lock = protection.lock
        if lock.HasField("until_time"):
            read_timestamp(violations, f"{field}.lock.until_time", lock.until_time)
        violations.require_range(f"{field}.lock.cycle_count", lock.cycle_count, 0, LOCK_MAX_CYCLES)
        violations.require(
            f"{field}.lock",
            "must have a cycle_count or an until_time",
            met=bool(lock.cycle_count) or lock.HasField("until_time"),
        )


def read_ship_to(violations: Violations, field: str, message: Shipped) -> Mapping[str, Any] | None:
    """An address as plain data; None if there is none."""
    violations.require(
        field,
        f"must have at most {SHIP_TO_MAX_BYTES} bytes",
        met=message.ship_to.ByteSize() <= SHIP_TO_MAX_BYTES,
    )
    return _data(message, "ship_to")


def _read_catch_up(
    violations: Violations, field: str, message: scheduler_pb2.StandingOrder
) -> CatchUp:
    if not message.HasField("catch_up"):
        return CatchUp()
    mode = message.catch_up.mode
    known = mode in scheduler_pb2.CatchUp.Mode.values() and mode != 0
    violations.require(f"{field}.mode", "must be LATEST_ONLY, ALL_IN_ORDER or NONE", met=known)
    window = _read_duration(
        violations, f"{field}.window", message.catch_up, CATCH_UP_WINDOW_DEFAULT,
        CATCH_UP_WINDOW_MIN, CATCH_UP_WINDOW_MAX,
    )  # fmt: skip
    name = scheduler_pb2.CatchUp.Mode.Name(mode) if known else "LATEST_ONLY"
    return CatchUp(CatchUpMode(name), window)


def _read_repurchase(
    violations: Violations, field: str, message: scheduler_pb2.StandingOrder
) -> RepurchaseRule | None:
    number = message.repurchase_action or scheduler_pb2.Otherwise.SKIP
    action = _REPURCHASE_ACTIONS.get(number)
    if action is None:
        violations.add(f"{field}.repurchase_action", "must be SKIP or HOLD_AND_ASK")
    window = _read_duration(
        violations, f"{field}.repurchase_window", message, timedelta(),
        REPURCHASE_WINDOW_MIN, REPURCHASE_WINDOW_MAX,
    )  # fmt: skip
    return RepurchaseRule(window, action) if window and action else None


def _read_duration(
    violations: Violations,
    field: str,
    message: scheduler_pb2.StandingOrder | scheduler_pb2.CatchUp,
    default: timedelta,
    least: timedelta,
    most: timedelta,
) -> timedelta:
    name = field.rpartition(".")[2]
    if not message.HasField(name):  # type: ignore[arg-type]
        return default
    given: duration_pb2.Duration = getattr(message, name)
    # Compared in seconds first: a duration on the wire can be longer than Python's.
    in_range = least.total_seconds() <= given.seconds <= most.total_seconds() and not given.nanos
    violations.require(
        field,
        f"must be whole seconds, {int(least.total_seconds())} to {int(most.total_seconds())}",
        met=in_range,
    )
    return timedelta(seconds=given.seconds) if in_range else default


def _read_schedule(
    violations: Violations,
    field: str,
    message: scheduler_pb2.Schedule,
    now: datetime | None,
    known_start: date | None,
) -> Schedule | None:
    """A schedule that can fire; None, with the violations, if it is none.

    Without `now` it may have begun at any time.
    """
    schedule = (
        _read_rule(violations, field, message)
        if message.rrule
        else _read_fields(violations, field, message)
    )
    if schedule is None:
        return None
    schedule = replace(
        schedule,
        blackouts=_read_blackouts(violations, field, message),
        blackout_rule=_BLACKOUT_RULES.get(message.blackout_rule, BlackoutRule.SKIP),
        business_days=_read_business_days(violations, field, message),
    )
    today = calendar.utc_to_local_date(now, schedule.time_zone) if now else None
    runs_already = schedule.start_date == known_start
    found = validation.violations(schedule, None if runs_already else today)
    for violation in found:
        violations.add(f"{field}.{violation.field}", violation.message, violation.reason)
    return None if found else schedule


def _read_rule(
    violations: Violations, field: str, message: scheduler_pb2.Schedule
) -> Schedule | None:
    given = message.HasField("start_date") or message.HasField("local_time")
    if given or message.time_zone or message.WhichOneof("recurrence") or message.WhichOneof("end"):
        violations.add(f"{field}.rrule", "must stand alone: it has the start, zone and end itself")
        return None
    violations.require_length(f"{field}.rrule", message.rrule, 1, RRULE_MAX_CHARACTERS)
    found = from_rrule(message.rrule[:RRULE_MAX_CHARACTERS])
    if isinstance(found, validation.Violation):
        violations.add(f"{field}.{found.field}", found.message, found.reason)
        return None
    return found


def _read_blackouts(
    violations: Violations, field: str, message: scheduler_pb2.Schedule
) -> tuple[DateRange, ...]:
    return tuple(
        DateRange(
            read_date(violations, f"{field}.blackouts[{place}].start_date", one.start_date),
            read_date(violations, f"{field}.blackouts[{place}].end_date", one.end_date),
        )
        for place, one in enumerate(message.blackouts[: MAX_BLACKOUTS + 1])
    )


def _read_business_days(
    violations: Violations, field: str, message: scheduler_pb2.Schedule
) -> BusinessDays:
    if not message.HasField("business_days"):
        return EVERY_DAY
    given = message.business_days
    rule = _BUSINESS_DAY_RULES.get(given.rule)
    if rule is None:
        violations.add(f"{field}.business_days.rule", "must be NEXT or PREVIOUS")
        return EVERY_DAY
    return BusinessDays(rule, given.country, given.subdivision)


def _read_fields(
    violations: Violations, field: str, message: scheduler_pb2.Schedule
) -> Schedule | None:
    start_date = read_date(violations, f"{field}.start_date", message.start_date)
    recurrence = _read_recurrence(violations, field, message)
    local_time = _read_local_time(violations, f"{field}.local_time", message)
    end = _read_end(violations, field, message)
    if not calendar.is_time_zone(message.time_zone):
        violations.add(
            f"{field}.time_zone",
            'must be an IANA time zone, for example "Europe/Berlin"',
            "TIME_ZONE_UNKNOWN",
        )
        return None
    if recurrence is None:
        return None
    return Schedule(start_date, local_time, message.time_zone, recurrence, end)


def _read_recurrence(
    violations: Violations, field: str, message: scheduler_pb2.Schedule
) -> Recurrence | None:
    match message.WhichOneof("recurrence"):
        case "daily":
            return Daily(message.daily.every_days)
        case "weekly":
            weekdays = [_read_weekday(violations, f"{field}.weekly.weekdays", day)
                        for day in message.weekly.weekdays]  # fmt: skip
            return Weekly(message.weekly.every_weeks, tuple(weekdays))
        case "monthly":
            monthly = message.monthly
            nth_weekdays = [
                NthWeekday(
                    one.nth,
                    _read_weekday(
                        violations, f"{field}.monthly.nth_weekdays[{place}].weekday", one.weekday
                    ),
                )
                for place, one in enumerate(monthly.nth_weekdays)
            ]
            return Monthly(monthly.every_months, tuple(monthly.month_days), tuple(nth_weekdays))
        case "yearly":
            yearly = message.yearly
            return Yearly(yearly.every_years, yearly.month, yearly.month_day)
    violations.add(f"{field}.recurrence", "must be daily, weekly, monthly or yearly")
    return None


def _read_weekday(violations: Violations, field: str, day: int) -> Weekday:
    if not Weekday.MONDAY <= day <= Weekday.SUNDAY:
        violations.add(field, "must be a day of the week")
        return Weekday.MONDAY
    return Weekday(day)


def _read_local_time(violations: Violations, field: str, message: scheduler_pb2.Schedule) -> time:
    if not message.HasField("local_time"):
        return LOCAL_TIME_DEFAULT
    given = message.local_time
    try:
        local_time = time(given.hours, given.minutes)
    except ValueError:
        local_time = None
    if local_time is None or given.seconds or given.nanos:
        violations.add(field, "must be a time of day to the minute, 00:00 to 23:59")
    return local_time or LOCAL_TIME_DEFAULT


def _read_end(violations: Violations, field: str, message: scheduler_pb2.Schedule) -> End | None:
    match message.WhichOneof("end"):
        case "cycle_count":
            return EndAfter(message.cycle_count)
        case "end_date":
            return EndOn(read_date(violations, f"{field}.end_date", message.end_date))
    return None


def _data(message: Shipped, name: str) -> Mapping[str, Any] | None:
    if not message.HasField(name):  # type: ignore[arg-type]
        return None
    return MessageToDict(getattr(message, name), preserving_proto_field_name=True)
