"""Where the suite answers, and a session with it: one channel a service, the sandbox, the output.

Addresses come from the `stack.json` of the stack on this machine. The environment overrides each,
and is enough where there is no such file:

| variable | meaning |
|---|---|
| `RECURRING_HOME` | folder of the stack, default `.recurring` |
| `RECURRING_<SERVICE>_TARGET` | gRPC target of a service |
| `RECURRING_TOKEN_FILE` | file with the bearer token |
| `RECURRING_MERCHANT` | the merchant to act for |
| `RECURRING_CA_FILE` | whom to trust, where the system does not know the authority |
| `RECURRING_GRPC_PLAINTEXT` | `true`: no TLS, for development; a target on this machine needs none |
| `RECURRING_NATS_URL`, `RECURRING_SANDBOX_URL` | the broker, the sandbox |
| `RECURRING_<SERVICE>_DATABASE_URL`, `RECURRING_PROVIDER_API_KEY` | for proofs only |
"""

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import grpc
import grpc.aio
from google.protobuf.message import Message
from recurring.catalog.v1.catalog_pb2_grpc import CatalogServiceStub
from recurring.notify.v1.notify_pb2_grpc import NotifyServiceStub
from recurring.payments.v1.payments_pb2_grpc import PaymentsServiceStub
from recurring.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub
from recurring_client.channel_policy import (
    CHANNEL_OPTIONS,
    DEADLINE_SECONDS,
    RETRYABLE_CODES,
)

from cli.errors import CommandError
from cli.names import full_name
from cli.output import Output
from cli.sandbox import Sandbox
from cli.trust import Trust

SERVICES = ("catalog", "scheduler", "payments", "notify")
RETRY_PAUSE_SECONDS = 0.25
PAGE_SIZE = 500
# Every mutation carries a request id and every other call only asks, so all may be repeated. A channel
# does so for a moment; this is for commands that wait for a service that is still starting.
RETRIED = (
    *(grpc.StatusCode[code] for code in RETRYABLE_CODES),
    grpc.StatusCode.DEADLINE_EXCEEDED,
)
ROOT = Path(__file__).resolve().parents[1]

_CHANNEL_OPTIONS = (*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0))

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Stack:
    """Where everything answers, and as whom the command acts."""

    targets: Mapping[str, str]
    token: str
    merchant: str
    nats_url: str
    sandbox_url: str
    # For proofs: service -> postgresql:// address. Empty where only the contracts can be reached.
    database_urls: Mapping[str, str]
    # To the sandbox's provider and mailboxes.
    provider_api_key: str
    # Keys of the provider's accounts beside the first, by the name of each.
    provider_accounts: Mapping[str, str] = field(default_factory=dict)
    # The folder of the keys of a stack on this machine; empty where there is none.
    keys_folder: str = ""
    trust: Trust = field(default_factory=Trust)


def find_stack(environment: Mapping[str, str]) -> Stack:
    """Read the stack's own description and what the environment says of it.

    Raises CommandError if neither names the services, or if a file cannot be read.
    """
    described = described_stack(environment)
    value = partial(value_of, environment, described)

    targets = by_service(environment, "TARGET", described.get("targets", {}))
    missing = [service for service in SERVICES if service not in targets]
    if missing:
        variables = ", ".join(f"RECURRING_{service.upper()}_TARGET" for service in missing)
        raise CommandError(
            f"no stack is described in {stack_file(environment)}: run `make up`, or set {variables}"
        )
    token_file = value("RECURRING_TOKEN_FILE", "token_file")
    return Stack(
        targets=targets,
        token=_content(Path(token_file)).strip() if token_file else "",
        merchant=value("RECURRING_MERCHANT", "merchant"),
        nats_url=value("RECURRING_NATS_URL", "nats_url"),
        sandbox_url=value("RECURRING_SANDBOX_URL", "sandbox_url"),
        database_urls=by_service(environment, "DATABASE_URL", described.get("database_urls", {})),
        provider_api_key=value("RECURRING_PROVIDER_API_KEY", "provider_api_key"),
        provider_accounts=described.get("provider_accounts", {}),
        keys_folder=str(Path(described["home"]) / "keys") if "home" in described else "",
        trust=Trust(
            value("RECURRING_CA_FILE", "ca_file"),
            _is_true(
                "RECURRING_GRPC_PLAINTEXT", value("RECURRING_GRPC_PLAINTEXT", "grpc_plaintext")
            ),
        ),
    )


def _is_true(variable: str, text: str) -> bool:
    """A switch of the environment: true or false; anything else would be read as one by chance."""
    if text.lower() not in {"", "true", "false"}:
        raise CommandError(f"{variable}={text}: must be true or false")
    return text.lower() == "true"


def without_password(url: str) -> str:
    """A URL as people may see it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def new_request_id() -> str:
    """An id that makes a mutation happen once (AIP-155)."""
    return str(uuid.uuid4())


class Session:
    """One command's connections. Channels open when they are first used."""

    def __init__(
        self, stack: Stack, output: Output, *, merchant: str = "", patience_seconds: float = 0.0
    ) -> None:
        self.stack = stack
        self.output = output
        self._merchant = merchant or stack.merchant
        self._caller = _Caller(stack.token, patience_seconds)
        self._closing = AsyncExitStack()
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._sandbox: Sandbox | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._closing.aclose()

    @property
    def merchant(self) -> str:
        """Whose resources the command is about; raises CommandError if nobody said."""
        if not self._merchant:
            raise CommandError("say which merchant: --merchant, or RECURRING_MERCHANT")
        return self._merchant

    @property
    def parent(self) -> str:
        """The name of the merchant."""
        return f"merchants/{self.merchant}"

    def name(self, pattern: str, text: str) -> str:
        """The full name of one of the merchant's resources, which people may have shortened."""
        return full_name(self.merchant, pattern, text)

    @property
    def catalog(self) -> CatalogServiceStub:
        """Products, prices, stock."""
        return CatalogServiceStub(self.channel("catalog"))

    @property
    def scheduler(self) -> SchedulerServiceStub:
        """Standing orders and orders."""
        return SchedulerServiceStub(self.channel("scheduler"))

    @property
    def payments(self) -> PaymentsServiceStub:
        """Payment methods, mandates, charges, refunds, ledger."""
        return PaymentsServiceStub(self.channel("payments"))

    @property
    def notify(self) -> NotifyServiceStub:
        """Contacts and notices."""
        return NotifyServiceStub(self.channel("notify"))

    @property
    def sandbox(self) -> Sandbox:
        """The outside world of development; raises CommandError where there is none."""
        if not self.stack.sandbox_url:
            raise CommandError("there is no sandbox here: it belongs to development only")
        if self._sandbox is None:
            self._sandbox = Sandbox(self.stack.sandbox_url)
            self._closing.push_async_callback(self._sandbox.close)
        return self._sandbox

    async def now(self) -> datetime:
        """The present time: the sandbox's, or the machine's where there is no sandbox."""
        return await self.sandbox.now() if self.stack.sandbox_url else datetime.now(UTC)

    @property
    def metadata(self) -> grpc.aio.Metadata:
        """The token, for calls that send a stream; others get it, and a deadline, by themselves."""
        return grpc.aio.Metadata(("authorization", f"Bearer {self.stack.token}"))

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to a service; calls on it carry the token and end at a deadline."""
        if service not in self._channels:
            target = self.stack.targets[service]
            credentials = self.stack.trust.of_service(target)
            common: Any = {"options": _CHANNEL_OPTIONS, "interceptors": [self._caller]}
            channel = (
                grpc.aio.secure_channel(target, credentials, **common)
                if credentials
                else grpc.aio.insecure_channel(target, **common)
            )
            self._channels[service] = channel
            self._closing.push_async_callback(channel.close)
        return self._channels[service]


async def pages(
    method: Callable[[Any], Awaitable[Any]], request: Message, field: str
) -> AsyncIterator[Any]:
    """Every resource of a list, page by page; `field` names it in the response."""
    page_request: Any = type(request)()
    page_request.CopyFrom(request)
    page_request.page_size = PAGE_SIZE
    while True:
        response = await method(page_request)
        for resource in getattr(response, field):
            yield resource
        if not response.next_page_token:
            return
        page_request.page_token = response.next_page_token


async def all_pages(
    method: Callable[[Any], Awaitable[Any]], request: Message, field: str
) -> list[Any]:
    """Every resource of a list at once."""
    return [resource async for resource in pages(method, request, field)]


class _Caller(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc, unused-ignore]
    """Gives every call the token and a deadline, and repeats it for a while if nobody answers."""

    def __init__(self, token: str, patience_seconds: float) -> None:
        self._token = token
        self._patience_seconds = patience_seconds

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,  # noqa: ANN401 - any message
    ) -> Any:  # noqa: ANN401
        """Call, and call again while there is patience."""
        metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()))
        metadata["authorization"] = f"Bearer {self._token}"
        details = grpc.aio.ClientCallDetails(
            method=client_call_details.method,
            timeout=client_call_details.timeout or DEADLINE_SECONDS,
            metadata=metadata,
            credentials=client_call_details.credentials,
            wait_for_ready=client_call_details.wait_for_ready,
        )
        patient_until = time.monotonic() + self._patience_seconds
        while True:
            call = await continuation(details, request)
            if await call.code() not in RETRIED or time.monotonic() >= patient_until:
                return call
            await asyncio.sleep(RETRY_PAUSE_SECONDS)


def stack_file(environment: Mapping[str, str]) -> Path:
    """Where the stack on this machine is described."""
    return Path(environment.get("RECURRING_HOME") or ROOT / ".recurring") / "stack.json"


def described_stack(environment: Mapping[str, str], file: Path | None = None) -> dict[str, Any]:
    """What a file says of a stack, or the stack's own; empty where there is none of this.

    Raises CommandError.
    """
    if file is not None:
        _content(file)
    return _described(file or stack_file(environment))


def value_of(
    environment: Mapping[str, str], described: Mapping[str, Any], variable: str, key: str
) -> str:
    """What the environment says, or else the description of a stack."""
    return environment.get(variable) or str(described.get(key, ""))


def by_service(
    environment: Mapping[str, str], kind: str, described: Mapping[str, str]
) -> dict[str, str]:
    """The addresses of a kind, of those services that have one."""

    def found() -> Iterator[tuple[str, str]]:
        for service in SERVICES:
            variable = f"RECURRING_{service.upper()}_{kind}"
            if address := environment.get(variable) or described.get(service):
                yield service, address

    return dict(found())


def _described(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        described: dict[str, Any] = json.loads(_content(file))
    except ValueError as error:
        raise CommandError(f"{file} is no description of a stack: run `make up`") from error
    return described


def _content(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error


def this_session(
    *, merchant: str, as_json: bool, ca_file: str = "", patience_seconds: float = 0.0
) -> Session:
    """A session with the stack that the environment points to."""
    stack = find_stack(os.environ)
    if ca_file:
        stack = replace(stack, trust=replace(stack.trust, ca_file=ca_file))
    return Session(
        stack,
        Output(as_json=as_json),
        merchant=merchant,
        patience_seconds=patience_seconds,
    )
