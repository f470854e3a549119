"""Payment methods, mandates, charges and refunds."""

from typing import Annotated

import typer
from google.protobuf import field_mask_pb2
from google.type import date_pb2, money_pb2
from recurring.payments.v1 import payments_pb2 as pb

from cli.command import command, group, naming, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.names import CHARGE, CUSTOMER, PAYMENT_METHOD, REFUND, last_id, short_name
from cli.output import Columns
from cli.values import format_date, format_money, format_timestamp, parse_money

payment_methods = group("Manage the payment methods of customers.")
charges = group("List and confirm charges, one for each order, with all attempts.")
refunds = group("Refund charges.")
links = group("Show and pay what payment links are for.")

ANY_CUSTOMER = "-"

CustomerArgument = Annotated[str, typer.Argument(metavar="CUSTOMER", help="Id or resource name.")]
TokenArgument = Annotated[
    str,
    typer.Argument(metavar="TOKEN", help="The last part of the link that the customer was sent."),
]
ChargeArgument = Annotated[
    str, typer.Argument(metavar="CHARGE", help="CUSTOMER/CHARGE, as in lists.")
]
PaymentMethodArgument = Annotated[
    str,
    typer.Argument(metavar="PAYMENT_METHOD", help="CUSTOMER/PAYMENT_METHOD, for example ada/card."),
]
ProviderOption = Annotated[
    str, typer.Option(help="Which provider knows the token; left out, the deployment's first.")
]
Amount = typer.Option(parser=parse_money, metavar="AMOUNT", help='For example "50 EUR".')

ROUTING_COLUMNS: Columns[pb.PaymentRouting] = {
    "cards": lambda it: it.card_provider,
    "bank debits": lambda it: it.bank_debit_provider,
}
PAYMENT_METHOD_COLUMNS: Columns[pb.PaymentMethod] = {
    "payment method": lambda it: short_name(it.name),
    "kind": lambda it: pb.PaymentMethod.Kind.Name(it.kind),
    "provider": lambda it: it.provider,
    "brand": lambda it: it.brand,
    "ends with": lambda it: it.last4,
    "expires": lambda it: format_month(it.expire_date),
    "state": lambda it: f"{pb.PaymentMethod.State.Name(it.state)} {it.decline_code}".strip(),
    "default": lambda it: "yes" if it.default_method else "",
    "fallback": lambda it: str(it.fallback_order or ""),
    "blocked": lambda it: format_timestamp(it.block_time),
    "detached": lambda it: format_timestamp(it.detach_time),
    "at the provider": lambda it: it.provider_customer_id,
    "created": lambda it: format_timestamp(it.create_time),
}
CHARGE_COLUMNS: Columns[pb.Charge] = {
    "charge": lambda it: short_name(it.name),
    "amount": lambda it: format_money(it.amount),
    "state": lambda it: pb.Charge.State.Name(it.state),
    "of credit": lambda it: format_money(it.credit_amount),
    "attempts": lambda it: ", ".join(describe_attempt(attempt) for attempt in it.attempts),
    "rules": lambda it: ", ".join(map(describe_rule, it.applied_rules)),
    "refused for": lambda it: ", ".join(map(pb.RefusalReason.Name, it.refusal_reasons)),
    "next attempt": lambda it: format_timestamp(it.next_attempt_time),
    "expires": lambda it: format_timestamp(it.expire_time),
    "refunded": lambda it: format_money(it.refunded_amount) if any_money(it) else "",
}
CHARGE_DETAIL_COLUMNS: Columns[pb.Charge] = {
    **CHARGE_COLUMNS,
    "order": lambda it: short_name(it.order),
    "mandate": lambda it: last_id(it.mandate),
    "pays from": lambda it: format_date(it.period_start_date),
    "through": lambda it: format_date(it.period_end_date),
    "overdue since": lambda it: format_timestamp(it.overdue_time),
    "notice": lambda it: last_id(it.notice),
    "created": lambda it: format_timestamp(it.create_time),
    "updated": lambda it: format_timestamp(it.update_time),
}
ATTEMPT_COLUMNS: Columns[pb.Charge.Attempt] = {
    "attempt": lambda it: str(it.number),
    "state": lambda it: pb.Charge.Attempt.State.Name(it.state),
    "payment method": lambda it: last_id(it.payment_method),
    "declined for": lambda it: it.decline_code,
    "policy": lambda it: str(it.policy_version) if it.HasField("policy_version") else "",
    "began": lambda it: format_timestamp(it.start_time),
    "ended": lambda it: format_timestamp(it.end_time),
    "at the provider": lambda it: it.provider_payment,
    "to be confirmed at": lambda it: it.action_uri,
    "until": lambda it: format_timestamp(it.action_expire_time),
}
VERDICT_COLUMNS: Columns[pb.Verdict] = {
    "attempt": lambda it: f"{it.attempt} again" if it.resend else str(it.attempt),
    "decided": lambda it: format_timestamp(it.decide_time),
    "guard": lambda it: (
        ", ".join(f"{pb.RefusalReason.Name(cause.reason)} ({cause.source})" for cause in it.causes)
        or "allowed"
    ),
    "amount": lambda it: format_money(it.amount),
    "payment method": lambda it: last_id(it.payment_method),
    "mandate": lambda it: f"{last_id(it.mandate)} {it.mandate_etag}".strip() or "confirmed",
    "one charge": lambda it: format_money(it.charge_ceiling),
    "a period": lambda it: format_money(it.period_ceiling),
    "paid before": lambda it: format_money(it.period_spent_amount),
    "since": lambda it: format_timestamp(it.period_start_time),
    "last paid": lambda it: format_timestamp(it.last_charge_time),
    "notice": lambda it: last_id(it.notice),
    "said": lambda it: format_money(it.notice_amount),
    "not before": lambda it: format_timestamp(it.charge_not_before_time),
    "delivered": lambda it: format_timestamp(it.deliver_time),
    "rules": lambda it: ", ".join(map(describe_rule, it.applied_rules)),
}
LINKED_REQUEST_COLUMNS: Columns[pb.PaymentRequest] = {
    "charge": lambda it: short_name(it.charge),
    "title": lambda it: it.title,
    "amount": lambda it: format_money(it.amount),
    "state": lambda it: pb.Charge.State.Name(it.state),
    "until": lambda it: format_timestamp(it.expire_time),
    "link used": lambda it: format_timestamp(it.link_use_time),
    "payment methods": lambda it: ", ".join(last_id(one.name) for one in it.payment_methods),
}
REFUND_COLUMNS: Columns[pb.Refund] = {
    "refund": lambda it: last_id(it.name),
    "amount": lambda it: format_money(it.amount),
    "as credit": lambda it: format_money(it.credit_amount),
    "state": lambda it: pb.Refund.State.Name(it.state),
    "products": lambda it: ", ".join(
        f"{line.product_id} {format_money(line.amount)}" for line in it.lines
    ),
    "failure code": lambda it: it.failure_code,
    "note": lambda it: it.note,
    "created": lambda it: format_timestamp(it.create_time),
    "updated": lambda it: format_timestamp(it.update_time),
}


def format_month(date: date_pb2.Date) -> str:
    """The month until which something is valid, as on a card."""
    return f"{date.year}-{date.month:02}" if date.year else ""


def describe_rule(rule: pb.AppliedRule) -> str:
    """A rule of a rule pack, and what it refused a charge for."""
    refused = f" ({pb.RefusalReason.Name(rule.refusal_reason)})" if rule.refusal_reason else ""
    return f"{last_id(rule.rule_pack)} {rule.rule}{refused}"


def describe_attempt(attempt: pb.Charge.Attempt) -> str:
    """One try at the provider in a few words."""
    state = pb.Charge.Attempt.State.Name(attempt.state)
    return f"{state} {attempt.decline_code}".strip()


def payment_method_name(session: Session, customer: str, payment_method: str) -> str:
    """The full name of a payment method; its id alone means one of the customer."""
    if "/" not in payment_method:
        return f"{customer}/paymentMethods/{payment_method}"
    with naming("--payment-method"):
        return session.name(PAYMENT_METHOD, payment_method)


def any_money(charge: pb.Charge) -> bool:
    """Whether anything of a charge was given back."""
    return bool(charge.refunded_amount.units or charge.refunded_amount.nanos)


@command(payment_methods, "add")
async def add_payment_method(
    session: Session,
    customer: CustomerArgument,
    method: Annotated[str, typer.Argument(metavar="ID", help="The id of the new payment method.")],
    token: Annotated[
        str, typer.Option(help="The payment provider's token, for example pm_card_visa.")
    ],
    provider: ProviderOption = "",
) -> None:
    """Store the payment provider's token of a card or bank account."""
    request = pb.CreatePaymentMethodRequest(
        parent=session.name(CUSTOMER, customer),
        payment_method_id=method,
        payment_method=pb.PaymentMethod(provider_token=token, provider=provider),
        request_id=new_request_id(),
    )
    session.output.one(await session.payments.CreatePaymentMethod(request), PAYMENT_METHOD_COLUMNS)


@command(payment_methods, "list")
async def list_payment_methods(session: Session, customer: CustomerArgument) -> None:
    """List a customer's payment methods."""
    request = pb.ListPaymentMethodsRequest(parent=session.name(CUSTOMER, customer))
    listed = await all_pages(session.payments.ListPaymentMethods, request, "payment_methods")
    session.output.many(listed, PAYMENT_METHOD_COLUMNS, "no payment methods")


@command(payment_methods, "get")
async def get_payment_method(session: Session, payment_method: PaymentMethodArgument) -> None:
    """Show a payment method."""
    request = pb.GetPaymentMethodRequest(name=session.name(PAYMENT_METHOD, payment_method))
    session.output.one(await session.payments.GetPaymentMethod(request), PAYMENT_METHOD_COLUMNS)


@command(payment_methods, "set-default")
async def set_default_payment_method(
    session: Session, payment_method: PaymentMethodArgument
) -> None:
    """Charge a payment method where a mandate names none."""
    request = pb.SetDefaultPaymentMethodRequest(
        name=session.name(PAYMENT_METHOD, payment_method), request_id=new_request_id()
    )
    made = await session.payments.SetDefaultPaymentMethod(request)
    session.output.one(made, PAYMENT_METHOD_COLUMNS)


@command(payment_methods, "set-fallback")
async def set_fallback(
    session: Session,
    payment_method: PaymentMethodArgument,
    order: Annotated[
        int, typer.Argument(metavar="ORDER", help="The place among the fallbacks; 0: none.")
    ],
) -> None:
    """Charge a payment method where the default can't be charged."""
    request = pb.UpdatePaymentMethodRequest(
        payment_method=pb.PaymentMethod(
            name=session.name(PAYMENT_METHOD, payment_method), fallback_order=order
        ),
        update_mask=field_mask_pb2.FieldMask(paths=["fallback_order"]),
        request_id=new_request_id(),
    )
    session.output.one(await session.payments.UpdatePaymentMethod(request), PAYMENT_METHOD_COLUMNS)


@command(payment_methods, "replace")
async def replace_payment_method(
    session: Session,
    payment_method: PaymentMethodArgument,
    method: Annotated[str, typer.Argument(metavar="ID", help="The id of the new payment method.")],
    token: Annotated[str, typer.Option(help="The payment provider's token of the new one.")],
    provider: ProviderOption = "",
) -> None:
    """Put a new card or account in the place of a payment method, for all mandates that name it."""
    request = pb.ReplacePaymentMethodRequest(
        name=session.name(PAYMENT_METHOD, payment_method),
        payment_method_id=method,
        payment_method=pb.PaymentMethod(provider_token=token, provider=provider),
        request_id=new_request_id(),
    )
    session.output.one(await session.payments.ReplacePaymentMethod(request), PAYMENT_METHOD_COLUMNS)


@command(payment_methods, "routing")
async def payment_routing(
    session: Session,
    card: Annotated[
        str | None, typer.Option(help="The provider that takes new cards; empty: any.")
    ] = None,
    bank_debit: Annotated[
        str | None, typer.Option(help="The provider that takes new bank accounts; empty: any.")
    ] = None,
) -> None:
    """Show which providers take new payment methods, or change it."""
    name = f"{session.parent}/paymentRouting"
    routing = await session.payments.GetPaymentRouting(pb.GetPaymentRoutingRequest(name=name))
    if card is not None or bank_debit is not None:
        routing.card_provider = routing.card_provider if card is None else card
        if bank_debit is not None:
            routing.bank_debit_provider = bank_debit
        request = pb.UpdatePaymentRoutingRequest(
            payment_routing=routing, request_id=new_request_id()
        )
        routing = await session.payments.UpdatePaymentRouting(request)
    session.output.one(routing, ROUTING_COLUMNS)


@command(payment_methods, "detach")
async def detach_payment_method(
    session: Session,
    payment_method: PaymentMethodArgument,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Even if active mandates have no other.")
    ] = False,
) -> None:
    """End the use of a payment method."""
    request = pb.DetachPaymentMethodRequest(
        name=session.name(PAYMENT_METHOD, payment_method),
        force=force,
        request_id=new_request_id(),
    )
    session.output.one(await session.payments.DetachPaymentMethod(request), PAYMENT_METHOD_COLUMNS)


@command(charges, "list")
async def list_charges(
    session: Session,
    customer: Annotated[
        str, typer.Argument(metavar="CUSTOMER", help="Id or resource name; `-` for all.")
    ] = ANY_CUSTOMER,
    state: Annotated[
        pb.Charge.State.ValueType, one_of(pb.Charge.State, "Only charges in this state.")
    ] = pb.Charge.STATE_UNSPECIFIED,
) -> None:
    """List the charges of a customer, or of the merchant."""
    request = pb.ListChargesRequest(
        parent=session.name(CUSTOMER, customer),
        state=state,
    )
    listed = await all_pages(session.payments.ListCharges, request, "charges")
    session.output.many(listed, CHARGE_COLUMNS, "no charges")


@command(charges, "get")
async def get_charge(session: Session, charge: ChargeArgument) -> None:
    """Show a charge."""
    request = pb.GetChargeRequest(name=session.name(CHARGE, charge))
    message = await session.payments.GetCharge(request)
    session.output.one(message, CHARGE_DETAIL_COLUMNS)
    if not session.output.as_json:
        session.output.many(message.attempts, ATTEMPT_COLUMNS, "no attempts")


@command(charges, "explain")
async def explain_charge(session: Session, charge: ChargeArgument) -> None:
    """Show what the guard said of a charge before each attempt, and what it compared."""
    request = pb.ExplainChargeRequest(name=session.name(CHARGE, charge))
    response = await session.payments.ExplainCharge(request)
    if session.output.as_json:
        session.output.one(response, {})
        return
    session.output.one(response.charge, CHARGE_DETAIL_COLUMNS)
    session.output.many(response.charge.attempts, ATTEMPT_COLUMNS, "no attempts")
    for verdict in response.verdicts:
        session.output.one(verdict, VERDICT_COLUMNS)


@command(charges, "confirm")
async def confirm_payment_request(
    session: Session,
    charge: ChargeArgument,
    payment_method: Annotated[
        str, typer.Option(metavar="ID", help="The payment method to pay with.")
    ],
    amount: Annotated[money_pb2.Money | None, Amount] = None,
) -> None:
    """Confirm a payment request on behalf of the customer."""
    name = session.name(CHARGE, charge)
    customer = name.rpartition("/charges/")[0]
    request = pb.ConfirmPaymentRequestRequest(
        name=name,
        payment_method=payment_method_name(session, customer, payment_method),
        request_id=new_request_id(),
        amount=amount,
    )
    session.output.one(await session.payments.ConfirmPaymentRequest(request), CHARGE_COLUMNS)


def parse_refund_line(text: str) -> pb.RefundLine:
    """A product that is given back, all of it or for an amount."""
    product, _, amount = text.partition("=")
    return pb.RefundLine(product_id=product, amount=parse_money(amount) if amount else None)


@command(links, "show")
async def resolve_payment_link(session: Session, token: TokenArgument) -> None:
    """Show what a payment link is for."""
    request = pb.ResolvePaymentLinkRequest(parent=session.parent, link_token=token)
    session.output.one(await session.payments.ResolvePaymentLink(request), LINKED_REQUEST_COLUMNS)


@command(links, "pay")
async def pay_by_link(
    session: Session,
    token: TokenArgument,
    payment_method: Annotated[
        str, typer.Option(metavar="ID", help="The payment method to pay with.")
    ],
) -> None:
    """Pay what a payment link is for, as its customer does."""
    resolve = pb.ResolvePaymentLinkRequest(parent=session.parent, link_token=token)
    linked = await session.payments.ResolvePaymentLink(resolve)
    customer = linked.charge.rpartition("/charges/")[0]
    request = pb.PayByLinkRequest(
        parent=session.parent,
        link_token=token,
        payment_method=payment_method_name(session, customer, payment_method),
        amount=linked.amount,
        request_id=new_request_id(),
    )
    session.output.one(await session.payments.PayByLink(request), CHARGE_COLUMNS)


@command(refunds, "create")
async def create_refund(
    session: Session,
    charge: ChargeArgument,
    amount: Annotated[money_pb2.Money | None, Amount] = None,
    note: Annotated[str, typer.Option(help="The reason, as text.")] = "",
    refund: Annotated[
        str, typer.Option("--id", help="The id of the new refund. Default: generated.")
    ] = "",
    *,
    to_credit: Annotated[
        bool, typer.Option("--to-credit", help="As credit, and not to the payment method.")
    ] = False,
    line: Annotated[
        list[str] | None,
        typer.Option(metavar="PRODUCT[=AMOUNT]", help='A product, for example "tea=5 EUR".'),
    ] = None,
) -> None:
    """Refund a charge, part of it, or some of its products."""
    request_id = new_request_id()
    request = pb.CreateRefundRequest(
        parent=session.name(CHARGE, charge),
        refund_id=refund or f"r-{request_id[:8]}",
        refund=pb.Refund(
            amount=amount,
            note=note,
            to_credit=to_credit,
            lines=[parse_refund_line(text) for text in line or ()],
        ),
        request_id=request_id,
    )
    session.output.one(await session.payments.CreateRefund(request), REFUND_COLUMNS)


@command(refunds, "get")
async def get_refund(
    session: Session,
    refund: Annotated[
        str, typer.Argument(metavar="REFUND", help="CUSTOMER/CHARGE/REFUND, or its name.")
    ],
) -> None:
    """Show a refund."""
    request = pb.GetRefundRequest(name=session.name(REFUND, refund))
    session.output.one(await session.payments.GetRefund(request), REFUND_COLUMNS)


@command(refunds, "list")
async def list_refunds(session: Session, charge: ChargeArgument) -> None:
    """List the refunds of a charge."""
    request = pb.ListRefundsRequest(parent=session.name(CHARGE, charge))
    listed = await all_pages(session.payments.ListRefunds, request, "refunds")
    session.output.many(listed, REFUND_COLUMNS, "no refunds")
