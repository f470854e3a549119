"""One bad member of a set does not block the others."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.workers.bisection import bisect_failures


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

    await bisect_failures(range(size), work, is_outage)

    assert sorted(done) == [item for item in range(size) if item not in bad]


async def test_a_sound_set_is_worked_on_as_one() -> None:
    batches: list[Sequence[int]] = []

    async def work(batch: Sequence[int]) -> None:
        batches.append(batch)

    await bisect_failures([1, 2, 3], work, is_outage)

    assert batches == [[1, 2, 3]]


async def test_an_outage_is_not_tried_on_halves() -> None:
    tries = 0

    async def work(_batch: Sequence[int]) -> None:
        nonlocal tries
        tries += 1
        raise Outage

    with pytest.raises(Outage):
        await bisect_failures([1, 2, 3], work, is_outage)

    assert tries == 1
