"""Signatures as the official library makes and verifies them."""

from datetime import UTC, datetime, timedelta

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from sandbox.provider.webhooks import signature
from services.payments.clients.stripe_webhooks import TOLERANCE, verify
from services.payments.clients.webhook_forms import WebhookRefusedError

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
bodies = st.text(st.characters(codec="utf-8"), max_size=200)
secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


def signed_by_library(body: str, secret: str, moment: datetime = NOW) -> str:
    header: str = stripe.WebhookSignature.generate_signature_header(
        body, secret, int(moment.timestamp())
    )
    return header


@given(body=bodies, secret=secrets, other=secrets)
def test_what_the_library_signs_is_good_under_its_secret_alone(
    body: str, secret: str, other: str
) -> None:
    header = signed_by_library(body, secret)
    verify(body.encode(), header, [other.encode(), secret.encode()], NOW)
    if other != secret:
        with pytest.raises(WebhookRefusedError):
            verify(body.encode(), header, [other.encode()], NOW)


@given(body=bodies, secret=secrets)
def test_the_library_takes_what_the_sandbox_signs(body: str, secret: str) -> None:
    header = signature(body.encode(), secret.encode(), NOW)
    assert stripe.WebhookSignature.verify_header(body, header, secret)


@given(header=st.text(max_size=100))
def test_whatever_else_stands_in_the_header_is_refused(header: str) -> None:
    with pytest.raises(WebhookRefusedError):
        verify(b"{}", header, [b"secret"], NOW)


@given(body=bodies, at=st.integers(0, 199), changed=st.characters(codec="utf-8"))
def test_a_body_with_another_character_is_refused(body: str, at: int, changed: str) -> None:
    other = body[:at] + changed + body[at + 1 :]
    if other != body:
        with pytest.raises(WebhookRefusedError):
            verify(other.encode(), signed_by_library(body, "secret"), [b"secret"], NOW)


def test_a_signature_is_good_for_five_minutes() -> None:
    header = signed_by_library("{}", "secret")
    verify(b"{}", header, [b"secret"], NOW + TOLERANCE)
    with pytest.raises(WebhookRefusedError, match="too long ago"):
        verify(b"{}", header, [b"secret"], NOW + TOLERANCE + timedelta(seconds=1))
