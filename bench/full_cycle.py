"""A full cycle: due → prepared → announced → charged → confirmed → receipt on the phone.

All four services and the sandbox run as processes. The sandbox's clock is moved from before the
preparation to after the due time. The measured time ends when no service has anything left to do.
"""

import json
import time
from datetime import datetime, timedelta

import aiohttp
import asyncpg

from bench.measure import Run, WrongResultError, check
from bench.seed import Book
from bench.stack import Stack

AFTER_DUE = timedelta(minutes=1)
ADVANCE_TIMEOUT_SECONDS = 240.0

PAID = "SELECT count(*) FROM orders WHERE state = 'PAID' AND merchant = $1"
CHARGED = "SELECT count(*) FROM charges WHERE state = 'SUCCEEDED' AND merchant = $1"
RECEIPTS = """
    SELECT count(*) FROM notices JOIN deliveries USING (customer, merchant, notice)
    WHERE kind = 'RECEIPT' AND channel = 'SMS' AND state = 'DELIVERED' AND merchant = $1
"""


async def measure(stack: Stack, book: Book) -> Run:
    """Run the first cycle of every standing order of a book that is not due yet."""
    started = time.perf_counter()
    await advance(stack.sandbox_url, book.due_time + AFTER_DUE)
    seconds = time.perf_counter() - started
    check("orders paid", book.count, await _count(stack.url("scheduler"), PAID, book))
    check("charges", book.count, await _count(stack.url("payments"), CHARGED, book))
    check("receipts", book.count, await _count(stack.url("notify"), RECEIPTS, book))
    return Run(book.count, seconds)


async def advance(sandbox_url: str, moment: datetime) -> None:
    """Move the clock to an instant; returns when every service has come to rest there."""
    target = {"to": moment.isoformat()}
    timeout = aiohttp.ClientTimeout(total=ADVANCE_TIMEOUT_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        http.post(f"{sandbox_url}/clock/advance", json=target) as response,
    ):
        response.raise_for_status()
        last = {}
        async for line in response.content:
            last = json.loads(line)
    if not last.get("done"):
        raise WrongResultError(f"the clock did not arrive: {last}")


async def _count(url: str, query: str, book: Book) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(query, book.merchant))
    finally:
        await connection.close()
