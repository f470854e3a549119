"""The methods about taxes."""

from recurring.catalog.v1 import catalog_pb2

from services.catalog.api import tax_messages
from services.catalog.api.methods.base import Methods
from services.catalog.application import settings, tax_rates
from services.catalog.names import MERCHANT, SETTINGS, TAX_RATE
from services.catalog.store import settings as settings_store
from services.catalog.store import tax_rates as tax_rate_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class TaxMethods(Methods):
    """Methods about taxes."""

    async def CreateTaxRate(
        self, request: catalog_pb2.CreateTaxRateRequest, _context: object
    ) -> catalog_pb2.TaxRate:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.TaxRate,
            tax_messages.tax_rate_message,
            lambda tx: tax_rates.add(tx, tax_messages.read_new_rate(request, self._clock.now())),
        )

    async def ImportTaxRates(
        self, request: catalog_pb2.ImportTaxRatesRequest, _context: object
    ) -> catalog_pb2.ImportTaxRatesResponse:
        merchant = read_name(MERCHANT, request.parent)
        now = self._clock.now()
        if request.dry_run:
            rates = tax_messages.read_rows(request, now)
            async with self._database.read() as connection:
                decided = await tax_rates.decide_import(connection, merchant, rates, now)
            return tax_messages.import_message(decided)
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.ImportTaxRatesResponse,
            tax_messages.import_message,
            lambda tx: tax_rates.import_all(
                tx, merchant, tax_messages.read_rows(request, now), now
            ),
        )

    async def GetTaxRate(
        self, request: catalog_pb2.GetTaxRateRequest, _context: object
    ) -> catalog_pb2.TaxRate:
        key = read_name(TAX_RATE, request.name)
        async with self._database.read() as connection:
            return tax_messages.tax_rate_message(await tax_rates.existing(connection, key))

    async def ListTaxRates(
        self, request: catalog_pb2.ListTaxRatesRequest, _context: object
    ) -> catalog_pb2.ListTaxRatesResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await tax_rate_store.of_merchant(
                connection, merchant, request.region_code, after, page.limit
            )
        shown, token = page.cut(
            listed, tax_messages.tax_rate_message, lambda rate: (rate.tax_rate,)
        )
        return catalog_pb2.ListTaxRatesResponse(tax_rates=shown, next_page_token=token)

    async def WithdrawTaxRate(
        self, request: catalog_pb2.WithdrawTaxRateRequest, _context: object
    ) -> catalog_pb2.TaxRate:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.TaxRate,
            tax_messages.tax_rate_message,
            lambda tx: tax_rates.withdraw(
                tx, read_name(TAX_RATE, request.name), request.etag, self._clock.now()
            ),
        )

    async def GetCatalogSettings(
        self, request: catalog_pb2.GetCatalogSettingsRequest, _context: object
    ) -> catalog_pb2.CatalogSettings:
        merchant = read_name(SETTINGS, request.name)
        async with self._database.read() as connection:
            return tax_messages.settings_message(await settings_store.get(connection, merchant))

    async def UpdateCatalogSettings(
        self, request: catalog_pb2.UpdateCatalogSettingsRequest, _context: object
    ) -> catalog_pb2.CatalogSettings:
        message = request.catalog_settings
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.CatalogSettings,
            tax_messages.settings_message,
            lambda tx: settings.change(tx, tax_messages.read_settings(message), message.etag),
        )
