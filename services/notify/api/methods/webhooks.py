"""The methods about webhooks."""

from recurring.notify.v1 import notify_pb2

from services.notify.api import webhook_requests, webhook_responses
from services.notify.api.methods.base import Methods
from services.notify.application import webhook_endpoints, webhooks
from services.notify.domain.webhooks import ATTEMPTS_SHOWN_MAX
from services.notify.names import MERCHANT, WEBHOOK_ENDPOINT
from services.notify.store import webhook_endpoints as webhook_endpoint_store
from services.notify.store import webhook_sending as webhook_sending_store
from services.notify.store import webhooks as webhook_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import AFTER_ALL, read_page


class WebhookMethods(Methods):
    """Methods about webhooks."""

    async def CreateWebhookEndpoint(
        self, request: notify_pb2.CreateWebhookEndpointRequest, _context: object
    ) -> notify_pb2.WebhookEndpoint:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.WebhookEndpoint,
            webhook_responses.endpoint_message,
            lambda tx: webhook_endpoints.create(
                tx,
                webhook_requests.read_new_endpoint(
                    request, self._webhook_test_hosts, self._clock.now()
                ),
            ),
        )

    async def GetWebhookEndpoint(
        self, request: notify_pb2.GetWebhookEndpointRequest, _context: object
    ) -> notify_pb2.WebhookEndpoint:
        key = read_name(WEBHOOK_ENDPOINT, request.name)
        async with self._database.read() as connection:
            endpoint = await webhook_endpoints.existing(connection, key)
        return webhook_responses.endpoint_message(endpoint)

    async def ListWebhookEndpoints(
        self, request: notify_pb2.ListWebhookEndpointsRequest, _context: object
    ) -> notify_pb2.ListWebhookEndpointsResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await webhook_endpoint_store.of_merchant(
                connection, merchant, after, page.limit
            )
        shown, token = page.cut(
            listed, webhook_responses.endpoint_message, lambda endpoint: (endpoint.endpoint,)
        )
        return notify_pb2.ListWebhookEndpointsResponse(
            webhook_endpoints=shown, next_page_token=token
        )

    async def UpdateWebhookEndpoint(
        self, request: notify_pb2.UpdateWebhookEndpointRequest, _context: object
    ) -> notify_pb2.WebhookEndpoint:
        now = self._clock.now()
        return await run_mutation(
            self._database,
            request,
            notify_pb2.WebhookEndpoint,
            webhook_responses.endpoint_message,
            lambda tx: webhook_endpoints.update(
                tx,
                webhook_requests.read_endpoint_name(request.webhook_endpoint),
                request.webhook_endpoint.etag,
                webhook_requests.read_change(request, self._webhook_test_hosts, now),
                now,
            ),
        )

    async def DeleteWebhookEndpoint(
        self, request: notify_pb2.DeleteWebhookEndpointRequest, _context: object
    ) -> notify_pb2.DeleteWebhookEndpointResponse:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.DeleteWebhookEndpointResponse,
            lambda _: notify_pb2.DeleteWebhookEndpointResponse(),
            lambda tx: webhook_endpoints.delete(tx, read_name(WEBHOOK_ENDPOINT, request.name)),
        )

    async def RotateWebhookSecret(
        self, request: notify_pb2.RotateWebhookSecretRequest, _context: object
    ) -> notify_pb2.WebhookEndpoint:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.WebhookEndpoint,
            webhook_responses.endpoint_message,
            lambda tx: webhook_endpoints.rotate_secret(
                tx,
                read_name(WEBHOOK_ENDPOINT, request.name),
                webhook_requests.read_previous_ttl(request),
                self._clock.now(),
            ),
        )

    async def TestWebhookEndpoint(
        self, request: notify_pb2.TestWebhookEndpointRequest, _context: object
    ) -> notify_pb2.WebhookDelivery:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.WebhookDelivery,
            webhook_responses.delivery_message,
            lambda tx: webhooks.ping(
                tx,
                read_name(WEBHOOK_ENDPOINT, request.name),
                request.request_id,
                self._clock.now(),
            ),
        )

    async def ListWebhookDeliveries(
        self, request: notify_pb2.ListWebhookDeliveriesRequest, _context: object
    ) -> notify_pb2.ListWebhookDeliveriesResponse:
        key = read_name(WEBHOOK_ENDPOINT, request.parent)
        page = read_page(request, keys=1)
        before = page.after_position(first=AFTER_ALL)
        state = webhook_requests.read_state(request.state)
        async with self._database.read() as connection:
            await webhook_endpoints.existing(connection, key)
            listed = await webhook_store.page(connection, key, state, before, page.limit)
            ids = [delivery.event_id for delivery in listed]
            attempts = await webhook_sending_store.attempts(
                connection, key, ids, ATTEMPTS_SHOWN_MAX
            )
        shown, token = page.cut(
            listed,
            lambda delivery: webhook_responses.delivery_message(
                delivery, attempts.get(delivery.event_id, ())
            ),
            lambda delivery: (str(delivery.position),),
        )
        return notify_pb2.ListWebhookDeliveriesResponse(
            webhook_deliveries=shown, next_page_token=token
        )

    async def ReplayWebhookDeliveries(
        self, request: notify_pb2.ReplayWebhookDeliveriesRequest, _context: object
    ) -> notify_pb2.ReplayWebhookDeliveriesResponse:
        key = read_name(WEBHOOK_ENDPOINT, request.parent)
        now = self._clock.now()
        wanted = webhook_requests.read_replay(request, now)
        if request.dry_run:
            async with self._database.read() as connection:
                events = await webhooks.to_replay(connection, key, wanted, now)
            return webhook_responses.replay_response(len(events))
        return await run_mutation(
            self._database,
            request,
            notify_pb2.ReplayWebhookDeliveriesResponse,
            webhook_responses.replay_response,
            lambda tx: webhooks.replay(tx, key, wanted, now),
        )
