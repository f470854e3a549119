"""`recurring products import FILE` and `recurring prices import FILE`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.command import FAILED, command
from cli.connect import Session
from cli.errors import CommandError
from cli.imports.catalog_tables import PRICES, PRODUCTS
from cli.imports.rows import Kind, RowError
from cli.imports.sending import (
    CSV,
    SUFFIXES,
    describe_errors,
    read_book,
    send,
    show_errors,
    summary,
    to_data,
)

Response = pb.ImportProductsResponse | pb.ImportPricesResponse

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A .csv, .jsonl or .ndjson file; see docs/import.md.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Validate the file, and store nothing.")
]
PartialOption = Annotated[
    bool, typer.Option("--partial", help="Store the valid rows even if others are invalid.")
]


def register(products: typer.Typer, prices: typer.Typer) -> None:
    """Add a command to each group."""

    @command(products, "import")
    async def import_products(
        session: Session,
        file: FileArgument,
        dry_run: DryRunOption = False,
        partial: PartialOption = False,
    ) -> None:
        """Import products, all or none. Importing a file again changes nothing."""
        call = session.catalog.ImportProducts
        config = pb.ImportConfig(parent=session.parent, dry_run=dry_run, partial=partial)
        await _import(session, file, PRODUCTS, call, pb.ImportProductsRequest, config)

    @command(prices, "import")
    async def import_prices(
        session: Session,
        file: FileArgument,
        dry_run: DryRunOption = False,
        partial: PartialOption = False,
    ) -> None:
        """Import dated prices, all or none. Importing a file again changes nothing."""
        call = session.catalog.ImportPrices
        config = pb.ImportConfig(parent=session.parent, dry_run=dry_run, partial=partial)
        await _import(session, file, PRICES, call, pb.ImportPricesRequest, config)


async def _import(
    session: Session,
    file: Path,
    kind: Kind,
    call: Any,  # noqa: ANN401 - a method that takes a stream
    request: Any,  # noqa: ANN401 - the type of its requests
    config: pb.ImportConfig,
) -> None:
    book = read_book(file, session.merchant, kind)
    if book.errors and not (config.dry_run or config.partial):
        raise CommandError(describe_errors(file, book.errors))
    response = await send(session, call, request, config, book.rows)
    good = len(book.rows) - response.unchanged_count - response.refused_count
    lines = [row.line for row in book.rows]
    is_table = SUFFIXES[file.suffix.lower()] == CSV
    found = [*book.errors, *_errors(response, lines, kind if is_table else None)]
    errors = sorted(found, key=lambda error: error.line)
    response.refused_count += len({error.line for error in book.errors})
    if book.errors and not config.partial:
        response.imported_count = 0
    if session.output.as_json:
        data = MessageToDict(response, always_print_fields_with_no_presence=True)
        session.output.data({**data, "problems": to_data(errors, "id")})
    else:
        show_errors(session, errors, kind.noun)
        session.output.say(summary(response, good, dry_run=config.dry_run))
    if response.refused_count:
        raise typer.Exit(FAILED)


def _errors(response: Response, lines: Sequence[int], kind: Kind | None) -> list[RowError]:
    """What the service found wrong, by line, and by column where the file is a table."""
    return [
        RowError(
            lines[problem.row - 1],
            problem.id,
            kind.column_of(problem.field) if kind else problem.field,
            problem.description,
            problem.reason,
        )
        for problem in response.problems
    ]
