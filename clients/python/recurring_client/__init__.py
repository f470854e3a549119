"""A client of Recurring: typed stubs of the four services, and what every good client does with them.

    async with Recurring(targets, token=Path("platform.jwt")) as recurring:
        async for order in pages(recurring.scheduler.ListOrders, ListOrdersRequest(parent=...)):
            ...

The stubs are those of `recurring.<service>.v1`; nothing here hides them.
"""

from recurring_client.connection import Recurring
from recurring_client.errors import Refusal, refusal_of
from recurring_client.events import Event, subscribe
from recurring_client.paging import pages
from recurring_client.tokens import Token

__all__ = ["Event", "Recurring", "Refusal", "Token", "pages", "refusal_of", "subscribe"]
