"""What admission costs: tokens, field rules, limits and telemetry, beside a bare method.

The same method answers the same request in two processes, one with admission and one without. On a
machine with few processors the client is the bottleneck, so the measured quantity is the server's
processor time per call, which bounds its throughput.
"""

import asyncio
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc

from bench.measure import Aim, Figure, Run, Summary, WrongResultError, percentile
from bench.stack import Stack
from deploy.embedded.keys import AUDIENCE, ISSUER, Keys
from deploy.embedded.ports import HOST, free_ports
from deploy.embedded.program import ROOT
from deploy.embedded.wiring import SCOPE_PLATFORM
from services.runtime.app.bootstrap import run_loop
from services.runtime.auth.authenticator import Access, Authenticator
from services.runtime.auth.key_sets import KeyFile
from services.runtime.auth.tls import Identity
from services.runtime.observability import metrics, tracing
from services.runtime.rpc.health import Health
from services.runtime.rpc.limits import RateLimit
from services.runtime.rpc.server import Addresses, Server

SERVICE = "recurring.catalog.v1.CatalogService"
REQUEST = catalog_pb2.GetProductRequest(name="merchants/bench/products/tea")
CALLS = 5_000
CALLERS = 32
ROUNDS = 3
START_SECONDS = 60.0
TIMEOUT_SECONDS = 30.0
STEADY_SECONDS = 5.0
OVERHEAD_MAX_PERCENT = 30
GET_P99_MAX_MILLISECONDS = 15
# How many calls a second are answered, of those of a bare method.
GET_SHARE_MIN = 0.75
AMPLE = RateLimit(calls_per_second=1e6, burst_calls=1_000_000, calls_at_once=1000)

Get = Callable[[], Awaitable[Any]]


class Servicer(catalog_pb2_grpc.CatalogServiceServicer):
    """Answers at once."""

    async def GetProduct(  # noqa: N802
        self, request: catalog_pb2.GetProductRequest, context: object
    ) -> catalog_pb2.Product:
        """The product that is asked for."""
        del context
        return catalog_pb2.Product(name=request.name)


async def measure() -> list[Figure]:
    """The cost of admission, in turns with the bare method."""
    runs: dict[str, list[Run]] = {"bare": [], "admitted": []}
    with tempfile.TemporaryDirectory(prefix="recurring-bench-") as folder:
        token = _token(Keys(Path(folder)))
        for _ in range(ROUNDS):
            for kind, runs_of_kind in runs.items():
                async with _served(kind, Path(folder)) as (process, address):
                    runs_of_kind.append(await _answered(process, address, token))
    # Admission's share of the processor time for a call.
    shares = [
        100 * (1 - bare.cpu_microseconds / admitted.cpu_microseconds)
        for bare, admitted in zip(runs["bare"], runs["admitted"], strict=True)
    ]
    cost = {
        kind: Summary.of([run.cpu_microseconds for run in runs_of_kind])
        for kind, runs_of_kind in runs.items()
    }
    return [
        Figure("bare method: processor time of the server", cost["bare"].median, "µs a call"),
        Figure("with admission", cost["admitted"].median, "µs a call"),
        Figure(
            "throughput lost to admission", Summary.of(shares).median, "%",
            Aim(OVERHEAD_MAX_PERCENT, at_least=False),
        ),
    ]  # fmt: skip


async def measure_get(stack: Stack, merchant: str) -> list[Figure]:
    """A `Get` of the running catalog in turns with a bare method, and its p99 at half of its peak."""
    with tempfile.TemporaryDirectory(prefix="recurring-bench-") as folder:
        bare_token = _token(Keys(Path(folder)))
        async with (
            # Before this process has channels of its own: gRPC does not like it to fork with them.
            _served("bare", Path(folder)) as (process, address),
            _getting(stack, merchant) as get,
        ):
            bare_runs, get_runs = [], []
            for _ in range(ROUNDS):
                bare_runs.append(await _answered(process, address, bare_token))
                started = time.perf_counter()
                await _closed(get, CALLS)
                get_runs.append(Run(CALLS, time.perf_counter() - started))
            peak = Summary.of([run.per_second for run in get_runs]).median
            seconds = await _steady(get, peak / 2)
    return [
        Figure("Get of a product: peak", peak, "calls a second"),
        Figure(
            "… / that of a bare method", Summary.of_ratios(get_runs, bare_runs).median, "",
            Aim(GET_SHARE_MIN),
        ),
        Figure(
            "p99 at half of it", 1000 * percentile(seconds, 0.99), "ms",
            Aim(GET_P99_MAX_MILLISECONDS, at_least=False),
        ),
    ]  # fmt: skip


@asynccontextmanager
async def _getting(stack: Stack, merchant: str) -> AsyncIterator[Get]:
    """A call that gets a product of the running catalog."""
    token = stack.keys.token_file(
        "bench-admission", merchant=merchant, scope=SCOPE_PLATFORM
    ).read_text()
    target, name = stack.addresses.target("catalog"), f"merchants/{merchant}/products/tea"
    async with grpc.aio.insecure_channel(target, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        metadata = (("authorization", f"Bearer {token}"),)
        await stub.CreateProduct(
            catalog_pb2.CreateProductRequest(
                parent=f"merchants/{merchant}",
                product_id="tea",
                product=catalog_pb2.Product(title="Tea"),
                request_id=str(uuid.uuid4()),
            ),
            metadata=metadata,
            timeout=TIMEOUT_SECONDS,
        )

        def get() -> Awaitable[Any]:
            request = catalog_pb2.GetProductRequest(name=name)
            return stub.GetProduct(request, metadata=metadata, timeout=TIMEOUT_SECONDS)

        await _closed(get, CALLS // 10)
        yield get


async def _answered(process: psutil.Process, address: str, token: str) -> Run:
    async with grpc.aio.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        metadata = (("authorization", f"Bearer {token}"),)

        def get() -> Awaitable[Any]:
            return stub.GetProduct(REQUEST, metadata=metadata, timeout=TIMEOUT_SECONDS)

        await _closed(get, CALLS // 10)
        before, started = _worked(process), time.perf_counter()
        await _closed(get, CALLS)
        seconds = time.perf_counter() - started
        return Run(CALLS, seconds, {"server": _worked(process) - before})


async def _closed(get: Get, calls: int) -> None:
    """So many calls by callers who each wait for their answer."""

    async def call(count: int) -> None:
        for _ in range(count):
            await get()

    await asyncio.gather(*(call(calls // CALLERS) for _ in range(CALLERS)))


async def _steady(get: Get, per_second: float) -> Sequence[float]:
    """Calls at a steady rate, whatever becomes of those before; how long each took."""
    taken: list[float] = []

    async def call(at: float) -> None:
        await get()
        taken.append(time.perf_counter() - at)

    async with asyncio.TaskGroup() as group:
        first = time.perf_counter()
        for number in range(int(per_second * STEADY_SECONDS)):
            due = first + number / per_second
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(call(time.perf_counter()))
    return taken


def _worked(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _token(keys: Keys) -> str:
    return keys.token_file("bench", merchant="bench", scope="platform").read_text()


@asynccontextmanager
async def _served(kind: str, folder: Path) -> AsyncIterator[tuple[psutil.Process, str]]:
    ports = [str(port) for port in free_ports(3)]
    address = f"{HOST}:{ports[0]}"
    command = [sys.executable, "-m", "bench.admission", kind, str(folder), *ports]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            await asyncio.wait_for(channel.channel_ready(), START_SECONDS)
        yield psutil.Process(process.pid), address
    except TimeoutError:
        raise WrongResultError(f"the {kind} method does not answer") from None
    finally:
        process.terminate()
        await process.wait()


async def _serve(kind: str, folder: Path, *ports: str) -> None:
    own, peers, health = (f"{HOST}:{port}" for port in ports)
    servicer = Servicer()  # type: ignore[abstract]
    if kind == "bare":
        server = grpc.aio.server()
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(servicer, server)
        server.add_insecure_port(own)
        await server.start()
        await server.wait_for_termination()
    tracing.start_tracing("bench")
    metrics.start("bench", f"{HOST}:0", "0001")
    keys = Keys(folder)
    access = {f"/{SERVICE}/GetProduct": Access("products:read")}
    admitted = Server(
        "catalog",
        Authenticator(KeyFile(keys.jwks_file, production=False), ISSUER, AUDIENCE, access),
        Addresses(platforms=own, peers=peers, plaintext=True),
        Identity(keys.certificate_folder("catalog"), production=False),
        Health(health),
        AMPLE,
    )
    admitted.add(catalog_pb2_grpc.add_CatalogServiceServicer_to_server, servicer)
    await admitted.start()
    await admitted.ready(serving=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    run_loop(_serve(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
