"""What a charge is for, as the scheduler says it."""

from collections.abc import Iterable

from recurring.scheduler.v1 import events_pb2, scheduler_pb2

from services.payments.domain.lines import ChargeLine, LineAdjustment, LineTax
from services.runtime.rpc.conversions import from_money


def read_lines(messages: Iterable[events_pb2.PaymentLine]) -> list[ChargeLine]:
    """Lines from the wire."""
    return [
        ChargeLine(
            message.product.rpartition("/")[2],
            message.quantity,
            from_money(message.net_amount).amount_minor,
            tuple(map(_read_tax, message.taxes)),
            message.title,
            from_money(message.list_amount).amount_minor
            if message.HasField("list_amount")
            else None,
            tuple(map(_read_adjustment, message.adjustments)),
        )
        for message in messages
    ]


def _read_tax(message: scheduler_pb2.OrderLineTax) -> LineTax:
    amount = from_money(message.amount)
    return LineTax(
        message.tax_rate.rpartition("/")[2],
        message.rate_ppm,
        amount.amount_minor,
        message.title,
        message.treatment,
    )


def _read_adjustment(message: scheduler_pb2.OrderLineAdjustment) -> LineAdjustment:
    amount = from_money(message.amount)
    return LineAdjustment(message.kind, amount.amount_minor, message.promotion_title)
