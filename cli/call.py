"""Any method of any service, by its name and a request in JSON."""

import difflib
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import grpc.aio
import typer
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.command import command
from cli.connect import Session, new_request_id
from cli.errors import CommandError
from cli.json_text import load_json

STREAM_DEADLINE_SECONDS = 600.0
FROM_STANDARD_INPUT = "-"
_CONTRACTS = {
    "catalog": catalog_pb2,
    "scheduler": scheduler_pb2,
    "payments": payments_pb2,
    "notify": notify_pb2,
}
METHODS: dict[str, MethodDescriptor] = {
    f"{service}.{method.name}": method
    for service, contract in _CONTRACTS.items()
    for description in contract.DESCRIPTOR.services_by_name.values()
    for method in description.methods
}


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "call")
    async def call(
        session: Session,
        method: Annotated[
            str, typer.Argument(metavar="SERVICE.METHOD", help="For example catalog.GetProduct.")
        ] = "",
        request: Annotated[
            str, typer.Argument(metavar="JSON", help="The request; `-` reads standard input.")
        ] = "{}",
    ) -> None:
        """Call any method with a request in protobuf JSON; without a method, list all methods.

        If the request needs a request_id and has none, it gets a random one. A method that reads a
        stream needs a JSON list of requests.
        """
        if not method:
            for name in METHODS:
                print(name)
            return
        method_type = find_method(method)
        text = sys.stdin.read() if request == FROM_STANDARD_INPUT else request
        answer = await _send(
            session, method.partition(".")[0], method_type, read_requests(method_type, text)
        )
        session.output.data(MessageToDict(answer))


def find_method(name: str) -> MethodDescriptor:
    """The method of that name; raises CommandError with those that were likely meant."""
    if name in METHODS:
        return METHODS[name]
    service, _, method = name.partition(".")
    likely = (
        difflib.get_close_matches(name, METHODS, n=3)
        if method
        else [known for known in METHODS if service in known.split(".")]
    )
    meant = f", but {', '.join(likely)}" if likely else ""
    raise CommandError(f"there is no method {name!r}{meant}; `recurring call` lists all")


def read_requests(method: MethodDescriptor, text: str) -> list[Message]:
    """The request, or requests, that a text in JSON gives; raises CommandError."""
    try:
        given = load_json(text)
    except ValueError as error:
        raise CommandError(f"the request is no JSON: {error}") from None
    if method.client_streaming and not isinstance(given, list):
        raise CommandError(f"{method.name} takes a stream: give a list of requests")
    return [_read(method, text) for text in (given if method.client_streaming else [given])]


def _read(method: MethodDescriptor, given: Any) -> Message:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(given, dict):
        raise _not_a(method, "it must be an object")
    message = GetMessageClass(method.input_type)()
    try:
        ParseDict(given, message)
    except ParseError as error:
        raise _not_a(method, str(error)) from None
    if getattr(message, "request_id", None) == "":
        message.request_id = new_request_id()  # type: ignore[attr-defined]
    return message


def _not_a(method: MethodDescriptor, why: str) -> CommandError:
    fields = ", ".join(field.name for field in method.input_type.fields)
    return CommandError(f"not a {method.input_type.name}: {why}\nits fields are {fields}")


async def _send(
    session: Session, service: str, method: MethodDescriptor, requests: Sequence[Message]
) -> Message:
    path = f"/{method.containing_service.full_name}/{method.name}"
    codec: dict[str, Any] = {
        "request_serializer": lambda message: message.SerializeToString(),
        "response_deserializer": GetMessageClass(method.output_type).FromString,
    }
    channel: grpc.aio.Channel = session.channel(service)
    if method.client_streaming:
        stream: Any = channel.stream_unary(path, **codec)
        answer: Message = await stream(
            _each(requests), metadata=session.metadata, timeout=STREAM_DEADLINE_SECONDS
        )
    else:
        unary: Any = channel.unary_unary(path, **codec)
        answer = await unary(requests[0])
    return answer


async def _each(requests: Sequence[Message]) -> AsyncIterator[Message]:
    for request in requests:
        yield request
