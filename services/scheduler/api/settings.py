"""How a merchant's standing orders behave beyond what each says of itself."""

from dataclasses import replace

from recurring.scheduler.v1 import scheduler_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.auth.call_context import caller
from services.runtime.db import audit
from services.runtime.db.idempotency import mutation
from services.runtime.db.pool import Database
from services.runtime.errors import Violations, etag_mismatch
from services.runtime.rpc.conversions import etag
from services.scheduler import names
from services.scheduler.domain.settings import SchedulerSettings, UnpaidPolicy
from services.scheduler.store import settings

SettingsMessage = scheduler_pb2.SchedulerSettings


class SettingsMethods:
    """The methods of recurring.scheduler.v1.SchedulerService about merchants' settings."""

    database: Database

    async def GetSchedulerSettings(
        self, request: scheduler_pb2.GetSchedulerSettingsRequest, _context: object
    ) -> SettingsMessage:
        """Get a merchant's settings; every merchant has some."""
        violations = Violations()
        merchant = names.read_merchant(violations, "name", request.name, names.SETTINGS)
        violations.check()
        caller().check(merchant)
        async with self.database.read() as connection:
            return _message(await settings.get(connection, merchant))

    @mutation(SettingsMessage)
    async def UpdateSchedulerSettings(
        self, request: scheduler_pb2.UpdateSchedulerSettingsRequest, tx: AsyncConnection
    ) -> SettingsMessage:
        """Change a merchant's settings as a whole."""
        wanted = request.scheduler_settings
        violations = Violations()
        merchant = names.read_merchant(
            violations, "scheduler_settings.name", wanted.name, names.SETTINGS
        )
        policy = _read_policy(violations, wanted.unpaid_policy)
        violations.check()
        caller().check(merchant)
        present = await settings.get(tx, merchant, lock=True)
        if wanted.etag and wanted.etag != etag(present.version):
            raise etag_mismatch(wanted.name)
        audit.before(_message(present))
        changed = await settings.change(tx, replace(present, unpaid_policy=policy))
        return _message(changed)


def _read_policy(violations: Violations, number: int) -> UnpaidPolicy:
    known = number in SettingsMessage.UnpaidPolicy.values() and number != 0
    violations.require(
        "scheduler_settings.unpaid_policy", "must be GO_ON, WAIT or PAUSE", met=known
    )
    if not known:
        return UnpaidPolicy.GO_ON
    return UnpaidPolicy(SettingsMessage.UnpaidPolicy.Name(number))  # type: ignore[arg-type]


def _message(found: SchedulerSettings) -> SettingsMessage:
    return SettingsMessage(
        name=names.SETTINGS.format(found.merchant),
        unpaid_policy=SettingsMessage.UnpaidPolicy.Value(found.unpaid_policy),
        etag=etag(found.version),
    )
