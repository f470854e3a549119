"""From a caller's messages to the domain, noting everything that is wrong with them."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any

from google.protobuf import duration_pb2
from google.protobuf.json_format import MessageToDict
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.errors import Violations
from services.runtime.wire import NamePattern, read_date, read_timestamp
from services.scheduler.domain import calendar, validation
from services.scheduler.domain.order import BillingMode, Item
from services.scheduler.domain.schedule import (
    Daily,
    End,
    EndAfter,
    EndOn,
    Monthly,
    Recurrence,
    Schedule,
    Weekday,
    Weekly,
    Yearly,
)
from services.scheduler.domain.standing_order import (
    NOTICE_LEAD_DEFAULT,
    PAYMENT_WINDOW_DEFAULT,
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
LOCK_MAX_CYCLES = 1000
CAP_MAX_BPS = 100_000
LOCAL_TIME_DEFAULT = time(9, 0)


def read_standing_order(
    merchant: str,
    standing_order_id: str,
    message: scheduler_pb2.StandingOrder,
    now: datetime,
    violations: Violations,
) -> StandingOrder | None:
    """A new standing order; None, with violations, if the message does not describe one."""
    field = "standing_order"
    customer = _read_customer(violations, f"{field}.customer", merchant, message.customer)
    violations.require_length(f"{field}.title", message.title, 1, TITLE_MAX_CHARACTERS)
    items = _read_items(violations, f"{field}.items", merchant, message)
    schedule = _read_schedule(violations, f"{field}.schedule", message.schedule, now)
    mode = _read_mode(violations, field, merchant, customer, message)
    _read_protection(violations, f"{field}.price_protection", message.price_protection)
    violations.require(
        f"{field}.ship_to",
        f"must have at most {SHIP_TO_MAX_BYTES} bytes",
        met=message.ship_to.ByteSize() <= SHIP_TO_MAX_BYTES,
    )
    lead = _read_duration(
        violations, f"{field}.notice_lead", message, NOTICE_LEAD_DEFAULT,
        NOTICE_LEAD_MIN, NOTICE_LEAD_MAX,
    )  # fmt: skip
    window = _read_duration(
        violations, f"{field}.payment_window", message, PAYMENT_WINDOW_DEFAULT,
        PAYMENT_WINDOW_MIN, PAYMENT_WINDOW_MAX,
    )  # fmt: skip
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
        ship_to=_data(message, "ship_to"),
        price_protection=_data(message, "price_protection"),
        notice_lead=lead,
        payment_window=window,
        create_time=now,
        update_time=now,
    )
    return at_cycle(template, template.base_cycle)


def _read_customer(violations: Violations, field: str, merchant: str, name: str) -> str:
    owner, customer = CUSTOMER.read(violations, field, name)
    if customer and owner != merchant:
        violations.add(field, "must be a customer of the parent merchant")
    return customer


def _read_items(
    violations: Violations, field: str, merchant: str, message: scheduler_pb2.StandingOrder
) -> tuple[Item, ...]:
    count = len(message.items)
    violations.require(field, f"must have 1 to {ITEMS_MAX} items", met=1 <= count <= ITEMS_MAX)
    items: list[Item] = []
    for place, item in enumerate(message.items[:ITEMS_MAX]):
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


def _read_duration(
    violations: Violations,
    field: str,
    message: scheduler_pb2.StandingOrder,
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
    violations: Violations, field: str, message: scheduler_pb2.Schedule, now: datetime
) -> Schedule | None:
    """A schedule that can fire; None, with the violations, if it is none."""
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
    schedule = Schedule(start_date, local_time, message.time_zone, recurrence, end)
    today = calendar.utc_to_local_date(now, message.time_zone)
    found = validation.violations(schedule, today)
    for violation in found:
        violations.add(f"{field}.{violation.field}", violation.message, violation.reason)
    return None if found else schedule


def _read_recurrence(
    violations: Violations, field: str, message: scheduler_pb2.Schedule
) -> Recurrence | None:
    match message.WhichOneof("recurrence"):
        case "daily":
            return Daily(message.daily.every_days)
        case "weekly":
            weekdays = message.weekly.weekdays
            if any(not Weekday.MONDAY <= day <= Weekday.SUNDAY for day in weekdays):
                violations.add(f"{field}.weekly.weekdays", "must be days of the week")
                return None
            return Weekly(message.weekly.every_weeks, tuple(Weekday(day) for day in weekdays))
        case "monthly":
            return Monthly(message.monthly.every_months, tuple(message.monthly.month_days))
        case "yearly":
            return Yearly(message.yearly.every_years)
    violations.add(f"{field}.recurrence", "must be daily, weekly, monthly or yearly")
    return None


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


def _data(message: scheduler_pb2.StandingOrder, name: str) -> Mapping[str, Any] | None:
    if not message.HasField(name):  # type: ignore[arg-type]
        return None
    return MessageToDict(getattr(message, name), preserving_proto_field_name=True)
