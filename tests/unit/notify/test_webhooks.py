"""Webhooks: the schedule, the signature and the addresses that they may go to."""

import base64
import hmac
import re
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import contracts
from services.notify.application.webhooks import EVENT_TYPES
from services.notify.domain.addresses import is_public, names_private, read_url
from services.notify.domain.notices import MerchantId
from services.notify.domain.webhooks import (
    DISABLE_AFTER,
    Answer,
    EndpointId,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookState,
    outcome,
    secret_text,
    signature,
    signed_headers,
)

NOW = datetime(2026, 1, 28, 8, 0, tzinfo=UTC)
REFUSED = Answer(500, timedelta(milliseconds=3))


def delivery(event_id: UUID, tried_count: int = 0) -> WebhookDelivery:
    return WebhookDelivery(
        MerchantId("acme"),
        EndpointId("shop"),
        event_id,
        event_id,
        "recurring.scheduler.v1.OrderConfirmed",
        NOW,
        WebhookState.PENDING,
        tried_count,
        tried_count,
        NOW,
        None,
        "",
        NOW,
    )


@given(st.uuids())
def test_an_event_that_is_never_taken_is_tried_later_and_later_for_less_than_three_days(
    event_id: UUID,
) -> None:
    now, waits = NOW, []
    tried = delivery(event_id)
    while (result := outcome(tried, REFUSED, now)).state is WebhookState.PENDING:
        waits.append(result.next_attempt_time - now)
        now = result.next_attempt_time
        tried = delivery(event_id, tried.tried_count + 1)

    assert result.state is WebhookState.FAILED
    assert all(later >= earlier * 0.9 for earlier, later in pairwise(waits))
    # So an endpoint that takes nothing is disabled by its only event, at the latest.
    assert DISABLE_AFTER <= now - NOW <= timedelta(days=3)


@given(st.uuids(), st.integers(200, 299), st.integers(0, 9))
def test_any_success_ends_it(event_id: UUID, status: int, tried_count: int) -> None:
    result = outcome(delivery(event_id, tried_count), Answer(status, timedelta()), NOW)
    assert (result.state, result.deliver_time) == (WebhookState.DELIVERED, NOW)


@pytest.mark.parametrize("status", [0, 100, 301, 302, 307, 400, 404, 410, 429, 500, 503])
def test_anything_else_is_tried_again(status: int) -> None:
    result = outcome(delivery(UUID(int=1)), Answer(status, timedelta()), NOW)
    assert result.state is WebhookState.PENDING
    assert result.failure_code == ("GONE" if status == 410 else "STATUS")


@given(st.integers(0, 8), st.timedeltas(timedelta(), timedelta(days=365)))
def test_who_asks_for_time_gets_it_up_to_a_limit(tried_count: int, asked: timedelta) -> None:
    tried = delivery(UUID(int=1), tried_count)
    result = outcome(tried, Answer(429, timedelta(), retry_after=asked), NOW)
    plain = outcome(tried, Answer(429, timedelta()), NOW)
    least = NOW + min(asked, timedelta(hours=6))
    assert result.next_attempt_time == max(plain.next_attempt_time, least)


def test_a_request_is_signed_as_in_the_example_of_standard_webhooks() -> None:
    body = b'{"test": 2432232314}'
    signed = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        body,
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_receiver_in_the_documentation_takes_what_is_genuine_and_nothing_else() -> None:
    page = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    receiver: dict[str, Any] = {"__name__": "receiver"}
    exec(code, receiver)  # noqa: S102 - our own page
    [secret] = re.findall(r"whsec_[A-Za-z0-9+/=]+(?=\")", code)
    now, body = int(time.time()), b'{"id": "1"}'

    def takes(
        timestamp: int, secret: str = secret, body: bytes = body, given: str = "v1,AAAA"
    ) -> bool:
        headers = {
            "webhook-id": "1",
            "webhook-timestamp": str(timestamp),
            "webhook-signature": f"{given} {signature(secret, '1', timestamp, body)}",
        }
        return bool(receiver["is_genuine"](headers, b'{"id": "1"}'))

    assert takes(now)
    # What is no signature of any form does no harm beside one that is right.
    assert takes(now, given="v1,é")
    assert not takes(now - 600)
    assert not takes(now, body=b'{"id": "2"}')
    assert not takes(now, secret=secret_text(bytes(32)))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.binary())
def test_while_a_secret_is_rotated_a_receiver_with_either_knows_the_request(
    old: bytes, new: bytes, body: bytes
) -> None:
    endpoint = WebhookEndpoint(
        MerchantId("acme"),
        EndpointId("shop"),
        "https://example.com",
        (),
        "",
        None,
        None,
        NOW + timedelta(hours=1),
        None,
        NOW,
        1,
        secret_text(new),
        secret_text(old),
    )
    during = signed_headers(endpoint, "id", body, NOW)["webhook-signature"].split(" ")
    after = signed_headers(endpoint, "id", body, NOW + timedelta(hours=1))["webhook-signature"]

    def known_to(secret: bytes, moment: datetime) -> str:
        content = f"id.{int(moment.timestamp())}.".encode() + body
        return "v1," + base64.b64encode(hmac.digest(secret, content, sha256)).decode()

    assert during == [known_to(new, NOW), known_to(old, NOW)]
    assert after == known_to(new, NOW + timedelta(hours=1))


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.1", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.1.2.3"),
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.168.1.1"),
        *("192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "255.255.255.255"),
        *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1"),
        *("64:ff9b:1::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("2002:7f00:1::", "2001::1", "2001:db8::1", "100::1", "3fff::1"),
    ],
)
def test_no_address_that_is_not_of_the_public_internet_is_sent_to(address: str) -> None:
    assert not is_public(ip_address(address))
    assert names_private(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "100.63.255.255", "2606:4700::1111", "2a00:1450::1"]
)
def test_an_address_of_the_public_internet_is_sent_to(address: str) -> None:
    assert is_public(ip_address(address))
    assert not names_private(address)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "localhost.",
            "a.localhost",
            "printer",
            "db.internal",
            "nas.local",
            "2130706433",
        ),
        *("0x7f000001", "127.1", "0177.0.0.1", "1.in-addr.arpa", "127.0.0.1."),
    ],
)
def test_a_host_that_is_of_the_own_network_by_its_name_is_known(host: str) -> None:
    assert names_private(host)


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com", "ftp://example.com", "https://", "https:///path", "example.com"),
        *("https://user@example.com", "https://user:pw@example.com", "https://example.com/#part"),
        *(
            "https://example.com:0",
            "https://example.com:99999",
            "https://exa mple.com",
            "https://é.com",
        ),
        *("https://example.com\\@127.0.0.1/", "https://[::1", "https://example.com/\n"),
    ],
)
def test_what_is_no_https_address_is_refused(url: str) -> None:
    assert read_url(url, ()) is None


def test_only_test_hosts_are_reached_without_tls() -> None:
    assert read_url("http://127.0.0.1:8400/x", {"127.0.0.1"}) is not None
    assert read_url("http://127.0.0.2:8400/x", {"127.0.0.1"}) is None


def test_endpoints_can_ask_for_every_event_of_the_contracts() -> None:
    assert {
        f"{contract.package}.{event.name}"
        for contract in contracts.read()
        for event in contract.events
    } == EVENT_TYPES
