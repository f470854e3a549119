"""Whether standing orders can be billed: what they repeat, and what the other services say of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from recurring.catalog.v1 import catalog_pb2

from services.runtime.db.pool import Connection
from services.runtime.errors import Violations, wrong_state
from services.scheduler.clients import Cart, Clients, MandateQuestion
from services.scheduler.domain.ids import MerchantId, OrderKey
from services.scheduler.domain.order import Item, Quote
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.names import customer_name, product_name, standing_order_name
from services.scheduler.store import purchases

CONDITION_INVALID = "CONDITION_INVALID"

# What is wrong with the world and not with the request.
PRECONDITION_REASONS = frozenset({"PHONE_NOT_BOUND", "MANDATE_NOT_COVERING"})


def products_of(items: Sequence[Item], known: Sequence[Item] = ()) -> list[str]:
    """The products of items, but for those that were known."""
    before = {item.product for item in known}
    return [item.product for item in items if item.product not in before]


async def refuse_duplicate(
    connection: Connection, template: StandingOrder, products: Sequence[str]
) -> None:
    """Refuse products that another live standing order of the same customer has, naming that one."""
    if not products:
        return
    merchant = template.merchant
    first = await purchases.first_live(
        connection, merchant, template.customer, template.standing_order, products
    )
    if first is not None:
        name = standing_order_name(merchant, first)
        raise wrong_state(
            "DUPLICATE_STANDING_ORDER",
            f"{name} of the same customer has one of the products already",
            standing_order=name,
        )


async def check(clients: Clients, template: StandingOrder) -> None:
    """Refuse what could not be billed; then have the sign-up prices remembered."""
    (found,) = await sign_up_violations(clients, [template])
    for violation in found.found:
        if violation.reason in PRECONDITION_REASONS:
            raise wrong_state(violation.reason, violation.description)
    found.check()
    (problems,) = await clients.protect_prices([template])
    note_items(found, template.merchant, "standing_order.items", template.items, problems)
    found.check()


async def sign_up_violations(
    clients: Clients, templates: Sequence[StandingOrder]
) -> list[Violations]:
    """Why each of them, in their order, could not be billed; nothing is stored anywhere."""
    customers = [customer_name(one.merchant, one.customer) for one in templates]
    bound, quotes = await asyncio.gather(
        clients.phones_bound(customers),
        clients.first_quotes([_first_cart(one) for one in templates]),
    )
    noted = [Violations() for _ in templates]
    asked: list[tuple[Violations, MandateQuestion]] = []
    for template, is_bound, quote, found in zip(templates, bound, quotes, noted, strict=True):
        if not is_bound:
            found.add(
                "standing_order.customer", "the customer has no bound phone", "PHONE_NOT_BOUND"
            )
        if not isinstance(quote, Quote):
            note_items(found, template.merchant, "standing_order.items", template.items, quote)
            continue
        _note_currencies(found, template, quote.currency)
        if template.mandate:
            asked.append((found, _mandate_question(template, quote)))
    refusals = await clients.refusals([question for _, question in asked])
    for (found, _), reasons in zip(asked, refusals, strict=True):
        if reasons:
            found.add(
                "standing_order.mandate",
                f"the mandate does not cover the next cycle: {', '.join(reasons)}",
                "MANDATE_NOT_COVERING",
            )
    await _note_substitutes(clients, templates, quotes, noted)
    return noted


def _note_currencies(found: Violations, template: StandingOrder, currency: str) -> None:
    """Refuse ceilings in another currency than the items: they could never hold."""
    for place, condition in enumerate(template.conditions):
        if getattr(condition.kind, "currency", currency) != currency:
            field = f"standing_order.conditions[{place}]"
            found.add(field, f"must be in {currency}, as the items", CONDITION_INVALID)


async def _note_substitutes(
    clients: Clients,
    templates: Sequence[StandingOrder],
    quotes: Sequence[Quote | object],
    noted: Sequence[Violations],
) -> None:
    """Refuse substitutes that could not be ordered, asked about all at once."""
    asked = [
        (found, place, quote.currency, replace(_first_cart(one), items=(Item(substitute, 1),)))
        for one, quote, found in zip(templates, quotes, noted, strict=True)
        if isinstance(quote, Quote)
        for place, condition in enumerate(one.conditions)
        if (substitute := condition.otherwise.substitute)
    ]
    if not asked:
        return
    answers = await clients.first_quotes([cart for _, _, _, cart in asked])
    for (found, place, currency, _), answer in zip(asked, answers, strict=True):
        if not isinstance(answer, Quote) or answer.currency != currency:
            found.add(
                f"standing_order.conditions[{place}].otherwise.substitute",
                f"must be a product with a price in {currency} at the due time",
                CONDITION_INVALID,
            )


def _first_cart(template: StandingOrder) -> Cart:
    key = OrderKey(template.merchant, template.standing_order, template.next_cycle or 1)
    return Cart(key, template.items, template.next_due_time or template.update_time)


def _mandate_question(template: StandingOrder, quote: Quote) -> MandateQuestion:
    # A new customer pays the list price.
    amount_minor = sum(line.list_unit_price_minor * line.quantity for line in quote.lines)
    promised = template.update_time + template.lead(template.next_cycle or 1)
    charge_time = max(template.next_due_time or promised, promised)
    return MandateQuestion(template.mandate, amount_minor, quote.currency, charge_time)


def note_items(
    violations: Violations,
    merchant: MerchantId,
    field: str,
    items: Sequence[Item],
    problems: Sequence[catalog_pb2.ItemProblem],
) -> None:
    """Note the products that cannot be ordered."""
    places = {product_name(merchant, item.product): place for place, item in enumerate(items)}
    for problem in problems:
        reason = catalog_pb2.ItemProblem.Reason.Name(problem.reason)
        violations.add(
            f"{field}[{places[problem.product]}].product",
            {
                "PRODUCT_NOT_FOUND": "does not exist",
                "PRODUCT_DISCONTINUED": "is off sale for good",
                "PRICE_NOT_FOUND": "has no price at the due time",
                "CURRENCY_MISMATCH": "has a price in another currency than the items before it",
                "TOTAL_TOO_LARGE": "brings the order above what one payment can be",
            }[reason],
            reason,
        )
