"""The methods about reports."""

from recurring.payments.v1 import payments_pb2

from services.payments.api import responses
from services.payments.api.methods.base import Methods
from services.payments.api.reports import (
    dunning_outcome_message,
    outcome_page_key,
    product_sales_message,
    read_days,
    read_instant,
    receivable_message,
    span_fields,
    tax_key_after,
    tax_page_key,
    tax_summary_message,
)
from services.payments.api.statements import (
    read_statement_name,
    statement_file_response,
    statement_message,
)
from services.payments.application import reports, statements
from services.payments.store import dunning as dunning_store
from services.payments.store import receivables as receivable_store
from services.payments.store import reports as report_store
from services.runtime.rpc.conversions import to_timestamp
from services.runtime.rpc.paging import read_page


class ReportMethods(Methods):
    """Methods about reports."""

    async def ListProductSales(
        self, request: payments_pb2.ListProductSalesRequest, _context: object
    ) -> payments_pb2.ListProductSalesResponse:
        days = read_days(request)
        page = read_page(request, keys=2)
        product, currency = page.after or ("", "")
        async with self._database.read() as connection:
            span = await reports.span(connection, days, self._clock.now())
            listed = await report_store.product_sales(
                connection, days.merchant, span.times, (product, currency), page.limit
            )
        shown, token = page.cut(
            listed,
            lambda row: product_sales_message(days.merchant, row),
            lambda row: (row.product, row.currency),
        )
        return payments_pb2.ListProductSalesResponse(
            product_sales=shown, next_page_token=token, **span_fields(span)
        )

    async def ListTaxSummaries(
        self, request: payments_pb2.ListTaxSummariesRequest, _context: object
    ) -> payments_pb2.ListTaxSummariesResponse:
        days = read_days(request)
        page = read_page(request, keys=5)
        async with self._database.read() as connection:
            span = await reports.span(connection, days, self._clock.now())
            listed = await report_store.tax_summaries(
                connection, days.merchant, span.times, tax_key_after(page), page.limit
            )
        shown, token = page.cut(
            listed, lambda row: tax_summary_message(days.merchant, row), tax_page_key
        )
        return payments_pb2.ListTaxSummariesResponse(
            tax_summaries=shown, next_page_token=token, **span_fields(span)
        )

    async def ListReceivables(
        self, request: payments_pb2.ListReceivablesRequest, _context: object
    ) -> payments_pb2.ListReceivablesResponse:
        merchant, wanted_time, wanted_zone = read_instant(request)
        page = read_page(request, keys=2)
        customer, currency = page.after or ("", "")
        async with self._database.read() as connection:
            as_of_time, zone = await reports.instant(
                connection, merchant, wanted_time, wanted_zone, self._clock.now()
            )
            listed = await receivable_store.receivables(
                connection, merchant, as_of_time, zone, (customer, currency), page.limit
            )
        shown, token = page.cut(
            listed,
            lambda row: receivable_message(merchant, row),
            lambda row: (row.customer, row.currency),
        )
        return payments_pb2.ListReceivablesResponse(
            receivables=shown,
            next_page_token=token,
            as_of_time=to_timestamp(as_of_time),
            time_zone=zone,
        )

    async def ListDunningOutcomes(
        self, request: payments_pb2.ListDunningOutcomesRequest, _context: object
    ) -> payments_pb2.ListDunningOutcomesResponse:
        days = read_days(request)
        page = read_page(request, keys=4)
        currency, _, _, means = page.after or ("", "", "", "")
        after = (currency, page.number_at(1), page.number_at(2), means)
        async with self._database.read() as connection:
            span = await reports.span(connection, days, self._clock.now())
            listed = await receivable_store.dunning_outcomes(
                connection, days.merchant, span.times, after, page.limit
            )
            shown, token = page.cut(listed, dunning_outcome_message, outcome_page_key)
            policies = await dunning_store.versions(
                connection, days.merchant, {outcome.policy_version for outcome in shown}
            )
        return payments_pb2.ListDunningOutcomesResponse(
            dunning_outcomes=shown,
            dunning_policies=map(responses.dunning_policy_message, policies),
            next_page_token=token,
            **span_fields(span),
        )

    async def GetStatement(
        self, request: payments_pb2.GetStatementRequest, _context: object
    ) -> payments_pb2.Statement:
        customer, period = read_statement_name(request.name)
        now = self._clock.now()
        async with self._database.read() as connection:
            return statement_message(await statements.statement(connection, customer, period, now))

    async def DownloadStatement(
        self, request: payments_pb2.DownloadStatementRequest, _context: object
    ) -> payments_pb2.DownloadStatementResponse:
        customer, period = read_statement_name(request.name)
        file = await statements.download(
            self._database,
            self._renderer,
            customer,
            period,
            payments_pb2.DownloadDocumentRequest.Format.Name(request.format),
            request.language_code,
            self._clock.now(),
        )
        return statement_file_response(customer, period, file)
