"""The settings of a history's merchant: as much is done by itself as can be."""

from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2

from cli.connect import Session
from cli.faults.caller import Caller

# The shortest time that there is.
PHONE_PROOF_DAYS = 30


async def choose(session: Session, caller: Caller, daily_message_max: int) -> None:
    """Choose those of the merchant whose session it is."""
    await _have_documents_issued(session, caller)
    await _have_revenue_deferred(session, caller)
    await _choose_notices(session, caller, daily_message_max)


async def _have_documents_issued(session: Session, caller: Caller) -> None:
    """Have an invoice and a receipt issued for each payment, and credit notes for refunds."""
    settings = payments_pb2.DocumentSettings(
        name=f"{session.parent}/documentSettings",
        seller=payments_pb2.Seller(display_name="The shop of a history"),
        payment_documents=payments_pb2.DocumentSettings.INVOICES_AND_RECEIPTS,
        email_documents=True,
    )
    await caller.call(
        session.payments.UpdateDocumentSettings,
        payments_pb2.UpdateDocumentSettingsRequest(document_settings=settings),
    )


async def _have_revenue_deferred(session: Session, caller: Caller) -> None:
    """Have what is sold become revenue day by day."""
    settings = payments_pb2.LedgerSettings(
        name=f"{session.parent}/ledgerSettings",
        revenue_recognition=payments_pb2.LedgerSettings.OVER_PERIOD,
    )
    await caller.call(
        session.payments.UpdateLedgerSettings,
        payments_pb2.UpdateLedgerSettingsRequest(ledger_settings=settings),
    )


async def _choose_notices(session: Session, caller: Caller, daily_message_max: int) -> None:
    """Have phones proved again at which nothing arrives for a month, and months summed up."""
    settings = notify_pb2.NotifySettings(
        name=f"{session.parent}/notifySettings",
        phone_proof_days=PHONE_PROOF_DAYS,
        daily_message_max=daily_message_max,
        monthly_summaries=True,
    )
    await caller.call(
        session.notify.UpdateNotifySettings,
        notify_pb2.UpdateNotifySettingsRequest(notify_settings=settings),
    )
