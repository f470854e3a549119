"""Stripe's API: its errors and its lists.

Source: https://docs.stripe.com/api/errors and https://docs.stripe.com/api/pagination, read on
2026-11-30.
"""

from http import HTTPStatus

from services.payments.clients.provider_api import Answer, ListPage, ProviderApi, Shown
from services.payments.clients.request_limits import RequestLimits
from services.runtime.http_client import HttpClient

PAGE_SIZE = 100


def stripe_api(
    http: HttpClient, base_url: str, api_key: str, limits: RequestLimits | None = None
) -> ProviderApi:
    """Requests to an account."""
    url, headers = f"{base_url.rstrip('/')}/v1", {"Authorization": f"Bearer {api_key}"}
    return ProviderApi(http, url, headers, _StripeForm(), "/payment_intents", limits)


class _StripeForm:
    """Objects as they are, and lists that go on after their last object."""

    page_size = PAGE_SIZE
    after_parameter = "starting_after"

    def shown(self, _path: str, body: Shown) -> Shown:
        return body

    def page(self, _path: str, body: Shown) -> ListPage | None:
        listed = body.get("data")
        if not isinstance(listed, list):
            return None
        has_more = bool(body.get("has_more")) and listed
        return ListPage(listed, str(listed[-1]["id"]) if has_more else "")

    def is_missing(self, answer: Answer) -> bool:
        return refuses(answer)


def error_of(answer: Answer) -> Shown:
    """What the provider says of a request that it did not carry out."""
    error = answer.body.get("error")
    return error if isinstance(error, dict) else {}


def refuses(answer: Answer) -> bool:
    """Whether the request makes no sense to the provider, and never will.

    A bare 404 is no such word: more likely the address is wrong.
    """
    if answer.status == HTTPStatus.NOT_FOUND:
        return bool(error_of(answer).get("code") == "resource_missing")
    return answer.status == HTTPStatus.BAD_REQUEST and not key_used_otherwise(answer)


def key_used_otherwise(answer: Answer) -> bool:
    """Whether the request's key was used before, for something else."""
    is_refused = answer.status == HTTPStatus.BAD_REQUEST
    return is_refused and error_of(answer).get("type") == "idempotency_error"
