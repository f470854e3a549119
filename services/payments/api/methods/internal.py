"""The methods that other services of the suite call."""

from recurring.payments.v1 import payments_pb2

from services.payments.api import mandate_requests, mandate_responses
from services.payments.api.documents import batch_download_response, read_downloads
from services.payments.api.methods.base import Methods
from services.payments.application import document_files, mandates


class InternalMethods(Methods):
    """Methods that other services of the suite call."""

    async def BatchDownloadDocuments(
        self, request: payments_pb2.BatchDownloadDocumentsRequest, _context: object
    ) -> payments_pb2.BatchDownloadDocumentsResponse:
        downloaded = await document_files.download(
            self._database, self._renderer, read_downloads(request), self._clock.now()
        )
        return batch_download_response(downloaded)

    async def BatchCheckMandates(
        self, request: payments_pb2.BatchCheckMandatesRequest, _context: object
    ) -> payments_pb2.BatchCheckMandatesResponse:
        checks, planned = mandate_requests.read_checks(request)
        async with self._database.read() as connection:
            results = await mandates.check(connection, checks, planned, in_turn=request.in_turn)
        return mandate_responses.check_response(results)
