import pytest

from cli.trust import Trust
from tests.clients.test_connection import ELSEWHERE, HERE


@pytest.mark.parametrize("target", HERE)
def test_a_stack_on_this_machine_needs_no_tls(target: str) -> None:
    assert Trust().of_service(target) is None


@pytest.mark.parametrize("target", ELSEWHERE)
def test_no_token_goes_to_another_machine_in_plain_text(target: str) -> None:
    assert Trust().of_service(target) is not None


def test_only_who_says_so_does_without_tls_elsewhere() -> None:
    assert Trust(grpc_plaintext=True).of_service("dns:///catalog:7401") is None


def test_a_broker_s_url_says_whether_it_has_tls() -> None:
    assert Trust().of_broker("nats://localhost:4222") is None
    assert Trust().of_broker("tls://localhost:4222") is not None
