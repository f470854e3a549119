"""A small settled book in the four databases, and copies of each to change a row in."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import asyncpg
import pytest

from bench.book import Size, write_book
from cli.prove.findings import Report
from cli.prove.run import SERVICES, run
from cli.prove.target import Target
from deploy.embedded.databases import Databases
from deploy.embedded.postgres import EmbeddedPostgres
from tests.conftest import PASSWORD, ServiceDatabase

SIZE = Size(standing_orders=7, cycles=3)
_numbers = count(1)

# A second notice of one end of an order.
SECOND_NOTICE = """
    INSERT INTO notices (merchant, customer, notice, kind, subject_resource, traceparent,
                         occur_time, create_time)
    SELECT merchant, customer, 'again', 'ORDER_LAPSED', subject_resource, '', occur_time, create_time
    FROM notices WHERE notice = 'ended-{}'
"""


@dataclass
class Book:
    """The four databases; a changed copy of one takes its place until the test ends."""

    databases: Databases
    names: dict[str, str]

    async def change(self, service: str, sql: str) -> None:
        """Change one row of a service as nobody could who is subject to its rules."""
        done = await self.execute(service, sql)
        assert done.split()[-1] == "1", done

    async def execute(self, service: str, sql: str) -> str:
        """Run a statement on the copy of a service's database; returns what PostgreSQL says of it."""
        settled = f"settled_{service}"
        if self.names[service] == settled:
            copy = f"changed_{service}_{next(_numbers)}"
            self.databases.create(copy, owner=f"recurring_{service}_owner", template=settled)
            self.names[service] = copy
        connection = await asyncpg.connect(self.superuser_url(service))
        try:
            await connection.execute("SET session_replication_role = replica")
            done: str = await connection.execute(sql)
        finally:
            await connection.close()
        return done

    async def prove(self, *, merchant: str = "", full: bool = True) -> Report:
        urls = {
            service: self.databases.address(f"recurring_{service}_auditor", PASSWORD, name)
            for service, name in self.names.items()
        }
        return await run(Target(urls), merchant=merchant, full=full)

    def drop_changed(self) -> None:
        for service, name in self.names.items():
            if not name.startswith("settled"):
                self.databases.drop(name)
                self.names[service] = f"settled_{service}"

    def superuser_url(self, service: str) -> str:
        return f"{self.databases.url.rpartition('/')[0]}/{self.names[service]}"


@pytest.fixture(scope="session")
def settled(postgres: EmbeddedPostgres, migrated_template: ServiceDatabase) -> Iterator[Book]:
    databases = postgres.databases
    book = Book(databases, {})
    for service in SERVICES:
        role = migrated_template(service)
        book.names[service] = f"settled_{service}"
        databases.create(book.names[service], owner=f"{role}_owner", template=role)
    urls = {service: book.superuser_url(service) for service in SERVICES}
    # A test may run in an event loop already.
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, write_book(urls, SIZE)).result()
    yield book
    for name in book.names.values():
        databases.drop(name)


@pytest.fixture
def book(settled: Book) -> Iterator[Book]:
    """The settled book; what a test changes is undone after it."""
    yield settled
    settled.drop_changed()
