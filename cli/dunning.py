"""What follows a decline: the merchant's policy."""

from typing import Annotated

import typer
from google.type import dayofweek_pb2
from recurring.payments.v1 import payments_pb2 as pb

from cli.command import command, group, naming, one_of
from cli.connect import Session, new_request_id
from cli.output import Columns
from cli.schedules import parse_weekdays

dunning = group("Show and change what follows a declined charge.")

WEEK_DAYS = 7

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
}


def _short_name(day: dayofweek_pb2.DayOfWeek) -> str:
    name: str = dayofweek_pb2.DayOfWeek.Name(day)
    return name[:3].lower()


def parse_days(text: str) -> list[int]:
    """Days between retries, for example 1,3,5; an empty text is no retry."""
    try:
        return [int(number) for number in text.split(",")] if text else []
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of days, for example 1,3,5") from None


@command(dunning, "get")
async def get_policy(session: Session) -> None:
    """Show the merchant's policy."""
    session.output.one(await _present(session), POLICY_COLUMNS)


@command(dunning, "set")
async def set_policy(
    session: Session,
    *,
    schedule: Annotated[
        pb.DunningPolicy.Schedule.ValueType,
        one_of(pb.DunningPolicy.Schedule, "A published schedule.", but=("CUSTOM",)),
    ] = pb.DunningPolicy.SCHEDULE_UNSPECIFIED,
    retry_days: Annotated[
        str | None,
        typer.Option(metavar="DAYS", help="Days between retries, for example 1,3,5."),
    ] = None,
    hour: Annotated[
        int | None, typer.Option(min=0, max=23, help="The hour of the customer's day.")
    ] = None,
    any_hour: Annotated[
        bool, typer.Option("--any-hour", help="At the hour of the decline.")
    ] = False,
    weekdays: Annotated[
        str | None, typer.Option(metavar="DAYS", help="The only weekdays: mon-fri.")
    ] = None,
    fallbacks: Annotated[
        bool | None,
        typer.Option("--fallbacks/--no-fallbacks", help="Charge the customer's fallbacks at once."),
    ] = None,
    await_new_method: Annotated[
        bool | None,
        typer.Option(
            "--await-new-method/--no-await-new-method",
            help="Keep a charge open for another card after a decline for good.",
        ),
    ] = None,
    ask_to_pay: Annotated[
        int | None,
        typer.Option(
            min=0, max=60, metavar="DAYS", help="The last resort: ask to pay, for so long; 0: none."
        ),
    ] = None,
) -> None:
    """Change the merchant's policy; what is not given stays as it is."""
    policy = await _present(session)
    if schedule and retry_days is not None:
        raise typer.BadParameter("give --schedule or --retry-days")
    if schedule:
        policy.schedule = schedule
        del policy.retry_days[:]
    if retry_days is not None:
        policy.schedule = pb.DunningPolicy.CUSTOM
        with naming("--retry-days"):
            policy.retry_days[:] = parse_days(retry_days)
    if hour is not None:
        policy.retry_hour = hour
    if any_hour:
        policy.ClearField("retry_hour")
    if weekdays is not None:
        with naming("--weekdays"):
            days = parse_weekdays(weekdays)
        # All of them are no restriction.
        policy.weekdays[:] = days if len(days) < WEEK_DAYS else []
    if fallbacks is not None:
        policy.uses_fallbacks = fallbacks
    if await_new_method is not None:
        policy.awaits_new_method = await_new_method
    if ask_to_pay is not None:
        policy.ask_to_pay_days = ask_to_pay
    request = pb.UpdateDunningPolicyRequest(dunning_policy=policy, request_id=new_request_id())
    session.output.one(await session.payments.UpdateDunningPolicy(request), POLICY_COLUMNS)


async def _present(session: Session) -> pb.DunningPolicy:
    request = pb.GetDunningPolicyRequest(name=f"{session.parent}/dunningPolicy")
    policy: pb.DunningPolicy = await session.payments.GetDunningPolicy(request)
    return policy
