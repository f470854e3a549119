"""What a charge is for, as the scheduler says it."""

from collections.abc import Iterable

from recurring.scheduler.v1 import events_pb2, scheduler_pb2

from services.payments.domain.lines import ChargeLine, LineTax
from services.runtime.rpc.conversions import from_money


def read_lines(messages: Iterable[events_pb2.PaymentLine]) -> list[ChargeLine]:
    """Lines from the wire."""
    return [
        ChargeLine(
            message.product.rpartition("/")[2],
            message.quantity,
            from_money(message.net_amount).amount_minor,
            tuple(map(_read_tax, message.taxes)),
        )
        for message in messages
    ]


def _read_tax(message: scheduler_pb2.OrderLineTax) -> LineTax:
    amount = from_money(message.amount)
    return LineTax(message.tax_rate.rpartition("/")[2], message.rate_ppm, amount.amount_minor)
