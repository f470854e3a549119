"""Schedulers as processes of their own that share a book: all of it is prepared, nothing twice."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp
import asyncpg

from bench import prepare, seed
from bench.measure import Aim, Figure, Run
from bench.seed import Book
from bench.stack import Stack
from deploy.embedded.addresses import Addresses
from deploy.embedded.ports import free_ports
from deploy.embedded.program import Program, answers_grpc

POLL_SECONDS = 0.02
GIVE_UP_SECONDS = 240.0
AT_ONCE_PER_SECOND = 1_000_000.0
OWN_PORTS = ("scheduler", "scheduler_metrics", "scheduler_peer", "scheduler_health")
ROWS_METRIC = "recurring_worker_rows_total"
# Both are to have worked, however the machine shared its processors out.
SHARE_AIM = Aim(0.2)
TWICE_AIM = Aim(0, at_least=False)
_COUNT = "SELECT count(*) FROM orders WHERE merchant = $1"


@dataclass(frozen=True, slots=True)
class Shared:
    """How fast some replicas did a book, how many standing orders each did, and how many twice."""

    run: Run
    worked: Sequence[int]
    twice: int


@dataclass(frozen=True, slots=True)
class Replica:
    """A scheduler's process, and where its metrics are."""

    program: Program
    metrics_url: str


@contextmanager
def running(stack: Stack, count: int) -> Iterator[list[Replica]]:
    """So many schedulers, on ports of their own."""
    replicas = [_replica(stack, number) for number in range(1, count + 1)]
    try:
        for replica in replicas:
            replica.program.start()
        yield replicas
    finally:
        for replica in replicas:
            replica.program.stop()


def _replica(stack: Stack, number: int) -> Replica:
    ports = dict(zip(OWN_PORTS, free_ports(len(OWN_PORTS)), strict=True))
    addresses = Addresses({**stack.addresses.ports, **ports})
    target = addresses.target("scheduler")
    program = Program(
        f"scheduler-{number}",
        "services.scheduler",
        Path(stack.home),
        stack.environment("scheduler", addresses),
        lambda: answers_grpc(target),
    )
    return Replica(program, f"http://{addresses.local('scheduler_metrics')}/metrics")


async def measure(stack: Stack, book: Book, replicas: Sequence[Replica]) -> Shared:
    """Let the replicas prepare a book that is not due before now, while everything else goes on."""
    before = [await _rows(replica) for replica in replicas]
    connection = await asyncpg.connect(stack.url("scheduler"))
    try:
        await seed.spread(stack, book, book.now - timedelta(minutes=1), AT_ONCE_PER_SECOND)
        run = await _watch(connection, book)
    finally:
        await connection.close()
    await prepare.check_prepared(stack.url("scheduler"), book)
    worked = [
        await _rows(replica) - already for replica, already in zip(replicas, before, strict=True)
    ]
    return Shared(run, worked, sum(worked) - book.count)


async def _watch(connection: "asyncpg.Connection[asyncpg.Record]", book: Book) -> Run:
    """Time the book from its first order that can be seen to its last."""
    first = started = 0.0
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while (done := await connection.fetchval(_COUNT, book.merchant)) < book.count:
            if done and not first:
                first, started = done, time.perf_counter()
            await asyncio.sleep(POLL_SECONDS)
    return Run(int(book.count - first), time.perf_counter() - started)


async def _rows(replica: Replica) -> int:
    """How many standing orders a replica has prepared, as it says itself."""
    async with aiohttp.ClientSession() as http, http.get(replica.metrics_url) as response:
        text = await response.text()
    lines = (line for line in text.splitlines() if line.startswith(ROWS_METRIC))
    return int(
        sum(float(line.rsplit(maxsplit=1)[1]) for line in lines if 'worker="prepare' in line)
    )


def figures(one: Shared, two: Shared) -> list[Figure]:
    """Whether both worked and nothing was done twice, and what the second brings."""
    least = min(two.worked) / sum(two.worked)
    return [
        Figure("two replicas: standing orders done twice", two.twice, "", TWICE_AIM),
        Figure("two replicas: share of the one that did less", least, "", SHARE_AIM),
        Figure("two replicas / one", two.run.per_second / one.run.per_second, "times"),
    ]
