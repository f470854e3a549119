"""The scenario of the demo: what the merchant and the customers do, and when."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from recurring.catalog.v1 import catalog_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.connect import Session, all_pages, new_request_id
from cli.demo import plan
from cli.demo.participants import FIRST_METHOD, Participants, restock, set_price
from cli.demo.plan import Plan
from cli.errors import CommandError
from cli.names import last_id
from cli.price_previews import TIMINGS
from cli.values import format_date, format_money, from_minor, to_date, to_timestamp


@dataclass(frozen=True, slots=True)
class Action:
    """An action of a person at a moment."""

    time: datetime
    who: str
    text: str
    # Says what came of it, if that is not an event.
    act: Callable[[], Awaitable[object]]


class Scenario:
    """The actions of people between sign-up and the end; the suite does the rest."""

    def __init__(self, session: Session, participants: Participants, dates: Plan) -> None:
        self._session = session
        self._cast = participants
        self._dates = dates

    def actions(self) -> list[Action]:
        """All actions, in the order of time."""
        actions = [
            *self._of_the_merchant(),
            *self._of_ben(),
            *self._of_the_others(),
            *self._of_eve(),
        ]
        return sorted(actions, key=lambda action: action.time)

    def _of_the_merchant(self) -> list[Action]:
        noon = self._dates.noon
        coffee, box = (self._product(name) for name in ("coffee", "box"))
        return [
            Action(
                noon(plan.PRICE_DROP_DAY),
                "merchant",
                "lowers the price of coffee",
                lambda: set_price(
                    self._session, coffee, "after-drop", plan.COFFEE_AFTER_DROP_MINOR
                ),
            ),
            Action(
                noon(plan.PRICE_RISE_ANNOUNCE_DAY),
                "merchant",
                "announces a higher price of coffee from tomorrow",
                lambda: set_price(
                    self._session,
                    coffee,
                    "after-rise",
                    plan.COFFEE_AFTER_RISE_MINOR,
                    from_plan=self._dates,
                ),
            ),
            Action(
                noon(plan.PRICE_RISE_ANNOUNCE_DAY) - plan.PREVIEWS_BEFORE,
                "merchant",
                "tries a higher price of coffee from tomorrow",
                lambda: self._preview_rise(coffee),
            ),
            Action(
                noon(plan.REFUND_DAY),
                "merchant",
                "gives Ada something back for a torn bag",
                self._refund_ada,
            ),
            Action(
                noon(plan.RESTOCK_DAY),
                "merchant",
                "gets more vegetable boxes",
                lambda: restock(self._session, box, plan.BOXES_RESTOCKED),
            ),
        ]

    def _of_ben(self) -> list[Action]:
        dues = self._dates.ben_dues()
        skipped_due = dues[plan.BEN_SKIPPED_CYCLE - 1]
        skip = Action(
            skipped_due - plan.BEN_SKIPS_BEFORE,
            "Ben",
            "is away for a week and skips a box",
            lambda: self._skip("Ben", plan.BEN_SKIPPED_CYCLE),
        )
        cancel_time = self._dates.noon(plan.BEN_CANCEL_DAY)
        cancel = Action(cancel_time, "Ben", "cancels", lambda: self._cancel("Ben"))
        reactions = [
            Action(due + plan.BEN_REACTS_AFTER, "Ben", "reads his phone and pays", self._ben_pays)
            for cycle, due in enumerate(dues, 1)
            if cycle not in {plan.BEN_LAPSED_CYCLE, plan.BEN_SKIPPED_CYCLE} and due < cancel_time
        ]
        return [*reactions, skip, cancel]

    def _of_the_others(self) -> list[Action]:
        noon = self._dates.noon
        cleo_due = self._dates.cleo_dues()[plan.CLEO_SKIPPED_CYCLE - 1]
        return [
            Action(
                cleo_due - plan.CLEO_SKIPS_BEFORE,
                "Cleo",
                "reads the notice of the next lenses and skips them",
                lambda: self._skip("Cleo", plan.CLEO_SKIPPED_CYCLE),
            ),
            Action(noon(plan.PAUSE_DAY), "Dan", "pauses", self._pause_dan),
            Action(noon(plan.RESUME_DAY), "Dan", "resumes", self._resume_dan),
            Action(noon(plan.DAN_CANCEL_DAY), "Dan", "cancels", lambda: self._cancel("Dan")),
        ]

    def _of_eve(self) -> list[Action]:
        noon, dues = self._dates.noon, self._dates.eve_dues()
        return [
            Action(
                dues[0] + plan.EVE_MENDS_AFTER,
                "Eve",
                "is notified that her card was declined, and gives another",
                lambda: self._replace_method(FIRST_METHOD, "second-card", "pm_card_visa"),
            ),
            Action(
                noon(plan.EVE_ACCOUNT_DAY),
                "Eve",
                "pays from her bank account from now on",
                lambda: self._replace_method(
                    "second-card", "account", "MD_sandbox_failsAfterConfirmation"
                ),
            ),
            Action(
                noon(plan.EVE_CARD_DAY),
                "Eve",
                "is notified that her bank sent the debit back, and pays by card again",
                lambda: self._replace_method("account", "third-card", "pm_card_mastercard"),
            ),
            Action(
                dues[-1] + plan.EVE_DISPUTES_AFTER,
                "Eve",
                "does not know the payment any more, and disputes it at her bank",
                self._dispute_eve,
            ),
            Action(
                dues[-1] + plan.ANSWERED_AFTER,
                "merchant",
                "answers with her consent, the notice and the attempts",
                self._answer_dispute,
            ),
        ]

    async def _replace_method(self, method: str, successor: str, token: str) -> None:
        """Put a card or an account in the place of what Eve pays with."""
        customer = self._cast.customer(self._cast.participant("Eve"))
        kinds = payments_pb2.PaymentMethod
        wanted = payments_pb2.PaymentMethod(
            provider_token=token, kind=kinds.BANK_DEBIT if token.startswith("MD") else kinds.CARD
        )
        await self._session.payments.ReplacePaymentMethod(
            payments_pb2.ReplacePaymentMethodRequest(
                name=f"{customer}/paymentMethods/{method}",
                payment_method_id=successor,
                payment_method=wanted,
                request_id=new_request_id(),
            )
        )

    async def _dispute_eve(self) -> None:
        charge = (await self._charges_of("Eve"))[-1]
        payment = charge.attempts[-1].provider_payment
        await self._session.sandbox.post(
            "/provider/disputes", {"payment_intent": payment, "reason": "unrecognized"}
        )

    async def _answer_dispute(self) -> None:
        charge = (await self._charges_of("Eve"))[-1]
        request = payments_pb2.ListDisputesRequest(parent=self._session.parent, charge=charge.name)
        [dispute] = await all_pages(self._session.payments.ListDisputes, request, "disputes")
        await self._session.payments.SubmitDisputeEvidence(
            payments_pb2.SubmitDisputeEvidenceRequest(
                name=dispute.name,
                # What has the sandbox's bank decide for the merchant, as in Stripe's test mode.
                text="winning_evidence",
                request_id=new_request_id(),
            )
        )

    async def _charges_of(self, first_name: str) -> list[payments_pb2.Charge]:
        """What a customer has paid, the order that was due last at the end."""
        request = payments_pb2.ListChargesRequest(
            parent=self._cast.customer(self._cast.participant(first_name)),
            state=payments_pb2.Charge.SUCCEEDED,
        )
        charges = await all_pages(self._session.payments.ListCharges, request, "charges")
        if not charges:
            raise CommandError(f"{first_name} has paid nothing yet")
        return sorted(charges, key=lambda charge: int(last_id(charge.order)))

    async def _preview_rise(self, coffee: str) -> str:
        """Say whom the rise would touch."""
        draft = catalog_pb2.Price(
            unit_price=from_minor(plan.COFFEE_AFTER_RISE_MINOR, plan.CURRENCY),
            effective_time=to_timestamp(self._dates.noon(plan.PRICE_RISE_DAY)),
        )
        request = scheduler_pb2.PreviewPriceChangeRequest(
            draft=catalog_pb2.DraftPrice(product=coffee, price=draft),
            end_date=to_date(self._dates.date(plan.DEMO_DAYS)),
        )
        preview = await self._session.scheduler.PreviewPriceChange(request)
        groups = [
            f"{group.standing_order_count} {TIMINGS[group.timing]}"
            f" (from {format_date(group.first_cycles[0].date)})"
            for group in preview.groups
            if group.first_cycles
        ]
        before, after = preview.previous_gross_revenue, preview.gross_revenue
        return (
            f"sees that it reaches {preview.standing_order_count} standing orders:"
            f" {', '.join(groups)}; they will pay {format_money(after)}, not {format_money(before)}"
        )

    async def _ben_pays(self) -> None:
        ben = self._cast.participant("Ben")
        request = payments_pb2.ListChargesRequest(
            parent=self._cast.customer(ben), state=payments_pb2.Charge.REQUESTED
        )
        requested = await all_pages(self._session.payments.ListCharges, request, "charges")
        if not requested:
            raise CommandError("Ben wants to pay, but has no payment request")
        for charge in requested:
            await self._session.payments.ConfirmPaymentRequest(
                payments_pb2.ConfirmPaymentRequestRequest(
                    name=charge.name,
                    payment_method=self._cast.payment_method(ben),
                    request_id=new_request_id(),
                )
            )

    async def _refund_ada(self) -> None:
        paid = await self._charges_of("Ada")
        await self._session.payments.CreateRefund(
            payments_pb2.CreateRefundRequest(
                parent=paid[-1].name,
                refund_id="torn-bag",
                refund=payments_pb2.Refund(
                    amount=from_minor(plan.REFUND_MINOR, plan.CURRENCY), note="torn bag"
                ),
                request_id=new_request_id(),
            )
        )

    async def _skip(self, first_name: str, cycle: int) -> None:
        await self._session.scheduler.SkipCycle(
            scheduler_pb2.SkipCycleRequest(
                name=self._standing_order(first_name), cycle=cycle, request_id=new_request_id()
            )
        )

    async def _cancel(self, first_name: str) -> None:
        await self._session.scheduler.CancelStandingOrder(
            scheduler_pb2.CancelStandingOrderRequest(
                name=self._standing_order(first_name), request_id=new_request_id()
            )
        )

    async def _pause_dan(self) -> None:
        await self._session.scheduler.PauseStandingOrder(
            scheduler_pb2.PauseStandingOrderRequest(
                name=self._standing_order("Dan"), request_id=new_request_id()
            )
        )

    async def _resume_dan(self) -> None:
        await self._session.scheduler.ResumeStandingOrder(
            scheduler_pb2.ResumeStandingOrderRequest(
                name=self._standing_order("Dan"), request_id=new_request_id()
            )
        )

    def _standing_order(self, first_name: str) -> str:
        return self._cast.standing_order(self._cast.participant(first_name))

    def _product(self, name: str) -> str:
        return f"{self._session.parent}/products/{name}-{self._cast.run}"


async def boxes_left(session: Session, participants: Participants) -> catalog_pb2.Stock:
    """The stock of vegetable boxes."""
    product = f"{session.parent}/products/box-{participants.run}"
    return await session.catalog.GetStock(catalog_pb2.GetStockRequest(product=product))
