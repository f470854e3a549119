"""GoCardless' API: its envelopes, its errors and its lists.

Source: https://developer.gocardless.com/api-reference, version 2015-07-06 (headers, errors, cursor
pagination, idempotency keys), read on 2026-11-30.
"""

from http import HTTPStatus

from services.payments.clients.provider_api import Answer, ListPage, ProviderApi, Shown
from services.payments.clients.request_limits import RequestLimits
from services.runtime.http_client import HttpClient

BANK_DEBIT = "bank-debit"
LIST_PAGES_MAX = 10
PAYMENTS = "/payments"


def bank_debit_api(
    http: HttpClient, base_url: str, access_token: str, limits: RequestLimits | None = None
) -> ProviderApi:
    """Requests to an account."""
    headers = {"Authorization": f"Bearer {access_token}", "GoCardless-Version": "2015-07-06"}
    return ProviderApi(http, base_url.rstrip("/"), headers, _BankDebitForm(), PAYMENTS, limits)


class _BankDebitForm:
    """Objects and lists in an envelope that is called as their path begins."""

    page_size = 500
    after_parameter = "after"

    def shown(self, path: str, body: Shown) -> Shown:
        return object_in(body, path.split("/")[1])

    def page(self, path: str, body: Shown) -> ListPage | None:
        listed = body.get(path.split("/")[1])
        cursors = object_in(object_in(body, "meta"), "cursors")
        return (
            ListPage(listed, str(cursors.get("after") or "")) if isinstance(listed, list) else None
        )

    def is_missing(self, answer: Answer) -> bool:
        return answer.status == HTTPStatus.NOT_FOUND and reason_of(answer) == "resource_not_found"


def object_in(shown: Shown, name: str) -> Shown:
    """An object within another; empty if there is none."""
    found = shown.get(name)
    return found if isinstance(found, dict) else {}


def _error(answer: Answer) -> Shown:
    """The first of the errors; empty if there is none."""
    errors = object_in(answer.body, "error").get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    return first if isinstance(first, dict) else {}


def reason_of(answer: Answer) -> str:
    """Why a request was refused."""
    general = object_in(answer.body, "error").get("type")
    return str(_error(answer).get("reason") or general or "refused")


def conflicting(answer: Answer) -> str:
    """What was created with the same key before; empty if nothing was."""
    if answer.status != HTTPStatus.CONFLICT:
        return ""
    return str(object_in(_error(answer), "links").get("conflicting_resource_id") or "")


def replacing(answer: Answer) -> str:
    """The mandate that stands in the place of the one that was asked for; empty if none does."""
    if reason_of(answer) != "mandate_replaced":
        return ""
    return str(object_in(_error(answer), "links").get("new_mandate") or "")
