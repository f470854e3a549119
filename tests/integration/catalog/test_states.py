"""The database guards the states of products and holds as the tables of transitions say."""

from enum import StrEnum
from typing import Any

import pytest

from services.catalog.domain.offers import OfferState
from services.catalog.domain.products import ProductState
from services.catalog.domain.transitions import HOLD, OFFER, PRODUCT, HoldState
from services.runtime.transitions import Transitions
from tests.integration.catalog.shop import Shop
from tests.integration.state_guards import guarded, of_table

GUARDED = [
    ("products", ProductState, PRODUCT),
    ("stock_holds", HoldState, HOLD),
    ("price_protection_offers", OfferState, OFFER),
]


@pytest.mark.parametrize(("table", "states", "transitions"), GUARDED)
async def test_the_database_keeps_the_states_that_nothing_leads_out_of(
    shop: Shop, table: str, states: type[StrEnum], transitions: Transitions[Any, Any]
) -> None:
    assert await guarded(shop.database, table) == of_table(states, transitions)
