"""After re-encryption an older key can be removed."""

import asyncio
import base64
import importlib.util
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

import pytest
from google.type.postal_address_pb2 import PostalAddress
from recurring.catalog.v1 import catalog_pb2

from services.payments.domain import keys
from services.payments.domain.buyers import BillingDetails, Buyer, YearKey
from services.payments.store import billing_details, document_keys
from services.runtime.auth.call_context import Caller, act_for_all, set_caller
from services.runtime.crypto.encryption import Keyring, UnreadableError
from services.runtime.db import idempotency, key_rotation
from services.runtime.db.key_rotation import EncryptedTable, Tally
from services.runtime.db.leases import BUCKETS
from services.runtime.db.pool import Connection, Database, Pool
from services.runtime.errors import Problem
from services.runtime.mutations import Applied, run_mutation
from services.scheduler.api.responses import standing_order_message
from services.scheduler.domain.cycles import open_cycles
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId
from services.scheduler.domain.order import Item
from services.scheduler.domain.schedule import Daily, Schedule
from services.scheduler.domain.standing_order import (
    CycleChange,
    StandingOrder,
    at_cycle,
    with_change,
)
from services.scheduler.domain.terms import BillingMode
from services.scheduler.store import (
    addresses,
    due,
    orders,
    sign_ups,
    standing_orders,
)
from services.scheduler.store.encrypted import ENCRYPTED_TABLES
from tests.conftest import DATA_KEYS, KEYRING, ServiceDatabase
from tests.integration.runtime.pubsub import until

ACME = MerchantId("acme")
ADA = CustomerId("ada")

NEW_KEY = f"test-2:{base64.b64encode(bytes(32)).decode()}"
NEWER, BOTH = Keyring.parse(NEW_KEY), Keyring.parse(f"{NEW_KEY},{DATA_KEYS}")
NOW, DAY = datetime(2027, 1, 20, 12, tzinfo=UTC), timedelta(days=1)
HOME, WORK = PostalAddress(locality="Bonn"), PostalAddress(locality="Ulm")
NONE_LEFT = {table.name: 0 for table in ENCRYPTED_TABLES}
# What is stored as bytes and not encrypted: events, keyed hashes of codes and phones.
NOT_ENCRYPTED = {
    ("outbox", "data"), *((f"outbox_{number}", "data") for number in range(8)),
    ("failed_events", "event"), ("phone_codes", "code_hash"), ("code_limits", "subject_blind_index"),
    ("inbound_messages", "sender_blind_index"),
    ("payment_links", "token_hash"), ("action_links", "token_hash"),
    # As in the outbox.
    ("webhook_events", "body"),
    # PostgreSQL itself hashes what a document says. Its buyer is encrypted in it by a key of its
    # customer, as its files are; these keys are encrypted.
    ("documents", "content"), ("document_files", "content"), ("document_logos", "content"),
}  # fmt: skip


@asynccontextmanager
async def opened(url: str, keyring: Keyring) -> AsyncIterator[Database]:
    """A database with these keys, for all merchants."""
    act_for_all("test")
    pool = Pool(url, application="test", size=2, keyring=keyring)
    try:
        yield Database(pool)
    finally:
        await pool.close()


async def reencrypt(database: Database, *, only_count: bool = False) -> dict[str, Tally]:
    return {
        table.name: await key_rotation.reencrypt(database, table, only_count=only_count)
        for table in ENCRYPTED_TABLES
    }


def template(standing_order: str) -> StandingOrder:
    """A daily standing order that is sent home, but for its fourth cycle."""
    made = StandingOrder(
        merchant=ACME,
        standing_order=StandingOrderId(standing_order),
        customer=ADA,
        title="Coffee",
        items=(Item("beans", 1),),
        schedule=Schedule(date(2027, 1, 21), time(12), "UTC", Daily(1)),
        billing_mode=BillingMode.PAY_ON_NOTICE,
        mandate="",
        ship_to=addresses.encrypt(KEYRING, ACME, ADA, HOME),
        price_protection=None,
        notice_lead=timedelta(hours=48),
        payment_window=timedelta(hours=72),
        create_time=NOW,
        update_time=NOW,
    )
    elsewhere = CycleChange(ship_to=addresses.encrypt(KEYRING, ACME, ADA, WORK))
    return with_change(at_cycle(made, 1), 4, elsewhere)


@pytest.fixture
async def url(service_database: ServiceDatabase) -> str:
    """A scheduler's database with three imported standing orders and two orders of each."""
    address = service_database("scheduler")
    made = [template(name) for name in ("a", "b", "c")]
    async with opened(address, KEYRING) as database, database.begin() as tx:
        await sign_ups.insert(tx, made, [b"hash"] * 3)
        await orders.insert(
            tx, [o for standing_order in made for o in open_cycles(standing_order, NOW).orders], NOW
        )
    return address


async def test_after_reencryption_the_old_key_can_be_dropped(url: str) -> None:
    async with opened(url, BOTH) as database:
        assert await reencrypt(database) == {
            "standing_orders": Tally(rows=3, reencrypted=3), "orders": Tally(rows=6, reencrypted=6),
        }  # fmt: skip

    async with opened(url, NEWER) as database, database.begin() as tx:
        listed = await standing_orders.list_of_merchant(
            tx, ACME, customer=None, state=None, after="", limit=9
        )
        shown = [standing_order_message(standing_order, NEWER) for standing_order in listed]
        rows = await tx.fetch("SELECT * FROM orders")
        assert await sign_ups.import_hashes(tx, ACME, ["a"]) == {"a": b"hash"}
    assert [message.ship_to for message in shown] == [HOME] * 3
    assert [message.cycle_changes[0].ship_to for message in shown] == [WORK] * 3
    assert [addresses.decrypt(NEWER, ACME, ADA, row["ship_to"]) for row in rows] == [HOME] * 6


async def test_what_is_reencrypted_is_left_as_it_is(url: str) -> None:
    async with opened(url, BOTH) as database:
        await reencrypt(database)
        again = await reencrypt(database)

    assert {name: tally.reencrypted for name, tally in again.items()} == NONE_LEFT


async def test_to_count_changes_nothing(url: str) -> None:
    async with opened(url, BOTH) as database:
        first = await reencrypt(database, only_count=True)
        assert await reencrypt(database, only_count=True) == first
        assert [tally.left for tally in first.values()] == [3, 6]
        await reencrypt(database)
        after = await reencrypt(database, only_count=True)
    assert {name: tally.left for name, tally in after.items()} == NONE_LEFT


async def test_pages_are_gone_through_to_the_last(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "PAGE_ROWS", 2)
    async with opened(url, BOTH) as database:
        assert [tally.reencrypted for tally in (await reencrypt(database)).values()] == [3, 6]


async def test_what_does_not_open_is_counted_and_does_not_hold_up_the_others(url: str) -> None:
    async with opened(url, BOTH) as database:
        async with database.begin() as tx:
            await tx.execute("UPDATE orders SET ship_to = 'gone-1:x' WHERE standing_order = 'a'")
        tally = (await reencrypt(database))["orders"]

    assert tally == Tally(rows=6, reencrypted=4, unreadable=2)


async def test_a_cycle_is_opened_while_its_address_does_not_open(url: str) -> None:
    async with opened(url, NEWER) as database, database.begin() as tx:
        found = await due.to_prepare(tx, range(BUCKETS), NOW, 9, ())
        opening = [
            order
            for standing_order in found
            for order in open_cycles(standing_order, NOW + DAY).orders
        ]
        before = {standing_order.standing_order: standing_order.ship_to for standing_order in found}

    assert len(found) == 3
    assert {order.ship_to for order in opening} == set(before.values())
    with pytest.raises(UnreadableError):
        addresses.decrypt(NEWER, ACME, ADA, opening[0].ship_to)


async def test_what_a_service_changes_meanwhile_is_not_overwritten(url: str) -> None:
    work = addresses.encrypt(BOTH, ACME, ADA, WORK)
    async with opened(url, BOTH) as service, opened(url, BOTH) as database:
        async with service.begin() as tx:
            await standing_orders.change(tx, replace(template("a"), ship_to=work), NOW)
            # It has read the row as it was, and waits for its lock.
            reencrypting_now = asyncio.create_task(reencrypt(database))
            await until(partial(waits_for_lock, database))
        tally = (await reencrypting_now)["standing_orders"]
        async with database.read() as connection:
            kept = await standing_orders.get(connection, ACME, StandingOrderId("a"))

    assert kept is not None
    assert kept.ship_to == work
    assert tally == Tally(rows=3, reencrypted=3)


async def waits_for_lock(database: Database) -> bool:
    async with database.read() as connection:
        waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        return bool(await connection.driver.fetchval(waiting))


async def name_product(
    database: Database, request: catalog_pb2.DiscontinueProductRequest
) -> catalog_pb2.Product:
    """Answer a mutation, each time it is carried out with another title."""

    async def apply(_tx: Connection) -> Applied[str]:
        return Applied(str(uuid.uuid4()))

    def respond(title: str) -> catalog_pb2.Product:
        return catalog_pb2.Product(name=request.name, title=title)

    return await run_mutation(database, request, catalog_pb2.Product, respond, apply)


async def test_a_request_is_known_again_under_the_new_key(url: str) -> None:
    discontinue = catalog_pb2.DiscontinueProductRequest(name="tea", request_id=str(uuid.uuid4()))
    async with opened(url, KEYRING) as database:
        set_caller(Caller("shop", "acme", frozenset()))
        first = await name_product(database, discontinue)
    async with opened(url, BOTH) as database:
        assert await key_rotation.reencrypt(database, idempotency.ENCRYPTED_TABLES) == Tally(
            rows=1, reencrypted=1
        )

    async with opened(url, NEWER) as database:
        set_caller(Caller("shop", "acme", frozenset()))
        assert await name_product(database, discontinue) == first
        discontinue.name = "coffee"
        with pytest.raises(Problem) as refused:
            await name_product(database, discontinue)
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_buyers_are_read_under_the_new_key_and_no_document_changes(
    service_database: ServiceDatabase,
) -> None:
    url = service_database("payments")
    buyer = Buyer("Ada Lovelace", ("12 St James's Square",), "GB", "GB123456789")
    customer = keys.CustomerKey(keys.MerchantId("acme"), keys.CustomerId("ada"))
    year = YearKey(*customer, 2027)
    document = keys.DocumentKey(customer.merchant, keys.DocumentId("inv-2027-000001"))
    async with opened(url, KEYRING) as database, database.begin() as tx:
        await billing_details.locked(tx, customer)
        await billing_details.change(tx, BillingDetails(*customer, buyer))
        ciphers = await document_keys.ensured(tx, [year])
        encrypted = ciphers[year].encrypt_buyer(document, buyer)

    async with opened(url, BOTH) as database:
        for table in encrypted_of("payments"):
            tally = await key_rotation.reencrypt(database, table)
            expected = int(table.name in {"billing_details", "document_keys"})
            assert tally == Tally(rows=expected, reencrypted=expected)

    async with opened(url, NEWER) as database, database.read() as connection:
        found = await billing_details.by_customer(connection, [customer])
        assert found[customer].buyer == buyer
        ciphers = await document_keys.of_years(connection, [year])
        assert ciphers[year].decrypt_buyer(document, encrypted) == buyer


@pytest.mark.parametrize("service", ["catalog", "scheduler", "payments", "notify"])
async def test_no_encrypted_column_is_forgotten(
    service: str, service_database: ServiceDatabase
) -> None:
    async with (
        opened(service_database(service), KEYRING) as database,
        database.read() as connection,
    ):
        stored = await connection.fetch(
            """
                SELECT table_name, column_name FROM information_schema.columns
                JOIN information_schema.tables USING (table_schema, table_name)
                WHERE table_schema = 'public' AND data_type = 'bytea' AND table_type = 'BASE TABLE'
            """
        )
        as_bytes = {(row["table_name"], row["column_name"]) for row in stored}
    encrypted = (idempotency.ENCRYPTED_TABLES, *encrypted_of(service))

    assert as_bytes - NOT_ENCRYPTED == {
        (table.name, column)
        for table in encrypted
        for column, kind in table.kinds.items()
        if kind == "bytea"
    }


def encrypted_of(service: str) -> Sequence[EncryptedTable]:
    """What a service says of its own tables."""
    if importlib.util.find_spec(f"services.{service}.store.encrypted") is None:
        return ()
    tables: Sequence[EncryptedTable] = importlib.import_module(
        f"services.{service}.store.encrypted"
    ).ENCRYPTED_TABLES
    return tables
