"""What the other services say to new standing orders, a batch at a time."""

import asyncio
from collections.abc import Sequence

from services.runtime.errors import Violations
from services.scheduler.api.lookups import note_items
from services.scheduler.domain.order import OrderKey, Quote
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.peers import Cart, MandateQuestion, Peers, customer_name

# What is wrong with the world and not with the request.
PRECONDITION_REASONS = frozenset({"PHONE_NOT_BOUND", "MANDATE_NOT_COVERING"})


async def sign_up_violations(peers: Peers, templates: Sequence[StandingOrder]) -> list[Violations]:
    """Why each of them, in their order, could not be billed; nothing is stored anywhere."""
    customers = [customer_name(one.merchant, one.customer) for one in templates]
    distinct = list(dict.fromkeys(customers))
    answers, quotes = await asyncio.gather(
        peers.phones_bound(distinct), peers.first_quotes([_first_cart(one) for one in templates])
    )
    bound = dict(zip(distinct, answers, strict=True))
    noted = [Violations() for _ in templates]
    asked: list[tuple[Violations, MandateQuestion]] = []
    for template, customer, quote, found in zip(templates, customers, quotes, noted, strict=True):
        if not bound[customer]:
            found.add(
                "standing_order.customer", "the customer has no bound phone", "PHONE_NOT_BOUND"
            )
        if not isinstance(quote, Quote):
            note_items(found, template.merchant, "standing_order.items", template.items, quote)
        elif template.mandate:
            asked.append((found, _mandate_question(template, quote)))
    covered = await peers.mandates_cover([question for _, question in asked])
    for (found, _), covers in zip(asked, covered, strict=True):
        if not covers:
            found.add(
                "standing_order.mandate",
                "the mandate does not cover the next cycle",
                "MANDATE_NOT_COVERING",
            )
    return noted


def _first_cart(template: StandingOrder) -> Cart:
    key = OrderKey(template.merchant, template.standing_order, template.next_cycle or 1)
    return Cart(key, template.items, template.next_due_time or template.update_time)


def _mandate_question(template: StandingOrder, quote: Quote) -> MandateQuestion:
    # A new customer pays the list price.
    amount_minor = sum(line.list_unit_price_minor * line.quantity for line in quote.lines)
    due_time = template.next_due_time or template.update_time
    return MandateQuestion(template.mandate, amount_minor, quote.currency, due_time)
