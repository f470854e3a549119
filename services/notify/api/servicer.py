"""Notify's RPCs: request, use case, response; each method's contract is in its proto."""

from datetime import timedelta
from uuid import UUID

from recurring.audit.v1 import audit_pb2
from recurring.notify.v1 import notify_pb2, notify_pb2_grpc

from services.notify.api import requests, responses, webhook_requests, webhook_responses
from services.notify.api.resends import resend_notice
from services.notify.api.settings_messages import read_settings, settings_message
from services.notify.api.statistics import list_notice_statistics
from services.notify.application import (
    contacts,
    emails,
    notice_lists,
    notices,
    phones,
    settings,
    templates,
    webhook_endpoints,
    webhooks,
)
from services.notify.application.rendering import preview, with_texts
from services.notify.domain.notices import Addressee, Channel
from services.notify.domain.phone_changes import PHONE_CHANGE_WAIT
from services.notify.domain.phone_codes import DEFAULT_BUDGET, CodeBudget
from services.notify.domain.phone_numbers import EVERY_COUNTRY, NumberPolicies
from services.notify.domain.templates.examples import EXAMPLE_DISPLAY_NAME, EXAMPLES
from services.notify.domain.templates.own import TemplateId
from services.notify.domain.webhooks import ATTEMPTS_SHOWN_MAX
from services.notify.names import (
    CONTACT,
    CUSTOMER,
    MERCHANT,
    NOTICE,
    NOTICE_TEMPLATE,
    SETTINGS,
    WEBHOOK_ENDPOINT,
)
from services.notify.store import contacts as contact_store
from services.notify.store import notices as notice_store
from services.notify.store import settings as settings_store
from services.notify.store import templates as template_store
from services.notify.store import webhook_endpoints as webhook_endpoint_store
from services.notify.store import webhook_sending as webhook_sending_store
from services.notify.store import webhooks as webhook_store
from services.notify.store.templates import MerchantKind
from services.runtime.db import audit
from services.runtime.db.pool import Database
from services.runtime.errors import not_found
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import AFTER_ALL, read_page
from services.runtime.workers.clock import Clock


class Servicer(notify_pb2_grpc.NotifyServiceServicer):
    """Answers recurring.notify.v1.NotifyService; each method's contract is in its proto."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        numbers: NumberPolicies = EVERY_COUNTRY,
        budget: CodeBudget = DEFAULT_BUDGET,
        webhook_test_hosts: frozenset[str] = frozenset(),
        phone_change_wait: timedelta = PHONE_CHANGE_WAIT,
    ) -> None:
        self._database = database
        self._clock = clock
        self._numbers = numbers
        self._budget = budget
        self._webhook_test_hosts = webhook_test_hosts
        self._phone_change_wait = phone_change_wait

    # --- contacts -------------------------------------------------------------------------------

    async def UpdateContact(
        self, request: notify_pb2.UpdateContactRequest, _context: object
    ) -> notify_pb2.Contact:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.Contact,
            responses.contact_message,
            lambda tx: contacts.update(
                tx, requests.read_contact_update(request), self._clock.now()
            ),
        )

    async def GetContact(
        self, request: notify_pb2.GetContactRequest, _context: object
    ) -> notify_pb2.Contact:
        key = read_name(CONTACT, request.name)
        async with self._database.read() as connection:
            return responses.contact_message(await contacts.existing(connection, key))

    async def ListContacts(
        self, request: notify_pb2.ListContactsRequest, _context: object
    ) -> notify_pb2.ListContactsResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            if request.phone:
                listed = await contact_store.of_phone(
                    connection, merchant, request.phone, after, page.limit
                )
            else:
                listed = await contact_store.of_merchant(connection, merchant, after, page.limit)
        shown, token = page.cut(
            listed, responses.contact_message, lambda contact: (contact.key.customer,)
        )
        return notify_pb2.ListContactsResponse(contacts=shown, next_page_token=token)

    async def EraseCustomer(
        self, request: notify_pb2.EraseCustomerRequest, _context: object
    ) -> notify_pb2.EraseCustomerResponse:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.EraseCustomerResponse,
            lambda _: notify_pb2.EraseCustomerResponse(),
            lambda tx: contacts.erase(tx, read_name(CUSTOMER, request.name)),
        )

    # --- phones ---------------------------------------------------------------------------------

    async def StartPhoneBinding(
        self, request: notify_pb2.StartPhoneBindingRequest, _context: object
    ) -> notify_pb2.StartPhoneBindingResponse:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.StartPhoneBindingResponse,
            responses.code_response,
            lambda tx: phones.start_binding(
                tx,
                requests.read_binding_start(request, self._numbers),
                self._budget,
                self._clock.now(),
            ),
        )

    async def ConfirmPhoneBinding(
        self, request: notify_pb2.ConfirmPhoneBindingRequest, _context: object
    ) -> notify_pb2.Contact:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.Contact,
            responses.contact_message,
            lambda tx: phones.confirm_binding(
                tx,
                phones.Proof(
                    read_name(CONTACT, request.name),
                    request.code,
                    request.present_phone_code,
                    request.request_id,
                ),
                self._phone_change_wait,
                self._clock.now(),
            ),
        )

    async def StartEmailBinding(
        self, request: notify_pb2.StartEmailBindingRequest, _context: object
    ) -> notify_pb2.StartEmailBindingResponse:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.StartEmailBindingResponse,
            responses.link_response,
            lambda tx: emails.start_binding(
                tx,
                read_name(CONTACT, request.name),
                request.request_id,
                self._budget.caller_hour_max,
                self._clock.now(),
            ),
        )

    async def ConfirmEmailBinding(
        self, request: notify_pb2.ConfirmEmailBindingRequest, _context: object
    ) -> notify_pb2.Contact:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.Contact,
            responses.contact_message,
            lambda tx: emails.confirm_binding(
                tx, read_name(CONTACT, request.name), request.token, self._clock.now()
            ),
        )

    async def CancelPhoneChange(
        self, request: notify_pb2.CancelPhoneChangeRequest, _context: object
    ) -> notify_pb2.Contact:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.Contact,
            responses.contact_message,
            lambda tx: phones.cancel_change(tx, read_name(CONTACT, request.name)),
        )

    async def UnbindPhone(
        self, request: notify_pb2.UnbindPhoneRequest, _context: object
    ) -> notify_pb2.Contact:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.Contact,
            responses.contact_message,
            lambda tx: phones.unbind(
                tx,
                read_name(CONTACT, request.name),
                request.request_id,
                self._phone_change_wait,
                self._clock.now(),
            ),
        )

    # --- settings -------------------------------------------------------------------------------

    async def GetNotifySettings(
        self, request: notify_pb2.GetNotifySettingsRequest, _context: object
    ) -> notify_pb2.NotifySettings:
        merchant = read_name(SETTINGS, request.name)
        async with self._database.read() as connection:
            return settings_message(await settings_store.get(connection, merchant))

    async def UpdateNotifySettings(
        self, request: notify_pb2.UpdateNotifySettingsRequest, _context: object
    ) -> notify_pb2.NotifySettings:
        message, currency = request.notify_settings, self._budget.prices.currency
        return await run_mutation(
            self._database,
            request,
            notify_pb2.NotifySettings,
            settings_message,
            lambda tx: settings.change(tx, read_settings(message, currency), message.etag),
        )

    # --- notices --------------------------------------------------------------------------------

    async def ListNotices(
        self, request: notify_pb2.ListNoticesRequest, _context: object
    ) -> notify_pb2.ListNoticesResponse:
        key = requests.read_notices_parent(request)
        wanted = requests.read_notice_filter(request)
        page = read_page(request, keys=notice_lists.sort_key_count(key))
        async with self._database.read() as connection:
            listed = await notice_lists.page_of(connection, key, wanted, page)
        shown, token = page.cut(
            listed, lambda row: responses.notice_message(row.notice), lambda row: row.keys
        )
        return notify_pb2.ListNoticesResponse(notices=shown, next_page_token=token)

    async def GetNotice(
        self, request: notify_pb2.GetNoticeRequest, _context: object
    ) -> notify_pb2.Notice:
        key = read_name(NOTICE, request.name)
        async with self._database.read() as connection:
            notice = await notice_store.one(connection, key)
            if notice is None:
                raise not_found("NOTICE_NOT_FOUND", request.name)
            addressees = await contact_store.addressees(connection, [key.customer_key])
            own = await template_store.for_notices(
                connection, [MerchantKind(key.merchant, notice.kind)]
            )
        return responses.notice_message(with_texts(notice, addressees[key.customer_key], own))

    async def ResendNotice(
        self, request: notify_pb2.ResendNoticeRequest, _context: object
    ) -> notify_pb2.Notice:
        return await resend_notice(self._database, request, self._clock)

    async def ListNoticeStatistics(
        self, request: notify_pb2.ListNoticeStatisticsRequest, _context: object
    ) -> notify_pb2.ListNoticeStatisticsResponse:
        return await list_notice_statistics(self._database, request, self._clock.now())

    async def PreviewNotice(
        self, request: notify_pb2.PreviewNoticeRequest, _context: object
    ) -> notify_pb2.PreviewNoticeResponse:
        merchant = read_name(MERCHANT, request.parent)
        kind = requests.read_kind(request.kind)
        locale = requests.read_locale(request.locale, "locale")
        draft = requests.read_draft(request, kind)
        async with self._database.read() as connection:
            stored = await template_store.for_notices(connection, [MerchantKind(merchant, kind)])
            rules = await settings_store.get(connection, merchant)
        own = list(stored.get(merchant, ()))
        if draft is not None:
            templates.require_sound(draft)
            own = [each for each in own if each.key != draft.key] + [draft.as_template()]
            locale = locale or draft.locale
        addressee = Addressee(
            EXAMPLE_DISPLAY_NAME, locale, rules.merchant_display_name, rules.complaint_address
        )
        sms, email = (
            preview(EXAMPLES[kind], channel, addressee, own)
            for channel in (Channel.SMS, Channel.EMAIL)
        )
        return responses.preview_response(sms, email)

    async def PreviewNotices(
        self, request: notify_pb2.PreviewNoticesRequest, _context: object
    ) -> notify_pb2.PreviewNoticesResponse:
        wanted = requests.read_planned_notice(request, self._clock.now())
        async with self._database.read() as connection:
            plan = await notices.preview(
                connection, wanted.key, wanted.kind, wanted.until, wanted.make_time
            )
        return responses.plan_response(plan.channels, wanted.until, plan.failure_code)

    # --- templates ------------------------------------------------------------------------------

    async def UpdateNoticeTemplate(
        self, request: notify_pb2.UpdateNoticeTemplateRequest, _context: object
    ) -> notify_pb2.NoticeTemplate:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.NoticeTemplate,
            responses.template_message,
            lambda tx: templates.update(
                tx, requests.read_template(request.notice_template), self._clock.now()
            ),
        )

    async def GetNoticeTemplate(
        self, request: notify_pb2.GetNoticeTemplateRequest, _context: object
    ) -> notify_pb2.NoticeTemplate:
        key = read_name(NOTICE_TEMPLATE, request.name)
        async with self._database.read() as connection:
            return responses.template_message(
                await templates.existing(connection, key, request.version)
            )

    async def ListNoticeTemplates(
        self, request: notify_pb2.ListNoticeTemplatesRequest, _context: object
    ) -> notify_pb2.ListNoticeTemplatesResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = TemplateId(page.after[0] if page.after else "")
        async with self._database.read() as connection:
            listed = await template_store.of_merchant(connection, merchant, after, page.limit)
        shown, token = page.cut(
            listed, responses.template_message, lambda template: (template.template,)
        )
        return notify_pb2.ListNoticeTemplatesResponse(notice_templates=shown, next_page_token=token)

    async def DeleteNoticeTemplate(
        self, request: notify_pb2.DeleteNoticeTemplateRequest, _context: object
    ) -> notify_pb2.DeleteNoticeTemplateResponse:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.DeleteNoticeTemplateResponse,
            lambda _: notify_pb2.DeleteNoticeTemplateResponse(),
            lambda tx: templates.delete(
                tx, read_name(NOTICE_TEMPLATE, request.name), self._clock.now()
            ),
        )

    # --- webhooks -------------------------------------------------------------------------------

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
        return await run_mutation(
            self._database,
            request,
            notify_pb2.ReplayWebhookDeliveriesResponse,
            webhook_responses.replay_response,
            lambda tx: (
                webhooks.replay_one(tx, key, wanted, now)
                if isinstance(wanted, UUID)
                else webhooks.replay_span(tx, key, wanted, now)
            ),
        )

    # --- audit ----------------------------------------------------------------------------------

    async def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, _context: object
    ) -> audit_pb2.ListAuditEntriesResponse:
        return await audit.answer(self._database, request)

    # --- for the suite --------------------------------------------------------------------------

    async def BatchCheckContacts(
        self, request: notify_pb2.BatchCheckContactsRequest, _context: object
    ) -> notify_pb2.BatchCheckContactsResponse:
        keys = [read_name(CUSTOMER, name) for name in request.customers]
        async with self._database.read() as connection:
            reasons = await contact_store.lapse_reasons(connection, keys)
        return notify_pb2.BatchCheckContactsResponse(
            results=[
                notify_pb2.ContactCheckResult(
                    phone_bound=reason == "",
                    phone_lapse_reason=responses.unbind_reason(reason or ""),
                )
                for reason in reasons
            ]
        )
