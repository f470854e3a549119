"""The methods about the ledger."""

from recurring.payments.v1 import payments_pb2

from services.payments.api import requests, responses
from services.payments.api.methods.base import Methods
from services.payments.application import ledger, reconciliation
from services.payments.names import MERCHANT, PAYOUT, RECONCILIATION_FINDING
from services.payments.store import ledger as ledger_store
from services.payments.store import ledger_periods as ledger_period_store
from services.payments.store import provider_balance as provider_balance_store
from services.payments.store import reconciliation as reconciliation_store
from services.runtime.errors import not_found
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class LedgerMethods(Methods):
    """Methods about the ledger."""

    async def ListLedgerAccounts(
        self, request: payments_pb2.ListLedgerAccountsRequest, _context: object
    ) -> payments_pb2.ListLedgerAccountsResponse:
        merchant, as_of_time = requests.read_balances(request)
        page = read_page(request, keys=2)
        account, currency = page.after or ("", "")
        async with self._database.read() as connection:
            listed = await ledger_store.balances(
                connection, merchant, as_of_time, (account, currency), page.limit
            )
        shown, token = page.cut(
            listed,
            lambda row: responses.ledger_account_message(merchant, row),
            lambda row: (row.account, row.currency),
        )
        return payments_pb2.ListLedgerAccountsResponse(ledger_accounts=shown, next_page_token=token)

    async def ListLedgerEntries(
        self, request: payments_pb2.ListLedgerEntriesRequest, _context: object
    ) -> payments_pb2.ListLedgerEntriesResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=2)
        after = page.after_numbered_position()
        async with self._database.read() as connection:
            listed = await ledger_store.entries(connection, merchant, after, page.limit)
        shown, token = page.cut(
            listed, responses.ledger_entry_message, lambda row: (str(row.position), str(row.leg))
        )
        return payments_pb2.ListLedgerEntriesResponse(ledger_entries=shown, next_page_token=token)

    async def CloseLedgerPeriod(
        self, request: payments_pb2.CloseLedgerPeriodRequest, _context: object
    ) -> payments_pb2.LedgerPeriod:
        merchant, through_date = requests.read_period(request)
        return await run_mutation(
            self._database,
            request,
            payments_pb2.LedgerPeriod,
            responses.ledger_period_message,
            lambda tx: ledger.close_period(tx, merchant, through_date, self._clock.now()),
        )

    async def ListLedgerPeriods(
        self, request: payments_pb2.ListLedgerPeriodsRequest, _context: object
    ) -> payments_pb2.ListLedgerPeriodsResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        async with self._database.read() as connection:
            listed = await ledger_period_store.periods(
                connection, merchant, page.after_date(), page.limit
            )
        shown, token = page.cut(
            listed, responses.ledger_period_message, lambda row: (row.through_date.isoformat(),)
        )
        return payments_pb2.ListLedgerPeriodsResponse(ledger_periods=shown, next_page_token=token)

    async def GetPayout(
        self, request: payments_pb2.GetPayoutRequest, _context: object
    ) -> payments_pb2.Payout:
        key = read_name(PAYOUT, request.name)
        async with self._database.read() as connection:
            payout = await provider_balance_store.payout(connection, key)
        if payout is None:
            raise not_found("PAYOUT_NOT_FOUND", key.name)
        return responses.payout_message(payout)

    async def ListPayouts(
        self, request: payments_pb2.ListPayoutsRequest, _context: object
    ) -> payments_pb2.ListPayoutsResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=3)
        _, payout, currency = page.after or ("", "", "")
        before = (page.after_time(), payout, currency)
        async with self._database.read() as connection:
            listed = await provider_balance_store.payouts(connection, merchant, before, page.limit)
        shown, token = page.cut(
            listed,
            responses.payout_message,
            lambda row: (row.arrive_time.isoformat(), row.payout, row.currency),
        )
        return payments_pb2.ListPayoutsResponse(payouts=shown, next_page_token=token)

    async def PreviewReconciliation(
        self, request: payments_pb2.PreviewReconciliationRequest, _context: object
    ) -> payments_pb2.PreviewReconciliationResponse:
        merchant, day = requests.read_day(request, self._clock.now())
        page = read_page(request, keys=2)
        source, type_ = page.after or ("", "")
        async with self._database.read() as connection:
            compared = await reconciliation_store.compare(
                connection, merchant, self._providers.names, day, (source, type_), page.limit
            )
        shown, token = page.cut(
            compared.findings, responses.finding_message, lambda row: (row.source, row.type)
        )
        return payments_pb2.PreviewReconciliationResponse(
            complete=compared.complete,
            matched_count=compared.matched_count,
            findings=shown,
            next_page_token=token,
        )

    async def ListReconciliationFindings(
        self, request: payments_pb2.ListReconciliationFindingsRequest, _context: object
    ) -> payments_pb2.ListReconciliationFindingsResponse:
        merchant, with_resolved = requests.read_findings(request)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await reconciliation_store.findings(
                connection, merchant, after, page.limit, with_resolved=with_resolved
            )
        shown, token = page.cut(
            listed, responses.recorded_finding_message, lambda row: (row.finding,)
        )
        return payments_pb2.ListReconciliationFindingsResponse(
            findings=shown, next_page_token=token
        )

    async def ApplyReconciliationEntry(
        self, request: payments_pb2.ApplyReconciliationEntryRequest, _context: object
    ) -> payments_pb2.ReconciliationFinding:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.ReconciliationFinding,
            responses.recorded_finding_message,
            lambda tx: reconciliation.apply_entry(
                tx,
                read_name(RECONCILIATION_FINDING, request.name),
                requests.MENDED_AGAINST[request.account],
                self._clock.now(),
            ),
        )
