"""What must hold at the end of a history: what was answered, what the contracts show, and the proof."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC

from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.connect import Session
from cli.faults.actions import Acknowledged
from cli.faults.caller import Caller, Violation
from cli.faults.shop import Shop
from cli.prove.consent import EVIDENCE_AS_DELIVERED
from cli.prove.notices import ONE_NOTICE_A_FACT
from cli.prove.progress import NO_EVENT_UNDELIVERED
from cli.prove.run import run
from cli.prove.target import Target
from cli.prove.webhooks import WEBHOOK_EVENTS_KEPT
from cli.prove.witness import FOR_NO_DELIVERY, FOR_NO_NOTICE, SENT_ONCE

# What the provider says of a refund that it found out late it could not make.
SENT_BACK = "expired_or_canceled_card"
_FORGOTTEN = f"{EVIDENCE_AS_DELIVERED.left} says nothing"


async def proof_violations(session: Session, discarded: Collection[str]) -> list[Violation]:
    """What the proof finds, of all merchants; `discarded` are ids of events that operators gave up."""
    stack = session.stack
    target = Target(
        stack.database_urls, stack.sandbox_url, stack.provider_api_key, stack.provider_accounts
    )
    report = await run(target, full=True)
    violations = [
        Violation(verdict.clause.id, finding.what)
        for verdict in report.verdicts
        for finding in verdict.violations
    ]
    # A proof allows an event ten minutes, and what it is about to differ meanwhile. Here the clock has
    # come to rest: what is still on its way never arrives.
    lost = [
        Violation(NO_EVENT_UNDELIVERED.id, f"{verdict.in_motion} events never arrived")
        for verdict in report.verdicts
        if verdict.clause is NO_EVENT_UNDELIVERED and verdict.in_motion
    ]
    violations = [
        violation
        for violation in violations
        if violation.clause != WEBHOOK_EVENTS_KEPT.id
        or not any(event_id in violation.text for event_id in discarded)
    ]
    return violations + (lost if session.stack.sandbox_url else [])


async def contract_violations(shop: Shop, acknowledged: Acknowledged) -> list[Violation]:
    """What the public contracts show that must not be."""
    history = shop.history
    orders = [o for n in range(len(history.standing_orders)) for o in await shop.orders(n)]
    charges = [c for n in range(len(history.customers)) for c in await shop.charges(n)]
    return [
        *[violation async for violation in _broken_promises(shop, acknowledged)],
        *[violation async for violation in shop.platform.violations()],
        *_after_revocation(charges, acknowledged),
        *_unpaired(orders, charges),
        *_after_the_end(orders, acknowledged),
    ]


def _unpaired(
    orders: Sequence[scheduler_pb2.Order], charges: Sequence[payments_pb2.Charge]
) -> list[Violation]:
    paid = {order.name for order in orders if order.state == scheduler_pb2.Order.PAID}
    charged = {c.order for c in charges if c.state == payments_pb2.Charge.SUCCEEDED}
    differences = [f"{name}: paid, not charged" for name in sorted(paid - charged)]
    differences += [f"{name}: charged, not paid" for name in sorted(charged - paid)]
    for charge in charges:
        states = [attempt.state for attempt in charge.attempts]
        count = states.count(payments_pb2.Charge.Attempt.SUCCEEDED)
        if count > 1:
            differences.append(f"{charge.name}: {count} successful attempts")
    return [Violation("orders and charges", text) for text in differences]


def _after_the_end(
    orders: Sequence[scheduler_pb2.Order], acknowledged: Acknowledged
) -> list[Violation]:
    return [
        Violation("cancellations", f"{order.name}: made after its standing order was cancelled")
        for order in orders
        if (end := acknowledged.cancels.get(order.name.rpartition("/orders/")[0])) is not None
        and order.create_time.ToDatetime(tzinfo=UTC) > end
    ]


def _after_revocation(
    charges: Sequence[payments_pb2.Charge], acknowledged: Acknowledged
) -> list[Violation]:
    return [
        Violation("mandates", f"{charge.name}: tried after its mandate was revoked")
        for charge in charges
        if (revoked := acknowledged.revocations.get(charge.mandate)) is not None
        for attempt in charge.attempts
        if attempt.start_time.ToDatetime(tzinfo=UTC) > revoked
    ]


def _is_over(refund: payments_pb2.Refund) -> bool:
    """Whether a refund was made, unless the customer's bank sent it back."""
    came_back = refund.failure_code == SENT_BACK and refund.state == payments_pb2.Refund.FAILED
    return came_back or refund.state == payments_pb2.Refund.SUCCEEDED


async def _broken_promises(shop: Shop, acknowledged: Acknowledged) -> AsyncIterator[Violation]:
    """What was answered with success, and does not hold."""
    call, session = shop.caller.call, shop.session
    for name in acknowledged.cancels:
        request = scheduler_pb2.GetStandingOrderRequest(name=name)
        order = await call(session.scheduler.GetStandingOrder, request)
        if order is None or order.state != scheduler_pb2.StandingOrder.CANCELLED:
            yield Violation("cancellations", f"{name}: was cancelled, and is not")
    for name in acknowledged.refunds:
        refund = await call(session.payments.GetRefund, payments_pb2.GetRefundRequest(name=name))
        if refund is None or not _is_over(refund):
            yield Violation("refunds", f"{name}: was promised, and is not made")
    for name in map(shop.customer, acknowledged.erased):
        contact = notify_pb2.GetContactRequest(name=f"{name}/contact")
        if await call(session.notify.GetContact, contact) is not None:
            yield Violation("erasures", f"{name}: was erased, and is known")


def excused_by_loss(
    violation: Violation, caller: Caller, tags_of_losses: Mapping[str, Collection[str]]
) -> bool:
    """Whether a violation is due to what a service has lost with its database, and is not promised.

    `tags_of_losses` are, for each service, the tags of the histories in which it did.
    """

    def in_history_of_loss(service: str) -> bool:
        tags = tags_of_losses.get(service, ())
        return any(f"merchants/{tag}/" in violation.text for tag in tags)

    match violation.clause:
        case SENT_ONCE.id if FOR_NO_NOTICE in violation.text:
            # Nobody can give a lost code again: the messages that it led to are those of no notice.
            return caller.lost_codes_count > 0
        case SENT_ONCE.id:
            # Notify makes a lost notice again from its event, and does not send it if it is not true
            # any more. The gateway has sent it.
            return FOR_NO_DELIVERY in violation.text and in_history_of_loss("notify")
        case EVIDENCE_AS_DELIVERED.id:
            # Payments keeps that such a notice was delivered.
            return _FORGOTTEN in violation.text and in_history_of_loss("notify")
        case ONE_NOTICE_A_FACT.id:
            # What the scheduler decided and lost it decides again, by what is known then: the
            # customer has a notice of each decision.
            return in_history_of_loss("scheduler")
        case _:
            return False
