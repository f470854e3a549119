"""Histories of a shop while parts of the suite fail: a handful here, the rest by `make faults`."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
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
async def target(servers_folder: Path) -> AsyncIterator[EmbeddedTarget]:
    target = EmbeddedTarget(servers_folder / "histories")
    try:
        await target.open()
        yield target
    finally:
        await target.close()


@pytest.fixture(scope="module")
def player(target: EmbeddedTarget) -> Player:
    return Player(target)


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


async def test_a_database_that_a_full_disk_leaves_without_recovery_is_started_again(
    target: EmbeddedTarget,
) -> None:
    full_disk = target.faults["full disk of postgres"]
    await full_disk.make({})
    server = target.stack.process_of("postgres").find()
    assert server is not None
    server.suspend()  # It stands still, as a server does that waits for a recovery which has failed.
    await full_disk.heal()
    session = target.session("full-disk")
    connection = await asyncpg.connect(session.stack.database_urls["catalog"])
    try:
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()


async def test_no_fault_fails_in_silence(target: EmbeddedTarget, player: Player) -> None:
    """Those whose tools may refuse, each after a history, whose events can be poisoned."""
    report = await player.play(seeded(2).with_steps([]))
    assert report.violations == []
    names = (
        *("kill payments", "stop payments", "migrate payments", "full stream of payments"),
        *("delete durable scheduler of PAYMENTS", "terminate backends of payments"),
        *("full disk of nats", "full disk of postgres", "lose the last second of payments"),
        *("poison an event of catalog", "malform an event of scheduler"),
    )
    for name in names:
        fault = target.faults[name]
        assert await fault.make({"nth": 1}), name
        await fault.heal()


async def test_an_outage_counts_the_requests_that_met_it(player: Player) -> None:
    outage = "outage of sms: throttled"
    begins = {"fault": outage, "nth": 1, "for_steps": 6}
    history = crash_histories.crash_history(0, ())
    report = await player.play(history.with_steps([begins, *history.steps]))
    assert report.violations == []
    assert report.reached[outage] > 0
    assert +report.idle == {}
