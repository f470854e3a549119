"""A tax service in the shape of Stripe Tax: calculations, many in one request.

A calculation is as in https://docs.stripe.com/api/tax/calculations/create: its currency, when it is
due, where it goes and its lines. Many come in one request, which is our own. The rates below are fixed;
the answer has what they come to on each line, rounded half up.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from sandbox.endpoint import RefusedError

# What is beyond is not answered.
CALCULATIONS_MAX = 500
RATE_UNITS = 10_000
# By country, and by country and state: what a tax is called, and its rate in units of 0.01 %.
RATES = {
    "DE": ("VAT", 1900), "AT": ("VAT", 2000), "FR": ("TVA", 2000), "US-CA": ("Sales tax", 725),
    "IN": ("GST", 1800),
}  # fmt: skip
# The region whose answers are in another currency than the question.
WRONG_CURRENCY_STATE = "ZZ"
EUROPEAN = frozenset({"DE", "AT", "FR"})


class TaxService:
    """What the merchant's side sees of the tax service, behind the provider's API key."""

    def routes(self) -> list[web.RouteDef]:
        """Routes below `/tax/v1`."""
        return [web.post("/tax/calculations", self.calculate)]

    async def calculate(self, request: web.Request) -> web.Response:
        """Work out the taxes of calculations, in their order."""
        try:
            calculations = (await request.json())["calculations"]
            data = [_calculation(wanted) for wanted in calculations[:CALCULATIONS_MAX]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            kind = "invalid_request_error"
            raise RefusedError(400, kind, "parameter_invalid", f"calculations: {error}") from error
        return web.json_response({"object": "list", "data": data})


def _calculation(wanted: Mapping[str, Any]) -> dict[str, Any]:
    details = wanted["customer_details"]
    address = details["address"]
    country, state = str(address["country"]), str(address.get("state", ""))
    region = f"{country}-{state}"
    title, rate = RATES.get(region) or RATES.get(country) or ("", 0)
    tax_ids = details.get("tax_ids") or []
    reverse = bool(tax_ids) and country in EUROPEAN and tax_ids[0]["value"][:2] in EUROPEAN
    lines = [_line(line, title, rate, reverse=reverse) for line in wanted["line_items"]]
    return {
        "object": "tax.calculation",
        "reference": wanted["reference"],
        "currency": "xxx" if state == WRONG_CURRENCY_STATE else wanted["currency"],
        "tax_date": wanted["tax_date"],
        "line_items": {"object": "list", "data": lines},
    }


def _line(wanted: Mapping[str, Any], title: str, rate: int, *, reverse: bool) -> dict[str, Any]:
    amount, inclusive = int(wanted["amount"]), wanted["tax_behavior"] == "inclusive"
    charged = 0 if reverse else rate
    base = RATE_UNITS + charged if inclusive else RATE_UNITS
    tax = (2 * amount * charged + base) // (2 * base)
    breakdown = {
        "amount": tax,
        "taxability_reason": "reverse_charge" if reverse else "standard_rated",
        "tax_rate_details": {"display_name": title, "percentage_decimal": f"{rate / 100:.2f}"},
    }
    return {
        "object": "tax.calculation_line_item",
        "reference": wanted["reference"],
        "amount": amount,
        "amount_tax": tax,
        "tax_behavior": wanted["tax_behavior"],
        "tax_breakdown": [breakdown] if title else [],
    }
