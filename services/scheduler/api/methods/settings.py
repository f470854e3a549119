"""The methods about settings of a merchant."""

from recurring.audit.v1 import audit_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.db import audit
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.scheduler import names
from services.scheduler.api import requests, responses
from services.scheduler.api.methods.base import Methods
from services.scheduler.application import settings
from services.scheduler.store import settings as settings_store


class SettingsMethods(Methods):
    """Methods about settings of a merchant."""

    async def GetSchedulerSettings(
        self, request: pb.GetSchedulerSettingsRequest, _context: object
    ) -> pb.SchedulerSettings:
        merchant = read_name(names.SETTINGS, request.name)
        async with self._database.read() as connection:
            return responses.settings_message(await settings_store.get(connection, merchant))

    async def UpdateSchedulerSettings(
        self, request: pb.UpdateSchedulerSettingsRequest, _context: object
    ) -> pb.SchedulerSettings:
        message = request.scheduler_settings
        return await run_mutation(
            self._database,
            request,
            pb.SchedulerSettings,
            responses.settings_message,
            lambda tx: settings.change(tx, requests.read_settings(message), message.etag),
        )

    async def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, _context: object
    ) -> audit_pb2.ListAuditEntriesResponse:
        return await audit.answer(self._database, request)
