"""Requests to pay: the links that are sent with them, and reminders before they end."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from services.payments import publishers
from services.payments.domain.charges import Charge, is_expired, with_reminder
from services.payments.domain.dunning import STANDARD, DunningPolicy
from services.payments.domain.keys import ChargeKey, MerchantId
from services.payments.domain.transitions import ChargeState
from services.payments.store import charges as charge_store
from services.payments.store import dunning as dunning_store
from services.payments.store import payment_links as link_store
from services.runtime.crypto.link_tokens import new_link_token
from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox

Policies = Mapping[MerchantId, DunningPolicy]


def reminded(charges: Iterable[Charge], policies: Policies, now: datetime) -> list[Charge]:
    """Charges with the times of the reminders that merchants want of their requests."""
    return [with_reminder(it, policies.get(it.merchant, STANDARD), now) for it in charges]


async def new_links(
    tx: Connection, charges: Iterable[Charge], policies: Policies, now: datetime
) -> dict[ChargeKey, str]:
    """A new link for each request to pay whose merchant has a page for them."""
    pages = {
        charge.key: policies[charge.merchant].payment_page_uri
        for charge in charges
        if charge.state is ChargeState.REQUESTED and charge.merchant in policies
    }
    tokens = {key: new_link_token() for key, page in pages.items() if page}
    await link_store.insert(tx, tokens, now)
    return {key: f"{pages[key].rstrip('/')}/{token}" for key, token in tokens.items()}


async def remind(tx: Connection, keys: Sequence[ChargeKey], now: datetime) -> None:
    """Remind customers of requests that are about to end.

    There is no reminder of what has ended already: its end is published by itself.
    """
    due = await charge_store.take_to_remind(tx, keys, now)
    policies = await dunning_store.of_merchants(tx, [charge.merchant for charge in due])
    wanted = [charge for charge in due if not (charge.withdrawn or is_expired(charge, now))]
    links = await new_links(tx, wanted, policies, now)
    await charge_store.save(tx, reminded(due, policies, now))
    events = [
        publishers.payment_request_reminder(charge, now, links.get(charge.key, ""))
        for charge in wanted
    ]
    await outbox.put(tx, events)
