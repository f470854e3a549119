"""The database allows the states of notices, deliveries and codes that notify knows, and no others."""

import re
from collections.abc import Collection

import pytest
from sqlalchemy import text

from services.notify.domain.notices import BillingMode, Channel
from services.notify.domain.transitions import DeliveryState
from tests.integration.notify.suite import Notify

CHECKS = text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = :name")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("deliveries_state_check", set(DeliveryState)),
        ("notices_outcome_check", set(DeliveryState) - {DeliveryState.PENDING}),
        ("deliveries_channel_check", set(Channel)),
        ("notices_billing_mode_check", set(BillingMode)),
    ],
)
async def test_the_database_allows_what_the_domain_knows(
    notify: Notify, name: str, words: Collection[str]
) -> None:
    async with notify.database.engine.connect() as connection:
        definition = (await connection.execute(CHECKS, {"name": name})).scalar_one()
    assert set(re.findall(r"'(\w+)'", definition)) == words
