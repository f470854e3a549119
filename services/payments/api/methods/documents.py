"""The methods about documents."""

from recurring.payments.v1 import payments_pb2

from services.payments.api.documents import (
    billing_details_message,
    document_message,
    document_settings_message,
    download_response,
    read_billing_details,
    read_document_filter,
    read_document_settings,
    read_download,
)
from services.payments.api.methods.base import Methods
from services.payments.application import buyers, document_files, documents
from services.payments.names import BILLING_DETAILS, DOCUMENT, DOCUMENT_SETTINGS
from services.payments.store import documents as document_store
from services.payments.store.documents import StoredDocument
from services.runtime.errors import Problem
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import AFTER_ALL, read_page


class DocumentMethods(Methods):
    """Methods about documents."""

    async def GetDocumentSettings(
        self, request: payments_pb2.GetDocumentSettingsRequest, _context: object
    ) -> payments_pb2.DocumentSettings:
        merchant = read_name(DOCUMENT_SETTINGS, request.name)
        async with self._database.read() as connection:
            return document_settings_message(await documents.settings(connection, merchant))

    async def UpdateDocumentSettings(
        self, request: payments_pb2.UpdateDocumentSettingsRequest, _context: object
    ) -> payments_pb2.DocumentSettings:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.DocumentSettings,
            document_settings_message,
            lambda tx: documents.change_settings(
                tx,
                *read_document_settings(request.document_settings),
                request.document_settings.etag,
            ),
        )

    async def GetBillingDetails(
        self, request: payments_pb2.GetBillingDetailsRequest, _context: object
    ) -> payments_pb2.BillingDetails:
        customer = read_name(BILLING_DETAILS, request.name)
        async with self._database.read() as connection:
            return billing_details_message(await buyers.get(connection, customer))

    async def UpdateBillingDetails(
        self, request: payments_pb2.UpdateBillingDetailsRequest, _context: object
    ) -> payments_pb2.BillingDetails:
        wanted = request.billing_details
        return await run_mutation(
            self._database,
            request,
            payments_pb2.BillingDetails,
            billing_details_message,
            lambda tx: buyers.change(tx, read_billing_details(wanted), wanted.etag),
        )

    async def GetDocument(
        self, request: payments_pb2.GetDocumentRequest, _context: object
    ) -> payments_pb2.Document:
        key = read_name(DOCUMENT, request.name)
        async with self._database.read() as connection:
            stored = await documents.existing(connection, key)
            named = await buyers.buyers(connection, [stored.document])
        return document_message(stored, named.get(key))

    async def ListDocuments(
        self, request: payments_pb2.ListDocumentsRequest, _context: object
    ) -> payments_pb2.ListDocumentsResponse:
        owner = read_document_filter(request)
        page = read_page(request, keys=1)
        before = page.after_position(AFTER_ALL)
        if owner is None:
            return payments_pb2.ListDocumentsResponse()
        async with self._database.read() as connection:
            listed = await document_store.listed(connection, owner, before, page.limit)
            named = await buyers.buyers(connection, [stored.document for stored in listed])

        def message(stored: StoredDocument) -> payments_pb2.Document:
            return document_message(stored, named.get(stored.document.key))

        shown, token = page.cut(listed, message, lambda it: (str(it.position),))
        return payments_pb2.ListDocumentsResponse(documents=shown, next_page_token=token)

    async def DownloadDocument(
        self, request: payments_pb2.DownloadDocumentRequest, _context: object
    ) -> payments_pb2.DownloadDocumentResponse:
        wanted, now = read_download(request), self._clock.now()
        [downloaded] = await document_files.download(self._database, self._renderer, [wanted], now)
        if isinstance(downloaded, Problem):
            raise downloaded
        return download_response(downloaded)
