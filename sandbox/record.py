"""The sandbox's record of requests and their effects, in one SQLite file.

An audit compares the services' databases with this record, so it has to hold what the services
were answered: a change is answered only after it is on disk (`synchronous=FULL`), and a SIGKILL at any
moment loses nothing that was answered.

Changes of many requests share one commit. While a commit waits for the disk, in a thread of its
own, new changes gather for the next one. Reads go through a second connection on the event loop:
SQLite's write-ahead log lets them see the last commit without waiting for the next.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from aiohttp import web

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], T]

PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1000
LOCK_WAIT_SECONDS = 5.0
"""How long a statement waits for another program that has the file locked, a backup say."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS clock (
    only  INTEGER PRIMARY KEY CHECK (only = 1),
    now   TEXT NOT NULL,
    round INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS outages (
    part    TEXT PRIMARY KEY,
    kind    TEXT NOT NULL,
    seconds REAL NOT NULL,
    times   INTEGER
) STRICT;

-- How the provider departs from its ideal; what is absent does not.
CREATE TABLE IF NOT EXISTS provider_behavior (
    name    TEXT PRIMARY KEY,
    seconds INTEGER NOT NULL CHECK (seconds > 0)
) STRICT;

-- What was changed about a card since the sandbox was made, as JSON.
CREATE TABLE IF NOT EXISTS provider_cards (
    token   TEXT PRIMARY KEY,
    changes TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- `status` and `body` are null while every request of the key so far was turned away undone.
CREATE TABLE IF NOT EXISTS idempotency (
    part        TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    tries       INTEGER NOT NULL,
    status      INTEGER,
    body        TEXT,
    at          TEXT NOT NULL,
    PRIMARY KEY (part, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS requests (
    seq     INTEGER PRIMARY KEY,
    part    TEXT NOT NULL,
    method  TEXT NOT NULL,
    path    TEXT NOT NULL,
    key     TEXT,
    outcome TEXT NOT NULL,
    at      TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS payment_intents (
    seq            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    currency       TEXT NOT NULL,
    customer       TEXT,
    description    TEXT,
    payment_method TEXT NOT NULL,
    status         TEXT NOT NULL,
    metadata       TEXT NOT NULL,
    error          TEXT,
    created        INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS payment_intent_metadata (
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    seq   INTEGER NOT NULL REFERENCES payment_intents (seq),
    PRIMARY KEY (name, value, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS refunds (
    seq            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    payment_intent TEXT NOT NULL REFERENCES payment_intents (id),
    amount         INTEGER NOT NULL CHECK (amount > 0),
    currency       TEXT NOT NULL,
    reason         TEXT,
    metadata       TEXT NOT NULL,
    created        INTEGER NOT NULL,
    -- Pending before the one, and failed from the other on.
    settles        INTEGER NOT NULL,
    fails          INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS refunds_by_payment_intent ON refunds (payment_intent);

-- `withdrawn` and `reinstated` say when the money went and came back.
CREATE TABLE IF NOT EXISTS disputes (
    seq            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    payment_intent TEXT NOT NULL REFERENCES payment_intents (id),
    amount         INTEGER NOT NULL CHECK (amount > 0),
    currency       TEXT NOT NULL,
    reason         TEXT NOT NULL,
    status         TEXT NOT NULL,
    evidence       TEXT NOT NULL,
    submissions    INTEGER NOT NULL,
    created        INTEGER NOT NULL,
    due_by         INTEGER NOT NULL,
    withdrawn      INTEGER,
    reinstated     INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS disputes_by_payment_intent ON disputes (payment_intent);

-- What each movement of money left of the balance; `payout` is what it was paid out with.
CREATE TABLE IF NOT EXISTS balance_transactions (
    seq            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    type           TEXT NOT NULL,
    category       TEXT NOT NULL,
    source         TEXT NOT NULL,
    payment_intent TEXT,
    amount         INTEGER NOT NULL,
    fee            INTEGER NOT NULL,
    currency       TEXT NOT NULL,
    created        INTEGER NOT NULL,
    payout         TEXT,
    -- Thousandths, where the amount was converted to the currency; null: it is that of its source.
    rate           INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS balance_transactions_by_time ON balance_transactions (created, seq);
CREATE INDEX IF NOT EXISTS balance_transactions_by_payout ON balance_transactions (payout, created);

CREATE TABLE IF NOT EXISTS payouts (
    seq      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    amount   INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    created  INTEGER NOT NULL
) STRICT;

-- An event that the provider sends; `due` (unix) is null when it is not sent any more.
CREATE TABLE IF NOT EXISTS webhooks (
    seq   INTEGER PRIMARY KEY,
    event TEXT NOT NULL UNIQUE,
    type  TEXT NOT NULL,
    body  TEXT NOT NULL,
    due   INTEGER,
    tries INTEGER NOT NULL,
    -- Which provider sends it, and for the bank's what it is about and when that happened (unix).
    part    TEXT NOT NULL DEFAULT 'provider',
    object  TEXT NOT NULL DEFAULT '',
    created INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS webhooks_due ON webhooks (part, due, seq) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS webhooks_of_object ON webhooks (object, created) WHERE object <> '';

-- Bank debits. The times (unix) say what becomes of one; what is null does not.
CREATE TABLE IF NOT EXISTS bank_payments (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    mandate      TEXT NOT NULL,
    amount       INTEGER NOT NULL CHECK (amount > 0),
    currency     TEXT NOT NULL,
    description  TEXT,
    metadata     TEXT NOT NULL,
    -- Of the metadata.
    charge       TEXT NOT NULL,
    created      INTEGER NOT NULL,
    submits      INTEGER NOT NULL,
    charged      INTEGER NOT NULL,
    confirms     INTEGER,
    fails        INTEGER,
    cause        TEXT,
    charged_back INTEGER,
    chargeback_cancelled INTEGER,
    cancelled    INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS bank_payments_by_charge ON bank_payments (charge);
CREATE INDEX IF NOT EXISTS bank_payments_by_time ON bank_payments (created);
CREATE INDEX IF NOT EXISTS bank_payments_failing ON bank_payments (fails) WHERE fails IS NOT NULL;
CREATE INDEX IF NOT EXISTS bank_payments_charged_back ON bank_payments (charged_back)
    WHERE charged_back IS NOT NULL;

CREATE TABLE IF NOT EXISTS bank_refunds (
    seq      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    payment  TEXT NOT NULL REFERENCES bank_payments (id),
    amount   INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created  INTEGER NOT NULL,
    paid     INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS bank_refunds_by_payment ON bank_refunds (payment);

-- What payouts of the bank debit provider are made of, in tenths of a minor unit.
CREATE TABLE IF NOT EXISTS bank_payout_items (
    seq      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    type     TEXT NOT NULL,
    payment  TEXT NOT NULL,
    refund   TEXT,
    tenths   INTEGER NOT NULL,
    currency TEXT NOT NULL,
    created  INTEGER NOT NULL,
    payout   TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS bank_payout_items_of_payout ON bank_payout_items (payout, seq);
CREATE TABLE IF NOT EXISTS bank_payouts (
    seq           INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    amount        INTEGER NOT NULL,
    deducted_fees INTEGER NOT NULL,
    currency      TEXT NOT NULL,
    created       INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS sms (
    seq       INTEGER PRIMARY KEY,
    id        TEXT NOT NULL UNIQUE,
    recipient TEXT NOT NULL,
    sender    TEXT NOT NULL,
    body      TEXT NOT NULL,
    status    TEXT NOT NULL,
    -- What the gateway says later that became of it, why, and from when on (unix).
    outcome   TEXT,
    code      TEXT,
    settles   INTEGER,
    created   TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sms_by_recipient ON sms (recipient, seq);

CREATE TABLE IF NOT EXISTS mail (
    seq        INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL,
    recipient  TEXT NOT NULL,
    sender     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    text       TEXT NOT NULL,
    -- Empty: the mail has none.
    html       TEXT NOT NULL,
    attachments TEXT NOT NULL,
    deliveries INTEGER NOT NULL,
    created    TEXT NOT NULL,
    UNIQUE (message_id, recipient)
) STRICT;
CREATE INDEX IF NOT EXISTS mail_by_recipient ON mail (recipient, seq);
"""


@dataclass(frozen=True)
class ReceivedRequest:
    """A request, without its secrets and its body."""

    part: str
    method: str
    path: str
    key: str | None
    at: str


class Record:
    """The file, its one writer and its one reader."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._writer = _connect(file)
        self._writer.executescript(SCHEMA)
        self._reader = _connect(file)
        self._reader.execute("PRAGMA query_only = ON")
        self._waiting: list[tuple[Change[Any], asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._next_commit: asyncio.Future[None] | None = None

    def read(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """Return the rows of a query over what is committed."""
        return self._reader.execute(statement, values).fetchall()

    def read_inbox(
        self, statement: str, *values: object, recipient: str | None, limit: int
    ) -> list[sqlite3.Row]:
        """Return what came for one recipient, or for all, oldest first."""
        if recipient is not None:
            statement, values = f"{statement} AND recipient = ?", (*values, recipient)
        return self.read(f"{statement} ORDER BY seq LIMIT ?", *values, limit)

    def submit(self, change: Change[T]) -> asyncio.Future[T]:
        """Queue a change in order of arrival; the future resolves once it is on disk.

        What the change raises undoes that change alone, and is raised by the future.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, future))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_waiting())
        return future

    async def write(self, change: Change[T]) -> T:
        """Make a change and wait until it is on disk."""
        return await self.submit(change)

    async def catch_up(self) -> None:
        """Wait until all that was submitted so far is on disk."""
        await self.write(lambda _: None)

    def next_commit(self) -> asyncio.Future[None]:
        """Return a future that resolves when the record has changed; it is not to be cancelled."""
        if self._next_commit is None:
            self._next_commit = asyncio.get_running_loop().create_future()
        return self._next_commit

    async def execute(self, statement: str, *values: object) -> None:
        """Make a change that is a single statement."""

        def change(db: sqlite3.Connection) -> None:
            db.execute(statement, values)

        await self.write(change)

    async def close(self) -> None:
        """Finish what is queued, then let go of the file."""
        while self._committing is not None:
            await asyncio.wait([self._committing])
        self._reader.close()
        self._writer.close()

    async def _commit_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                outcomes = await asyncio.to_thread(self._commit, [change for change, _ in batch])
            except sqlite3.Error as error:
                outcomes = [(None, error)] * len(batch)
            if self._next_commit is not None:
                self._next_commit.set_result(None)
                self._next_commit = None
            for (_, future), (result, failure) in zip(batch, outcomes, strict=True):
                if future.done():  # The client has disconnected; the change stands.
                    continue
                if failure is not None:
                    future.set_exception(failure)
                else:
                    future.set_result(result)
        self._committing = None

    def _commit(self, changes: list[Change[Any]]) -> list[tuple[Any, Exception | None]]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [_apply(self._writer, change) for change in changes]
            self._writer.execute("COMMIT")
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise
        return outcomes


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        file, timeout=LOCK_WAIT_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _apply(db: sqlite3.Connection, change: Change[Any]) -> tuple[Any, Exception | None]:
    db.execute("SAVEPOINT change")
    try:
        return change(db), None
    except Exception as error:  # noqa: BLE001 - raised again in the caller
        db.execute("ROLLBACK TO change")
        return None, error
    finally:
        db.execute("RELEASE change")


def note_request(db: sqlite3.Connection, received: ReceivedRequest, outcome: str) -> None:
    """Add a request and what became of it, to be committed with its effect."""
    db.execute(
        "INSERT INTO requests (part, method, path, key, outcome, at) VALUES (?, ?, ?, ?, ?, ?)",
        (received.part, received.method, received.path, received.key, outcome, received.at),
    )


def page_size(request: web.Request) -> int:
    """Read `limit` of a listing; raises HTTPBadRequest when it is not between 1 and the limit."""
    text = request.query.get("limit", str(PAGE_SIZE_DEFAULT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= PAGE_SIZE_MAX):
        raise bad_request(f"limit: give a number from 1 to {PAGE_SIZE_MAX}")
    return int(text)


def bad_request(message: str) -> web.HTTPBadRequest:
    """Build the 400 of the sandbox's own endpoints."""
    return web.HTTPBadRequest(
        text=web.json_response({"error": message}).text, content_type="application/json"
    )


def count_everything(record: Record) -> dict[str, object]:
    """Count the effects and requests of each part; amounts are in minor units by currency.

    What was given back counts even if the refund failed later: the money came back by another entry.
    """

    def table(statement: str) -> dict[str, int]:
        return {cast("str", name): cast("int", count) for name, count in record.read(statement)}

    deliveries = record.read("SELECT count(*), coalesce(sum(deliveries), 0) FROM mail")[0]
    return {
        "payment_intents": table("SELECT status, count(*) FROM payment_intents GROUP BY 1"),
        "captured_minor": table(
            "SELECT currency, sum(amount) FROM payment_intents"
            " WHERE status = 'succeeded' GROUP BY 1"
        ),
        "refunds": record.read("SELECT count(*) FROM refunds")[0][0],
        "refunded_minor": table("SELECT currency, sum(amount) FROM refunds GROUP BY 1"),
        "disputes": record.read("SELECT count(*) FROM disputes")[0][0],
        "sms": table("SELECT status, count(*) FROM sms GROUP BY 1"),
        "mail": {"messages": deliveries[0], "deliveries": deliveries[1]},
        "requests": {
            part: table(f"SELECT outcome, count(*) FROM requests WHERE part = '{part}' GROUP BY 1")  # noqa: S608 - the names below
            for part in ("provider", "bank", "sms", "mail", "tax")
        },
    }


def routes(record: Record) -> list[web.RouteDef]:
    """Routes over the whole record, for audits."""

    async def show_counts(_: web.Request) -> web.Response:
        await record.catch_up()
        return web.json_response(count_everything(record))

    async def list_requests(request: web.Request) -> web.Response:
        limit = page_size(request)
        after = request.query.get("after", "0")
        if not (after.isascii() and after.isdigit()):
            raise bad_request("after: give the `seq` of the last request of the page before")
        await record.catch_up()
        rows = record.read(
            "SELECT seq, part, method, path, key, outcome, at FROM requests"
            " WHERE seq > ? AND part = coalesce(?, part) ORDER BY seq LIMIT ?",
            int(after),
            request.query.get("part"),
            limit + 1,
        )
        data = [dict(row) for row in rows[:limit]]
        return web.json_response({"data": data, "has_more": len(rows) > limit})

    return [web.get("/record", show_counts), web.get("/record/requests", list_requests)]
