"""Whether standing orders can be billed: what they repeat, and what the other services say of them."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from services.runtime.db.pool import Connection
from services.runtime.errors import Violations, wrong_state
from services.scheduler.clients import Clients, refuse_untaxed
from services.scheduler.clients.questions import (
    Cart,
    MandateQuestion,
    ProtectionAnswer,
    QuoteAnswer,
)
from services.scheduler.domain.charge_rules import (
    NO_RULE_LEAD,
    RuleLead,
    asks_to_confirm,
    required_lead,
)
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Item, Quote
from services.scheduler.domain.price_agreements import accepted
from services.scheduler.domain.price_protection import at_sign_up
from services.scheduler.domain.standing_order import StandingOrder, under_rule_lead
from services.scheduler.names import customer_name, standing_order_name
from services.scheduler.store import purchases

CONDITION_INVALID = "CONDITION_INVALID"
CURRENCY_NEEDED = "CURRENCY_NEEDED"
_DESCRIPTIONS = {
    "PRODUCT_NOT_FOUND": "does not exist",
    "PRODUCT_DISCONTINUED": "is off sale for good",
    "PRICE_NOT_FOUND": "has no price at the due time",
    "CURRENCY_MISMATCH": "has no price in the currency of the standing order or of the items before it",
    "TOTAL_TOO_LARGE": "brings the order above what one payment can be",
}

_PROMOTION_DESCRIPTIONS = {
    "PROMOTION_NOT_FOUND": "is the code of no promotion",
    "PROMOTION_ENDED": "is the code of a promotion that has ended",
    "PROMOTION_USED_UP": "is the code of a promotion that as many have redeemed as may",
    "PROMOTION_CURRENCY_MISMATCH": "is the code of a promotion in another currency",
    "PROMOTION_NOT_APPLICABLE": "is the code of a promotion for other products",
}

_OFFER_DESCRIPTIONS = {
    "OFFER_NOT_FOUND": "does not exist",
    "OFFER_NOT_STARTED": "cannot be accepted yet",
    "OFFER_ENDED": "cannot be accepted any more",
    "OFFER_NOT_APPLICABLE": "is for other products",
}

# What is wrong elsewhere and not with the request.
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


class Checked(NamedTuple):
    """A standing order as it would be billed (its currency, its lead), and why it could not be."""

    standing_order: StandingOrder
    violations: Violations


async def billable(clients: Clients, standing_order: StandingOrder) -> StandingOrder:
    """Refuse what could not be billed; then protect the sign-up prices.

    Returns the standing order with the currency that it is billed in.
    """
    ((standing_order, violations),) = await checked(clients, [standing_order])
    for violation in violations.found:
        if violation.reason in PRECONDITION_REASONS:
            raise wrong_state(violation.reason, violation.description)
    violations.check()
    ((standing_order, answer),) = await protected(clients, [standing_order])
    note_unprotected(violations, standing_order, answer)
    violations.check()
    return standing_order


async def protected(
    clients: Clients, standing_orders: Sequence[StandingOrder]
) -> list[tuple[StandingOrder, ProtectionAnswer]]:
    """Standing orders, in their order, with how their prices are protected, or why they are not."""
    agreeing = [at_sign_up(standing_order) for standing_order in standing_orders]
    answers = await clients.protect_prices(agreeing)
    return [
        (
            replace(
                standing_order,
                price_agreements=accepted(standing_order.price_agreements, answer.agreed),
                # An old one has redeemed its promotion before.
                ending_promotion=answer.ending_promotion or standing_order.ending_promotion,
            ),
            answer,
        )
        for standing_order, answer in zip(agreeing, answers, strict=True)
    ]


async def checked(clients: Clients, standing_orders: Sequence[StandingOrder]) -> list[Checked]:
    """Why each of them, in their order, could not be billed; nothing is stored anywhere."""
    customers = [
        customer_name(standing_order.merchant, standing_order.customer)
        for standing_order in standing_orders
    ]
    bound, quotes = await asyncio.gather(
        clients.phones_bound(customers), clients.quote([_first_cart(o) for o in standing_orders])
    )
    refuse_untaxed(quotes)
    noted = [Violations() for _ in standing_orders]
    questions: dict[int, MandateQuestion] = {}
    for index, (standing_order, is_bound, quote, violations) in enumerate(
        zip(standing_orders, bound, quotes, noted, strict=True)
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
            questions[index] = _mandate_question(standing_order, quote)
    leads = await _mandate_leads(clients, noted, questions)
    await _note_substitutes(clients, standing_orders, quotes, noted)
    return [
        Checked(
            under_rule_lead(_in_currency_of(standing_order, quote), leads.get(index, NO_RULE_LEAD)),
            violations,
        )
        for index, (standing_order, quote, violations) in enumerate(
            zip(standing_orders, quotes, noted, strict=True)
        )
    ]


async def _mandate_leads(
    clients: Clients, noted: Sequence[Violations], questions: Mapping[int, MandateQuestion]
) -> dict[int, RuleLead]:
    """By index, how early charges are to be announced; notes why mandates cover them not."""
    leads: dict[int, RuleLead] = {}
    answers = await clients.check_mandates(list(questions.values()))
    for (index, question), answer in zip(questions.items(), answers, strict=True):
        rules = question.rules.of(answer.scheme)
        leads[index] = required_lead(rules, answer.lead)
        # The customer's own confirmation stands for the mandate.
        asked = asks_to_confirm(rules, question.amount_minor, question.currency)
        if answer.reasons and not asked:
            noted[index].add(
                "standing_order.mandate",
                f"the mandate does not cover the next cycle: {', '.join(answer.reasons)}",
                "MANDATE_NOT_COVERING",
            )
    return leads


def _in_currency_of(standing_order: StandingOrder, quote: QuoteAnswer) -> StandingOrder:
    if standing_order.currency or not isinstance(quote, Quote):
        return standing_order
    return replace(standing_order, currency=quote.currency)


def _note_currencies(violations: Violations, standing_order: StandingOrder, currency: str) -> None:
    """Refuse ceilings in another currency than the items: they could never hold."""
    for index, condition in enumerate(standing_order.conditions):
        if getattr(condition.kind, "currency", currency) != currency:
            field = f"standing_order.conditions[{index}]"
            violations.add(field, f"must be in {currency}, as the items", CONDITION_INVALID)


class _Offer(NamedTuple):
    """A substitute that a standing order names."""

    violations: Violations
    field: str
    product: str
    standing_order: StandingOrder
    currency: str
    # Of a condition, not of an item.
    of_condition: bool


async def _note_substitutes(
    clients: Clients,
    standing_orders: Sequence[StandingOrder],
    quotes: Sequence[QuoteAnswer],
    noted: Sequence[Violations],
) -> None:
    """Refuse substitutes that could not be ordered; one call prices all of them."""
    offers = [
        offer
        for standing_order, quote, violations in zip(standing_orders, quotes, noted, strict=True)
        if isinstance(quote, Quote)
        for offer in _offers(standing_order, quote.currency, violations)
    ]
    carts = [
        replace(
            _first_cart(offer.standing_order),
            items=(Item(offer.product, 1),),
            currency=offer.currency,
        )
        for offer in offers
    ]
    for offer, answer in zip(offers, await clients.quote(carts), strict=True):
        if isinstance(answer, Quote) and answer.currency == offer.currency:
            continue
        if offer.of_condition:
            rule = f"must be a product with a price in {offer.currency} at the due time"
            offer.violations.add(offer.field, rule, CONDITION_INVALID)
            continue
        problems = {} if isinstance(answer, Quote) else answer.problems
        reason = problems.get(offer.product, "CURRENCY_MISMATCH")
        offer.violations.add(offer.field, _DESCRIPTIONS[reason], reason)


def _offers(
    standing_order: StandingOrder, currency: str, violations: Violations
) -> Iterator[_Offer]:
    for index, condition in enumerate(standing_order.conditions):
        if product := condition.otherwise.substitute:
            field = f"standing_order.conditions[{index}].otherwise.substitute"
            yield _Offer(violations, field, product, standing_order, currency, of_condition=True)
    for index, item in enumerate(standing_order.items):
        for place, product in enumerate(item.substitutes):
            field = f"standing_order.items[{index}].substitutes[{place}]"
            yield _Offer(violations, field, product, standing_order, currency, of_condition=False)


def _first_cart(standing_order: StandingOrder) -> Cart:
    key = OrderKey(
        standing_order.merchant, standing_order.standing_order, standing_order.next_cycle or 1
    )
    return Cart(
        key,
        standing_order.items,
        standing_order.next_due_time or standing_order.update_time,
        standing_order.update_time,
        standing_order.region_code,
        standing_order.currency,
        standing_order.tax_id,
        standing_order.agreement_of(key.cycle),
    )


def _mandate_question(standing_order: StandingOrder, quote: Quote) -> MandateQuestion:
    promised = standing_order.update_time + standing_order.lead(standing_order.next_cycle or 1)
    charge_time = max(standing_order.next_due_time or promised, promised)
    return MandateQuestion(
        standing_order.mandate,
        standing_order_name(standing_order.merchant, standing_order.standing_order),
        quote.amount_minor,
        quote.currency,
        charge_time,
        quote.rules,
    )


def note_unprotected(
    violations: Violations, standing_order: StandingOrder, answer: ProtectionAnswer
) -> None:
    """Note why the sign-up prices of a standing order are not protected."""
    note_items(violations, "standing_order.items", standing_order.items, answer.problems)
    if answer.promotion:
        rule = _PROMOTION_DESCRIPTIONS[answer.promotion]
        violations.add("standing_order.promotion_code", rule, answer.promotion)
    if answer.offer:
        rule = _OFFER_DESCRIPTIONS[answer.offer]
        violations.add("standing_order.price_protection.offer", rule, answer.offer)


def note_items(
    violations: Violations, field: str, items: Sequence[Item], problems: Mapping[str, str]
) -> None:
    """Note the products that cannot be ordered; `problems` has the reasons by product (id)."""
    if CURRENCY_NEEDED in problems.values():
        violations.add(
            "standing_order.currency",
            "must be given: the products have prices in several currencies",
            CURRENCY_NEEDED,
        )
    for index, item in enumerate(items):
        reason = problems.get(item.product)
        if reason is not None and reason != CURRENCY_NEEDED:
            violations.add(f"{field}[{index}].product", _DESCRIPTIONS[reason], reason)
