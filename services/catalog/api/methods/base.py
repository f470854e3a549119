"""What all methods of the service work with."""

from typing import Any, TypeVar

from recurring.catalog.v1 import catalog_pb2

from services.catalog.api import import_messages
from services.catalog.application import imports
from services.catalog.clients.payments import AmountRules
from services.catalog.clients.tax_service import NO_TAX_SERVICE, TaxService
from services.catalog.names import MERCHANT
from services.runtime.db.pool import Database
from services.runtime.rpc.imports import import_limiter, never_idle, slot
from services.runtime.workers.clock import Clock

T = TypeVar("T")
Res = TypeVar("Res", catalog_pb2.ImportProductsResponse, catalog_pb2.ImportPricesResponse)


class Methods:
    """What parts of the servicer have in common."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        amount_rules: AmountRules,
        tax_service: TaxService = NO_TAX_SERVICE,
    ) -> None:
        self._database = database
        self._clock = clock
        self._amount_rules = amount_rules
        self._tax_service = tax_service
        self._import_limiter = import_limiter()

    async def _import(
        self,
        requests: import_messages.Requests,
        importer: import_messages.Importer[Any, T, Res],
        store: imports.Store[T],
    ) -> Res:
        """Read all rows, then store them; says what became of them."""
        sent = never_idle(requests)
        config = await import_messages.read_config(sent)
        book = imports.Book(
            MERCHANT.key(config.parent), self._clock.now(), config.partial, config.dry_run
        )
        async with slot(self._import_limiter, book.merchant):
            read = importer.reader(book.merchant, book.now)
            rows = await import_messages.read_rows(sent, read)
            await imports.import_rows(
                self._database, book, rows, store, importer.request, importer.respond
            )
        return importer.respond(book)
