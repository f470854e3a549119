"""Each statement of the runbooks is one that a database takes, from the role that they name."""

import re
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import ServiceDatabase

RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks"
# Whose tables the statements of a page are about; those of other pages are about any database.
ANY = "payments"
SERVICES = {
    "back-orders": "catalog",
    "phone-codes": "notify",
    "platform-webhooks": "notify",
    "replies": "notify",
}
# Beside what is indented, statements are in the text, where they may be broken over lines.
SPAN = re.compile(r"`((?:SELECT|UPDATE) [^`]+?);?`")
BLOCK = re.compile(r"(?m)^ {4,}((?:SELECT|UPDATE) [^;]+?);$")


def statements(service: str) -> Iterator[str]:
    """Those for a service's database, with something where they say that something is to be put in."""
    for page in RUNBOOKS.glob("*.md"):
        if SERVICES.get(page.stem, ANY) == service:
            text = page.read_text()
            for statement in [*SPAN.findall(text), *BLOCK.findall(text)]:
                yield " ".join(statement.split()).replace("= …", "= ''")


def role_of(statement: str) -> str:
    """The end of the name of the role that the runbooks say a statement is for."""
    if statement.startswith("UPDATE"):
        return "_migrator"
    return "_auditor" if "audit_v1." in statement else "_readonly"


@pytest.mark.parametrize("service", sorted({ANY, *SERVICES.values()}))
async def test_a_statement_of_a_runbook_is_taken(
    service: str, service_database: ServiceDatabase
) -> None:
    url = service_database(service)
    found = list(statements(service))
    for statement in found:
        role = f"recurring_{service}{role_of(statement)}"
        connection = await asyncpg.connect(url, user=role)
        await connection.execute(f"EXPLAIN {statement}")
        await connection.close()
    assert found
