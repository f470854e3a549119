"""The methods about notices."""

from recurring.notify.v1 import notify_pb2

from services.notify.api import requests, responses
from services.notify.api.methods.base import Methods
from services.notify.api.resends import redrive_notices, resend_notice
from services.notify.api.statistics import list_notice_statistics
from services.notify.application import notice_lists, notices, templates
from services.notify.application.rendering import preview, with_texts
from services.notify.domain.notices import Addressee, Channel
from services.notify.domain.templates.examples import EXAMPLE_DISPLAY_NAME, EXAMPLES
from services.notify.names import MERCHANT, NOTICE
from services.notify.store import contacts as contact_store
from services.notify.store import notices as notice_store
from services.notify.store import settings as settings_store
from services.notify.store import templates as template_store
from services.notify.store.templates import MerchantKind
from services.runtime.errors import not_found
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class NoticeMethods(Methods):
    """Methods about notices."""

    async def ListNotices(
        self, request: notify_pb2.ListNoticesRequest, _context: object
    ) -> notify_pb2.ListNoticesResponse:
        key = requests.read_notices_parent(request)
        wanted = requests.read_notice_filter(request)
        page = read_page(request, keys=notice_lists.sort_key_count(key))
        async with self._database.read() as connection:
            listed = await notice_lists.page_of(connection, key, wanted, page, self._senders)
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
        addressee = addressees[key.customer_key]
        return responses.notice_message(with_texts(notice, addressee, own, self._senders))

    async def ResendNotice(
        self, request: notify_pb2.ResendNoticeRequest, _context: object
    ) -> notify_pb2.Notice:
        return await resend_notice(self._database, request, self._clock)

    async def RedriveNotices(
        self, request: notify_pb2.RedriveNoticesRequest, _context: object
    ) -> notify_pb2.RedriveNoticesResponse:
        return await redrive_notices(self._database, request, self._clock)

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
        takes_replies = self._senders.takes_replies(merchant)
        sms, email = (
            preview(EXAMPLES[kind], channel, addressee, own, takes_replies=takes_replies)
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
        return responses.plan_response(
            plan.channels, wanted.until, plan.failure_code, wanted.make_time
        )
