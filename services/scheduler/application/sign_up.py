"""Whether standing orders can be billed: what they repeat, and what the other services say of them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from services.runtime.db.pool import Connection
from services.runtime.errors import Violations, wrong_state
from services.scheduler.clients import Cart, Clients, MandateQuestion, QuoteAnswer
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Item, Quote
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.names import customer_name, standing_order_name
from services.scheduler.store import purchases

CONDITION_INVALID = "CONDITION_INVALID"
_DESCRIPTIONS = {
    "PRODUCT_NOT_FOUND": "does not exist",
    "PRODUCT_DISCONTINUED": "is off sale for good",
    "PRICE_NOT_FOUND": "has no price at the due time",
    "CURRENCY_MISMATCH": "has a price in another currency than the items before it",
    "TOTAL_TOO_LARGE": "brings the order above what one payment can be",
}

# What is wrong with the world and not with the request.
PRECONDITION_REASONS = frozenset({"PHONE_NOT_BOUND", "MANDATE_NOT_COVERING"})


def products_of(items: Sequence[Item], known: Sequence[Item] = ()) -> list[str]:
    """The products of items, but for those that were known."""
    before = {item.product for item in known}
    return [item.product for item in items if item.product not in before]


async def refuse_duplicate(
    connection: Connection, standing_order: StandingOrder, products: Sequence[str]
) -> None:
    """Refuse products that another live standing order of the same customer has, naming that one."""
    if not products:
        return
    merchant = standing_order.merchant
    first = await purchases.first_live(
        connection, merchant, standing_order.customer, standing_order.standing_order, products
    )
    if first is not None:
        name = standing_order_name(merchant, first)
        raise wrong_state(
            "DUPLICATE_STANDING_ORDER",
            f"{name} of the same customer has one of the products already",
            standing_order=name,
        )


async def check(clients: Clients, standing_order: StandingOrder) -> None:
    """Refuse what could not be billed; then protect the sign-up prices."""
    (violations,) = await sign_up_violations(clients, [standing_order])
    for violation in violations.found:
        if violation.reason in PRECONDITION_REASONS:
            raise wrong_state(violation.reason, violation.description)
    violations.check()
    (problems,) = await clients.protect_prices([standing_order])
    note_items(violations, "standing_order.items", standing_order.items, problems)
    violations.check()


async def sign_up_violations(
    clients: Clients, standing_orders: Sequence[StandingOrder]
) -> list[Violations]:
    """Why each of them, in their order, could not be billed; nothing is stored anywhere."""
    customers = [customer_name(one.merchant, one.customer) for one in standing_orders]
    bound, quotes = await asyncio.gather(
        clients.phones_bound(customers), clients.quote([_first_cart(o) for o in standing_orders])
    )
    noted = [Violations() for _ in standing_orders]
    questions: list[tuple[Violations, MandateQuestion]] = []
    for standing_order, is_bound, quote, violations in zip(
        standing_orders, bound, quotes, noted, strict=True
    ):
        if not is_bound:
            violations.add(
                "standing_order.customer", "the customer has no bound phone", "PHONE_NOT_BOUND"
            )
        if not isinstance(quote, Quote):
            field, items = "standing_order.items", standing_order.items
            note_items(violations, field, items, quote.problems)
            continue
        _note_currencies(violations, standing_order, quote.currency)
        if standing_order.mandate:
            questions.append((violations, _mandate_question(standing_order, quote)))
    refusals = await clients.refusals([question for _, question in questions])
    for (violations, _), reasons in zip(questions, refusals, strict=True):
        if reasons:
            violations.add(
                "standing_order.mandate",
                f"the mandate does not cover the next cycle: {', '.join(reasons)}",
                "MANDATE_NOT_COVERING",
            )
    await _note_substitutes(clients, standing_orders, quotes, noted)
    return noted


def _note_currencies(violations: Violations, standing_order: StandingOrder, currency: str) -> None:
    """Refuse ceilings in another currency than the items: they could never hold."""
    for index, condition in enumerate(standing_order.conditions):
        if getattr(condition.kind, "currency", currency) != currency:
            field = f"standing_order.conditions[{index}]"
            violations.add(field, f"must be in {currency}, as the items", CONDITION_INVALID)


async def _note_substitutes(
    clients: Clients,
    standing_orders: Sequence[StandingOrder],
    quotes: Sequence[QuoteAnswer],
    noted: Sequence[Violations],
) -> None:
    """Refuse substitutes that could not be ordered, asked about all at once."""
    substitutes = [
        (violations, index, quote.currency, replace(_first_cart(one), items=(Item(product, 1),)))
        for one, quote, violations in zip(standing_orders, quotes, noted, strict=True)
        if isinstance(quote, Quote)
        for index, condition in enumerate(one.conditions)
        if (product := condition.otherwise.substitute)
    ]
    answers = await clients.quote([cart for _, _, _, cart in substitutes])
    for (violations, index, currency, _), answer in zip(substitutes, answers, strict=True):
        if not isinstance(answer, Quote) or answer.currency != currency:
            violations.add(
                f"standing_order.conditions[{index}].otherwise.substitute",
                f"must be a product with a price in {currency} at the due time",
                CONDITION_INVALID,
            )


def _first_cart(standing_order: StandingOrder) -> Cart:
    key = OrderKey(
        standing_order.merchant, standing_order.standing_order, standing_order.next_cycle or 1
    )
    return Cart(
        key, standing_order.items, standing_order.next_due_time or standing_order.update_time
    )


def _mandate_question(standing_order: StandingOrder, quote: Quote) -> MandateQuestion:
    # A new customer pays the list price.
    amount_minor = sum(line.list_unit_price_minor * line.quantity for line in quote.lines)
    promised = standing_order.update_time + standing_order.lead(standing_order.next_cycle or 1)
    charge_time = max(standing_order.next_due_time or promised, promised)
    return MandateQuestion(standing_order.mandate, amount_minor, quote.currency, charge_time)


def note_items(
    violations: Violations, field: str, items: Sequence[Item], problems: Mapping[str, str]
) -> None:
    """Note the products that cannot be ordered; `problems` has the reasons by product (id)."""
    for index, item in enumerate(items):
        reason = problems.get(item.product)
        if reason is not None:
            violations.add(f"{field}[{index}].product", _DESCRIPTIONS[reason], reason)
