"""The gateway routes every method of every service, and its limits allow those of the services."""

from typing import Any

import pytest
import yaml

from services.notify.api import callbacks
from services.payments.api import webhooks
from services.payments.clients import bank_debit_webhooks
from services.runtime.rpc.admission import DEADLINE_MAX_SECONDS, STREAM_DEADLINE_MAX_SECONDS
from services.runtime.rpc.server import METADATA_MAX_BYTES
from tests.contract.every_call import CONTRACTS
from tests.manifests.cluster import Cluster

KIBIBYTE, MEBIBYTE = 1024, 1024**2


@pytest.fixture
def envoy(prod: Cluster) -> Any:  # noqa: ANN401 - what Envoy is told
    pod = prod.pod("gateway")
    (name,) = [name for kind, name, _ in pod.mounted(pod.main) if kind == "ConfigMap"]
    return yaml.safe_load(prod.files("ConfigMap", name)["envoy.yaml"])


@pytest.fixture
def connections(envoy: Any) -> Any:  # noqa: ANN401
    """How the connections of platforms are handled."""
    return connections_of(envoy, "platforms")


def connections_of(envoy: Any, name: str) -> Any:  # noqa: ANN401
    """How the connections of a listener are handled."""
    (listener,) = [
        listener for listener in envoy["static_resources"]["listeners"] if listener["name"] == name
    ]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def route_of(host: Any, path: str) -> Any:  # noqa: ANN401
    """Where a virtual host leads a path; it leads others nowhere."""
    routes = (
        route["route"]
        for route in host["routes"]
        if path == route["match"].get("path") or path.startswith(route["match"].get("prefix", " "))
    )
    return next(routes, {"cluster": None})


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def test_every_method_is_led_to_its_service_for_as_long_as_it_may_take(connections: Any) -> None:  # noqa: ANN401
    (host,) = connections["route_config"]["virtual_hosts"]
    stream_seconds = seconds(connections["common_http_protocol_options"]["max_stream_duration"])
    for service, contract in CONTRACTS.items():
        [described] = contract.DESCRIPTOR.services_by_name.values()
        for method in described.methods:
            path = f"/{described.full_name}/{method.name}"
            route = route_of(host, path)
            assert route["cluster"] == service
            own = route.get("max_stream_duration", {}).get("max_stream_duration")
            given_seconds = seconds(own) if own else stream_seconds
            needed_seconds = (
                STREAM_DEADLINE_MAX_SECONDS if method.client_streaming else DEADLINE_MAX_SECONDS
            )
            assert needed_seconds < given_seconds < 1.5 * needed_seconds


def test_every_address_for_providers_gateways_and_readers_is_led_to_its_service(envoy: Any) -> None:  # noqa: ANN401
    (host,) = connections_of(envoy, "webhooks")["route_config"]["virtual_hosts"]
    of_notify = {path for name, path in vars(callbacks).items() if name.endswith("_PATH")}
    providers = ("stripe", "stripe-uk", bank_debit_webhooks.PROVIDER)
    of_payments = {f"{webhooks.PATHS}{provider}" for provider in providers}
    assert {path: route_of(host, path)["cluster"] for path in of_notify | of_payments} == {
        **dict.fromkeys(of_notify, "notify-callbacks"),
        **dict.fromkeys(of_payments, "payments-webhooks"),
    }
    assert route_of(host, "/")["cluster"] is None


def test_headers_may_be_as_long_as_for_the_services(connections: Any) -> None:  # noqa: ANN401
    assert connections["max_request_headers_kb"] * KIBIBYTE == METADATA_MAX_BYTES


def test_the_gateway_refuses_before_its_pod_has_no_memory_left(prod: Cluster, envoy: Any) -> None:  # noqa: ANN401
    (heap,) = [
        resource_monitor["typed_config"]["max_heap_size_bytes"]
        for resource_monitor in envoy["overload_manager"]["resource_monitors"]
        if resource_monitor["name"].endswith("fixed_heap")
    ]
    limit = prod.pod("gateway").main["resources"]["limits"]["memory"]
    assert heap <= 0.8 * int(limit.removesuffix("Mi")) * MEBIBYTE


def test_callers_who_read_nothing_cannot_fill_the_connections_that_all_share(envoy: Any) -> None:  # noqa: ANN401
    for cluster in envoy["static_resources"]["clusters"]:
        if cluster["name"] in CONTRACTS:
            (options,) = cluster["typed_extension_protocol_options"].values()
            given = options["explicit_http_config"]["http2_protocol_options"]
            filled = given["max_concurrent_streams"] * given["initial_stream_window_size"]
            assert filled <= given["initial_connection_window_size"]
