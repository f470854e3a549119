"""Every channel of the suite is balanced, renewed and retried by one policy, whoever opened it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from recurring_client import channel_policy

from cli import connect
from services.runtime.rpc import channel

PUBLIC = dict(channel_policy.CHANNEL_OPTIONS)
COMMAND = dict(connect._CHANNEL_OPTIONS)
BETWEEN_SERVICES = dict(channel._OPTIONS)


@pytest.mark.parametrize("options", [COMMAND, BETWEEN_SERVICES], ids=["command", "services"])
def test_a_new_replica_is_found_as_soon_by_every_client(options: Mapping[str, Any]) -> None:
    renewal = ["grpc.dns_min_time_between_resolutions_ms", "grpc.max_reconnect_backoff_ms"]
    assert [options[name] for name in renewal] == [PUBLIC[name] for name in renewal] == [1000, 1000]


@pytest.mark.parametrize("options", [COMMAND, BETWEEN_SERVICES], ids=["command", "services"])
def test_a_call_is_retried_alike_by_every_client(options: Mapping[str, Any]) -> None:
    [own] = json.loads(options["grpc.service_config"])["methodConfig"]
    [public] = json.loads(str(PUBLIC["grpc.service_config"]))["methodConfig"]
    assert own["retryPolicy"] == public["retryPolicy"]
    assert own["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE", "CANCELLED"]


def test_a_call_that_sends_a_stream_is_not_retried() -> None:
    [config] = channel_policy.SERVICE_CONFIG["methodConfig"]
    names = {name["method"] for name in config["name"]}
    assert "GetProduct" in names
    assert "ImportStandingOrders" not in names
