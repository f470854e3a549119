"""From requests for a preview of a quote to the domain, and back."""

from dataclasses import replace
from datetime import datetime

from recurring.catalog.v1 import catalog_pb2

from services.catalog.api.offer_messages import read_agreement
from services.catalog.api.requests import read_currency, read_items
from services.catalog.api.responses import problem_messages, quote_response
from services.catalog.application.prices import Quoted
from services.catalog.application.quote_previews import of_new_standing_order
from services.catalog.domain.pricing import Cart, Line
from services.catalog.domain.products import StandingOrderId
from services.catalog.domain.promotions import PromotionFault
from services.catalog.names import MERCHANT, STANDING_ORDER
from services.runtime.errors import Violations
from services.runtime.rpc.conversions import read_timestamp, to_money
from services.runtime.rpc.names import read_name


def read_preview(request: catalog_pb2.PreviewQuoteRequest, now: datetime) -> Cart:
    """The cart to price."""
    violations = Violations()
    merchant = read_name(MERCHANT, request.parent)
    price_time = now
    if request.HasField("price_time"):
        price_time = read_timestamp(violations, "price_time", request.price_time)
    cart = Cart(
        standing_order=StandingOrderId(""),
        cycle=request.cycle or 1,
        items=read_items(violations, "items", merchant, request.items),
        price_time=price_time,
        region_code=request.region_code,
        currency=read_currency(violations, "currency", request.currency),
        tax_id=request.tax_id,
        agreement=(
            read_agreement(violations, "agreement", merchant, request.agreement)
            if request.HasField("agreement")
            else None
        ),
    )
    if not request.standing_order:
        violations.check()
        return of_new_standing_order(cart)
    owner, standing_order = STANDING_ORDER.key(request.standing_order)
    met = owner == merchant
    violations.require("standing_order", "must be of the parent merchant", met=met)
    rule = "must be absent with a standing order, which has redeemed its own"
    violations.require("promotion_code", rule, met=not request.promotion_code)
    violations.check()
    return replace(cart, standing_order=standing_order)


def preview_message(
    quoted: Quoted, fault: PromotionFault | None
) -> catalog_pb2.PreviewQuoteResponse:
    """What a cart would cost, or why that cannot be said."""
    response = catalog_pb2.PreviewQuoteResponse()
    if fault is not None:
        response.promotion_problem = catalog_pb2.PromotionProblem.Value(fault)
    lines = [line for line in quoted.result if isinstance(line, Line)]
    if len(lines) < len(quoted.result):
        response.problems.extend(problem_messages(quoted.result))
        return response
    answers = quote_response([quoted])
    [answer] = answers.results
    saved_minor = sum(line.list_amount_minor - line.amount_minor for line in lines)
    response.total.CopyFrom(answer.quote.total)
    response.saved_amount.CopyFrom(to_money(saved_minor, lines[0].currency))
    response.lines.extend(answers.lines[index] for index in answer.quote.line_indexes)
    response.applied_tax_rates.extend(answers.applied_tax_rates)
    return response
