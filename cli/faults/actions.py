"""What customers and merchants do in a history. A refusal is a result: the state may have moved on."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf import field_mask_pb2
from google.protobuf.message import Message
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.faults.history import Step
from cli.faults.shop import CURRENCY, PHONE_OF, Shop
from cli.values import from_minor, to_date, to_duration

ANSWERABLE = {
    payments_pb2.Dispute.NEEDS_RESPONSE,
    payments_pb2.Dispute.INQUIRY_NEEDS_RESPONSE,
}
# What customers write on their phones, by the number of a step.
WORDS = ("SKIP", "PAUSE", "PAY", "STOP", "What is this?")
# As the sandbox's bank decides at once, or later.
EVIDENCE = ("winning_evidence", "losing_evidence", "The goods were delivered.")
# The word of a step -> the method that does it.
_METHODS = {
    "skip": "_skip",
    "restore": "_restore",
    "move": "_move",
    "change_items": "_change_items",
    "cancel": "_cancel",
    "pause": "_pause",
    "hold_off": "_pause_for_days",
    "resume": "_resume",
    "order_now": "_order_now",
    "quantity": "_quantity",
    "schedule": "_schedule",
    "mode": "_mode",
    "mandate": "_mandate",
    "purchase": "_purchase",
    "unpaid_policy": "_unpaid_policy",
    "ask_confirm": "_confirm_held",
    "revoke": "_revoke",
    "amend": "_amend",
    "reply": "_reply",
    "answer_dispute": "_answer_dispute",
    "refund": "_refund",
    "refund_line": "_refund_line",
    "confirm": "_confirm",
    "rebind": "_rebind",
    "cancel_phone_change": "_cancel_phone_change",
    "webhooks": "_change_webhooks",
    "erase": "_erase",
    "price": "_price",
    "restock": "_restock",
    "discontinue": "_discontinue",
}


@dataclass
class Acknowledged:
    """What was answered with success, and so must hold for good."""

    # Standing order -> when it was cancelled.
    cancels: dict[str, datetime] = field(default_factory=dict)
    # Mandate -> when it was revoked.
    revocations: dict[str, datetime] = field(default_factory=dict)
    refunds: set[str] = field(default_factory=set)
    erased: set[int] = field(default_factory=set)


class Actions:
    """All actions, by the word that a step has for them."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._session = shop.session
        self.acknowledged = Acknowledged()

    @staticmethod
    def words() -> set[str]:
        """The words of all actions."""
        return set(_METHODS)

    async def act(self, step: Step) -> None:
        """Do what a step says."""
        await getattr(self, _METHODS[step["act"]])(step)

    async def _call(self, method: Any, request: Message, step: Step) -> Any | None:  # noqa: ANN401
        return await self._shop.caller.call(method, request, twice=step["twice"])

    # --- a cycle ----------------------------------------------------------------------------------

    async def _next_cycle(self, step: Step) -> int:
        name = self._shop.standing_order(step["order"])
        request = scheduler_pb2.GetStandingOrderRequest(name=name)
        standing_order = await self._shop.caller.call(
            self._session.scheduler.GetStandingOrder, request
        )
        return int(standing_order.next_cycle) if standing_order is not None else 0

    async def _skip(self, step: Step) -> None:
        request = scheduler_pb2.SkipCycleRequest(name=self._shop.standing_order(step["order"]))
        # Now and then one that has its order already, or one far ahead.
        if step["number"] > 2:  # noqa: PLR2004 - of 1 to 5
            request.cycle = max(1, await self._next_cycle(step) + step["number"] - 4)
        await self._call(self._session.scheduler.SkipCycle, request, step)

    async def _restore(self, step: Step) -> None:
        request = scheduler_pb2.RestoreCycleRequest(
            name=self._shop.standing_order(step["order"]), cycle=await self._next_cycle(step) or 1
        )
        await self._call(self._session.scheduler.RestoreCycle, request, step)

    async def _move(self, step: Step) -> None:
        day = (await self._shop.now()).date() + timedelta(days=step["number"])
        change = scheduler_pb2.CycleChange(
            cycle=await self._next_cycle(step) or 1, local_date=to_date(day)
        )
        await self._change_cycle(step, change)

    async def _change_items(self, step: Step) -> None:
        change = scheduler_pb2.CycleChange(
            cycle=await self._next_cycle(step) or 1,
            items=self._shop.items({step["product"]: step["number"]}),
        )
        await self._change_cycle(step, change)

    async def _change_cycle(self, step: Step, change: scheduler_pb2.CycleChange) -> None:
        request = scheduler_pb2.ChangeCycleRequest(
            name=self._shop.standing_order(step["order"]), change=change
        )
        await self._call(self._session.scheduler.ChangeCycle, request, step)

    async def _order_now(self, step: Step) -> None:
        request = scheduler_pb2.OrderNowRequest(name=self._shop.standing_order(step["order"]))
        await self._call(self._session.scheduler.OrderNow, request, step)

    async def _confirm_held(self, step: Step) -> None:
        for order in await self._shop.orders(step["order"]):
            if order.state == scheduler_pb2.Order.HELD:
                confirm = scheduler_pb2.ConfirmOrderRequest(name=order.name)
                await self._call(self._session.scheduler.ConfirmOrder, confirm, step)

    # --- a standing order -------------------------------------------------------------------------

    async def _cancel(self, step: Step) -> None:
        name = self._shop.standing_order(step["order"])
        request = scheduler_pb2.CancelStandingOrderRequest(
            name=name,
            after_current_cycle=step["number"] == 1,
        )
        answer = await self._call(self._session.scheduler.CancelStandingOrder, request, step)
        if answer is not None and answer.state == scheduler_pb2.StandingOrder.CANCELLED:
            self.acknowledged.cancels.setdefault(name, answer.update_time.ToDatetime(tzinfo=UTC))

    async def _pause(self, step: Step) -> None:
        request = scheduler_pb2.PauseStandingOrderRequest(
            name=self._shop.standing_order(step["order"])
        )
        await self._call(self._session.scheduler.PauseStandingOrder, request, step)

    async def _pause_for_days(self, step: Step) -> None:
        request = scheduler_pb2.PauseStandingOrderRequest(
            name=self._shop.standing_order(step["order"])
        )
        request.until_time.FromDatetime(
            await self._shop.now() + timedelta(hours=20 * step["number"])
        )
        await self._call(self._session.scheduler.PauseStandingOrder, request, step)

    async def _resume(self, step: Step) -> None:
        request = scheduler_pb2.ResumeStandingOrderRequest(
            name=self._shop.standing_order(step["order"])
        )
        await self._call(self._session.scheduler.ResumeStandingOrder, request, step)

    async def _update(self, step: Step, path: str, **fields: Any) -> None:  # noqa: ANN401
        wanted = scheduler_pb2.StandingOrder(
            name=self._shop.standing_order(step["order"]), **fields
        )
        request = scheduler_pb2.UpdateStandingOrderRequest(
            standing_order=wanted,
            update_mask=field_mask_pb2.FieldMask(paths=path.split(",")),
            allow_duplicate=True,
        )
        await self._call(self._session.scheduler.UpdateStandingOrder, request, step)

    async def _quantity(self, step: Step) -> None:
        items = self._shop.items({step["product"]: step["number"]})
        await self._update(step, "items", items=items)

    async def _schedule(self, step: Step) -> None:
        await self._update(step, "schedule", schedule=await self._shop.schedule(step["schedule"]))

    async def _mode(self, step: Step) -> None:
        customer = self._shop.history.standing_orders[step["order"]]["customer"]
        if step["number"] > 2:  # noqa: PLR2004 - of 1 to 5
            await self._update(
                step,
                "billing_mode,mandate",
                billing_mode=scheduler_pb2.AUTOMATIC,
                mandate=self._shop.mandate(customer),
            )
        else:
            await self._update(
                step, "billing_mode,mandate", billing_mode=scheduler_pb2.PAY_ON_NOTICE
            )

    async def _mandate(self, step: Step) -> None:
        customer = self._shop.history.standing_orders[step["order"]]["customer"]
        await self._update(step, "mandate", mandate=await self._shop.consent(customer))

    # --- a customer -------------------------------------------------------------------------------

    async def _revoke(self, step: Step) -> None:
        name = self._shop.mandate(step["customer"])
        request = payments_pb2.RevokeMandateRequest(name=name)
        answer = await self._call(self._session.payments.RevokeMandate, request, step)
        if answer is not None:
            revoked = answer.revoke_time.ToDatetime(tzinfo=UTC)
            self.acknowledged.revocations.setdefault(name, revoked)

    async def _amend(self, step: Step) -> None:
        """Promise to announce charges earlier, or later, than before."""
        lead = to_duration(timedelta(days=step["number"]))
        request = payments_pb2.AmendMandateRequest(
            name=self._shop.mandate(step["customer"]),
            terms=payments_pb2.MandateTerms(lead=lead),
            update_mask=field_mask_pb2.FieldMask(paths=["lead"]),
            # A shorter lead is wider.
            evidence=await self._shop.evidence(),
        )
        await self._call(self._session.payments.AmendMandate, request, step)

    async def _reply(self, step: Step) -> None:
        """Write back on the phone what the last message asks for, or what it does not."""
        phone = self._shop.phones.get(step["customer"])
        # A number that customers of other histories have as well would act for them.
        if phone and phone not in PHONE_OF.values():
            await self._session.sandbox.reply(phone, WORDS[step["number"] - 1])
            await self._session.sandbox.settle()

    async def _answer_dispute(self, step: Step) -> None:
        request = payments_pb2.ListDisputesRequest(parent=self._shop.parent)
        listed = await self._shop.caller.call(self._session.payments.ListDisputes, request)
        for dispute in listed.disputes if listed is not None else ():
            if dispute.state not in ANSWERABLE:
                continue
            evidence = payments_pb2.SubmitDisputeEvidenceRequest(
                name=dispute.name, text=EVIDENCE[step["number"] % len(EVIDENCE)]
            )
            await self._call(self._session.payments.SubmitDisputeEvidence, evidence, step)

    async def _refund(self, step: Step) -> None:
        amount = from_minor(100, CURRENCY)
        # Of 1 to 5; else all of it.
        refund = payments_pb2.Refund(amount=amount if step["number"] > 3 else None)  # noqa: PLR2004
        await self._give_back(step, refund)

    async def _refund_line(self, step: Step) -> None:
        """Give back a product of an order, or some of it, to the card or as credit."""
        product = self._shop.product(step["product"]).rpartition("/")[2]
        amount = from_minor(100, CURRENCY) if step["number"] % 2 else None
        line = payments_pb2.RefundLine(product_id=product, amount=amount)
        # Of 1 to 5.
        refund = payments_pb2.Refund(lines=[line], to_credit=step["number"] > 3)  # noqa: PLR2004
        await self._give_back(step, refund)

    async def _give_back(self, step: Step, refund: payments_pb2.Refund) -> None:
        paid = [
            charge
            for charge in await self._shop.charges(step["customer"])
            if charge.state == payments_pb2.Charge.SUCCEEDED
        ]
        if not paid:
            return
        charge = paid[step["number"] % len(paid)]
        refund_id = f"r{len(self.acknowledged.refunds)}-{step['number']}"
        refund.note = "faults"
        request = payments_pb2.CreateRefundRequest(
            parent=charge.name, refund_id=refund_id, refund=refund
        )
        if await self._call(self._session.payments.CreateRefund, request, step) is not None:
            self.acknowledged.refunds.add(f"{charge.name}/refunds/{refund_id}")

    async def _confirm(self, step: Step) -> None:
        for charge in await self._shop.charges(step["customer"]):
            if charge.state == payments_pb2.Charge.REQUESTED:
                request = payments_pb2.ConfirmPaymentRequestRequest(
                    name=charge.name, payment_method=self._shop.payment_method(step["customer"])
                )
                await self._call(self._session.payments.ConfirmPaymentRequest, request, step)

    async def _purchase(self, step: Step) -> None:
        request = scheduler_pb2.RecordPurchaseRequest(
            customer=self._shop.customer(step["customer"]),
            products=[self._shop.product(step["product"])],
        )
        await self._call(self._session.scheduler.RecordPurchase, request, step)

    async def _rebind(self, step: Step) -> None:
        # Now and then they do not have the phone before any more.
        await self._shop.bind_phone(step["customer"], by_both=step["number"] > 2)  # noqa: PLR2004 - of 1 to 5

    async def _cancel_phone_change(self, step: Step) -> None:
        """As the owner of the phone before, who objects."""
        request = notify_pb2.CancelPhoneChangeRequest(
            name=f"{self._shop.customer(step['customer'])}/contact"
        )
        await self._call(self._session.notify.CancelPhoneChange, request, step)

    async def _change_webhooks(self, step: Step) -> None:
        await self._shop.platform.change(step)

    async def _erase(self, step: Step) -> None:
        """As the guide says: ask the scheduler first, then the others."""
        # Rarely: it is the end of a customer.
        if step["number"] != 1:
            return
        name = self._shop.customer(step["customer"])
        first = scheduler_pb2.EraseCustomerRequest(name=name)
        if await self._call(self._session.scheduler.EraseCustomer, first, step) is None:
            return
        then = payments_pb2.EraseCustomerRequest(name=name)
        if await self._call(self._session.payments.EraseCustomer, then, step) is None:
            return
        last = notify_pb2.EraseCustomerRequest(name=name)
        if await self._call(self._session.notify.EraseCustomer, last, step) is not None:
            self.acknowledged.erased.add(step["customer"])

    # --- the merchant -----------------------------------------------------------------------------

    async def _price(self, step: Step) -> None:
        now = await self._shop.now()
        effective = None if step["number"] == 1 else now + timedelta(days=step["number"])
        amount_minor = 300 * step["number"]
        price_id = f"p{int(now.timestamp())}-{step['number']}"
        await self._shop.set_price(step["product"], price_id, amount_minor, effective)

    async def _restock(self, step: Step) -> None:
        request = catalog_pb2.AdjustStockRequest(
            product=self._shop.product("beans"), delta_units=step["number"] - 2 or 10
        )
        await self._call(self._session.catalog.AdjustStock, request, step)

    async def _discontinue(self, step: Step) -> None:
        # Rarely: it ends all orders of the product.
        if step["number"] == 1:
            name = self._shop.product(step["product"])
            request = catalog_pb2.DiscontinueProductRequest(name=name)
            await self._call(self._session.catalog.DiscontinueProduct, request, step)

    async def _unpaid_policy(self, step: Step) -> None:
        settings = scheduler_pb2.SchedulerSettings(
            name=f"{self._shop.parent}/schedulerSettings",
            unpaid_policy=scheduler_pb2.SchedulerSettings.UnpaidPolicy.Value(step["word"]),
            # Of 1 to 5: orders that lapsed may still be paid, or not.
            late_payment_days=max(0, step["number"] - 2),
        )
        request = scheduler_pb2.UpdateSchedulerSettingsRequest(scheduler_settings=settings)
        await self._call(self._session.scheduler.UpdateSchedulerSettings, request, step)
