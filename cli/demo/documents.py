"""The documents of the demo: those of one customer, and whether everybody got theirs."""

from collections import Counter
from collections.abc import Iterable, Iterator

from recurring.payments.v1 import payments_pb2

from cli.demo.outcome import Outcome
from cli.documents import DOCUMENT_COLUMNS, LINE_COLUMNS, TAX_COLUMNS
from cli.names import last_id
from cli.output import Output
from cli.values import format_money

# Who pays with a code and VAT, and gets something back.
SHOWN = "Ada"
_TYPE = payments_pb2.Document


def show_documents(output: Output, outcomes: Iterable[Outcome]) -> None:
    """List a customer's documents, the latest first, and what the first of her invoices says."""
    documents = next(it.documents for it in outcomes if it.participant.first_name == SHOWN)
    output.console.print(f"{SHOWN}'s documents", style="bold")
    output.many(documents, DOCUMENT_COLUMNS, "no documents")
    for invoice in [it for it in documents if it.type == _TYPE.INVOICE][-1:]:
        buyer = ", ".join([invoice.buyer.display_name, *invoice.buyer.address_lines])
        output.console.print(
            f"{invoice.number}, from {invoice.seller.display_name} to {buyer}", style="bold"
        )
        output.many(invoice.lines, LINE_COLUMNS, "no lines")
        output.many(invoice.taxes, TAX_COLUMNS, "no taxes")


def wrong_documents(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Each charge that was paid without an invoice of its own, each refund without a credit note."""
    for outcome in outcomes:
        who = outcome.participant.first_name
        issued = Counter(
            (it.type, it.charge, it.refund, format_money(it.amount)) for it in outcome.documents
        )
        for charge in outcome.charges:
            wanted = (_TYPE.INVOICE, charge.name, "", format_money(charge.amount))
            if charge.state == charge.SUCCEEDED and issued[wanted] != 1:
                yield f"{who} has {issued[wanted]} invoices of order {last_id(charge.order)}, not 1"
        for refund in outcome.refunds:
            charge_name = refund.name.partition("/refunds/")[0]
            wanted = (_TYPE.CREDIT_NOTE, charge_name, refund.name, format_money(refund.amount))
            if issued[wanted] != 1:
                yield f"{who} has {issued[wanted]} credit notes of a refund, not 1"
