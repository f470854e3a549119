"""Replicas share the buckets of a database: each bucket has one of them, whoever comes and goes."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from services.runtime.auth.call_context import act_for_all
from services.runtime.db import leases
from services.runtime.db.leases import BUCKETS, RENEWED_WITHIN_SECONDS, BucketLeases
from services.runtime.db.pool import Database, Pool
from services.runtime.workers.clock import Machine
from tests.conftest import KEYRING, ServiceDatabase

ALL = frozenset(range(BUCKETS))


class SteppedMachine(Machine):
    """A machine whose time passes when a test says so."""

    seconds = 0.0

    def elapsed_seconds(self) -> float:
        return self.seconds


@pytest.fixture
async def database(service_database: ServiceDatabase) -> AsyncIterator[Database]:
    act_for_all("test")
    pool = Pool(service_database("catalog"), application="test", size=4, keyring=KEYRING)
    database = Database(pool)
    yield database
    await database.close()


def replicas(database: Database, count: int) -> list[BucketLeases]:
    return [BucketLeases(database, leases.OUTSIDE, f"replica-{n}") for n in range(count)]


async def renew(some: Sequence[BucketLeases], times: int = 3) -> None:
    """Let time pass for replicas that live, all at once."""
    for _ in range(times):
        await asyncio.gather(*(replica.renew() for replica in some))


def buckets(replica: BucketLeases) -> frozenset[int]:
    with replica.work() as held:
        return held


def shares(some: Sequence[BucketLeases]) -> list[int]:
    """How many buckets each has; none has one that another has."""
    held = [buckets(replica) for replica in some]
    assert sum(map(len, held)) == len(frozenset().union(*held))
    return sorted(map(len, held))


async def end_lease(database: Database, dead: BucketLeases) -> None:
    """As when the time of a replica's leases has passed."""
    async with database.begin() as tx:
        await tx.execute(
            "UPDATE lease_holders SET expire_time = now() - interval '1s' WHERE holder = $1",
            dead._holder,
        )


@pytest.mark.parametrize(("count", "expected"), [(1, [64]), (2, [32] * 2), (10, [6] * 6 + [7] * 4)])
async def test_replicas_that_start_at_once_come_to_fair_shares(
    database: Database, count: int, expected: list[int]
) -> None:
    some = replicas(database, count)
    # How often some take the same bucket at once depends on the machine.
    await renew(some, times=10)

    assert shares(some) == expected


async def test_one_that_joins_gets_its_share_within_two_renewals(database: Database) -> None:
    some = replicas(database, 3)
    await renew(some[:2])
    await some[2].renew()
    for replica in some:
        await replica.renew()

    assert shares(some) == [21, 21, 22]


async def test_a_bucket_is_given_up_after_the_step_that_works_on_it(database: Database) -> None:
    first, second = some = replicas(database, 2)
    await renew([first])
    with first.work() as held:
        await renew(some)
        during = buckets(second)
        # Nothing begins on what is to be given up.
        assert len(buckets(first)) == BUCKETS / 2
    await renew(some)

    assert (held, during) == (ALL, frozenset())
    assert shares(some) == [32, 32]


async def test_what_one_leaves_the_others_have_within_two_renewals(database: Database) -> None:
    some = replicas(database, 3)
    await renew(some)
    await some[0].leave()
    await renew(some[1:], times=2)

    assert shares(some[1:]) == [32, 32]
    assert buckets(some[0]) == frozenset()


async def test_what_a_dead_one_had_the_others_get_when_its_lease_ends_and_no_sooner(
    database: Database,
) -> None:
    dead, *others = some = replicas(database, 3)
    await renew(some)
    had = buckets(dead)
    await renew(others)
    kept = {bucket for replica in others for bucket in buckets(replica)}
    await end_lease(database, dead)
    await renew(others)

    assert kept == ALL - had
    assert shares(others) == [32, 32]


async def test_one_that_stood_still_begins_nothing_until_it_knows_what_it_still_has(
    database: Database,
) -> None:
    machine = SteppedMachine()
    stopped = BucketLeases(database, leases.OUTSIDE, "stopped", machine)
    other, *_ = replicas(database, 1)
    some = [stopped, other]
    await renew(some)
    await end_lease(database, stopped)
    await renew([other])
    assert buckets(other) == ALL

    machine.seconds += 60
    assert buckets(stopped) == frozenset()
    await renew([stopped], times=1)
    assert buckets(stopped) == frozenset()
    await renew(some)
    assert shares(some) == [32, 32]


async def test_one_that_wakes_while_its_lease_is_being_ended_has_nothing(
    database: Database,
) -> None:
    late, other = some = replicas(database, 2)
    await renew([late])
    await end_lease(database, late)
    async with database.begin() as tx:
        await tx.execute("DELETE FROM lease_holders WHERE expire_time < now()")
        # What it had is still there for whoever reads at this moment.
        waking = asyncio.create_task(late.renew())
        await asyncio.sleep(0.3)
        assert not waking.done()
        await tx.execute(
            "INSERT INTO lease_holders VALUES ($1, 'other', now() + interval '1 minute')",
            other._holder,
        )
        await tx.execute(
            "INSERT INTO bucket_leases SELECT bucket, $1::uuid FROM buckets", other._holder
        )
    await waking

    assert buckets(late) == frozenset()
    await renew(some)
    assert shares(some) == [32, 32]


async def test_a_renewal_writes_one_row(database: Database) -> None:
    some = replicas(database, 2)
    await renew(some)
    before = await written(database)
    await renew(some, times=1)
    after = await written(database)

    assert (after["lease_holders"] & before["lease_holders"]) == set()
    assert after["bucket_leases"] == before["bucket_leases"]


async def written(database: Database) -> dict[str, set[int]]:
    """The transactions that wrote the rows of each table."""
    found = {}
    async with database.read() as connection:
        for table in ("lease_holders", "bucket_leases"):
            rows = await connection.fetch(f"SELECT xmin::text::bigint AS writer FROM {table}")  # noqa: S608
            found[table] = {row["writer"] for row in rows}
    return found


async def test_one_that_cannot_renew_begins_nothing_long_before_its_lease_ends(
    database: Database,
) -> None:
    machine = SteppedMachine()
    alone = BucketLeases(database, leases.OUTSIDE, "alone", machine)
    await renew([alone], times=1)
    machine.seconds += RENEWED_WITHIN_SECONDS - 0.001
    assert buckets(alone) == ALL
    machine.seconds += 0.002
    assert buckets(alone) == frozenset()


async def test_one_that_crashed_has_its_buckets_again_as_soon_as_it_is_started(
    database: Database,
) -> None:
    [crashed] = replicas(database, 1)
    await renew([crashed])
    [again] = replicas(database, 1)
    [other] = [BucketLeases(database, leases.OUTSIDE, "other")]
    await renew([other])
    assert buckets(other) == frozenset()
    await renew([again, other])

    assert shares([again, other]) == [32, 32]


async def test_steps_side_by_side_have_buckets_of_their_own(database: Database) -> None:
    [alone] = replicas(database, 1)
    await renew([alone])
    with alone.work(0, 2) as first, alone.work(1, 2) as second:
        assert first | second == ALL
        assert len(first) == len(second) == BUCKETS / 2


async def test_as_many_buckets_are_given_out_as_rows_are_divided_into(database: Database) -> None:
    async with database.read() as connection:
        given = await connection.fetch(
            "SELECT DISTINCT bucket_of('order-' || n) FROM generate_series(1, 10000) AS n"
        )
        every = await connection.fetch("SELECT bucket FROM buckets")
    assert {bucket for (bucket,) in given} == {bucket for (bucket,) in every} == ALL
