"""A tax service over HTTP, in the shape of Stripe Tax: calculations, many in one request.

See https://docs.stripe.com/api/tax/calculations/create for what one consists of. Whatever an answer
lacks or has wrong makes it no answer: no amount is guessed, and nothing is charged without its taxes.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any, Protocol

from services.catalog.domain.service_taxes import TaxAnswer, TaxQuestion
from services.catalog.domain.tax import (
    PARTS_PER_MILLION,
    RATE_MAX_PPM,
    AppliedRate,
    LineTax,
    TaxBehavior,
    Taxed,
    TaxIdTreatment,
    TaxRateId,
)
from services.runtime.http_client import HttpClient, HttpError

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 8
# A quote is asked for with a deadline of 10 s; two requests and the statements stay well below it.
REQUEST_TIMEOUT_SECONDS = 3.0
REQUESTS_MAX = 2
RETRY_PAUSE_SECONDS = 0.2
_PERCENT = 100
# Statuses after which the same request may be answered.
_AWAY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT})
_TREATMENTS = {
    "reverse_charge": TaxIdTreatment.REVERSE_CHARGE,
    "customer_exempt": TaxIdTreatment.EXEMPT,
}


class TaxService(Protocol):
    """Works out the taxes of carts."""

    async def taxes(self, questions: Sequence[TaxQuestion]) -> list[TaxAnswer]:
        """What is charged on the lines of each cart, in their order; None where that is not known."""


class NoTaxService:
    """Where no tax service is configured, nothing is known."""

    async def taxes(self, questions: Sequence[TaxQuestion]) -> list[TaxAnswer]:
        """Nothing of any of them."""
        return [None] * len(questions)


NO_TAX_SERVICE = NoTaxService()


class HttpTaxService:
    """Asks the service of an address, with a key."""

    def __init__(self, http: HttpClient, url: str, api_key: str) -> None:
        self._http = http
        self._url = f"{url.rstrip('/')}/v1/tax/calculations"
        self._headers = {"Authorization": f"Bearer {api_key}"}

    async def taxes(self, questions: Sequence[TaxQuestion]) -> list[TaxAnswer]:
        """One request for all; what is not answered in time or not as asked is not known."""
        body = {
            "calculations": [
                _calculation(str(place), question) for place, question in enumerate(questions)
            ]
        }
        answered = await self._ask(body)
        answers: list[TaxAnswer] = [
            _answer(answered[place], str(place), question) if place < len(answered) else None
            for place, question in enumerate(questions)
        ]
        unknown_count = answers.count(None)
        if answered and unknown_count:
            log.warning("the tax service answered otherwise than asked: %d carts", unknown_count)
        return answers

    async def _ask(self, body: Mapping[str, Any]) -> list[Any]:
        """What is listed in the answer, unchecked; empty if there is no answer."""
        why = ""
        for request in range(REQUESTS_MAX):
            if request:
                await asyncio.sleep(RETRY_PAUSE_SECONDS)
            try:
                answer = await self._http.request(
                    "POST", self._url, json=body, headers=self._headers
                )
                if answer.status == HTTPStatus.OK:
                    return _listed(answer.json())
                why = f"status {answer.status}"
                if answer.status not in _AWAY and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    break
            except HttpError as error:
                why = type(error).__name__
            except ValueError:
                why = "no JSON"
        log.warning("the tax service gives no answer: %s", why)
        return []


def _calculation(reference: str, question: TaxQuestion) -> dict[str, Any]:
    country, _, state = question.region_code.partition("-")
    tax_ids = [{"type": "vat", "value": question.tax_id}] if question.tax_id else []
    return {
        "reference": reference,
        "currency": question.currency.lower(),
        "tax_date": question.tax_date.isoformat(),
        "customer_details": {
            "address": {"country": country, "state": state},
            "tax_ids": tax_ids,
        },
        "line_items": [
            {
                "reference": str(place),
                "amount": item.amount_minor,
                "tax_behavior": question.tax_behavior.lower(),
                "tax_code": item.tax_category,
            }
            for place, item in enumerate(question.items)
        ],
    }


def _listed(body: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    """The entries of a list; none if it is no list."""
    listed = body.get("data") if isinstance(body, dict) else None
    return listed if isinstance(listed, list) else []


def _answer(given: Any, reference: str, question: TaxQuestion) -> TaxAnswer:  # noqa: ANN401 - any JSON
    """The taxes of a calculation; None unless it is the answer to the question, to the last unit."""
    try:
        if (given["reference"], given["currency"]) != (reference, question.currency.lower()):
            return None
        lines = given["line_items"]["data"]
        return [
            _taxed(line, str(place), question)
            for place, line in enumerate(_as_many(lines, question))
        ]
    except (KeyError, TypeError, ValueError, IndexError, InvalidOperation):
        return None


def _as_many(lines: Any, question: TaxQuestion) -> list[Any]:  # noqa: ANN401 - any JSON
    if not isinstance(lines, list) or len(lines) != len(question.items):
        raise ValueError("other lines than were asked about")
    return lines


def _taxed(line: Any, reference: str, question: TaxQuestion) -> Taxed:  # noqa: ANN401 - any JSON
    item = question.items[int(reference)]
    taxes = tuple(_tax(tax) for tax in line["tax_breakdown"])
    tax_minor = sum(tax.amount_minor for tax in taxes)
    inclusive = question.tax_behavior is TaxBehavior.INCLUSIVE
    if (
        line["reference"] != reference
        or line["amount"] != item.amount_minor
        or line["amount_tax"] != tax_minor
        or line["tax_behavior"] != question.tax_behavior.lower()
        or tax_minor > item.amount_minor
    ):
        raise ValueError("another line than was asked about")
    return Taxed(item.amount_minor - tax_minor if inclusive else item.amount_minor, taxes)


def _tax(tax: Any) -> LineTax:  # noqa: ANN401 - any JSON
    amount_minor, details = tax["amount"], tax["tax_rate_details"]
    rate_ppm = Decimal(str(details["percentage_decimal"])) * PARTS_PER_MILLION / _PERCENT
    if type(amount_minor) is not int or amount_minor < 0 or not 0 <= rate_ppm <= RATE_MAX_PPM:
        raise ValueError("no tax")
    treatment = _TREATMENTS.get(tax["taxability_reason"], TaxIdTreatment.CHARGED)
    # It is no rate of the merchant's own.
    rate = AppliedRate(
        TaxRateId(""), str(details["display_name"]), int(rate_ppm), compound=False,
        treatment=treatment,
    )  # fmt: skip
    return LineTax(rate, amount_minor)
