"""The methods about templates."""

from recurring.notify.v1 import notify_pb2

from services.notify.api import requests, responses
from services.notify.api.methods.base import Methods
from services.notify.application import templates
from services.notify.domain.templates.own import TemplateId
from services.notify.names import MERCHANT, NOTICE_TEMPLATE
from services.notify.store import templates as template_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class TemplateMethods(Methods):
    """Methods about templates."""

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
