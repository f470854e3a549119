"""What is about a person is encrypted in the database, and erased from it on request."""

import base64
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from recurring.notify.v1 import events_pb2, notify_pb2

from services.notify import api
from services.notify.store.encrypted import ENCRYPTED_TABLES
from services.notify.workers import Deliveries
from services.runtime.auth.call_context import act_for_all
from services.runtime.crypto.encryption import Keyring, UnreadableError
from services.runtime.db.key_rotation import reencrypt
from services.runtime.db.pool import Database, Pool
from services.runtime.errors import Problem
from tests.conftest import DATA_KEYS
from tests.due_work import step
from tests.integration.notify.suite import ANN, PHONE, Notify, order_confirmed, order_upcoming

CONTACT = f"{ANN}/contact"
BOB, BOBS_PHONE = "merchants/acme/customers/bob", "+491700000002"
NAME, EMAIL = "Canary Wren", "canary@example.com"
CANARIES = (PHONE, PHONE[1:], EMAIL, NAME, "Espresso")
GET = notify_pb2.GetContactRequest(name=CONTACT)
NEW_KEY = f"test-2:{base64.b64encode(secrets.token_bytes(32)).decode()}"

# Table -> its rows.
Rows = dict[str, list[Any]]


@pytest.fixture
async def known(notify: Notify) -> Notify:
    """A notify that knows all that it can know of a customer, sent and waiting."""
    await notify.contact(email=EMAIL)
    await notify.call("UpdateContact", update(display_name=NAME))
    await notify.bind()
    await notify.receive(order_upcoming())
    await notify.deliver()
    await notify.receive(order_confirmed())
    await notify.start_binding("+491709999999")
    return notify


def update(**contact: Any) -> notify_pb2.UpdateContactRequest:  # noqa: ANN401
    return notify_pb2.UpdateContactRequest(contact=notify_pb2.Contact(name=CONTACT, **contact))


async def erase(notify: Notify, customer: str = ANN) -> None:
    await notify.call("EraseCustomer", notify_pb2.EraseCustomerRequest(name=customer))


async def stored(notify: Notify) -> Rows:
    """Every row of every table, by a role that sees them all."""
    async with notify.database.begin(wake_workers=False) as tx:
        await tx.execute("SELECT set_config('role', session_user || '_workers', true)")
        tables = await tx.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            table: await tx.fetch(f"SELECT * FROM {table}")  # noqa: S608 - a table
            for (table,) in tables
            if not table.startswith("alembic")
        }


def readable(rows: Rows) -> set[tuple[str, str]]:
    """Which canaries sit in which tables."""
    return {
        (table, canary)
        for table, table_rows in rows.items()
        for row in table_rows
        for value in row
        for canary in CANARIES
        if canary.encode() in (value if isinstance(value, bytes) else str(value).encode())
    }


async def test_no_table_holds_a_name_a_phone_an_address_or_a_text(known: Notify) -> None:
    rows = await stored(known)

    assert all(rows[table] for table in ("contacts", "phone_codes", "deliveries", "requests"))
    assert readable(rows) == set()


async def test_what_is_encrypted_is_read_back(known: Notify) -> None:
    contact = await known.call("GetContact", GET)

    assert (contact.display_name, contact.email) == (NAME, EMAIL)
    assert any(NAME in notice.deliveries[0].text for notice in await known.notices())


async def test_a_key_that_follows_another_encrypts_and_the_old_one_still_opens(
    known: Notify,
) -> None:
    url = known.database.pool.url
    before = known.api
    async with opened(url, f"{NEW_KEY},{DATA_KEYS}") as database:
        known.api = api.Servicer(database, known.clock)
        old = await known.call("GetContact", GET)
        new = await known.call("UpdateContact", update(email="new@example.com"))

    assert (old.email, new.email) == (EMAIL, "new@example.com")
    known.api = before
    with pytest.raises(UnreadableError):
        await known.call("GetContact", GET)


async def test_a_customer_is_found_by_their_phone_while_keys_follow_another(known: Notify) -> None:
    url = known.database.pool.url
    request = notify_pb2.ListContactsRequest(parent="merchants/acme", phone=PHONE)
    table = next(table for table in ENCRYPTED_TABLES if table.name == "contacts")
    async with opened(url, f"{NEW_KEY},{DATA_KEYS}") as database:
        known.api = api.Servicer(database, known.clock)
        assert len((await known.call("ListContacts", request)).contacts) == 1
        act_for_all("test")
        await reencrypt(database, table)
    async with opened(url, NEW_KEY) as database:
        known.api = api.Servicer(database, known.clock)
        assert len((await known.call("ListContacts", request)).contacts) == 1


async def test_after_reencryption_the_old_key_can_be_dropped(known: Notify) -> None:
    url = known.database.pool.url
    before = await known.call("GetContact", GET), await known.notices()
    async with opened(url, f"{NEW_KEY},{DATA_KEYS}") as database:
        act_for_all("test")
        for table in ENCRYPTED_TABLES:
            tally = await reencrypt(database, table)
            # Of what is not sent yet, nothing is encrypted but its facts. No platform listens here, and
            # nobody has replied.
            is_empty = table.name.startswith(("webhook_", "inbound_"))
            assert (tally.reencrypted > 0) is not is_empty
            assert (tally.left, tally.unreadable) == (0, 0)

    async with opened(url, NEW_KEY) as database:
        known.api = api.Servicer(database, known.clock)
        assert (await known.call("GetContact", GET), await known.notices()) == before
        sending = Deliveries(database, known.clock, known.deliveries._gateways, known.documents)
        act_for_all("test")
        while (await step(database, known.clock, "delivery", sending.work)).worked:
            pass
    assert len(await known.inbox("+491709999999")) == 1


@asynccontextmanager
async def opened(url: str, keys: str) -> AsyncIterator[Database]:
    pool = Pool(url, application="test", size=1, keyring=Keyring.parse(keys))
    try:
        yield Database(pool)
    finally:
        await pool.close()


async def test_what_is_moved_to_another_customer_is_not_read(known: Notify) -> None:
    await known.contact(BOB)
    async with known.database.begin() as tx:
        await tx.execute(
            """
                UPDATE contacts SET email = (SELECT email FROM contacts WHERE customer = 'ann')
                WHERE customer = 'bob'
            """
        )

    with pytest.raises(UnreadableError):
        await known.call("GetContact", notify_pb2.GetContactRequest(name=f"{BOB}/contact"))


async def test_a_delivery_that_does_not_open_waits_and_does_not_hold_up_the_others(
    notify: Notify,
) -> None:
    await notify.contact()
    await notify.bind()
    await notify.contact(BOB)
    await notify.bind(BOBS_PHONE, BOB)
    await notify.receive(order_upcoming(), order_upcoming(BOB))
    await rename_key(notify, "test-1", "test-9")
    await notify.deliver()
    [_, waiting] = await notify.notices()

    assert len(await notify.inbox(BOBS_PHONE)) == 2
    assert waiting.deliveries[0].state == notify_pb2.Notice.Delivery.PENDING
    assert waiting.deliveries[0].failure_code == "UNREADABLE"
    await rename_key(notify, "test-9", "test-1")
    notify.clock.move(timedelta(minutes=1))
    await notify.deliver()
    assert len(await notify.inbox()) == 2


async def rename_key(notify: Notify, before: str, after: str) -> None:
    """Have Ann's phone encrypted with a key of another name."""
    async with notify.database.begin() as tx:
        await tx.execute(
            """
                UPDATE contacts SET phone = overlay(phone PLACING $1 FROM 1)
                WHERE customer = 'ann' AND starts_with(encode(phone, 'escape'), $2)
            """,
            after.encode(),
            before,
        )


async def test_who_is_erased_is_not_known_any_more(known: Notify) -> None:
    await erase(known)

    with pytest.raises(Problem) as refused:
        await known.call("GetContact", GET)
    assert refused.value.reason == "CONTACT_NOT_FOUND"
    rows = await stored(known)
    assert (rows["contacts"], rows["phone_codes"]) == ([], [])
    assert {(row["subject"], row["text"], row["secret_text"]) for row in rows["deliveries"]} == {
        (b"", b"", None)
    }
    assert {row["facts"] for row in rows["notices"]} == {b""}


async def test_what_was_to_be_sent_to_who_is_erased_is_not_sent(known: Notify) -> None:
    before = await known.inbox()
    await erase(known)
    await known.deliver()

    assert await known.inbox() == before
    assert await known.inbox("+491709999999") == []


async def test_who_comes_back_is_not_told_what_was_erased(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.receive(order_upcoming())
    await erase(notify)
    await notify.contact()
    await notify.start_binding()
    await notify.deliver()

    [failed] = await notify.published(events_pb2.ChargeNoticeFailed)
    assert failed.failure_code == "NO_CHANNEL"
    assert all(await notify.inbox())


async def test_answers_from_before_are_forgotten_and_the_change_is_not_made_again(
    notify: Notify,
) -> None:
    request = update(display_name=NAME, email=EMAIL)
    request.allow_missing = True
    request.request_id = str(uuid.uuid4())
    await notify.call("UpdateContact", request)
    await erase(notify)

    assert await notify.call("UpdateContact", request) == notify_pb2.Contact()
    assert (await stored(notify))["contacts"] == []


async def test_to_erase_again_changes_nothing(known: Notify) -> None:
    await erase(known)
    before = await stored(known)
    await erase(known)
    after = await stored(known)

    grown = {"requests", "audit_entries"}
    assert {t: rows for t, rows in after.items() if t not in grown} == {
        t: rows for t, rows in before.items() if t not in grown
    }


async def test_another_customer_stays_as_they_were(known: Notify) -> None:
    bob = await known.contact(BOB, email="bob@example.com")
    await erase(known)

    request = notify_pb2.GetContactRequest(name=f"{BOB}/contact")
    assert await known.call("GetContact", request) == bob
