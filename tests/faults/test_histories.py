"""Histories of a shop while parts of the suite fail: a handful here, the rest by `make faults`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cli.faults import crash_histories
from cli.faults.crashes import After
from cli.faults.embedded import EmbeddedTarget
from cli.faults.generate import generate
from cli.faults.history import History
from cli.faults.play import Player

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

SEEDS = (35,)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def player(servers_folder: Path) -> AsyncIterator[Player]:
    target = EmbeddedTarget(servers_folder / "histories")
    try:
        await target.open()
        yield Player(target)
    finally:
        await target.close()


def seeded(seed: int) -> History:
    return generate(seed, sorted(EmbeddedTarget(Path("unused")).faults))


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_history_with_faults_ends_as_one_without(player: Player, seed: int) -> None:
    report = await player.play(seeded(seed))
    assert report.violations == []
    assert report.faults.total() > 0


async def test_what_dies_between_the_attempt_and_its_answer_charges_once(player: Player) -> None:
    """Each service ends at the moment that is the most delicate of its own."""
    points = (
        ("catalog", "catalog.stock_held"),
        ("scheduler", "scheduler.collect_held"),
        ("payments", "payments.attempt_answered"),
        ("notify", "notify.delivery_sent"),
    )
    crashes = [f"{After.CRASH} {service} at {point}" for service, point in points]
    report = await player.play(crash_histories.crash_history(0, crashes))
    assert report.violations == []
    assert set(report.reached) == set(crashes)


async def test_a_scheduler_that_lost_its_last_second_comes_to_what_payments_knows(
    player: Player,
) -> None:
    """What payments says of orders that were not collected yet, by what is left, is no lost word."""
    lost = {
        "fault": "lose the last second of scheduler",
        "after_seconds": 0.3,
        "for_seconds": 1.5,
    }
    history = crash_histories.crash_history(0, ())
    *steps, last = history.steps
    report = await player.play(history.with_steps([*steps[:-1], lost, steps[-1], last]))
    assert report.violations == []
    assert report.faults.total() == 1
