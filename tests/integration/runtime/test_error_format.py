"""An error of the database is formatted with its type and location, and without the row."""

import io
import json
import logging
import traceback
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.runtime.db.pool import Database
from services.runtime.observability import error_format, structured_logging, tracing
from tests.owner import as_owner

CANARY = "Canary Lane 7"
# A statement whose failure quotes its parameter -> what is told of it.
FAILING = {
    "INSERT INTO people (address) VALUES ($1)": '23502 null value in column "name"',
    "INSERT INTO people VALUES ('Ann', $1), ('Bob', $1)": "23505 duplicate key value violates",
    "INSERT INTO people VALUES ('', $1)": "23514 new row for relation",
    "SELECT CAST(CAST($1 AS text) AS int)": "InvalidTextRepresentationError: 22P02",
    "SELECT CAST($1 AS int)": "DataError",
}


@pytest.fixture
async def people(database: Database) -> Database:
    async with as_owner(database) as tx:
        for statement in (
            "CREATE TABLE people (name text NOT NULL CHECK (name <> ''), address text UNIQUE)",
            "GRANT INSERT ON people TO PUBLIC",
        ):
            await tx.execute(statement)
    return database


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


async def failure(database: Database, statement: str) -> Exception:
    try:
        with tracing.working("test", 1):
            async with database.begin() as tx:
                await tx.fetch(statement, CANARY)
    except Exception as error:  # noqa: BLE001 - whatever a database says
        return error
    raise AssertionError("it worked")


@pytest.mark.parametrize("statement", FAILING)
async def test_an_error_of_the_database_is_formatted_without_the_row(
    people: Database, statement: str
) -> None:
    error = await failure(people, statement)
    assert CANARY in "".join(traceback.format_exception(error))
    line = error_format.one_line(error)
    assert FAILING[statement] in line
    assert CANARY not in line


async def test_an_error_that_quotes_nothing_keeps_its_message(people: Database) -> None:
    error = await failure(people, "SELECT $1 FROM nowhere")
    assert '42P01 relation "nowhere" does not exist' in error_format.one_line(error)


@pytest.mark.parametrize("statement", FAILING)
async def test_the_log_has_each_stack_and_nothing_of_the_row(
    people: Database, statement: str
) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structured_logging.JsonFormatter("catalog"))
    record = logging.makeLogRecord({"msg": "step failed"})
    error = await failure(people, statement)
    record.exc_info = (type(error), error, error.__traceback__)
    handler.emit(record)
    logged = json.loads(stream.getvalue())["exception"]
    assert CANARY not in logged
    assert "in failure" in logged
    assert "asyncpg" in logged


async def test_a_span_says_how_it_failed_and_nothing_of_the_row(
    people: Database, spans: InMemorySpanExporter
) -> None:
    for statement in FAILING:
        await failure(people, statement)
    exported = [span.to_json() for span in spans.get_finished_spans() if span.name == "work test"]
    assert len(exported) == len(FAILING)
    assert all('"status_code": "ERROR"' in span for span in exported)
    assert CANARY not in " ".join(exported)
