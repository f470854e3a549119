"""Notices: from events to words on record, over HTTP to a gateway, and beside one that is slow.

`python -m bench.notices` starts a stack for them alone. Notify's own handlers and worker run here, on a
database of their own, with the sandbox's gateway where one is asked. What a process of the service does
beside them, such as reading the broker, is in the full cycle.
"""

import argparse
import asyncio
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import psutil
from recurring.scheduler.v1 import events_pb2, scheduler_pb2

from bench import stack
from bench.measure import Aim, Figure, WrongResultError, check
from bench.stack import BYTES_PER_MEGABYTE, Stack
from deploy.embedded.__main__ import DEFAULT_HOME, HOME_VARIABLE
from deploy.embedded.process import PartError
from services.notify import consumers, workers
from services.notify.clients.documents import Documents
from services.notify.clients.gateway import Gateway, Message
from services.notify.clients.sms import SmsGateway
from services.notify.domain.notices import (
    Attempt,
    Channel,
    CustomerId,
    CustomerKey,
    MerchantId,
    Verdict,
    new_contact,
)
from services.notify.store import contacts, phones
from services.notify.store.phones import BoundPhone
from services.runtime.app.bootstrap import run_loop
from services.runtime.auth.call_context import act_for_all
from services.runtime.db.due_work import Batch
from services.runtime.db.leases import BUCKETS
from services.runtime.db.pool import Database, Pool
from services.runtime.messaging.events import Event
from services.runtime.rpc.conversions import to_timestamp
from services.runtime.workers.clock import SystemClock

MERCHANT = MerchantId("notices")
CUSTOMERS = 1_000
# The others have an e-mail address.
ALL, WITH_PHONE = range(CUSTOMERS), range(0, CUSTOMERS, 2)
NOTICES = 10_000
OVER_HTTP = 4_000
QUEUED = 100_000
MIXED = 1_000
# As the consumer hands them over.
BATCH_EVENTS = 500
SLOW_SECONDS = 0.2
# No step is cut short.
STEP_SECONDS = 600.0
DUE = datetime(2027, 1, 31, 8, tzinfo=UTC)
RECORDED_A_SECOND = Aim(2_000)
DELIVERED_A_SECOND = Aim(800)
GROWTH_MEGABYTES = Aim(50, at_least=False)
BESIDE_SLOW = Aim(0.5)
# Nobody is asked for files.
NO_PAYMENTS = "127.0.0.1:9"


class Instant:
    """A gateway that delivers at once, or after a while."""

    name = "instant"

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self.sent: list[float] = []

    async def send(self, _message: Message) -> Attempt:
        """Deliver."""
        if self._seconds:
            await asyncio.sleep(self._seconds)
        self.sent.append(time.perf_counter())
        return Attempt(Verdict.DELIVERED)

    async def close(self) -> None:
        """Nothing is open."""


class Notify:
    """Notify's handlers and its worker, without its process."""

    def __init__(self, database: Database, gateways: dict[Channel, Gateway]) -> None:
        self.clock = SystemClock()
        self._database = database
        self._channel = grpc.aio.insecure_channel(NO_PAYMENTS)
        self._worker = workers.Deliveries(database, self.clock, gateways, Documents(self._channel))
        self._handler = next(
            subscription.handler
            for subscription in consumers.subscriptions(self.clock)["SCHEDULER"]
            if subscription.type == events_pb2.OrderSkipped.DESCRIPTOR.full_name
        )

    async def receive(self, count: int, customers: Sequence[int]) -> None:
        """Make a notice of each of so many events, in batches of the consumer's size."""
        for events in _batches(count, customers, self.clock.now()):
            async with self._database.begin() as tx:
                await self._handler(tx, events)

    async def drain(self) -> int:
        """Send all that is due by each channel, beside the other as the service does; how many."""
        return sum(await asyncio.gather(*(self._drain(channel) for channel in Channel)))

    async def _drain(self, channel: Channel) -> int:
        done, loop = 0, asyncio.get_running_loop()
        while True:
            deadline = loop.time() + STEP_SECONDS
            batch = Batch(self.clock.now(), list(range(BUCKETS)), deadline, channel)
            worked = await self._worker.work(batch)
            if not worked:
                return done
            done += worked

    async def close(self) -> None:
        """Close what is open."""
        await self._channel.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench.notices", description=__doc__)
    parser.add_argument("--notices", type=int, default=NOTICES, help="that are put into words")
    parser.add_argument("--queued", type=int, default=QUEUED, help="that drain")
    chosen = parser.parse_args(arguments)
    home = Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME) / "bench"
    try:
        with stack.running(home / "stack") as running:
            url = stack.own_database(running, "notify")
            figures = run_loop(measure(running, url, chosen.notices, chosen.queued))
    except (PartError, WrongResultError) as error:
        print(f"bench.notices: {error}", file=sys.stderr)
        return 1
    for figure in figures:
        aim = f" (aim {figure.aim})" if figure.aim else ""
        print(f"{figure.name}: {figure.value:,.4g} {figure.unit}{aim}")
    return 0


async def measure(
    running: Stack, url: str, notices: int = NOTICES, queued: int = QUEUED
) -> list[Figure]:
    """All of it, on a database of its own."""
    act_for_all("bench")
    keyring = running.keyring("notify")
    database = Database(Pool(url, application="recurring-bench", size=4, keyring=keyring))
    sandbox = SmsGateway(f"{running.sandbox_url}/sms", running.keys.password("sms"), "Recurring")
    try:
        await _add_customers(database)
        figures = await _recorded(database, notices)
        figures += await _over_http(database, sandbox)
        figures += await _drained(database, queued)
        figures += await _beside_slow(database)
    finally:
        await sandbox.close()
        await database.close()
    return figures


async def _recorded(database: Database, count: int) -> list[Figure]:
    """From events to words on record, by a gateway that takes no time."""
    async with _notify(database, Instant(), Instant()) as notify:
        await notify.receive(BATCH_EVENTS, WITH_PHONE)
        await notify.drain()
        processor = psutil.Process()
        cpu, begun = processor.cpu_times(), time.perf_counter()
        await notify.receive(count, WITH_PHONE)
        made = time.perf_counter()
        check("notices drained", count, await notify.drain())
        ended, used = time.perf_counter(), processor.cpu_times()
    await _check_words(database)
    spent = used.user + used.system - cpu.user - cpu.system
    return [
        Figure("notices from event to words on record", count / (ended - begun), "/s",
               RECORDED_A_SECOND),
        Figure("of them: notices made of events", count / (made - begun), "/s"),
        Figure("of them: notices put into words, and ended", count / (ended - made), "/s"),
        Figure("notify's CPU for a notice", spent / count * 1e6, "µs"),
    ]  # fmt: skip


async def _over_http(database: Database, sandbox: Gateway) -> list[Figure]:
    """Deliveries by the sandbox's gateway."""
    async with _notify(database, sandbox, Instant()) as notify:
        await notify.receive(OVER_HTTP, WITH_PHONE)
        begun = time.perf_counter()
        check("notices delivered", OVER_HTTP, await notify.drain())
        seconds = time.perf_counter() - begun
    return [Figure("notices delivered over HTTP", OVER_HTTP / seconds, "/s", DELIVERED_A_SECOND)]


async def _drained(database: Database, count: int) -> list[Figure]:
    """The memory of this process before, at most, and after so many that were queued."""
    async with _notify(database, Instant(), Instant()) as notify:
        await notify.receive(count, ALL)
        process = psutil.Process()
        before = peak = process.memory_info().rss
        draining = asyncio.create_task(notify.drain())
        while not draining.done():
            await asyncio.wait([draining], timeout=0.2)
            peak = max(peak, process.memory_info().rss)
        check("queued notices drained", count, draining.result())
        after = process.memory_info().rss
    return [
        Figure(f"memory with {count:,} queued", before / BYTES_PER_MEGABYTE, "MB"),
        Figure("at most while they drain, more", (peak - before) / BYTES_PER_MEGABYTE, "MB",
               GROWTH_MEGABYTES),
        Figure("after it, more", (after - before) / BYTES_PER_MEGABYTE, "MB", GROWTH_MEGABYTES),
    ]  # fmt: skip


async def _beside_slow(database: Database) -> list[Figure]:
    """The rate of e-mail by itself, and beside as many SMS by a gateway that is slow."""
    rates = []
    for slow in (0.0, SLOW_SECONDS):
        email = Instant()
        async with _notify(database, Instant(slow), email) as notify:
            await notify.receive(MIXED, ALL)
            begun = time.perf_counter()
            await notify.drain()
        check("e-mails sent", MIXED // 2, len(email.sent))
        rates.append(len(email.sent) / (max(email.sent) - begun))
    alone, beside = rates
    return [
        Figure(f"e-mails beside SMS that take {SLOW_SECONDS:g} s each", beside, "/s"),
        Figure("of their rate beside a gateway that is quick", beside / alone, "", BESIDE_SLOW),
    ]


@asynccontextmanager
async def _notify(database: Database, sms: Gateway, email: Gateway) -> AsyncIterator[Notify]:
    notify = Notify(database, {Channel.SMS: sms, Channel.EMAIL: email})
    try:
        yield notify
    finally:
        await notify.close()


async def _add_customers(database: Database) -> None:
    """Customers of whom one half has a phone, and the other an e-mail address."""
    now = datetime.now(UTC)
    async with database.begin() as tx:
        for number in range(CUSTOMERS):
            has_phone = number in WITH_PHONE
            contact = new_contact(CustomerKey(MERCHANT, _customer(number)), now)
            email = "" if has_phone else f"customer-{number}@shop.example"
            stored = await contacts.insert(tx, contact._replace(display_name="Ann", email=email))
            if has_phone and stored is not None:
                await phones.bind(tx, [BoundPhone(stored, f"+4917{number:08}")], now)


def _customer(number: int) -> CustomerId:
    return CustomerId(f"customer-{number}")


def _batches(count: int, customers: Sequence[int], now: datetime) -> Iterator[list[Event[Any]]]:
    made = [_event(number, now) for number in customers]
    for begin in range(0, count, BATCH_EVENTS):
        numbers = range(begin, min(begin + BATCH_EVENTS, count))
        yield [replace(made[number % len(made)], id=uuid.uuid4()) for number in numbers]


def _event(number: int, now: datetime) -> Event[Any]:
    customer = _customer(number)
    order = f"merchants/{MERCHANT}/standingOrders/{customer}-tea/orders/1"
    message = events_pb2.OrderSkipped(
        ref=events_pb2.OrderRef(
            order=order,
            customer=f"merchants/{MERCHANT}/customers/{customer}",
            title="Weekly coffee",
            time_zone="Europe/Berlin",
            due_time=to_timestamp(DUE),
        ),
        reason=scheduler_pb2.SKIPPED_BY_CUSTOMER,
    )
    return Event(uuid.uuid4(), MERCHANT, order, now, "", message)


async def _check_words(database: Database) -> None:
    async with database.read() as connection:
        [row] = await connection.fetch(
            "SELECT count(*) AS silent FROM deliveries WHERE state <> 'DELIVERED' OR text = ''"
        )
    check("deliveries without words", 0, row["silent"])


if __name__ == "__main__":
    sys.exit(main())
