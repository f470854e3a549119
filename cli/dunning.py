"""What follows a decline: the merchant's policy."""

from typing import Annotated

import typer
from google.type import dayofweek_pb2
from recurring.payments.v1 import payments_pb2 as pb

from cli.command import command, group, naming, one_of
from cli.connect import Session, new_request_id
from cli.output import Columns
from cli.schedules import parse_weekdays
from cli.values import format_money, format_timestamp, parse_number

dunning = group("Show and change what follows a declined charge.")

WEEK_DAYS = 7
Simulation = pb.SimulateDunningPolicyResponse

POLICY_COLUMNS: Columns[pb.DunningPolicy] = {
    "schedule": lambda it: pb.DunningPolicy.Schedule.Name(it.schedule),
    "retries after days": lambda it: ", ".join(map(str, it.retry_days)) or "none",
    "at": lambda it: f"{it.retry_hour:02}:00" if it.HasField("retry_hour") else "any hour",
    "on": lambda it: ", ".join(map(_short_name, it.weekdays)) or "any day",
    "fallbacks": lambda it: "charged at once" if it.uses_fallbacks else "not charged",
    "declined for good": lambda it: "waits for a new card" if it.awaits_new_method else "over",
    "last resort": lambda it: (
        f"asks to pay within {it.ask_to_pay_days} days" if it.ask_to_pay_days else "none"
    ),
    "reminds hours before": lambda it: ", ".join(map(str, it.reminder_hours)) or "never",
    "customers pay at": lambda it: it.payment_page_uri or "no page",
    "version": lambda it: str(it.version),
}


ScheduleOption = Annotated[
    pb.DunningPolicy.Schedule.ValueType,
    one_of(pb.DunningPolicy.Schedule, "A published schedule.", but=("CUSTOM",)),
]
RetryDaysOption = Annotated[
    str | None, typer.Option(metavar="DAYS", help="Days between retries, for example 1,3,5.")
]
HourOption = Annotated[
    int | None, typer.Option(min=0, max=23, help="The hour of the customer's day.")
]
AnyHourOption = Annotated[bool, typer.Option("--any-hour", help="At the hour of the decline.")]
WeekdaysOption = Annotated[
    str | None, typer.Option(metavar="DAYS", help="The only weekdays: mon-fri.")
]
FallbacksOption = Annotated[
    bool | None,
    typer.Option("--fallbacks/--no-fallbacks", help="Charge the customer's fallbacks at once."),
]
AwaitOption = Annotated[
    bool | None,
    typer.Option(
        "--await-new-method/--no-await-new-method",
        help="Keep a charge open for another card after a decline for good.",
    ),
]

SIMULATION_COLUMNS: Columns[Simulation] = {
    "since": lambda it: format_timestamp(it.since_time),
    "declined": lambda it: _format_total(it.declined),
    "paid in fact": lambda it: _format_total(it.recovered_in_fact),
    "paid by this policy": lambda it: _format_total(it.recovered),
    "not known": lambda it: _format_total(it.unknown),
}
RETRY_COLUMNS: Columns[Simulation.Retry] = {
    "retry": lambda it: str(it.number) if it.number else "next method at once",
    "declined": lambda it: str(it.declined_count),
    "paid": lambda it: str(it.recovered_count),
    "not known": lambda it: str(it.unknown_count),
}
DELAY_COLUMNS: Columns[Simulation.Delay] = {
    "in fact after": lambda it: f"{it.delay_days} days",
    "class": lambda it: Simulation.DeclineClass.Name(it.decline_class),
    "retries": lambda it: str(it.retry_count),
    "paid": lambda it: str(it.recovered_count),
}


def _format_total(total: Simulation.Total) -> str:
    """How many charges, and their amounts."""
    amounts = ", ".join(map(format_money, total.amounts))
    return f"{total.charge_count} ({amounts})" if amounts else "0"


def _short_name(day: dayofweek_pb2.DayOfWeek) -> str:
    name: str = dayofweek_pb2.DayOfWeek.Name(day)
    return name[:3].lower()


def parse_days(text: str) -> list[int]:
    """Numbers, for example days between retries: 1,3,5; an empty text is none."""
    return [parse_number(number.strip()) for number in text.split(",")] if text else []


@command(dunning, "get")
async def get_policy(session: Session) -> None:
    """Show the merchant's policy."""
    session.output.one(await _present(session), POLICY_COLUMNS)


@command(dunning, "set")
async def set_policy(
    session: Session,
    *,
    schedule: ScheduleOption = pb.DunningPolicy.SCHEDULE_UNSPECIFIED,
    retry_days: RetryDaysOption = None,
    hour: HourOption = None,
    any_hour: AnyHourOption = False,
    weekdays: WeekdaysOption = None,
    fallbacks: FallbacksOption = None,
    await_new_method: AwaitOption = None,
    ask_to_pay: Annotated[
        int | None,
        typer.Option(
            min=0, max=60, metavar="DAYS", help="The last resort: ask to pay, for so long; 0: none."
        ),
    ] = None,
    remind: Annotated[
        str | None,
        typer.Option(metavar="HOURS", help="Hours before a request to pay ends: 72,24."),
    ] = None,
    payment_page: Annotated[
        str | None, typer.Option(metavar="URL", help="The page on which customers pay by links.")
    ] = None,
) -> None:
    """Change the merchant's policy; what is not given stays as it is."""
    policy = await _present(session)
    _set_retries(policy, schedule, retry_days)
    _set_times(policy, hour, weekdays, any_hour=any_hour)
    _set_methods(policy, fallbacks, await_new_method)
    _set_requests(policy, ask_to_pay, remind, payment_page)
    request = pb.UpdateDunningPolicyRequest(dunning_policy=policy, request_id=new_request_id())
    session.output.one(await session.payments.UpdateDunningPolicy(request), POLICY_COLUMNS)


@command(dunning, "simulate")
async def simulate_policy(
    session: Session,
    *,
    schedule: ScheduleOption = pb.DunningPolicy.SCHEDULE_UNSPECIFIED,
    retry_days: RetryDaysOption = None,
    hour: HourOption = None,
    any_hour: AnyHourOption = False,
    weekdays: WeekdaysOption = None,
    fallbacks: FallbacksOption = None,
    await_new_method: AwaitOption = None,
) -> None:
    """Replay a policy over the last year's declines; what is not given is as in the present policy."""
    policy = await _present(session)
    _set_retries(policy, schedule, retry_days)
    _set_times(policy, hour, weekdays, any_hour=any_hour)
    _set_methods(policy, fallbacks, await_new_method)
    request = pb.SimulateDunningPolicyRequest(dunning_policy=policy)
    simulated = await session.payments.SimulateDunningPolicy(request)
    session.output.one(simulated, SIMULATION_COLUMNS)
    if not session.output.as_json:
        session.output.many(simulated.retries, RETRY_COLUMNS, "no retries")
        session.output.many(simulated.history, DELAY_COLUMNS, "no retries were made")


def _set_retries(
    policy: pb.DunningPolicy,
    schedule: pb.DunningPolicy.Schedule.ValueType,
    retry_days: str | None,
) -> None:
    if schedule and retry_days is not None:
        raise typer.BadParameter("give --schedule or --retry-days")
    if schedule:
        policy.schedule = schedule
        del policy.retry_days[:]
    if retry_days is not None:
        policy.schedule = pb.DunningPolicy.CUSTOM
        with naming("--retry-days"):
            policy.retry_days[:] = parse_days(retry_days)


def _set_times(
    policy: pb.DunningPolicy, hour: int | None, weekdays: str | None, *, any_hour: bool
) -> None:
    if hour is not None:
        policy.retry_hour = hour
    if any_hour:
        policy.ClearField("retry_hour")
    if weekdays is not None:
        with naming("--weekdays"):
            days = parse_weekdays(weekdays)
        # All of them are no restriction.
        policy.weekdays[:] = days if len(days) < WEEK_DAYS else []


def _set_methods(
    policy: pb.DunningPolicy, fallbacks: bool | None, await_new_method: bool | None
) -> None:
    if fallbacks is not None:
        policy.uses_fallbacks = fallbacks
    if await_new_method is not None:
        policy.awaits_new_method = await_new_method


def _set_requests(
    policy: pb.DunningPolicy,
    ask_to_pay: int | None,
    remind: str | None,
    payment_page: str | None,
) -> None:
    if ask_to_pay is not None:
        policy.ask_to_pay_days = ask_to_pay
    if remind is not None:
        with naming("--remind"):
            policy.reminder_hours[:] = parse_days(remind)
    if payment_page is not None:
        policy.payment_page_uri = payment_page


async def _present(session: Session) -> pb.DunningPolicy:
    request = pb.GetDunningPolicyRequest(name=f"{session.parent}/dunningPolicy")
    policy: pb.DunningPolicy = await session.payments.GetDunningPolicy(request)
    return policy
