"""The Python client sends its token to no proxy."""

import grpc
import pytest
from recurring_client import Recurring

ELSEWHERE = [
    "catalog:7401",
    "dns:///catalog.example:7401",
    "dns://localhost/catalog.example:7401",
    "127.0.0.1.example:7401",
    "localhost.example:7401",
    "ipv4:127.0.0.1:7401,192.0.2.7:7401",
    "10.0.0.1:7401",
]
HERE = [
    "localhost:7401",
    "127.0.0.1:7401",
    "[::1]:7401",
    "dns:///localhost:7401",
    "ipv4:127.0.0.1:7401",
    "unix:/run/catalog",
]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_no_token_goes_to_another_machine_in_plain_text(target: str) -> None:
    with pytest.raises(ValueError, match="catalog is not on this machine"):
        Recurring({"scheduler": "localhost:7402", "catalog": target}, token="secret")


@pytest.mark.parametrize("target", ELSEWHERE)
def test_with_tls_every_target_will_do(target: str) -> None:
    Recurring({"catalog": target}, token="secret", credentials=grpc.ssl_channel_credentials())


@pytest.mark.parametrize("target", HERE)
def test_a_stack_on_this_machine_needs_no_tls(target: str) -> None:
    Recurring({"catalog": target}, token="secret")
