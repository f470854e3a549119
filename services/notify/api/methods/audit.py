"""The methods about the audit trail."""

from recurring.audit.v1 import audit_pb2

from services.notify.api.methods.base import Methods
from services.runtime.db import audit


class AuditMethods(Methods):
    """Methods about the audit trail."""

    async def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, _context: object
    ) -> audit_pb2.ListAuditEntriesResponse:
        return await audit.answer(self._database, request)
