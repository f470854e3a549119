"""PreviewCycles as a platform calls it: over the wire, with a token, one call after the other."""

import time

import grpc
from recurring.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc

from bench.measure import Aim, Figure, check, percentile
from bench.seed import Book
from bench.stack import Stack
from deploy.embedded.wiring import SCOPE_PLATFORM

CYCLES = 12
CALLS = 1_000
WARM_UP_CALLS = 100
AIM = Aim(20.0, at_least=False)
DEADLINE_SECONDS = 10.0


async def measure(stack: Stack, book: Book) -> list[float]:
    """How long each call took, in milliseconds."""
    token = stack.keys.token_file("bench-platform", merchant=book.merchant, scope=SCOPE_PLATFORM)
    metadata = [("authorization", f"Bearer {token.read_text().strip()}")]
    taken: list[float] = []
    async with grpc.aio.insecure_channel(stack.addresses.target("scheduler")) as channel:
        stub = scheduler_pb2_grpc.SchedulerServiceStub(channel)
        for number in range(WARM_UP_CALLS + CALLS):
            name = f"merchants/{book.merchant}/standingOrders/so-{1 + number % book.count}"
            request = scheduler_pb2.PreviewCyclesRequest(name=name, cycle_count=CYCLES)
            started = time.perf_counter()
            answer = await stub.PreviewCycles(request, metadata=metadata, timeout=DEADLINE_SECONDS)
            taken.append((time.perf_counter() - started) * 1000)
            check("cycles previewed", CYCLES, sum(1 for cycle in answer.cycles if cycle.lines))
    return taken[WARM_UP_CALLS:]


def figures(taken_milliseconds: list[float]) -> list[Figure]:
    """The median, and what one call in a hundred takes longer than."""
    return [
        Figure(f"PreviewCycles of {CYCLES}, p50", percentile(taken_milliseconds, 0.5), "ms"),
        Figure(f"PreviewCycles of {CYCLES}, p99", percentile(taken_milliseconds, 0.99), "ms", AIM),
    ]
