"""Any deployment by its address: as the program of one merchant sees it, or with its sandbox and keys.

The environment says where; each name begins with `RECURRING_CONTRACT_`:

| variable | meaning |
|---|---|
| `TARGET` | a gRPC target, with `{service}` in it or for all, or one for each: `catalog=…,…` |
| `CA_FILE` | the certificate authority, if the system does not trust it |
| `GRPC_PLAINTEXT` | `true`: no TLS there, for development; on this machine none is needed |
| `TOKEN` | a platform's token, for what holds of any deployment |
| `KEYS` | instead of a token: the folder of the keys that the deployment trusts, for all tests |
| `PEERS` | with `KEYS`: as `TARGET`, the addresses by which services call each other |
| `SANDBOX`, `NATS` | with `KEYS`: the sandbox's address, and the broker's host:port |
| `SANDBOX_INSIDE` | the sandbox's address, as the services have it, if it is another |
"""

import base64
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from cli.trust import Trust
from deploy.embedded.keys import Keys
from tests.contract.every_call import CONTRACTS, Call, platform_calls
from tests.suite import Client, Deployment, Suite

PREFIX = "RECURRING_CONTRACT_"
TARGET_VARIABLE = f"{PREFIX}TARGET"
KEYS_VARIABLE = f"{PREFIX}KEYS"
# The ids that every call is about.
_IDS = re.compile(r"\b(tea|ann|weekly)\b")


def client_of(environment: Mapping[str, str]) -> Client:
    """The program with the one token that the environment gives."""
    token = environment[f"{PREFIX}TOKEN"].strip()
    platforms = targets(environment[TARGET_VARIABLE])
    return Client(platforms, _merchant(token), token, _credentials(environment, platforms))


def deployment_of(environment: Mapping[str, str]) -> Deployment:
    """The deployment with its sandbox and keys."""
    keys = Keys(Path(environment[KEYS_VARIABLE]))
    password = keys.password("nats_developer")
    platforms = targets(environment[TARGET_VARIABLE])
    return Deployment(
        platforms,
        targets(environment[f"{PREFIX}PEERS"]),
        environment[f"{PREFIX}SANDBOX"],
        f"nats://developer:{password}@{environment[f'{PREFIX}NATS']}",
        keys,
        _credentials(environment, platforms),
        environment.get(f"{PREFIX}SANDBOX_INSIDE", ""),
    )


def suite_of(request: pytest.FixtureRequest) -> Suite:
    """The deployment that the environment describes, or the stack that is started for the tests."""
    if TARGET_VARIABLE in os.environ:
        return Suite(deployment_of(os.environ))
    return Suite.on(request.getfixturevalue("suite_stack"))


def _credentials(
    environment: Mapping[str, str], platforms: Mapping[str, str]
) -> grpc.ChannelCredentials | None:
    """What the targets of a deployment need: the same for all, if it is not on this machine alone."""
    plaintext = environment.get(f"{PREFIX}GRPC_PLAINTEXT") == "true"
    trust = Trust(environment.get(f"{PREFIX}CA_FILE", ""), plaintext)
    needed = (trust.of_service(target) for target in platforms.values())
    return next((need for need in needed if need is not None), None)


def targets(text: str) -> dict[str, str]:
    """Each service's target. Raises ValueError if one is not said."""
    if "=" not in text:
        return {service: text.format(service=service) for service in CONTRACTS}
    targets = dict(entry.split("=", 1) for entry in text.split(","))
    if missing := CONTRACTS.keys() - targets.keys():
        raise ValueError(f"{TARGET_VARIABLE} has no target for {', '.join(sorted(missing))}")
    return targets


def _merchant(token: str) -> str:
    """The merchant that a token says it is for; whether it is true, the deployment knows."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims["merchant"])


def calls_about(merchant: str, tag: str) -> dict[str, Call]:
    """Every call of a merchant's program, about things whose ids end in a tag."""
    calls = {call.id: call for call in platform_calls(merchant)}
    for call in calls.values():
        _rename(call.request, tag)
    return calls


def _rename(message: Message, tag: str) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                _rename(inner, tag)
        elif field.type == FieldDescriptor.TYPE_STRING and field.is_repeated:
            value[:] = [_tagged(element, tag) for element in value]
        elif field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, _tagged(value, tag))


def _tagged(text: str, tag: str) -> str:
    return _IDS.sub(rf"\1-{tag}", text)
