"""The sandbox: its simulated clock, the messages that it received, its outages."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cli.command import command, group
from cli.connect import Session
from cli.sandbox import Sandbox
from cli.values import format_moment, parse_duration, parse_moment, parse_text


class Part(StrEnum):
    """The servers that the sandbox simulates."""

    PROVIDER = "provider"
    SMS = "sms"
    MAIL = "mail"
    TAX = "tax"


clock = group("Show and advance the sandbox's simulated clock, which stands still otherwise.")
sandbox = group("Read the messages that the sandbox received; simulate outages of its servers.")


def new_progress(console: Console) -> Progress:
    """A bar over simulated time."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


async def advance_to(
    sandbox: Sandbox, to: datetime, on_step: Callable[[datetime], Awaitable[None] | None]
) -> int:
    """Advance the clock to an instant, and call `on_step` after each step; returns the steps."""
    steps = 0
    async for step in sandbox.advance(to):
        steps = step.steps
        waiting = on_step(step.now)
        if waiting is not None:
            await waiting
    return steps


@command(clock, "show")
async def show_clock(session: Session) -> None:
    """Show the time, and the processes that use the clock."""
    state = await session.sandbox.clock()
    if session.output.as_json:
        session.output.data(state)
        return
    session.output.say(f"{state['now']}{' (on the move)' if state['advancing'] else ''}")
    rows = [
        [
            participant["name"],
            participant["instance"],
            _describe_rest(participant),
            participant["wake_at"] or "",
        ]
        for participant in state["participants"]
    ]
    session.output.rows(["service", "process", "", "wakes"], rows, "no process uses it")


@command(clock, "advance")
async def advance_clock(
    session: Session,
    by: Annotated[
        timedelta | None,
        typer.Argument(
            parser=parse_duration, metavar="DURATION", help="How far, for example 30d or 12h."
        ),
    ] = None,
    to: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_moment, metavar="TIME", help="To this time, for example 2026-12-31T09:00."
        ),
    ] = None,
) -> None:
    """Advance the clock, and run everything that falls due on the way."""
    if (by is None) == (to is None):
        raise typer.BadParameter("give either a DURATION or --to")
    start = await session.sandbox.now()
    target = to or start + (by or timedelta())
    with new_progress(session.output.console) as progress:
        task = progress.add_task(format_moment(start), total=(target - start).total_seconds())

        def show(now: datetime) -> None:
            done = (now - start).total_seconds()
            progress.update(task, completed=done, description=format_moment(now))

        steps = await advance_to(session.sandbox, target, show)
    if session.output.as_json:
        session.output.data({"now": target.isoformat(), "steps": steps})
    session.output.say(f"{format_moment(target)}, after {steps} step{'s' * (steps != 1)}")


@command(clock, "settle")
async def settle_clock(session: Session) -> None:
    """Wait until all services have done their work at the present time."""
    await session.sandbox.settle()
    session.output.say("everything is at rest")


@command(sandbox, "inbox")
async def show_inbox(
    session: Session,
    phone: Annotated[
        str, typer.Argument(metavar="PHONE", parser=parse_text, help="For example +447700900123.")
    ],
) -> None:
    """Show the messages that a phone received, and where a browser shows them live."""
    messages = await session.sandbox.inbox(phone)
    _show_messages(session, messages, "body")
    session.output.say(f"live: {session.sandbox.page(to=phone)}")


@command(sandbox, "reply")
async def reply(
    session: Session,
    phone: Annotated[
        str, typer.Argument(metavar="PHONE", parser=parse_text, help="For example +447700900123.")
    ],
    text: Annotated[
        str, typer.Argument(metavar="TEXT", parser=parse_text, help="For example SKIP.")
    ],
) -> None:
    """Write back on a phone to whoever wrote to it last, and show the answer."""
    before = {message["id"] for message in await session.sandbox.inbox(phone)}
    await session.sandbox.reply(phone, text)
    await session.sandbox.settle()
    messages = await session.sandbox.inbox(phone)
    _show_messages(session, [it for it in messages if it["id"] not in before], "body")


@command(sandbox, "mail")
async def show_mailbox(
    session: Session,
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", parser=parse_text, help="An e-mail address.")
    ],
) -> None:
    """Show the messages that a mail address received, and where a browser shows them live."""
    messages = await session.sandbox.mailbox(address)
    _show_messages(session, messages, "subject", with_files=True)
    session.output.say(f"live: {session.sandbox.page(to=address)}")


@command(sandbox, "page")
async def show_page(session: Session) -> None:
    """Show where a browser shows the messages of all phones and addresses live.

    The address has a key of the sandbox in it, which a browser sends to no other server.
    """
    key = session.stack.provider_api_key
    page = session.sandbox.page(**({"key": key} if key else {}))
    if session.output.as_json:
        session.output.data({"page": page})
        return
    session.output.say(page)


@command(sandbox, "outage")
async def switch_outage(
    session: Session,
    part: Annotated[Part, typer.Argument(metavar="PART", help="provider|sms|mail|tax")],
    on: Annotated[bool, typer.Option("--on/--off", help="Start or end the outage.")] = True,
) -> None:
    """Start or end an outage of the payment provider, SMS gateway, mail server or tax service."""
    await session.sandbox.switch_outage(part, on=on)
    session.output.say(f"{part}: {'an outage is on' if on else 'works again'}")


def _show_messages(
    session: Session, messages: list[dict[str, Any]], text: str, *, with_files: bool = False
) -> None:
    if session.output.as_json:
        session.output.data(messages)
        return
    rows = [
        [
            format_moment(datetime.fromisoformat(message["created"])),
            message[text],
            *([_files(message)] if with_files else []),
        ]
        for message in messages
    ]
    columns = ["time", "message", *(["files"] if with_files else [])]
    session.output.rows(columns, rows, "nothing arrived")


def _files(message: dict[str, Any]) -> str:
    return ", ".join(file["file_name"] for file in message["attachments"])


def _describe_rest(participant: dict[str, Any]) -> str:
    return "at rest" if participant["quiet"] else "busy"
