"""Terms of a standing order as options: payment, notice, conditions, price protection."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Annotated

import typer
from google.type import postal_address_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.command import naming, one_of
from cli.conditions import HELP, METAVAR, parse_condition
from cli.connect import Session
from cli.names import MANDATE, OFFER, PRODUCT, last_id
from cli.values import (
    ADDRESS_HELP,
    format_duration,
    format_timestamp,
    parse_address,
    parse_duration,
    to_duration,
    to_timestamp,
)

BASIS_POINTS_PER_PERCENT = 100
# What a condition can do and a purchase elsewhere cannot.
NO_REPURCHASE_ACTIONS = ("DEFER", "SUBSTITUTE")


@dataclass(frozen=True)
class TermOptions:
    """The terms of a standing order: payment, notice, conditions, missed cycles."""

    mandate: Annotated[
        str, typer.Option(metavar="ID", help="Charge automatically under this mandate.")
    ] = ""
    lead: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="Announce each charge so long before, for example 72h.",
        ),
    ] = None
    window: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration, metavar="DURATION", help="How long a payment request stays open."
        ),
    ] = None
    catch_up: Annotated[
        pb.CatchUp.Mode.ValueType,
        one_of(pb.CatchUp.Mode, "Which missed cycles are made up after an outage."),
    ] = pb.CatchUp.MODE_UNSPECIFIED
    catch_up_window: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="Make up cycles that are no older, for example 30d.",
        ),
    ] = None
    ship_to: Annotated[
        postal_address_pb2.PostalAddress | None,
        typer.Option(parser=parse_address, metavar="ADDRESS", help=ADDRESS_HELP),
    ] = None
    tax_id: Annotated[str, typer.Option(help="The customer's tax id, for example DE123456789.")] = (
        ""
    )
    offer: Annotated[
        str, typer.Option(metavar="ID", help="Accept this offer of price protection.")
    ] = ""

    slot_days_before: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=14,
            help="Days that a cycle may be moved forward to a free slot of a service.",
        ),
    ] = None
    slot_days_after: Annotated[
        int | None,
        typer.Option(
            min=0, max=14, help="Days that a cycle may be moved back to a free slot of a service."
        ),
    ] = None
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            metavar=METAVAR,
            help=f"Conditions of each cycle, in their order. Repeatable. {HELP}",
        ),
    ] = None
    repurchase_window: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="Count purchases elsewhere that are no older, for example 7d.",
        ),
    ] = None
    repurchase_action: Annotated[
        pb.Otherwise.Action.ValueType,
        one_of(
            pb.Otherwise.Action,
            "What happens to the next cycle after a purchase elsewhere.",
            but=NO_REPURCHASE_ACTIONS,
        ),
    ] = pb.Otherwise.ACTION_UNSPECIFIED

    def message(
        self, session: Session, customer: str, present: pb.StandingOrder | None = None
    ) -> pb.StandingOrder:
        """A standing order with what was said about its terms, and no more.

        What has parts, of which some were not said, takes those from the present one.
        """
        terms = pb.StandingOrder(
            notice_lead=to_duration(self.lead),
            payment_window=to_duration(self.window),
            ship_to=self.ship_to,
            tax_id=self.tax_id,
            conditions=self._conditions(session),
            repurchase_window=to_duration(self.repurchase_window),
            repurchase_action=self.repurchase_action,
            slot_days_before=self.slot_days_before or 0,
            slot_days_after=self.slot_days_after or 0,
        )
        if self.offer:
            terms.price_protection.offer = session.name(OFFER, self.offer)
        if self.mandate:
            terms.billing_mode = pb.AUTOMATIC
            terms.mandate = mandate_name(session.name, customer, self.mandate)
        if self.catch_up or self.catch_up_window:
            terms.catch_up.CopyFrom(self._catch_up(present))
        return terms

    def _conditions(self, session: Session) -> list[pb.Condition]:
        with naming("--condition"):
            product_name = partial(session.name, PRODUCT)
            return [parse_condition(text, product_name) for text in self.conditions or ()]

    def _catch_up(self, present: pb.StandingOrder | None) -> pb.CatchUp:
        catch_up = pb.CatchUp()
        if present is not None:
            catch_up.CopyFrom(present.catch_up)
        elif not self.catch_up:
            raise typer.BadParameter("goes with --catch-up", param_hint="--catch-up-window")
        if self.catch_up:
            catch_up.mode = self.catch_up
        if window := to_duration(self.catch_up_window):
            catch_up.window.CopyFrom(window)
        return catch_up


def describe_protection(protection: pb.PriceProtection) -> str:
    """How a price is protected, in words; empty where it is not."""
    match protection.WhichOneof("kind"):
        case "cap":
            percent = Decimal(protection.cap.increase_limit_bps) / BASIS_POINTS_PER_PERCENT
            return f"never more than {percent.normalize():f} % above the price at sign-up"
        case "lock":
            lock = protection.lock
            limits = [
                f"for the cycles 1 to {lock.cycle_count}" if lock.cycle_count else "",
                f"until {format_timestamp(lock.until_time)}" if lock.HasField("until_time") else "",
            ]
            return f"the price at sign-up {' and '.join(filter(None, limits))}"
        case "offer":
            return f"as {last_id(protection.offer)} promises"
    return ""


def describe_catch_up(catch_up: pb.CatchUp) -> str:
    """What becomes of missed cycles, in words."""
    mode = pb.CatchUp.Mode.Name(catch_up.mode).lower().replace("_", " ")
    return f"{mode}, within {format_duration(catch_up.window)}"


def mandate_name(name: Callable[[str, str], str], customer: str, mandate: str) -> str:
    """The full name of a mandate, made by `name`; its id alone means one of the customer."""
    return name(MANDATE, mandate) if "/" in mandate else f"{customer}/mandates/{mandate}"


def parse_protection(
    lock_cycles: int | None, lock_until: datetime | None, cap_percent: int | None, offer: str = ""
) -> pb.PriceProtection | None:
    """A lock, a cap or what an offer (by name) promises; None where none is wanted."""
    if offer:
        if (lock_cycles, lock_until, cap_percent) != (None, None, None):
            hint = "--offer"
            raise typer.BadParameter("goes without a lock or a cap", param_hint=hint)
        return pb.PriceProtection(offer=offer)
    if cap_percent is not None:
        if lock_cycles is not None or lock_until is not None:
            raise typer.BadParameter(
                "a price is either locked or capped", param_hint="--cap-percent"
            )
        cap = pb.PriceProtection.Cap(increase_limit_bps=cap_percent * BASIS_POINTS_PER_PERCENT)
        return pb.PriceProtection(cap=cap)
    if lock_cycles is None and lock_until is None:
        return None
    until_time = to_timestamp(lock_until)
    lock = pb.PriceProtection.Lock(cycle_count=lock_cycles or 0, until_time=until_time)
    return pb.PriceProtection(lock=lock)
