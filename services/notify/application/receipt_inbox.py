"""Receipts that gateways send by themselves: applied in sets, as they arrive."""

import asyncio

from services.notify.application import receipts
from services.notify.application.outcomes import count
from services.notify.domain.notices import DeliveryKey
from services.notify.domain.receipts import Receipt, ReceiptEffect
from services.notify.store.outcomes import Ended
from services.runtime.auth.call_context import act_for_all
from services.runtime.db.pool import Database
from services.runtime.workers.clock import Clock

APPLIED_AT_ONCE_MAX = 500

_Waiting = tuple[DeliveryKey, Receipt, "asyncio.Future[ReceiptEffect]"]


class ReceiptInbox:
    """Applies receipts that arrive at the same time in one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._applying: asyncio.Task[None] | None = None

    async def apply(self, key: DeliveryKey, receipt: Receipt) -> ReceiptEffect:
        """Return once a receipt is applied, with what it came to.

        Raises what the database raises.
        """
        applied: asyncio.Future[ReceiptEffect] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, receipt, applied))
        if self._applying is None:
            self._applying = asyncio.create_task(self._apply_waiting())
        return await applied

    async def _apply_waiting(self) -> None:
        # Whose messages they are is in them, and not in who sends them.
        act_for_all("notify")
        try:
            while self._waiting:
                await self._apply_batch(self._next_batch())
        finally:
            self._applying = None

    def _next_batch(self) -> list[_Waiting]:
        """What waits, of each delivery the first; what else is said of it comes after."""
        batch: dict[DeliveryKey, _Waiting] = {}
        later: list[_Waiting] = []
        for waiting in self._waiting:
            is_full = len(batch) >= APPLIED_AT_ONCE_MAX
            if is_full or waiting[0] in batch:
                later.append(waiting)
            else:
                batch[waiting[0]] = waiting
        self._waiting = later
        return list(batch.values())

    async def _apply_batch(self, batch: list[_Waiting]) -> None:
        try:
            effects = await self._applied({key: receipt for key, receipt, _ in batch})
        except Exception as error:  # noqa: BLE001 - raised to each that waits
            for _, _, applied in batch:
                if not applied.done():
                    applied.set_exception(error)
            return
        for key, _, applied in batch:
            if not applied.done():
                applied.set_result(effects[key])

    async def _applied(self, said: dict[DeliveryKey, Receipt]) -> dict[DeliveryKey, ReceiptEffect]:
        ended: list[Ended]
        async with self._database.begin() as tx:
            ended, effects = await receipts.apply(tx, said, self._clock.now())
        count(ended)
        return effects
