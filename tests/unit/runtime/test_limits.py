"""How much one caller may ask."""

import time

import pytest

from services.runtime import limits
from services.runtime.errors import Problem
from services.runtime.limits import Allowance, Limits

ACME, OTHER = ("acme", "shop"), ("other", "shop")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The present, in a list of one, which a test moves."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def call(limits: Limits, caller: tuple[str, str] = ACME) -> None:
    with limits.call(caller):
        pass


def test_a_burst_is_let_through_and_then_the_rate(clock: list[float]) -> None:
    own = Limits(Allowance(calls_per_second=2, burst_calls=3, calls_at_once=10))
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


def test_when_to_try_again_is_told_in_the_status(clock: list[float]) -> None:
    del clock
    own = Limits(Allowance(calls_per_second=2, burst_calls=1, calls_at_once=10))
    call(own)
    with pytest.raises(Problem) as refused:
        call(own)
    types = [detail.TypeName() for detail in refused.value.status("x").details]
    assert types == ["google.rpc.ErrorInfo", "google.rpc.RetryInfo"]


def test_nobody_pays_for_another(clock: list[float]) -> None:
    del clock
    own = Limits(Allowance(calls_per_second=1, burst_calls=1, calls_at_once=1))
    call(own)
    with own.call(OTHER), pytest.raises(Problem) as refused:
        call(own)
    assert refused.value.reason == "RATE_EXCEEDED"


def test_calls_under_way_are_counted_until_they_end_however_they_do(clock: list[float]) -> None:
    own = Limits(Allowance(calls_per_second=1000, burst_calls=1000, calls_at_once=1))
    with own.call(ACME), pytest.raises(Problem) as refused:
        call(own)
    assert refused.value.reason == "TOO_MANY_CALLS_AT_ONCE"
    assert refused.value.retry_seconds > 0
    with pytest.raises(ZeroDivisionError), own.call(ACME):
        clock[0] /= 0
    call(own)


def test_only_so_many_callers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALLERS_MAX", 5)
    own = Limits(Allowance(calls_per_second=1, burst_calls=1, calls_at_once=1))
    for number in range(50):
        call(own, (f"m{number}", "shop"))
    assert len(own._accounts) == 5
