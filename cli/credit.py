"""Credit of customers: what the merchant owes them, used before their payment methods."""

from typing import Annotated

import typer
from google.type import money_pb2
from recurring.payments.v1 import payments_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.names import CUSTOMER, last_id, short_name
from cli.output import Columns
from cli.values import format_money, format_timestamp, parse_money

credit = group("Give, take and show credit of customers, which pays before their cards do.")

CustomerArgument = Annotated[str, typer.Argument(metavar="CUSTOMER", help="Id or resource name.")]
AmountArgument = Annotated[
    money_pb2.Money,
    typer.Argument(parser=parse_money, metavar="AMOUNT", help='For example "10 EUR".'),
]
IdOption = Annotated[
    str, typer.Option("--id", help="The id of the new transaction. Default: generated.")
]

TRANSACTION_COLUMNS: Columns[pb.CreditTransaction] = {
    "created": lambda it: format_timestamp(it.create_time),
    "type": lambda it: pb.CreditTransaction.Type.Name(it.type),
    "amount": lambda it: format_money(it.amount),
    "left": lambda it: format_money(it.balance_after),
    "for": lambda it: short_name(it.source),
    "transaction": lambda it: last_id(it.name),
}
BALANCE_COLUMNS: Columns[pb.CreditBalance.Amount] = {
    "balance": lambda it: format_money(it.balance),
    "reserved": lambda it: format_money(it.reserved),
}


@command(credit, "grant")
async def grant_credit(
    session: Session,
    customer: CustomerArgument,
    amount: AmountArgument,
    reason: Annotated[
        pb.CreditTransaction.Type.ValueType,
        one_of(pb.CreditTransaction.Type, "Why.", but=("PAYOUT", "CHARGE", "REFUND")),
    ] = pb.CreditTransaction.GOODWILL,
    transaction: IdOption = "",
) -> None:
    """Give a customer credit."""
    await _create(session, customer, amount, reason, transaction)


@command(credit, "deduct")
async def deduct_credit(
    session: Session,
    customer: CustomerArgument,
    amount: AmountArgument,
    reason: Annotated[
        pb.CreditTransaction.Type.ValueType,
        one_of(
            pb.CreditTransaction.Type,
            "Why.",
            but=("GOODWILL", "OVERPAYMENT", "REFUND_KEPT", "CHARGE", "REFUND"),
        ),
    ] = pb.CreditTransaction.CORRECTION,
    transaction: IdOption = "",
) -> None:
    """Take credit of a customer away."""
    taken = money_pb2.Money(
        currency_code=amount.currency_code, units=-amount.units, nanos=-amount.nanos
    )
    await _create(session, customer, taken, reason, transaction)


@command(credit, "balance")
async def show_balance(session: Session, customer: CustomerArgument) -> None:
    """Show what a customer has of credit, by currency."""
    name = f"{session.name(CUSTOMER, customer)}/creditBalance"
    balance = await session.payments.GetCreditBalance(pb.GetCreditBalanceRequest(name=name))
    session.output.many(balance.amounts, BALANCE_COLUMNS, "no credit")


@command(credit, "list")
async def list_transactions(session: Session, customer: CustomerArgument) -> None:
    """List what changed a customer's credit, the oldest first."""
    request = pb.ListCreditTransactionsRequest(parent=session.name(CUSTOMER, customer))
    listed = await all_pages(
        session.payments.ListCreditTransactions, request, "credit_transactions"
    )
    session.output.many(listed, TRANSACTION_COLUMNS, "no credit transactions")


async def _create(
    session: Session,
    customer: str,
    amount: money_pb2.Money,
    reason: pb.CreditTransaction.Type.ValueType,
    transaction: str,
) -> None:
    request_id = new_request_id()
    request = pb.CreateCreditTransactionRequest(
        parent=session.name(CUSTOMER, customer),
        credit_transaction_id=transaction or f"c-{request_id[:8]}",
        credit_transaction=pb.CreditTransaction(amount=amount, type=reason),
        request_id=request_id,
    )
    made = await session.payments.CreateCreditTransaction(request)
    session.output.one(made, TRANSACTION_COLUMNS)
