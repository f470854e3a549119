"""Every statement is one that PostgreSQL takes, and its columns are the fields of its row type."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator

import asyncpg
import pytest

import services
from services.runtime.db.statements import Command, Query, scalar
from tests.conftest import ServiceDatabase

SERVICES = ("catalog", "scheduler", "payments", "notify")
# What adds rows without regard to those of others: no caller names them, and their keys are made under
# a lock, or of what is unique by itself.
INSERTS_WITHOUT_CONFLICTS = {
    "services.notify.store.codes._INSERT",
    "services.notify.store.deliveries._INSERT",
    "services.notify.store.templates._KEEP",
    "services.notify.store.webhooks._DELIVER",
    "services.payments.store.attempts._BEGIN",
    "services.payments.store.documents._INSERT",
    "services.payments.store.dunning._CHANGE",
    "services.payments.store.ledger._BOOK",
    "services.payments.store.ledger._KEEP_DAYS",
    "services.payments.store.mandate_amendments._INSERT",
    "services.payments.store.payment_links._INSERT",
    "services.payments.store.revenue._INSERT",
    "services.runtime.db.audit._PUT",
    "services.runtime.db.leases._JOIN",
    "services.runtime.messaging.outbox._PUT",
    "services.scheduler.store.action_links._INSERT",
}

DELETED_FROM = re.compile(r"\bDELETE FROM\s+(\w+)")
TABLES_TO_DELETE_FROM = """
    SELECT relname FROM pg_class
    WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
      AND has_table_privilege(oid, 'DELETE')
"""
# Such as those of triggers: they may do what whoever calls them may.
FUNCTIONS_OF_CALLERS = """
    SELECT prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND NOT prosecdef
"""


def statements(service: str) -> Iterator[tuple[str, Query[object] | Command]]:
    """The statements of a service and of the runtime, whose tables every service has."""
    owners = (f"services.{service}.", "services.runtime.")
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if module.name.startswith(owners) and not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Query | Command):
                    yield f"{module.name}.{name}", value
                elif isinstance(value, tuple):
                    for place, each in enumerate(value):
                        if isinstance(each, Query | Command):
                            yield f"{module.name}.{name}[{place}]", each


def _given(row: Callable[..., object], count: int) -> tuple[str, ...]:
    """The first fields of a row type, and each of the others that has no default."""
    parameters = list(inspect.signature(row).parameters.values())
    without = [p.name for p in parameters[count:] if p.default is inspect.Parameter.empty]
    return (*(p.name for p in parameters[:count]), *without)


@pytest.mark.parametrize("service", SERVICES)
async def test_the_columns_of_a_statement_are_the_fields_of_its_row_type(
    service: str, service_database: ServiceDatabase
) -> None:
    url = service_database(service)
    connection = await asyncpg.connect(url)
    expected, prepared = {}, {}
    for name, statement in statements(service):
        columns = (await connection.prepare(statement.sql)).get_attributes()
        if isinstance(statement, Query) and statement.row is scalar:
            assert len(columns) == 1, name
            continue
        prepared[name] = tuple(column.name for column in columns)
        expected[name] = _given(statement.row, len(columns)) if isinstance(statement, Query) else ()
    await connection.close()
    assert prepared == expected


def test_what_callers_name_is_added_only_if_its_name_is_free() -> None:
    """A name that was free when it was read may be taken when it is added, by whoever calls at once."""
    named = {name: it.sql for service in SERVICES for name, it in statements(service)}
    inserts = {name for name, sql in named.items() if "INSERT INTO" in sql}
    careless = {name for name in inserts if "ON CONFLICT" not in named[name]}
    assert careless == INSERTS_WITHOUT_CONFLICTS


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_may_delete_rows_only_where_a_statement_of_it_does(
    service: str, service_database: ServiceDatabase
) -> None:
    connection = await asyncpg.connect(service_database(service))
    allowed = await connection.fetch(TABLES_TO_DELETE_FROM)
    functions = await connection.fetch(FUNCTIONS_OF_CALLERS)
    await connection.close()
    sources = [*(it.sql for _, it in statements(service)), *(body for (body,) in functions)]
    deleted_from = {table for sql in sources for table in DELETED_FROM.findall(sql)}
    assert {table for (table,) in allowed} == deleted_from
