"""Every statement is one that PostgreSQL takes, and its columns are the fields of its row type."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Iterator

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.asyncpg import dialect

import services
from services.runtime.db.statements import Command, Query, scalar
from tests.conftest import ServiceDatabase

SERVICES = ("catalog", "scheduler", "payments", "notify")


def statements(service: str) -> Iterator[tuple[str, Query[object] | Command]]:
    """The statements of a service and of the runtime, whose tables every service has."""
    owners = (f"services.{service}.", "services.runtime.")
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if module.name.startswith(owners) and not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Query | Command):
                    yield f"{module.name}.{name}", value


def fields(row: Callable[..., object]) -> list[str]:
    if dataclasses.is_dataclass(row):
        return [field.name for field in dataclasses.fields(row)]
    return list(getattr(row, "_fields", ()))


@pytest.mark.parametrize("service", SERVICES)
async def test_the_columns_of_a_statement_are_the_fields_of_its_row_type(
    service: str, service_database: ServiceDatabase
) -> None:
    url = service_database(service).replace("postgresql+asyncpg", "postgresql")
    connection = await asyncpg.connect(url)
    expected, prepared = {}, {}
    for name, statement in statements(service):
        sql = str(text(statement.sql).compile(dialect=dialect()))  # type: ignore[no-untyped-call]
        columns = (await connection.prepare(sql)).get_attributes()
        if isinstance(statement, Query) and statement.row is scalar:
            assert len(columns) == 1, name
            continue
        expected[name] = fields(statement.row) if isinstance(statement, Query) else []
        prepared[name] = [column.name for column in columns]
    await connection.close()
    assert prepared == expected
