"""One bad member of a set does not block the others."""

import itertools
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.workers.bisection import (
    FIRST_RETRY_SECONDS,
    MAX_RETRY_SECONDS,
    POSTPONED_MAX_ROWS,
    Postponed,
    bisect_failures,
)


class Outage(Exception):
    """Something that passes by itself."""


def is_outage(error: Exception) -> bool:
    return isinstance(error, Outage)


@given(size=st.integers(1, 60), data=st.data())
async def test_all_but_the_bad_members_are_worked_on_once(size: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, size - 1), max_size=4))
    done: list[int] = []

    async def work(batch: Sequence[int]) -> None:
        if bad.intersection(batch):
            raise ValueError(batch)
        done.extend(batch)

    await bisect_failures(range(size), work, is_outage, Postponed(), int)

    assert sorted(done) == [item for item in range(size) if item not in bad]


async def test_a_sound_set_is_worked_on_as_one() -> None:
    batches: list[Sequence[int]] = []

    async def work(batch: Sequence[int]) -> None:
        batches.append(batch)

    await bisect_failures([1, 2, 3], work, is_outage, Postponed(), int)

    assert batches == [[1, 2, 3]]


async def test_an_outage_is_not_tried_on_halves() -> None:
    tries = 0

    async def work(_batch: Sequence[int]) -> None:
        nonlocal tries
        tries += 1
        raise Outage

    with pytest.raises(Outage):
        await bisect_failures([1, 2, 3], work, is_outage, Postponed(), int)

    assert tries == 1


async def test_what_failed_alone_waits_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    postponed: Postponed[int] = Postponed()
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    async def work(batch: Sequence[int]) -> None:
        if 2 in batch:
            raise ValueError(batch)

    tries: list[float] = []
    while now < 4 * MAX_RETRY_SECONDS:
        due = [item for item in (1, 2, 3) if item not in postponed.waiting()]
        if 2 in due:
            tries.append(now)
        await bisect_failures(due, work, is_outage, postponed, int)
        now += 1
    waits = [later - earlier for earlier, later in itertools.pairwise(tries)]

    assert FIRST_RETRY_SECONDS <= waits[0] <= 2 * FIRST_RETRY_SECONDS
    assert waits[0] < waits[1] < waits[2]
    assert MAX_RETRY_SECONDS <= max(waits) <= 2 * MAX_RETRY_SECONDS


async def test_what_worked_after_all_is_not_remembered() -> None:
    postponed: Postponed[int] = Postponed()
    bad = {2}

    async def work(batch: Sequence[int]) -> None:
        if bad.intersection(batch):
            raise ValueError(batch)

    await bisect_failures([1, 2, 3], work, is_outage, postponed, int)
    assert postponed.waiting() == [2]
    bad.clear()
    await bisect_failures([2], work, is_outage, postponed, int)
    assert postponed.waiting() == []


def test_what_is_remembered_of_failures_has_a_limit() -> None:
    postponed: Postponed[int] = Postponed()
    for item in range(POSTPONED_MAX_ROWS + 1):
        postponed.fail(item)

    assert len(postponed.waiting()) == POSTPONED_MAX_ROWS
