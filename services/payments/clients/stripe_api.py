"""Stripe's API: its version, its errors and its lists.

Source: https://docs.stripe.com/api/versioning, https://docs.stripe.com/api/errors,
https://docs.stripe.com/error-codes and https://docs.stripe.com/api/pagination, read on 2026-12-01.
"""

from http import HTTPStatus

from services.payments.clients.provider_api import Answer, ListPage, ProviderApi, Shown
from services.payments.clients.request_limits import RequestLimits
from services.runtime.http_client import HttpClient

# What requests and answers mean. Without it, the version that an account happens to have by default
# counts.
VERSION = "2026-10-28.endive"
PAGE_SIZE = 100
# The account or its key is out of order, and nothing is wrong with what was asked for.
_ACCOUNT_CODES = frozenset({
    "account_invalid", "api_key_expired", "livemode_mismatch", "payment_method_not_available",
    "payment_method_unactivated", "platform_account_required", "platform_api_key_expired",
    "secret_key_required", "testmode_charges_only", "tls_version_unsupported",
})  # fmt: skip


def stripe_api(
    http: HttpClient, base_url: str, api_key: str, limits: RequestLimits | None = None
) -> ProviderApi:
    """Requests to an account."""
    url = f"{base_url.rstrip('/')}/v1"
    headers = {"Authorization": f"Bearer {api_key}", "Stripe-Version": VERSION}
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
    is_refused = answer.status == HTTPStatus.BAD_REQUEST
    return is_refused and not key_used_otherwise(answer) and not is_of_account(answer)


def is_of_account(answer: Answer) -> bool:
    """Whether a request was refused for the account's sake: the same may be carried out later."""
    return error_of(answer).get("code") in _ACCOUNT_CODES


def key_used_otherwise(answer: Answer) -> bool:
    """Whether the request's key was used before, for something else."""
    is_refused = answer.status == HTTPStatus.BAD_REQUEST
    return is_refused and error_of(answer).get("type") == "idempotency_error"
