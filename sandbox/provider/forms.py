"""Reading what a caller of the provider sent, and wording what it is refused."""

import re
from collections.abc import Mapping

from aiohttp import web

from sandbox.endpoint import RefusedError
from sandbox.provider.currencies import LEAST, MOST, STEPS, SUPPORTED

METADATA_KEYS_MAX = 50
METADATA_NAME_CHARACTERS_MAX = 40
METADATA_VALUE_CHARACTERS_MAX = 500
PAGE_SIZE_DEFAULT = 10
PAGE_SIZE_MAX = 100
NUMBER_DIGITS_MAX = 18

Condition = tuple[list[str], list[object]]
"""Clauses of a WHERE, to be joined by AND, and their values."""

COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}

SEARCH_CLAUSE = re.compile(
    r"""(?:metadata\[(?P<nq>['"])(?P<name>[^'"]+)(?P=nq)\]|(?P<field>status|currency|customer))"""
    r"""\s*:\s*(?P<vq>['"])(?P<value>[^'"\\]*)(?P=vq)"""
)
SEARCH_AND = re.compile(r"\s+AND\s+", re.IGNORECASE)


def refusal_body(refused: RefusedError) -> dict[str, object]:
    """Word a refusal in Stripe's error envelope."""
    error = {"type": refused.kind, "message": refused.message}
    if refused.code is not None:
        error["code"] = refused.code
    if refused.param is not None:
        error["param"] = refused.param
    return {"error": error}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> RefusedError:
    """Build the refusal of a request that makes no sense."""
    return RefusedError(400, "invalid_request_error", code, message, param)


def missing(noun: str, name: str, *, status: int = 400, param: str | None = None) -> RefusedError:
    """Build the refusal of a name that stands for nothing: 404 in a path, 400 in a parameter."""
    message = f"No such {noun}: '{name}'"
    return RefusedError(status, "invalid_request_error", "resource_missing", message, param)


async def read_form(request: web.Request) -> dict[str, str]:
    """Read a form-encoded body; a parameter given twice is refused."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise invalid("Send the parameters as application/x-www-form-urlencoded.")
    form: dict[str, str] = {}
    for name, value in (await request.post()).items():
        if name in form or not isinstance(value, str):
            raise invalid("Give each parameter once.", param=name)
        form[name] = value
    return form


def split_metadata(
    form: Mapping[str, str], known: frozenset[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Separate `metadata[name]` from the other parameters, and refuse those that aren't known."""
    parameters: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name, value in form.items():
        if match := re.fullmatch(r"metadata\[([^\[\]]+)\]", name):
            if len(match[1]) > METADATA_NAME_CHARACTERS_MAX:
                raise invalid(f"At most {METADATA_NAME_CHARACTERS_MAX} characters.", param=name)
            if len(value) > METADATA_VALUE_CHARACTERS_MAX:
                raise invalid(f"At most {METADATA_VALUE_CHARACTERS_MAX} characters.", param=name)
            metadata[match[1]] = value
        elif name in known:
            parameters[name] = value
        else:
            message = f"Received unknown parameter: {name}"
            raise invalid(message, param=name, code="parameter_unknown")
    if len(metadata) > METADATA_KEYS_MAX:
        raise invalid(f"At most {METADATA_KEYS_MAX} keys.", param="metadata")
    return parameters, metadata


def read_number(name: str, text: str) -> int:
    """Read a whole number that isn't negative."""
    if not (text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX):
        raise invalid(f"Invalid integer: {text}", param=name, code="parameter_invalid_integer")
    return int(text)


def read_currency(parameters: Mapping[str, str]) -> str:
    """Read `currency`, in lower case."""
    if "currency" not in parameters:
        message = "Missing required param: currency."
        raise invalid(message, param="currency", code="parameter_missing")
    currency = parameters["currency"].lower()
    if currency not in SUPPORTED:
        raise invalid("Invalid currency: no payments are made in it.", param="currency")
    return currency


def read_charge_amount(parameters: Mapping[str, str], currency: str) -> int:
    """Read the `amount` of a charge, in units of the currency's API amount."""
    if "amount" not in parameters:
        raise invalid("Missing required param: amount.", param="amount", code="parameter_missing")
    amount = read_number("amount", parameters["amount"])
    least = LEAST.get(currency, 1)
    if amount < least:
        raise invalid(f"Amount must be at least {least}.", param="amount", code="amount_too_small")
    if amount > MOST:
        raise invalid(f"Amount must be at most {MOST}.", param="amount", code="amount_too_large")
    check_step(amount, currency)
    return amount


def read_refund_amount(parameters: Mapping[str, str]) -> int | None:
    """Read the `amount` of a refund; None when all is to be given back."""
    if "amount" not in parameters:
        return None
    amount = read_number("amount", parameters["amount"])
    if amount < 1:
        code = "parameter_invalid_integer"
        raise invalid("This value must be greater than or equal to 1.", param="amount", code=code)
    return amount


def check_step(amount: int, currency: str) -> None:
    """Refuse fractions of what the currency is counted in."""
    step = STEPS.get(currency, 1)
    if amount % step:
        message = f"An amount in {currency} must be a multiple of {step}."
        raise invalid(message, param="amount", code="invalid_charge_amount")


def read_limit(request: web.Request) -> int:
    """Read the size of a page."""
    limit = read_number("limit", request.query.get("limit", str(PAGE_SIZE_DEFAULT)))
    if not 1 <= limit <= PAGE_SIZE_MAX:
        raise invalid(f"Give 1 to {PAGE_SIZE_MAX}.", param="limit")
    return limit


def created_condition(request: web.Request) -> Condition:
    """Turn `created[gte]` and its like into a condition."""
    clauses: list[str] = []
    values: list[object] = []
    for name, comparison in COMPARISONS.items():
        if (text := request.query.get(f"created[{name}]")) is not None:
            clauses.append(f"created {comparison} ?")
            values.append(read_number(f"created[{name}]", text))
    return clauses, values


def search_condition(query: str) -> Condition:
    """Turn a search query into a condition: equalities joined by AND."""
    clauses: list[str] = []
    values: list[object] = []
    position = 0
    while match := SEARCH_CLAUSE.match(query, position):
        if (field := match["field"]) is not None:
            clauses.append(f"{field} = ?")
            values.append(match["value"])
        else:
            clauses.append(
                "seq IN (SELECT seq FROM payment_intent_metadata WHERE name = ? AND value = ?)"
            )
            values += [match["name"], match["value"]]
        position = match.end()
        if position == len(query):
            return clauses, values
        if (conjunction := SEARCH_AND.match(query, position)) is None:
            break
        position = conjunction.end()
    raise invalid(
        "Write metadata['name']:'value', or status, currency or customer:'value', joined by AND.",
        param="query",
    )
