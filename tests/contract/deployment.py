"""Any deployment by its address, as the program of one merchant sees it.

The environment says where: `RECURRING_CONTRACT_TARGET` is a gRPC target with `{service}` in it, or a
list `catalog=…,scheduler=…,payments=…,notify=…`; `RECURRING_CONTRACT_TOKEN` is a platform's token;
`RECURRING_CONTRACT_CA_FILE`, if set, holds the authority that the deployment's TLS is to be trusted by.
"""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.contract.every_call import CONTRACTS, Call, platform_calls
from tests.suite import Client

TARGET_VARIABLE = "RECURRING_CONTRACT_TARGET"
TOKEN_VARIABLE = "RECURRING_CONTRACT_TOKEN"
CA_FILE_VARIABLE = "RECURRING_CONTRACT_CA_FILE"
# The ids that every call is about.
_IDS = re.compile(r"\b(tea|ann|weekly)\b")


def client_of(environment: Mapping[str, str]) -> Client:
    """The program that the environment describes."""
    token = environment[TOKEN_VARIABLE].strip()
    authority = environment.get(CA_FILE_VARIABLE)
    credentials = grpc.ssl_channel_credentials(Path(authority).read_bytes()) if authority else None
    return Client(targets(environment[TARGET_VARIABLE]), _merchant(token), token, credentials)


def targets(text: str) -> dict[str, str]:
    """Each service's target. Raises ValueError if one is not said."""
    if "{service}" in text:
        return {service: text.format(service=service) for service in CONTRACTS}
    found = dict(each.split("=", 1) for each in text.split(","))
    if missing := CONTRACTS.keys() - found.keys():
        raise ValueError(f"{TARGET_VARIABLE} has no target for {', '.join(sorted(missing))}")
    return found


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
            value[:] = [_tagged(each, tag) for each in value]
        elif field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, _tagged(value, tag))


def _tagged(text: str, tag: str) -> str:
    return _IDS.sub(rf"\1-{tag}", text)
