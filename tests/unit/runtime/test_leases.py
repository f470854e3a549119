"""Every bucket has one replica, every replica its share, and a step ends before its lease can."""

import uuid
from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from cli.faults import crashes
from services.notify import __main__ as notify
from services.notify.workers import deliveries
from services.payments import __main__ as payments
from services.payments.clients import batches, provider
from services.payments.domain.outcomes import RETRY_DELAY_FIRST
from services.runtime.db import leases
from services.runtime.db.leases import BUCKETS, assign

# One replica more than there are buckets.
REPLICAS = st.lists(st.uuids(), min_size=1, max_size=BUCKETS + 1, unique=True)


def renewed(held: dict[int, uuid.UUID], live: Sequence[uuid.UUID], own: uuid.UUID) -> None:
    """One replica renews its leases; the database lets it take what is free alone."""
    keep, take, give_up = assign(held, live, own)
    assert keep | give_up == {bucket for bucket, holder in held.items() if holder == own}
    assert keep.isdisjoint(give_up)
    assert take.isdisjoint(held)
    for bucket in give_up:
        del held[bucket]
    held |= dict.fromkeys(take, own)


@given(replicas=REPLICAS, data=st.data())
def test_every_bucket_comes_to_one_replica_and_every_replica_to_its_share(
    replicas: list[uuid.UUID], data: st.DataObject
) -> None:
    # Whatever was held, by one that is gone as well; what is not leased is free.
    gone = uuid.UUID(int=0)
    holders = st.sampled_from([*replicas, gone])
    held = {
        bucket: holder
        for bucket, holder in data.draw(
            st.dictionaries(st.integers(0, BUCKETS - 1), holders)
        ).items()
        if holder != gone
    }
    for _ in range(3):
        for replica in data.draw(st.permutations(replicas)):
            renewed(held, replicas, replica)
    shares = Counter(held.values())

    assert sorted(held) == list(range(BUCKETS))
    assert {shares[replica] for replica in replicas} <= {
        BUCKETS // len(replicas),
        -(-BUCKETS // len(replicas)),
    }


@given(replicas=REPLICAS)
def test_a_replica_that_has_its_share_keeps_it(replicas: list[uuid.UUID]) -> None:
    held: dict[int, uuid.UUID] = {}
    for _ in range(3):
        for replica in replicas:
            renewed(held, replicas, replica)
    before = dict(held)
    for replica in replicas:
        renewed(held, replicas, replica)

    assert held == before


@given(replicas=REPLICAS)
def test_replicas_that_come_at_once_ask_for_different_buckets(replicas: list[uuid.UUID]) -> None:
    asked = [assign({}, replicas, replica).take for replica in replicas]

    assert sorted(bucket for take in asked for bucket in take) == list(range(BUCKETS))


def test_a_step_is_cut_off_before_its_lease_runs_out() -> None:
    for lease in (leases.SUITE, leases.OUTSIDE, leases.Lease(leases.LEASE_MIN_SECONDS)):
        ends_seconds = leases.RENEWED_WITHIN_SECONDS + lease.step_deadline_seconds
        assert 0 < ends_seconds + leases.MARGIN_SECONDS <= lease.seconds
    assert leases.RENEW_SECONDS < leases.RENEWED_WITHIN_SECONDS


def test_an_attempt_is_not_looked_up_while_the_step_may_still_send_it() -> None:
    assert RETRY_DELAY_FIRST.total_seconds() >= leases.LEASE_MAX_SECONDS


def test_a_step_that_asks_outside_has_time_for_an_answer_under_the_shortest_lease() -> None:
    payments_step = leases.Lease(payments.LEASE_MIN_SECONDS).step_deadline_seconds
    assert payments_step >= batches.STORE_SECONDS + provider.REQUEST_TIMEOUT_SECONDS
    notify_step = leases.Lease(notify.LEASE_MIN_SECONDS).step_deadline_seconds
    assert notify_step > deliveries.SEND_SECONDS


def test_fault_suites_lease_as_shortly_as_every_service_accepts() -> None:
    shortest = (leases.LEASE_MIN_SECONDS, payments.LEASE_MIN_SECONDS, notify.LEASE_MIN_SECONDS)
    assert max(shortest) == crashes.LEASE_SECONDS
