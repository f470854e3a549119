"""The state of each part of the suite."""

import asyncio

import grpc
import grpc.aio
import nats
import typer
import tzdata
from grpc_health.v1 import health_pb2
from nats.errors import Error as NatsError

from cli.command import FAILED, command
from cli.connect import SERVICES, Session, Stack, without_password
from cli.errors import CommandError

PROBE_TIMEOUT_SECONDS = 3.0
HEALTH_CHECK = "/grpc.health.v1.Health/Check"
WELL = "serving"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "status")
    async def status(session: Session) -> None:
        """Show whether each service, NATS and the sandbox answer. Exit with 1 unless all do."""
        stack = session.stack
        addresses = {
            **{service: stack.targets[service] for service in SERVICES},
            "nats": without_password(stack.nats_url),
            "sandbox": stack.sandbox_url,
        }
        probes = [
            *(_service(session, service) for service in SERVICES),
            _broker(stack),
            _sandbox(session),
        ]
        states = dict(zip(addresses, await asyncio.gather(*probes), strict=True))
        if session.output.as_json:
            parts = {part: {"address": at, "state": states[part]} for part, at in addresses.items()}
            session.output.data(parts)
        else:
            rows = [[part, at, states[part]] for part, at in addresses.items() if at]
            session.output.rows(["part", "address", "state"], rows, "nothing is known")
            session.output.say(f"zone data of this command: {tzdata.IANA_VERSION}")
        if any(states[part] != WELL for part, address in addresses.items() if address):
            raise typer.Exit(FAILED)


async def _service(session: Session, service: str) -> str:
    check = session.channel(service).unary_unary(
        HEALTH_CHECK,
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = await check(health_pb2.HealthCheckRequest(), timeout=PROBE_TIMEOUT_SECONDS)
    except grpc.aio.AioRpcError as error:
        return f"does not answer: {error.details()}"
    state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return WELL if state == "SERVING" else state.lower().replace("_", " ")


async def _broker(stack: Stack) -> str:
    async def stay_silent(_: Exception) -> None:
        """The state that is returned says it all."""

    try:
        client = await nats.connect(
            stack.nats_url, connect_timeout=int(PROBE_TIMEOUT_SECONDS), allow_reconnect=False,
            error_cb=stay_silent, tls=stack.trust.of_broker(stack.nats_url),
        )  # fmt: skip
    except (NatsError, OSError, TimeoutError, ValueError) as error:
        return f"does not answer: {error}"
    await client.close()
    return WELL


async def _sandbox(session: Session) -> str:
    if not session.stack.sandbox_url:
        return ""
    try:
        await session.sandbox.now()
    except CommandError as error:
        return str(error)
    return WELL
