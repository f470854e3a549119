"""The story: what the people in it do, and when."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from recurring.catalog.v1 import catalog_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.connect import Session, all_pages, new_request_id
from cli.demo import plan
from cli.demo.cast import Cast, restock, set_price
from cli.demo.plan import Plan
from cli.errors import CommandError
from cli.values import from_minor


@dataclass(frozen=True, slots=True)
class Beat:
    """Somebody does something at a moment."""

    time: datetime
    who: str
    text: str
    act: Callable[[], Awaitable[object]]


class Story:
    """Everything that people do between sign-up and the end; the rest happens by itself."""

    def __init__(self, session: Session, cast: Cast, dates: Plan) -> None:
        self._session = session
        self._cast = cast
        self._dates = dates

    def beats(self) -> list[Beat]:
        """What is done, in the order of time."""
        beats = [*self._of_the_merchant(), *self._of_ben(), *self._of_the_others()]
        return sorted(beats, key=lambda beat: beat.time)

    def _of_the_merchant(self) -> list[Beat]:
        noon = self._dates.noon
        coffee, box = (self._product(name) for name in ("coffee", "box"))
        return [
            Beat(
                noon(plan.PRICE_DROP_DAY),
                "merchant",
                "lowers the price of coffee",
                lambda: set_price(
                    self._session, coffee, "after-drop", plan.COFFEE_AFTER_DROP_MINOR
                ),
            ),
            Beat(
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
            Beat(
                noon(plan.REFUND_DAY),
                "merchant",
                "gives Ada something back for a torn bag",
                self._refund_ada,
            ),
            Beat(
                noon(plan.RESTOCK_DAY),
                "merchant",
                "gets more vegetable boxes",
                lambda: restock(self._session, box, plan.BOXES_RESTOCKED),
            ),
        ]

    def _of_ben(self) -> list[Beat]:
        dues = self._dates.ben_dues()
        skipped_due = dues[plan.BEN_SKIPPED_CYCLE - 1]
        skip = Beat(
            skipped_due - plan.BEN_SKIPS_BEFORE,
            "Ben",
            "is away for a week and skips a box",
            lambda: self._skip("Ben", plan.BEN_SKIPPED_CYCLE),
        )
        cancel_time = self._dates.noon(plan.BEN_CANCEL_DAY)
        cancel = Beat(cancel_time, "Ben", "cancels", lambda: self._cancel("Ben"))
        reactions = [
            Beat(due + plan.BEN_REACTS_AFTER, "Ben", "reads his phone and pays", self._ben_pays)
            for cycle, due in enumerate(dues, 1)
            if cycle not in {plan.BEN_LAPSED_CYCLE, plan.BEN_SKIPPED_CYCLE} and due < cancel_time
        ]
        return [*reactions, skip, cancel]

    def _of_the_others(self) -> list[Beat]:
        noon = self._dates.noon
        cleo_due = self._dates.cleo_dues()[plan.CLEO_SKIPPED_CYCLE - 1]
        return [
            Beat(
                cleo_due - plan.CLEO_SKIPS_BEFORE,
                "Cleo",
                "has been told of the next lenses and skips them",
                lambda: self._skip("Cleo", plan.CLEO_SKIPPED_CYCLE),
            ),
            Beat(noon(plan.PAUSE_DAY), "Dan", "pauses", self._pause_dan),
            Beat(noon(plan.RESUME_DAY), "Dan", "resumes", self._resume_dan),
            Beat(noon(plan.DAN_CANCEL_DAY), "Dan", "cancels", lambda: self._cancel("Dan")),
        ]

    async def _ben_pays(self) -> None:
        ben = self._cast.role("Ben")
        request = payments_pb2.ListChargesRequest(
            parent=self._cast.customer(ben), state=payments_pb2.Charge.REQUESTED
        )
        requested = await all_pages(self._session.payments.ListCharges, request, "charges")
        if not requested:
            raise CommandError("Ben wants to pay, but nobody has asked him to")
        for charge in requested:
            await self._session.payments.ConfirmPaymentRequest(
                payments_pb2.ConfirmPaymentRequestRequest(
                    name=charge.name,
                    payment_method=self._cast.payment_method(ben),
                    request_id=new_request_id(),
                )
            )

    async def _refund_ada(self) -> None:
        ada = self._cast.role("Ada")
        request = payments_pb2.ListChargesRequest(
            parent=self._cast.customer(ada), state=payments_pb2.Charge.SUCCEEDED
        )
        paid = await all_pages(self._session.payments.ListCharges, request, "charges")
        if not paid:
            raise CommandError("Ada has paid nothing that could be given back")
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
        return self._cast.standing_order(self._cast.role(first_name))

    def _product(self, name: str) -> str:
        return f"{self._session.parent}/products/{name}-{self._cast.run}"


async def boxes_left(session: Session, cast: Cast) -> catalog_pb2.Stock:
    """The stock of vegetable boxes."""
    product = f"{session.parent}/products/box-{cast.run}"
    return await session.catalog.GetStock(catalog_pb2.GetStockRequest(product=product))
