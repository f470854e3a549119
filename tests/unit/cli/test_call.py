import pytest
from recurring.scheduler.v1 import scheduler_pb2

from cli.call import METHODS, find_method, read_requests
from cli.errors import CommandError


def test_every_service_has_methods_to_call() -> None:
    assert {name.partition(".")[0] for name in METHODS} == {
        "catalog", "scheduler", "payments", "notify",
    }  # fmt: skip


def test_a_request_is_read_and_gets_a_request_id() -> None:
    method = find_method("scheduler.PauseStandingOrder")
    [request] = read_requests(method, '{"name": "merchants/acme/standingOrders/tea"}')
    assert isinstance(request, scheduler_pb2.PauseStandingOrderRequest)
    assert request.name == "merchants/acme/standingOrders/tea"
    assert request.request_id


def test_a_request_id_that_is_given_is_kept() -> None:
    method = find_method("scheduler.PauseStandingOrder")
    [request] = read_requests(method, '{"requestId": "mine"}')
    assert isinstance(request, scheduler_pb2.PauseStandingOrderRequest)
    assert request.request_id == "mine"


def test_a_stream_is_a_list() -> None:
    method = find_method("scheduler.ImportStandingOrders")
    assert len(read_requests(method, '[{"config": {}}, {"row": {}}]')) == 2
    with pytest.raises(CommandError, match="list of requests"):
        read_requests(method, "{}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scheduler.GetOder", "scheduler.GetOrder"),
        ("GetOrder", "scheduler.GetOrder"),
        ("scheduler", "scheduler.ListOrders"),
        ("nothing.Like", "`recurring call` lists all"),
    ],
)
def test_a_wrong_method_is_met_with_the_right_ones(name: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        find_method(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ('{"nme": 1}', "its fields are name, etag"),
        ('{"name": 1}', "its fields are"),
        ("[]", "its fields are"),
        ('"x"', "its fields are"),
    ],
)
def test_a_wrong_request_is_met_with_what_it_could_be(text: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        read_requests(find_method("scheduler.PauseStandingOrder"), text)
