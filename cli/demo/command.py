"""The demo: sign-up, six months, a time line for each customer, the proof, the deviations."""

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
from cli.demo.deviations import deviations
from cli.demo.documents import show_documents, wrong_documents
from cli.demo.explanations import explain, unexplained
from cli.demo.outcome import Outcome, read_outcome
from cli.demo.participants import Participants, ask_for_code, assemble, sign_up, stock_the_shop
from cli.demo.plan import Plan
from cli.demo.scenario import Scenario, boxes_left
from cli.demo.timeline import render
from cli.demo.transcript import Transcript
from cli.errors import CommandError, describe_rpc_error
from cli.prove.report import show
from cli.prove.run import run
from cli.prove.target import find_target

# Long enough for the restart of a process that was killed.
PATIENCE_SECONDS = 60.0


async def run_demo(session: Session) -> list[str]:
    """Run the scenario and return what is wrong: an empty list if all is well.

    Raises CommandError or AioRpcError if it cannot go on.
    """
    console = session.output.console
    begun = time.monotonic()
    await session.sandbox.settle()
    dates = Plan(await session.sandbox.now())
    participants = await assemble(session, dates)
    _introduce(console, participants)
    async with Transcript(session, participants, dates) as transcript:
        await _sign_everybody_up(session, participants, transcript)
        for action in Scenario(session, participants, dates).actions():
            await transcript.advance(action.time)
            transcript.print_action(action.who, action.text)
            if isinstance(said := await action.act(), str):
                transcript.print_action(action.who, said)
        await transcript.advance(dates.end)
    outcomes = [
        await read_outcome(session, participants, participant, dates.start)
        for participant in participants.all
    ]
    for outcome in outcomes:
        console.print(render(outcome))
    for outcome in outcomes:
        if (explained := explain(outcome)) is not None:
            console.print(explained)
    show_documents(session.output, outcomes)
    proof = await run(find_target(os.environ), full=True)
    show(session.output, proof)
    wrong = [*proof.violations, *await _deviations(session, participants, dates, outcomes)]
    console.print(f"six months in {time.monotonic() - begun:.0f} seconds", style="dim")
    return wrong


async def _sign_everybody_up(
    session: Session, participants: Participants, transcript: Transcript
) -> None:
    transcript.print_action("merchant", "opens the shop")
    await stock_the_shop(session, participants.run)
    for participant in participants.all:
        await ask_for_code(session, participants, participant)
    # The codes are on the phones once everybody is at rest.
    await transcript.settle()
    for participant in participants.all:
        transcript.print_action(participant.first_name, f"signs up: {participant.about}")
        await sign_up(session, participants, participant)
    await transcript.settle()


async def _deviations(
    session: Session, participants: Participants, dates: Plan, outcomes: list[Outcome]
) -> list[str]:
    expected = dates.expected()
    wrong = [
        sentence
        for outcome in outcomes
        for sentence in deviations(outcome, expected[outcome.participant.first_name])
    ]
    wrong += [*unexplained(outcomes), *wrong_documents(outcomes)]
    boxes = await boxes_left(session, participants)
    sold = sum(cycle.amount_minor is not None for cycle in expected["Ben"])
    wanted = plan.BOXES_AT_FIRST + plan.BOXES_RESTOCKED - sold
    if (boxes.on_hand_units, boxes.held_units) != (wanted, 0):
        stock = f"{boxes.on_hand_units} boxes on hand and {boxes.held_units} held"
        wrong.append(f"there are {stock}, not {wanted} and 0")
    return wrong


def _introduce(console: Console, participants: Participants) -> None:
    console.print(
        Text(f"Six months of standing orders, run {participants.run}", style="bold underline")
    )
    for participant in participants.all:
        console.print(Text.assemble((f"{participant.first_name:<6}", "bold"), participant.about))
    console.print(Text("Times are simulated, and in UTC.\n", style="dim"))


async def demo() -> None:
    """Run the demo; the last line and the exit status give the result."""
    try:
        session = this_session(merchant="", as_json=False, patience_seconds=PATIENCE_SECONDS)
        async with session:
            wrong = await run_demo(session)
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
