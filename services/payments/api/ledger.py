"""RPCs about the books."""

from recurring.payments.v1 import payments_pb2

from services.payments.api.messages import ledger_account_message, ledger_entry_message
from services.payments.api.names import read_merchant
from services.payments.store import ledger as store
from services.runtime.database import Database
from services.runtime.wire import read_page


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
            found = await store.balances(connection, merchant, (account, currency), page.size + 1)
        shown = found[: page.size]
        last = shown[-1] if len(found) > page.size else None
        return payments_pb2.ListLedgerAccountsResponse(
            ledger_accounts=[ledger_account_message(merchant, row) for row in shown],
            next_page_token=page.token((last.account, last.currency)) if last else "",
        )

    async def ListLedgerEntries(
        self, request: payments_pb2.ListLedgerEntriesRequest, _context: object
    ) -> payments_pb2.ListLedgerEntriesResponse:
        """List a merchant's entries, the oldest first."""
        merchant = read_merchant(request.parent)
        page = read_page(request, keys=1)
        after = page.after_number()
        async with self.database.read() as connection:
            found = await store.entries(connection, merchant, after, page.size + 1)
        shown = found[: page.size]
        more = len(found) > page.size
        return payments_pb2.ListLedgerEntriesResponse(
            ledger_entries=[ledger_entry_message(row) for row in shown],
            next_page_token=page.token((str(shown[-1].position),)) if more else "",
        )
