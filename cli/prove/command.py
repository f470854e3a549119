"""`recurring prove`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.command import FAILED, run_to_exit
from cli.errors import CommandError
from cli.output import Output
from cli.prove import report
from cli.prove.run import run
from cli.prove.target import find_target

UNREADABLE = 2

prove = typer.Typer(invoke_without_command=True)


@prove.callback()
def prove_suite(
    context: typer.Context,
    merchant: Annotated[str, typer.Option(help="Prove of this merchant alone.")] = "",
    full: Annotated[
        bool, typer.Option("--full", help="Walk the calendar and all kept events, too.")
    ] = False,
    target: Annotated[
        Path | None,
        typer.Option(help="A file that says where the databases are, as stack.json does."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for programs.")] = False,
) -> None:
    """Prove from the four databases that every due cycle has exactly one outcome.

    Every clause is judged at one moment, while the suite runs. Status 1: a clause does not hold;
    status 2: something could not be read. docs/reliability.md says what each clause promises.
    """
    if context.invoked_subcommand is not None:
        return

    async def play() -> None:
        try:
            found = await run(find_target(os.environ, target), merchant=merchant, full=full)
        except CommandError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(UNREADABLE) from error
        report.show(Output(as_json=as_json), found)
        if found.violations:
            raise typer.Exit(FAILED)

    run_to_exit(play())
