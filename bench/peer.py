"""The peer: a cycle as a good engineer would run it without the suite, three jobs of pgqueuer.

One job stores the order and announces it by SMS, one charges it with an idempotency key and books it,
one sends the receipt. PostgreSQL, the payment provider and the SMS gateway are the suite's. The peer
prices nothing, asks nobody, and keeps no reasons: it is a lower bound for what is built on a job queue.

It is tuned in its favour: uvloop, one statement a step without a transaction around it, connections
that stay open, batches of jobs. `python -m bench.peer` runs what waits in the queue and prints a JSON
object. It is a process of its own, so that its CPU time is measured apart.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp
import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from bench import seed
from bench.measure import Run, check
from services.runtime.app.bootstrap import run_loop

POOL_CONNECTIONS = 8
DEQUEUE_BATCH_JOBS = 500
ENQUEUE_BATCH_JOBS = 5000
HTTP_CONNECTIONS = 50
HTTP_TIMEOUT_SECONDS = 30
RUN_TIMEOUT_SECONDS = 300
AMOUNT_MINOR = 1290
ENVIRONMENT_PREFIX = "PEER_"

SETTINGS = (
    f"dequeue batch {DEQUEUE_BATCH_JOBS}, concurrency unlimited (its default), asyncpg pool of "
    f"{POOL_CONNECTIONS}, {HTTP_CONNECTIONS} HTTP connections, uvloop"
)

_TABLES = """
    DROP TABLE IF EXISTS peer_orders, peer_ledger;
    CREATE TABLE peer_orders (
        "order"          bigint      PRIMARY KEY,
        customer         text        NOT NULL,
        state            text        NOT NULL,
        amount_minor     bigint      NOT NULL,
        currency         text        NOT NULL,
        provider_payment text,
        create_time      timestamptz NOT NULL DEFAULT now(),
        pay_time         timestamptz,
        receipt_time     timestamptz
    ) WITH (fillfactor = 70);
    CREATE TABLE peer_ledger (
        "order"      bigint NOT NULL,
        account      text   NOT NULL,
        amount_minor bigint NOT NULL,
        currency     text   NOT NULL,
        PRIMARY KEY ("order", account)
    )
"""
_ORDER = """
    INSERT INTO peer_orders ("order", customer, state, amount_minor, currency)
    VALUES ($1, $2, 'UPCOMING', $3, 'EUR') ON CONFLICT DO NOTHING
"""
_PAID = """
    WITH paid AS (
        UPDATE peer_orders SET state = 'PAID', provider_payment = $2, pay_time = now()
        WHERE "order" = $1 AND state = 'UPCOMING'
        RETURNING "order", amount_minor, currency)
    INSERT INTO peer_ledger ("order", account, amount_minor, currency)
    SELECT "order", 'provider-clearing', amount_minor, currency FROM paid
    UNION ALL
    SELECT "order", 'merchant-payable', -amount_minor, currency FROM paid
"""
_RECEIPT = 'UPDATE peer_orders SET receipt_time = now() WHERE "order" = $1'


@dataclass(frozen=True, slots=True)
class Outside:
    """Where the provider and the gateway are, and the keys for them."""

    database_url: str
    sandbox_url: str
    provider_api_key: str
    sms_api_key: str

    def environment(self) -> dict[str, str]:
        """As variables of the peer's process."""
        return {
            f"{ENVIRONMENT_PREFIX}{name.upper()}": getattr(self, name)
            for name in self.__dataclass_fields__
        }

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Outside":
        """From the variables of the peer's process."""
        names = cls.__dataclass_fields__
        return cls(**{name: environment[f"{ENVIRONMENT_PREFIX}{name.upper()}"] for name in names})


async def measure(outside: Outside, count: int) -> Run:
    """Run so many cycles that wait in the queue, in a process of its own; CPU is of that alone."""
    pool = await asyncpg.create_pool(outside.database_url, min_size=1, max_size=1)
    async with pool:
        await _fill(pool, count)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.peer",
            str(count),
            env={**os.environ, **outside.environment()},
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            printed, _ = await asyncio.wait_for(process.communicate(), RUN_TIMEOUT_SECONDS)
        except BaseException:
            process.kill()
            raise
        check("status of the peer", 0, process.returncode or 0)
        done = "SELECT count(*) FROM peer_orders WHERE state = 'PAID' AND receipt_time IS NOT NULL"
        check("cycles of the peer", count, await pool.fetchval(done))
        check(
            "entries of the peer",
            2 * count,
            await pool.fetchval("SELECT count(*) FROM peer_ledger"),
        )
    result = json.loads(printed)
    return Run(count, result["seconds"], {"peer": result["cpu_seconds"]})


async def _fill(pool: "asyncpg.Pool[asyncpg.Record]", count: int) -> None:
    queries = Queries.from_asyncpg_pool(pool)
    if not await queries.schema_is_installed():
        await queries.install()
    await queries.clear_queue()
    await queries.clear_queue_log()
    await pool.execute(_TABLES)
    for start in range(0, count, ENQUEUE_BATCH_JOBS):
        orders = range(start, min(start + ENQUEUE_BATCH_JOBS, count))
        payloads: list[bytes | None] = [str(order).encode() for order in orders]
        await queries.enqueue(["announce"] * len(orders), payloads, [0] * len(orders))
    await pool.execute("ANALYZE")


class _Peer:
    """The three jobs."""

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", http: aiohttp.ClientSession, outside: Outside
    ) -> None:
        self._pool = pool
        self._http = http
        self._outside = outside
        self._queries = Queries.from_asyncpg_pool(pool)
        # Orders of earlier rounds had other keys.
        self._run = f"{time.time_ns():x}"
        self.done = asyncio.Event()
        self.left = 0

    async def announce(self, job: Job) -> None:
        """Store the order, announce it, and have it charged."""
        order = _order(job)
        await self._pool.execute(_ORDER, order, f"customer-{order}", AMOUNT_MINOR)
        await self._send(
            order,
            "announced",
            f"Roasters will charge EUR 12.90 for order {order} on 5 December from your card. "
            "Reply SKIP to leave it out, or change it at https://example.com/o",
        )
        await self._queries.enqueue("charge", job.payload)

    async def charge(self, job: Job) -> None:
        """Charge the order and book it, and have the receipt sent."""
        order = _order(job)
        form = {
            "amount": str(AMOUNT_MINOR),
            "currency": "eur",
            "payment_method": "pm_card_visa",
            "confirm": "true",
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
            "off_session": "true",
            "metadata[attempt]": self._key(order, "charge"),
        }
        async with self._http.post(
            f"{self._outside.sandbox_url}/v1/payment_intents",
            data=urlencode(form),
            headers={
                "Authorization": f"Bearer {self._outside.provider_api_key}",
                "Content-Type": "application/x-www-form-urlencoded",
                "Idempotency-Key": self._key(order, "charge"),
            },
        ) as response:
            response.raise_for_status()
            payment = await response.json()
        await self._pool.execute(_PAID, order, payment["id"])
        await self._queries.enqueue("receipt", job.payload)

    async def receipt(self, job: Job) -> None:
        """Send the receipt."""
        order = _order(job)
        await self._send(
            order, "receipt", f"Roasters charged EUR 12.90 for order {order}. Thank you."
        )
        await self._pool.execute(_RECEIPT, order)
        self.left -= 1
        if not self.left:
            self.done.set()

    async def _send(self, order: int, what: str, text: str) -> None:
        message = {"to": seed.phone(order), "from": "Roasters", "body": text}
        async with self._http.post(
            f"{self._outside.sandbox_url}/sms/v1/messages",
            json=message,
            headers={
                "Authorization": f"Bearer {self._outside.sms_api_key}",
                "Idempotency-Key": self._key(order, what),
            },
        ) as response:
            response.raise_for_status()
            await response.read()

    def _key(self, order: int, what: str) -> str:
        return f"peer-{self._run}-{order}-{what}"


def _order(job: Job) -> int:
    return int(job.payload or b"")


async def _run_queue(outside: Outside, count: int) -> None:
    connector = aiohttp.TCPConnector(limit=HTTP_CONNECTIONS)
    # Requests wait for a connection as long as it takes.
    timeout = aiohttp.ClientTimeout(total=None, sock_read=HTTP_TIMEOUT_SECONDS)
    async with (
        asyncpg.create_pool(
            outside.database_url, min_size=POOL_CONNECTIONS, max_size=POOL_CONNECTIONS
        ) as pool,
        aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
    ):
        peer = _Peer(pool, http, outside)
        peer.left = count
        worker = PgQueuer.from_asyncpg_pool(pool)
        for job in (peer.announce, peer.charge, peer.receipt):
            worker.entrypoint(job.__name__)(job)
        started, cpu_started = time.perf_counter(), time.process_time()
        running = asyncio.create_task(worker.run(batch_size=DEQUEUE_BATCH_JOBS))
        done = asyncio.create_task(peer.done.wait())
        await asyncio.wait({running, done}, return_when=asyncio.FIRST_COMPLETED)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        worker.shutdown.set()
        await running
    print(json.dumps({"count": count, "seconds": seconds, "cpu_seconds": cpu_seconds}))


if __name__ == "__main__":
    run_loop(_run_queue(Outside.read(os.environ), int(sys.argv[1])))
