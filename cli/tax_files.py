"""Files of tax rates: CSV with a header, or a NewTaxRate as JSON on each line."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import typer
from google.protobuf.json_format import ParseDict, ParseError
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.errors import CommandError
from cli.imports.rows import read_text
from cli.json_text import load_json
from cli.values import parse_moment, parse_rate, to_timestamp

REQUIRED = ("id", "region", "tax", "percent")
OPTIONAL = ("title", "category", "compound", "with_tax_id", "from")
JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
YES = ("yes", "true", "1")
NO = ("", "no", "false", "0")


def read_rates(file: Path) -> list[tuple[int, pb.NewTaxRate]]:
    """The rates of a file, each with its line. Raises CommandError, which names the first bad one."""
    text = read_text(file)
    read = _json_lines if file.suffix.lower() in JSON_LINES_SUFFIXES else _table
    rows: list[tuple[int, pb.NewTaxRate]] = []
    for line, make in read(file, text):
        try:
            rows.append((line, make()))
        except (typer.BadParameter, ParseError, ValueError) as error:
            message = error.message if isinstance(error, typer.BadParameter) else str(error)
            raise CommandError(f"{file}, line {line}: {message}") from None
    return rows


_Rows = Iterator[tuple[int, Callable[[], pb.NewTaxRate]]]


def _json_lines(_file: Path, text: str) -> _Rows:
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            yield line, lambda content=content: ParseDict(load_json(content), pb.NewTaxRate())  # type: ignore[misc]


def _table(file: Path, text: str) -> _Rows:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    header = reader.fieldnames or []
    unknown = [name for name in header if name not in {*REQUIRED, *OPTIONAL}]
    missing = [name for name in REQUIRED if name not in header]
    if unknown or missing:
        raise CommandError(
            f"{file}: the header must have {', '.join(REQUIRED)}, and may have"
            f" {', '.join(OPTIONAL)}; it has {', '.join(map(repr, header))}"
        )
    try:
        for cells in reader:
            yield reader.line_num, lambda cells=cells: _rate(cells)  # type: ignore[misc]
    except csv.Error as error:
        raise CommandError(f"{file}, line {reader.line_num}: {error}") from None


def _rate(cells: Mapping[str | None, str | None]) -> pb.NewTaxRate:
    if None in cells or None in cells.values():
        raise typer.BadParameter("has another number of cells than the header")
    given = {name: (value or "").strip() for name, value in cells.items() if name}
    compound, treatment = given.get("compound", "").lower(), given.get("with_tax_id", "")
    if compound not in {*YES, *NO}:
        raise typer.BadParameter(f"compound must be yes or no, not {compound!r}")
    name = treatment.upper().replace("-", "_")
    if name and name not in pb.TaxRate.TaxIdTreatment.keys():  # noqa: SIM118 - an enum, no mapping
        raise typer.BadParameter(f"{treatment!r} is none of charged, reverse-charge, exempt")
    moment = given.get("from", "")
    rate = pb.TaxRate(
        region_code=given["region"],
        tax=given["tax"],
        tax_category=given.get("category", ""),
        title=given.get("title") or given["tax"].upper(),
        rate_ppm=parse_rate(given["percent"]),
        compound=compound in YES,
        tax_id_treatment=pb.TaxRate.TaxIdTreatment.Value(name or "TAX_ID_TREATMENT_UNSPECIFIED"),
        effective_time=to_timestamp(parse_moment(moment)) if moment else None,
    )
    return pb.NewTaxRate(tax_rate_id=given["id"], tax_rate=rate)
