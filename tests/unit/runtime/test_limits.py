"""The limits of one caller and of one tenant."""

import asyncio
import time
from collections import Counter

import pytest

from services.runtime.auth.call_context import Caller, set_caller
from services.runtime.errors import Problem
from services.runtime.rpc import limits
from services.runtime.rpc.limits import ConcurrencyLimiter, Limits, RateLimit

ACME, OTHER = ("acme", "shop"), ("other", "shop")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The present, in a list of one, which a test moves."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def call(limits: Limits, caller: tuple[str, str] = ACME) -> None:
    limits.call(caller).end()


def test_a_burst_is_let_through_and_then_the_rate(clock: list[float]) -> None:
    own = Limits(RateLimit(calls_per_second=2, burst_calls=3, calls_at_once=10))
    for _ in range(3):
        call(own)
    with pytest.raises(Problem) as refused:
        call(own)
    assert (refused.value.code.name, refused.value.reason) == (
        "RESOURCE_EXHAUSTED",
        "RATE_EXCEEDED",
    )
    clock[0] += refused.value.retry_seconds
    call(own)
    with pytest.raises(Problem):
        call(own)


def test_the_status_says_when_to_retry(clock: list[float]) -> None:
    del clock
    own = Limits(RateLimit(calls_per_second=2, burst_calls=1, calls_at_once=10))
    call(own)
    with pytest.raises(Problem) as refused:
        call(own)
    types = [detail.TypeName() for detail in refused.value.status("x").details]
    assert types == ["google.rpc.ErrorInfo", "google.rpc.RetryInfo"]


def test_nobody_pays_for_another(clock: list[float]) -> None:
    del clock
    own = Limits(RateLimit(calls_per_second=1, burst_calls=1, calls_at_once=1))
    call(own)
    own.call(OTHER)
    with pytest.raises(Problem) as refused:
        call(own)
    assert refused.value.reason == "RATE_EXCEEDED"


def test_calls_under_way_are_counted_until_they_end() -> None:
    own = Limits(RateLimit(calls_per_second=1000, burst_calls=1000, calls_at_once=1))
    first = own.call(ACME)
    with pytest.raises(Problem) as refused:
        call(own)
    assert refused.value.reason == "TOO_MANY_CALLS_AT_ONCE"
    assert refused.value.retry_seconds > 0
    first.end()
    call(own)


def test_so_much_may_be_unread_by_a_caller_and_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMALL_ANSWER_BYTES", 0)
    monkeypatch.setattr(limits, "CALLER_UNREAD_MAX_BYTES", 10)
    monkeypatch.setattr(limits, "UNREAD_MAX_BYTES", 15)
    own = Limits(RateLimit(calls_per_second=1000, burst_calls=1000, calls_at_once=10))
    first = own.call(ACME)
    first.answer(10)
    for caller, size_bytes in ((ACME, 1), (OTHER, 6)):
        with pytest.raises(Problem) as refused:
            own.call(caller).answer(size_bytes)
        assert refused.value.reason == "TOO_MANY_CALLS_AT_ONCE"
    first.end()
    own.call(ACME).answer(10)


async def test_a_room_has_places_for_all_and_fewer_for_one_tenant() -> None:
    limiter = ConcurrencyLimiter(at_once=3, of_tenant=2)
    inside: Counter[str] = Counter()
    leave = asyncio.Event()

    async def enter(tenant: str) -> None:
        async with limiter.of(tenant):
            inside[tenant] += 1
            await leave.wait()

    calls = [asyncio.ensure_future(enter(tenant)) for tenant in ("acme",) * 5 + ("other",) * 5]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert inside == {"acme": 2, "other": 1}
    leave.set()
    await asyncio.gather(*calls)
    assert inside == {"acme": 5, "other": 5}


def test_a_small_answer_is_never_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALLER_UNREAD_MAX_BYTES", 0)
    own = Limits(RateLimit(calls_per_second=1000, burst_calls=1000, calls_at_once=10))
    own.call(ACME).answer(limits.SMALL_ANSWER_BYTES)
    with pytest.raises(Problem):
        own.call(ACME).answer(limits.SMALL_ANSWER_BYTES + 1)


async def test_only_so_many_of_a_tenant_wait_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUEUE_MAX_CALLS", 3)
    limiter = ConcurrencyLimiter(at_once=1, of_tenant=1)
    leave = asyncio.Event()

    async def enter(tenant: str) -> None:
        async with limiter.of(tenant):
            await leave.wait()

    calls = [asyncio.ensure_future(enter("acme")) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(Problem) as refused:
        await enter("acme")
    assert refused.value.reason == "TOO_MANY_CALLS_AT_ONCE"
    other = asyncio.ensure_future(enter("other"))
    leave.set()
    await asyncio.gather(*calls, other)
    await enter("acme")


async def test_a_customer_has_one_place_among_those_that_wait() -> None:
    limiter = ConcurrencyLimiter(at_once=1, of_tenant=1)
    leave = asyncio.Event()

    async def enter(customer: str) -> None:
        set_caller(Caller(customer, "acme", customer=customer))
        async with limiter.of("acme"):
            await leave.wait()

    # Each of them is a task with a caller of its own.
    calls = [asyncio.ensure_future(enter(customer)) for customer in ("ann", "bob", "")]
    await asyncio.sleep(0)
    with pytest.raises(Problem) as refused:
        await asyncio.create_task(enter("ann"))
    assert refused.value.reason == "TOO_MANY_CALLS_AT_ONCE"
    leave.set()
    await asyncio.gather(*calls)
    await asyncio.create_task(enter("ann"))


def test_only_so_many_callers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALLERS_MAX", 5)
    own = Limits(RateLimit(calls_per_second=1, burst_calls=1, calls_at_once=1))
    for number in range(50):
        call(own, (f"m{number}", "shop"))
    assert len(own._accounts) == 5
