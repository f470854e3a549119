"""`recurring prove`."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from cli.command import FAILED, Group, StrictCommand, run_to_exit
from cli.errors import CommandError
from cli.output import Output, new_progress, new_table
from cli.prove import report
from cli.prove.findings import Report
from cli.prove.run import run
from cli.prove.statement import sign, statement_of, verify
from cli.prove.target import find_target
from cli.prove.watch import Watch
from cli.shown import shown
from cli.values import parse_duration, parse_host_port

UNREADABLE = 2
SIGNING_KEY_FILE = "RECURRING_PROOF_KEY_FILE"

prove = typer.Typer(cls=Group, invoke_without_command=True)


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
    statement: Annotated[
        Path | None, typer.Option(help="Write what holds of the merchant to this file, signed.")
    ] = None,
    signing_key: Annotated[
        Path | None,
        typer.Option(help="The private key of statements: Ed25519, PEM.", envvar=SIGNING_KEY_FILE),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for programs.")] = False,
) -> None:
    """Prove from the four databases that every due cycle has exactly one outcome.

    Every clause is judged at one moment, while the suite runs. Status 1: a clause does not hold;
    status 2: something could not be read. docs/reliability.md says what each clause promises.
    """
    if context.invoked_subcommand is not None:
        return
    if statement and not (merchant and signing_key):
        raise typer.BadParameter("needs --merchant and --signing-key", param_hint="'--statement'")

    async def play() -> None:
        with new_progress() as progress:
            judging = progress.add_task("judging clauses", total=None)
            found = await run(
                find_target(os.environ, target),
                merchant=merchant,
                full=full,
                on_judged=lambda judged, total: progress.update(
                    judging, completed=judged, total=total
                ),
            )
        report.show(Output(as_json=as_json), found)
        if statement and signing_key:
            statement.write_text(sign(statement_of(found), signing_key))
        if found.violations:
            raise typer.Exit(FAILED)

    try:
        asyncio.run(play())
    except (CommandError, OSError) as error:
        typer.echo(shown(str(error)), err=True)
        raise typer.Exit(UNREADABLE) from error


@prove.command("watch", cls=StrictCommand)
def watch_suite(
    target: Annotated[
        Path | None,
        typer.Option(help="A file that says where the databases are, as stack.json does."),
    ] = None,
    every: Annotated[str, typer.Option(help="How long from one proof to the next.")] = "5m",
    metrics: Annotated[
        str, typer.Option(help="host:port of /metrics and /healthz.")
    ] = "127.0.0.1:9464",
    full: Annotated[
        bool, typer.Option("--full", help="Walk the calendar and all kept events, too.")
    ] = False,
) -> None:
    """Prove at an interval, and show Prometheus what it came to."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    host, port = parse_host_port(metrics)
    interval = parse_duration(every)

    async def once() -> Report:
        # Read each time: a password may have been changed.
        return await run(find_target(os.environ, target), full=full)

    run_to_exit(Watch(once, interval).run(host, port))


@prove.command("verify", cls=StrictCommand)
def verify_statement(
    file: Path,
    key: Annotated[Path, typer.Option(help="The operator's public key: Ed25519, PEM.")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for programs.")] = False,
) -> None:
    """Verify a signed statement, and show it; status 1: the key did not sign it as it is."""
    output = Output(as_json=as_json)
    try:
        stated = verify(file, key)
    except CommandError as error:
        typer.echo(shown(str(error)), err=True)
        raise typer.Exit(FAILED) from error
    if as_json:
        output.data(stated)
        return
    table = new_table("clause", "checked", "in motion", "violations")
    for clause in stated["clauses"]:
        counts = (clause["checked"], clause["in_motion"], len(clause["violations"]))
        table.add_row(clause["clause"], *map(str, counts))
    output.table(table)
    holds = "every clause held" if stated["holds"] else "not every clause held"
    output.say(f"signed: {holds} of {stated['merchant']} at {stated['moment']}")
