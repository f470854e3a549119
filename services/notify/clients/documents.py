"""Questions to payments for documents as files."""

import asyncio
from collections.abc import Mapping, Sequence

import grpc
from recurring.payments.v1 import payments_pb2, payments_pb2_grpc

from services.notify.domain.attachments import Attachment, AttachmentKey, AttachmentProblem
from services.runtime.observability.outages import out_of_reach

# The most that a call may ask for.
BATCH_DOCUMENTS = 7
# Payments renders one at a time; a second call has it go on while an answer is under way.
CALLS_AT_ONCE_MAX = 2
_Result = payments_pb2.BatchDownloadDocumentsResponse.Result
_PROBLEMS: Mapping[int, AttachmentProblem] = {
    _Result.FILE_TOO_LARGE: AttachmentProblem.TOO_LARGE,
    _Result.DOCUMENT_NOT_FOUND: AttachmentProblem.NOT_FOUND,
}

Files = Mapping[AttachmentKey, Attachment | AttachmentProblem]


class Documents:
    """Asks payments for the files of documents, several with a call."""

    def __init__(self, payments: grpc.aio.Channel) -> None:
        self._payments = payments_pb2_grpc.PaymentsServiceStub(payments)
        self._turns = asyncio.Semaphore(CALLS_AT_ONCE_MAX)

    async def download(self, wanted: Sequence[AttachmentKey]) -> Files:
        """The files of documents, or why there are none; while payments is away, that of all."""
        keys = list(dict.fromkeys(wanted))
        batches = [
            keys[start : start + BATCH_DOCUMENTS] for start in range(0, len(keys), BATCH_DOCUMENTS)
        ]
        answers = await asyncio.gather(*map(self._ask, batches))
        return {key: file for answer in answers for key, file in answer.items()}

    async def _ask(self, keys: Sequence[AttachmentKey]) -> Files:
        request = payments_pb2.BatchDownloadDocumentsRequest(
            downloads=[
                payments_pb2.BatchDownloadDocumentsRequest.Download(
                    name=key.document, language_code=key.language_code
                )
                for key in keys
            ]
        )
        try:
            async with self._turns:
                response = await self._payments.BatchDownloadDocuments(request)
        except grpc.aio.AioRpcError as error:
            if out_of_reach(error) is None:
                raise
            return dict.fromkeys(keys, AttachmentProblem.UNAVAILABLE)
        return dict(zip(keys, map(_file, response.results), strict=True))


def _file(result: _Result) -> Attachment | AttachmentProblem:
    if not result.problem:
        return Attachment(result.file_name, result.content)
    return _PROBLEMS.get(result.problem, AttachmentProblem.UNAVAILABLE)
