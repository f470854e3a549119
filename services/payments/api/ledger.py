"""RPCs about the books."""

from recurring.payments.v1 import payments_pb2

from services.payments.api.requests import read_merchant
from services.payments.api.responses import ledger_account_message, ledger_entry_message
from services.payments.store import ledger as store
from services.runtime.db.pool import Database
from services.runtime.rpc.paging import read_page


class LedgerMethods:
    """Accounts and entries."""

    database: Database

    async def ListLedgerAccounts(
        self, request: payments_pb2.ListLedgerAccountsRequest, _context: object
    ) -> payments_pb2.ListLedgerAccountsResponse:
        """List a merchant's accounts by name and currency."""
        merchant = read_merchant(request.parent)
        page = read_page(request, keys=2)
        account, currency = page.after or ("", "")
        async with self.database.read() as connection:
            found = await store.balances(connection, merchant, (account, currency), page.limit)
        shown, token = page.cut(
            found,
            lambda row: ledger_account_message(merchant, row),
            lambda row: (row.account, row.currency),
        )
        return payments_pb2.ListLedgerAccountsResponse(ledger_accounts=shown, next_page_token=token)

    async def ListLedgerEntries(
        self, request: payments_pb2.ListLedgerEntriesRequest, _context: object
    ) -> payments_pb2.ListLedgerEntriesResponse:
        """List a merchant's entries, the oldest first."""
        merchant = read_merchant(request.parent)
        page = read_page(request, keys=1)
        after = page.after_position()
        async with self.database.read() as connection:
            found = await store.entries(connection, merchant, after, page.limit)
        shown, token = page.cut(found, ledger_entry_message, lambda row: (str(row.position),))
        return payments_pb2.ListLedgerEntriesResponse(ledger_entries=shown, next_page_token=token)
