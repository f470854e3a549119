"""The database allows the states of notices, deliveries and codes that notify knows, and no others."""

import re
from collections.abc import Collection
from enum import StrEnum
from typing import Any

import asyncpg
import pytest

from services.notify.application.outcomes import OUTCOMES
from services.notify.domain.notices import BillingMode, Channel
from services.notify.domain.transitions import DELIVERY, PHONE_CODE, CodeState, DeliveryState
from services.runtime.transitions import Transitions
from tests.integration.notify.suite import Notify
from tests.integration.state_guards import guarded, of_table

GUARDED = [("deliveries", DeliveryState, DELIVERY), ("phone_codes", CodeState, PHONE_CODE)]
CHECKS = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1"


@pytest.mark.parametrize(("table", "states", "transitions"), GUARDED)
async def test_the_database_keeps_the_states_that_nothing_leads_out_of(
    notify: Notify, table: str, states: type[StrEnum], transitions: Transitions[Any, Any]
) -> None:
    assert await guarded(notify.database, table) == of_table(states, transitions)


async def test_a_message_that_arrived_cannot_be_undone_by_hand(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    undone = "UPDATE deliveries SET state = 'PENDING', deliver_time = NULL"
    with pytest.raises(asyncpg.PostgresError, match="DELIVERED for good"):
        async with notify.database.begin() as tx:
            await tx.execute(undone)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("notices_outcome_check", set(OUTCOMES)),
        ("deliveries_channel_check", set(Channel)),
        ("notices_billing_mode_check", set(BillingMode)),
    ],
)
async def test_the_database_allows_what_the_domain_knows(
    notify: Notify, name: str, words: Collection[str]
) -> None:
    async with notify.database.read() as connection:
        definition = await connection.driver.fetchval(CHECKS, name)
    assert set(re.findall(r"'(\w+)'", definition)) == words
