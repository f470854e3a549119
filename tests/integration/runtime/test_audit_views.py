"""The views that proofs read: documented, without personal data, of every merchant, for one role."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.conftest import PASSWORD, ServiceDatabase

SERVICES = ("catalog", "scheduler", "payments", "notify")
PAGE = Path("docs/audit-views.md")
IN_EVERY_SERVICE = "In every service"
# What a column of a view may never be made of.
PERSONAL = re.compile(
    r"title|display_name|email|phone$|text$|ship_to|token|evidence$|note$|last4|address"
)
COLUMNS = """
    SELECT table_name, column_name, data_type FROM information_schema.columns
    WHERE table_schema = 'audit_v1' ORDER BY table_name, ordinal_position
"""


def documented() -> dict[str, dict[str, list[str]]]:
    """The columns of each view of each section of the page."""
    sections: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    section = view = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("### "):
            view = line.strip("# `")
        elif line.startswith("| ") and not line.startswith("| column |"):
            sections[section][view] += line.split("|")[1].strip().split(", ")
    return sections


@asynccontextmanager
async def connected(url: str, suffix: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection as one of the roles of a service's database."""
    role = f"{urlsplit(url).username}{suffix}"
    connection = await asyncpg.connect(url, user=role, password=PASSWORD)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_every_column_is_documented(service: str, service_database: ServiceDatabase) -> None:
    async with connected(service_database(service), "_auditor") as connection:
        rows = await connection.fetch(COLUMNS)
    columns: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        columns[row["table_name"]].add(row["column_name"])
    page = documented()
    wanted = {**page[IN_EVERY_SERVICE], **page[service]}
    assert columns == {view: set(columns) for view, columns in wanted.items()}


@pytest.mark.parametrize("service", SERVICES)
async def test_no_column_is_personal(service: str, service_database: ServiceDatabase) -> None:
    async with connected(service_database(service), "_auditor") as connection:
        rows = await connection.fetch(COLUMNS)
    assert [row["column_name"] for row in rows if PERSONAL.search(row["column_name"])] == []
    # What the services encrypt is in bytes.
    assert [row["column_name"] for row in rows if row["data_type"] == "bytea"] == []


@pytest.mark.parametrize("service", SERVICES)
async def test_the_service_itself_has_no_access(
    service: str, service_database: ServiceDatabase
) -> None:
    async with connected(service_database(service), "") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM audit_v1.backlog")
        await connection.execute(f"SET ROLE recurring_{service}_workers")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM audit_v1.backlog")


async def test_an_auditor_sees_the_rows_of_every_merchant(
    service_database: ServiceDatabase,
) -> None:
    url = service_database("catalog")
    async with connected(url, "_migrator") as connection:
        for merchant in ("acme", "other"):
            await connection.execute(
                "INSERT INTO products VALUES ($1, 'tea', 'Tea', 0, true, 0, 'ACTIVE', 1, now())",
                merchant,
            )
            await connection.execute(
                "INSERT INTO stock (merchant, product) VALUES ($1, 'tea')", merchant
            )
    async with connected(url, "_auditor") as connection:
        rows = await connection.fetch("SELECT merchant FROM audit_v1.stock ORDER BY merchant")
    assert [row["merchant"] for row in rows] == ["acme", "other"]


@pytest.mark.parametrize("service", SERVICES)
async def test_an_auditor_reads_the_views_and_nothing_else(
    service: str, service_database: ServiceDatabase
) -> None:
    async with connected(service_database(service), "_auditor") as connection:
        granted = await connection.fetch(
            """
            SELECT DISTINCT table_schema, privilege_type FROM information_schema.role_table_grants
            WHERE grantee = current_user
            """
        )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM public.outbox")
    assert [tuple(row) for row in granted] == [("audit_v1", "SELECT")]


@pytest.mark.parametrize("service", SERVICES)
async def test_only_auditors_read_the_views(
    service: str, service_database: ServiceDatabase
) -> None:
    async with connected(service_database(service), "_readonly") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM audit_v1.backlog")
