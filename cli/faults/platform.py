"""The platform of a history's merchant: where it gets events, and how it answers them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from google.protobuf import field_mask_pb2
from google.protobuf.message import Message
from recurring.notify.v1 import notify_pb2

from cli.connect import Session, all_pages
from cli.faults.caller import Caller, Violation
from cli.faults.history import Step

ENDPOINT = "platform"
# Few, so that there are events that nobody wants.
SOME_TYPES = (
    "recurring.scheduler.v1.OrderConfirmed",
    "recurring.payments.v1.PaymentSucceeded",
    "recurring.notify.v1.ContactBound",
)
REPLAYED = timedelta(days=2)
# So long it refuses events: each is sent again at instants of its own, each a step of the clock.
REFUSING = timedelta(hours=1)
# As the sandbox keeps of an endpoint.
SHOWN_MAX = 1000


@dataclass
class Platform:
    """An endpoint in the sandbox, if the history has one and the merchant is its own."""

    session: Session
    caller: Caller
    tag: str
    is_there: bool = False
    status: int = HTTPStatus.NO_CONTENT
    # All that answers had, those that were lost and given again among them.
    secrets: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the endpoint."""
        return f"{self.session.parent}/webhookEndpoints/{ENDPOINT}"

    async def register(self, wanted: str) -> None:
        """Have events sent: `all`, `some`, or none."""
        stack = self.session.stack
        # A merchant has ten endpoints at most, and one that is shared has many histories.
        if not wanted or not stack.sandbox_url or stack.merchant != self.tag:
            return
        self.caller.on_answer = self._remember
        self.is_there = True
        endpoint = notify_pb2.WebhookEndpoint(
            url=f"{stack.sandbox_url}/webhooks/{self.tag}",
            event_types=SOME_TYPES if wanted == "some" else (),
        )
        request = notify_pb2.CreateWebhookEndpointRequest(
            parent=self.session.parent, webhook_endpoint_id=ENDPOINT, webhook_endpoint=endpoint
        )
        await self._call(self.session.notify.CreateWebhookEndpoint, request)

    async def change(self, step: Step) -> None:
        """Do one of the things that platforms do, by the number of a step."""
        if not self.is_there:
            return
        match step["number"]:
            case 1:
                await self._update("disabled", twice=step["twice"], disabled=True)
            case 2:
                await self._update("disabled", twice=step["twice"], disabled=False)
            case 3:
                request = notify_pb2.RotateWebhookSecretRequest(name=self.name)
                await self._call(self.session.notify.RotateWebhookSecret, request)
            case 4:
                self.status = HTTPStatus.INTERNAL_SERVER_ERROR
                await self.configure()
            case _:
                self.status = HTTPStatus.NO_CONTENT
                await self._replay(twice=step["twice"])

    @property
    def refuses(self) -> bool:
        """Whether it takes no events."""
        return self.status != HTTPStatus.NO_CONTENT

    async def accept(self) -> None:
        """Take events again."""
        self.status = HTTPStatus.NO_CONTENT
        await self.configure()

    async def configure(self) -> None:
        """Let the sandbox know what events are signed with, and how to answer them."""
        if self.is_there:
            receiver = {"secrets": self.secrets, "status": int(self.status)}
            await self.session.sandbox.put(f"/webhooks/{self.tag}", receiver)

    async def recover(self) -> None:
        """Take events again, and have those sent that were refused or not sent meanwhile."""
        if self.is_there:
            self.status = HTTPStatus.NO_CONTENT
            await self._update("disabled", disabled=False)
            await self._replay()

    async def violations(self) -> AsyncIterator[Violation]:
        """What was said to be delivered and did not come, and what still waits."""
        if not self.is_there:
            return
        shown = await self.session.sandbox.get(f"/webhooks/{self.tag}")
        came = {event["id"] for event in shown["data"] if event["verified"]}
        request = notify_pb2.ListWebhookDeliveriesRequest(parent=self.name, page_size=SHOWN_MAX)

        async def page(asked: Message) -> Any:  # noqa: ANN401 - any page
            return await self.caller.call(self.session.notify.ListWebhookDeliveries, asked)

        for delivery in await all_pages(page, request, "webhook_deliveries"):
            event_id = delivery.name.rpartition("/")[2]
            state = notify_pb2.WebhookDelivery.State.Name(delivery.state)
            if state == "PENDING":
                yield Violation("webhooks", f"{delivery.event_type} {event_id} waits at the end")
            elif state == "DELIVERED" and event_id not in came and len(came) < SHOWN_MAX:
                yield Violation("webhooks", f"{delivery.event_type} {event_id} did not come")

    def _remember(self, answer: Message) -> None:
        """Keep a secret that an answer shows."""
        if isinstance(answer, notify_pb2.WebhookEndpoint) and answer.secret:
            self.secrets = [*self.secrets, answer.secret]

    async def _update(self, path: str, *, twice: bool = False, **fields: Any) -> None:  # noqa: ANN401
        request = notify_pb2.UpdateWebhookEndpointRequest(
            webhook_endpoint=notify_pb2.WebhookEndpoint(name=self.name, **fields),
            update_mask=field_mask_pb2.FieldMask(paths=[path]),
        )
        await self._call(self.session.notify.UpdateWebhookEndpoint, request, twice=twice)

    async def _replay(self, *, twice: bool = False) -> None:
        request = notify_pb2.ReplayWebhookDeliveriesRequest(parent=self.name, undelivered_only=True)
        request.start_time.FromDatetime(await self.session.now() - REPLAYED)
        await self._call(self.session.notify.ReplayWebhookDeliveries, request, twice=twice)

    async def _call(self, method: Any, request: Message, *, twice: bool = False) -> None:  # noqa: ANN401
        await self.caller.call(method, request, twice=twice)
        await self.configure()
