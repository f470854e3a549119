"""The whole demo: sign-up, six months, a time line for each customer, the proof, the verdict."""

import os
import time
import traceback

import grpc.aio
import typer
from rich.console import Console
from rich.text import Text

from cli.command import FAILED
from cli.connect import Session, this_session
from cli.demo import plan
from cli.demo.cast import Cast, ask_for_code, assemble, sign_up, stock_the_shop
from cli.demo.outcome import Outcome, read_outcome
from cli.demo.plan import Plan
from cli.demo.stage import Stage
from cli.demo.story import Story, boxes_left
from cli.demo.timeline import render
from cli.demo.verdict import deviations
from cli.errors import CommandError, describe_rpc_error
from cli.prove.report import show
from cli.prove.run import run
from cli.prove.target import find_target

# Long enough for a process that was killed to be started again meanwhile.
PATIENCE_SECONDS = 60.0


async def play(session: Session) -> list[str]:
    """Play the story and return what is wrong with it: nothing, if all is well.

    Raises CommandError or AioRpcError if it cannot go on.
    """
    console = session.output.console
    begun = time.monotonic()
    await session.sandbox.settle()
    dates = Plan(await session.sandbox.now())
    cast = await assemble(session, dates)
    _introduce(console, cast)
    async with Stage(session, cast, dates) as stage:
        await _sign_everybody_up(session, cast, stage)
        for beat in Story(session, cast, dates).beats():
            await stage.advance(beat.time)
            stage.tell(beat.who, beat.text)
            await beat.act()
        await stage.advance(dates.end)
    outcomes = [await read_outcome(session, cast, role, dates.start) for role in cast.roles]
    for outcome in outcomes:
        console.print(render(outcome))
    proof = await run(find_target(os.environ), full=True)
    show(session.output, proof)
    wrong = [*proof.violations, *await _verdict(session, cast, dates, outcomes)]
    console.print(f"six months in {time.monotonic() - begun:.0f} seconds", style="dim")
    return wrong


async def _sign_everybody_up(session: Session, cast: Cast, stage: Stage) -> None:
    stage.tell("merchant", "opens the shop")
    await stock_the_shop(session, cast.run)
    for role in cast.roles:
        await ask_for_code(session, cast, role)
    # The codes are on the phones once everybody is at rest.
    await stage.settle()
    for role in cast.roles:
        stage.tell(role.first_name, f"signs up: {role.about}")
        await sign_up(session, cast, role)
    await stage.settle()


async def _verdict(session: Session, cast: Cast, dates: Plan, outcomes: list[Outcome]) -> list[str]:
    expected = dates.expected()
    wrong = [
        sentence
        for outcome in outcomes
        for sentence in deviations(outcome, expected[outcome.role.first_name])
    ]
    boxes = await boxes_left(session, cast)
    sold = sum(each.amount_minor is not None for each in expected["Ben"])
    wanted = plan.BOXES_AT_FIRST + plan.BOXES_RESTOCKED - sold
    if (boxes.on_hand_units, boxes.held_units) != (wanted, 0):
        found = f"{boxes.on_hand_units} boxes on hand and {boxes.held_units} held"
        wrong.append(f"there are {found}, not {wanted} and 0")
    return wrong


def _introduce(console: Console, cast: Cast) -> None:
    console.print(Text(f"Six months of standing orders, run {cast.run}", style="bold underline"))
    for role in cast.roles:
        console.print(Text.assemble((f"{role.first_name:<6}", "bold"), role.about))
    console.print(Text("Times are simulated, and in UTC.\n", style="dim"))


async def demo() -> None:
    """Play the demo; the last line and the exit status say how it went."""
    try:
        session = this_session(merchant="", as_json=False, patience_seconds=PATIENCE_SECONDS)
        async with session:
            wrong = await play(session)
    except CommandError as error:
        wrong = [str(error)]
    except grpc.aio.AioRpcError as error:
        wrong = [describe_rpc_error(error)]
    except Exception as error:  # noqa: BLE001 - whatever happens, the last line says so
        traceback.print_exc()
        wrong = [f"{type(error).__name__}: {error}"]
    if wrong:
        print("\n".join(wrong))
        first = wrong[0].splitlines()[0]
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        print(f"demo: FAILED {first}{more}")
        raise typer.Exit(FAILED)
    print("demo: ok")
