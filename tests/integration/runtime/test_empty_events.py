"""An event that can be read and says nothing is refused by whoever needs what it should say."""

import uuid
from datetime import UTC, datetime
from importlib import import_module

import pytest

from cli.connect import SERVICES
from services.runtime.db.pool import Database, Pool
from services.runtime.messaging.events import Event
from services.runtime.workers.clock import SystemClock
from tests.conftest import KEYRING, ServiceDatabase

NOW = datetime(2026, 12, 1, tzinfo=UTC)
# Of the transaction under way.
CHANGED_ROWS = (
    "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) AS count FROM pg_stat_xact_user_tables"
)


@pytest.mark.parametrize("service", SERVICES)
async def test_an_event_that_says_nothing_fails_or_changes_nothing(
    service: str, service_database: ServiceDatabase
) -> None:
    """The publisher's mistake becomes a dead letter, and no row about nobody."""
    consumers = import_module(f"services.{service}.consumers")
    database = Database(
        Pool(service_database(service), application="test", size=1, keyring=KEYRING)
    )
    changed: dict[str, int] = {}
    for subscriptions in consumers.subscriptions(SystemClock()).values():
        for subscription in subscriptions:
            empty = Event(uuid.uuid4(), "acme", "", NOW, "", subscription.message_type())
            try:
                async with database.begin() as tx:
                    await subscription.handler(tx, [empty])
                    [row] = await tx.fetch(CHANGED_ROWS)
                    changed[subscription.type] = row["count"]
            except ValueError:
                changed[subscription.type] = 0
    await database.close()
    assert {event_type for event_type, rows in changed.items() if rows} == set()
