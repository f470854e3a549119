"""The database guards the states of charges, attempts and refunds as the tables of transitions say."""

from enum import StrEnum
from typing import Any

import asyncpg
import pytest

from services.payments.domain.transitions import (
    ATTEMPT,
    CHARGE,
    REFUND,
    AttemptState,
    ChargeState,
    RefundState,
)
from services.runtime.transitions import Transitions
from tests.integration.payments.suite import Payments
from tests.integration.state_guards import guarded, of_table

GUARDED = [
    ("charges", ChargeState, CHARGE),
    ("attempts", AttemptState, ATTEMPT),
    ("refunds", RefundState, REFUND),
]
UNDONE = [
    "UPDATE charges SET state = 'SCHEDULED', next_attempt_time = now()",
    "UPDATE attempts SET state = 'UNKNOWN', end_time = NULL, next_lookup_time = now()",
]


@pytest.mark.parametrize(("table", "states", "transitions"), GUARDED)
async def test_the_database_keeps_the_states_that_nothing_leads_out_of(
    payments: Payments, table: str, states: type[StrEnum], transitions: Transitions[Any, Any]
) -> None:
    assert await guarded(payments.database, table) == of_table(states, transitions)


@pytest.mark.parametrize("statement", UNDONE)
async def test_a_payment_cannot_be_undone_by_hand(payments: Payments, statement: str) -> None:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    with pytest.raises(asyncpg.PostgresError, match="SUCCEEDED for good"):
        async with payments.database.begin() as tx:
            await tx.execute(statement)
