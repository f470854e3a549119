"""The methods about settings of a merchant."""

from recurring.notify.v1 import notify_pb2

from services.notify.api.methods.base import Methods
from services.notify.api.settings_messages import read_settings, settings_message
from services.notify.application import settings
from services.notify.names import SETTINGS
from services.notify.store import settings as settings_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name


class SettingsMethods(Methods):
    """Methods about settings of a merchant."""

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
