"""Standing orders, and which of its cycles are to be opened. Pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from services.runtime.quiet_hours import announce_time
from services.scheduler.domain import calendar
from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.charge_rules import RuleLead
from services.scheduler.domain.conditions import Condition
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId, StandingOrderKey
from services.scheduler.domain.order import Item, Order
from services.scheduler.domain.price_agreements import (
    ENDING_NOTICE_LEAD,
    PriceAgreement,
    agreement_of,
)
from services.scheduler.domain.promotions import EndingPromotion
from services.scheduler.domain.purchases import RepurchaseRule
from services.scheduler.domain.schedule import EndAfter, Schedule
from services.scheduler.domain.terms import BillingMode, Terms

NOTICE_LEAD_DEFAULT = timedelta(hours=72)
PAYMENT_WINDOW_DEFAULT = timedelta(hours=72)
CATCH_UP_WINDOW_DEFAULT = timedelta(days=30)
NO_LEAD = timedelta()
CHANGE_AHEAD_MAX_CYCLES = 100


class State(StrEnum):
    """Whether a standing order bills."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    CANCELLED = "CANCELLED"
    COMPLETED = "COMPLETED"


# In which it has cycles to come.
LIVE_STATES = (State.ACTIVE, State.PAUSED)


class CatchUpMode(StrEnum):
    """Which of the cycles that passed unbilled are billed late."""

    LATEST_ONLY = "LATEST_ONLY"
    ALL_IN_ORDER = "ALL_IN_ORDER"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class CatchUp:
    """What becomes of cycles that passed unbilled."""

    mode: CatchUpMode = CatchUpMode.LATEST_ONLY
    # ALL_IN_ORDER: cycles due longer ago than this are missed all the same.
    window: timedelta = CATCH_UP_WINDOW_DEFAULT


class KeptDate(NamedTuple):
    """The date of a cycle by the schedule before, which it keeps under another one."""

    nominal_date: date
    local_date: date


@dataclass(frozen=True, slots=True)
class CycleChange:
    """What is different in one cycle; what is None or empty is as in the standing order."""

    skip: bool = False
    local_date: date | None = None
    items: tuple[Item, ...] | None = None
    # Encrypted, like that of the standing order.
    ship_to: bytes = b""
    # Of that address, in clear text.
    region_code: str = ""
    # When the customer asked for the cycle to take place at once.
    order_now_time: datetime | None = None
    # It was postponed when the schedule changed, and the new schedule has no date for it.
    kept_date: KeptDate | None = None


_UNCHANGED = CycleChange()


@dataclass(frozen=True, slots=True)
class StandingOrder:
    """What to order, when and how to pay for it, again and again."""

    merchant: MerchantId
    standing_order: StandingOrderId
    customer: CustomerId
    title: str
    items: tuple[Item, ...]
    schedule: Schedule
    billing_mode: BillingMode
    mandate: str
    # Encrypted: only who shows it opens it. Empty: none.
    ship_to: bytes
    # As plain data, for showing; the catalog applies it.
    price_protection: Mapping[str, Any] | None
    notice_lead: timedelta
    payment_window: timedelta
    create_time: datetime
    update_time: datetime
    # The country of the address, or its part (`DE`, `US-CA`), in clear text; empty: unknown.
    region_code: str = ""
    # The customer's, where a business orders; empty: a consumer.
    tax_id: str = ""
    catch_up: CatchUp = CatchUp()
    conditions: tuple[Condition, ...] = ()
    # How many days before and after its date a cycle may be moved to where a service has a free slot.
    slot_days_before: int = 0
    slot_days_after: int = 0
    # None: what the customer buys elsewhere does not count.
    repurchase: RepurchaseRule | None = None
    # Whether, by the merchant's settings, a cycle waits until the order before is paid or over.
    waits_for_payment: bool = False
    # For how many days, by those settings, an order that lapsed unpaid can still be paid.
    late_payment_days: int = 0
    # Where, by those settings, customers act on notices, with `{token}`; empty: nowhere.
    action_page_uri: str = ""
    state: State = State.ACTIVE
    # The number of the schedule's first cycle. It is below 1 where a schedule began in the past. An end
    # of the schedule by count counts from it.
    base_cycle: int = 1
    # The number of the first cycle of all: the count that the customer gave counts from it.
    plan_first_cycle: int = 1
    # What the recurrence gave for the last cycle that has an order: that date is used up, whenever the
    # cycle took place.
    last_nominal_date: date | None = None
    # The next cycle without an order; None when there is none.
    next_cycle: int | None = 1
    next_due_time: datetime | None = None
    # When that cycle is to be prepared.
    prepare_time: datetime | None = None
    # The last cycle that the customer wants; None: as many as the schedule has.
    last_cycle: int | None = None
    # PAUSED: when it goes on by itself.
    resume_time: datetime | None = None
    # What is different in single coming cycles, by number.
    changes: Mapping[int, CycleChange] = field(default_factory=dict)
    paid_order_count: int = 0
    # The total of the cycle before, in minor units.
    last_amount_minor: int | None = None
    last_currency: str = ""
    # What it is billed in; empty before sign-up has chosen it.
    currency: str = ""
    # Of the promotion that it has redeemed; empty: it came with none.
    promotion_code: str = ""
    # How early rule packs have its charges announced, and which pack, as far as is known.
    rule_lead: timedelta = NO_LEAD
    notice_rule_pack: str = ""
    # How its prices are protected, from a cycle on each; the last one is the present.
    price_agreements: tuple[PriceAgreement, ...] = ()
    # What protections have saved in all, in orders that were paid.
    protection_saved_minor: int = 0
    # The promotion that it has redeemed and that ends; None: none, or the customer was notified of it.
    ending_promotion: EndingPromotion | None = None
    version: int = 1

    @property
    def key(self) -> StandingOrderKey:
        """Which standing order it is."""
        return StandingOrderKey(self.merchant, self.standing_order)

    @property
    def terms(self) -> Terms:
        """What an order that is announced now is announced with."""
        return Terms(
            self.title,
            self.billing_mode,
            self.mandate,
            self.payment_window,
            self.schedule.time_zone,
        )

    def change(self, cycle: int) -> CycleChange:
        """What is different in a cycle."""
        return self.changes.get(cycle, _UNCHANGED)

    def date(self, cycle: int) -> CycleDate | None:
        """The date of a cycle; None when there is no such cycle."""
        if self.last_cycle is not None and cycle > self.last_cycle:
            return None
        index = cycle - self.base_cycle
        change = self.changes.get(cycle)
        cycle_date: CycleDate | None = None
        if change is not None and change.kept_date is not None:
            cycle_date = _kept_date(self.schedule, index, change.kept_date)
        elif index >= 0:
            cycle_date = calendar.cycle(self.schedule, index)
        if cycle_date is None or change is None:
            return cycle_date
        return _changed_date(self.schedule, cycle_date, change)

    @property
    def plan(self) -> Schedule:
        """The schedule as the customer knows it: a count is that of all cycles, from the first on."""
        if not isinstance(self.schedule.end, EndAfter):
            return self.schedule
        before = self.base_cycle - self.plan_first_cycle
        end = EndAfter(self.schedule.end.cycle_count + before)
        return replace(self.schedule, end=end)

    def lead(self, cycle: int) -> timedelta:
        """How long before its due time the customer is notified of a cycle.

        What is ordered at once is prepared at once, and charged when rule packs allow it.
        """
        return NO_LEAD if self.change(cycle).order_now_time else self.effective_notice_lead

    @property
    def effective_notice_lead(self) -> timedelta:
        """The longer of its own lead and that of the rule packs."""
        return max(self.notice_lead, self.rule_lead)

    def prepare_at(self, cycle: int, due_time: datetime) -> datetime:
        """When a cycle that is due then is to be prepared."""
        # It may be moved to an earlier day, and the customer is notified of that with the whole lead.
        earliest = due_time - timedelta(days=self.slot_days_before)
        return announce_time(earliest - self.lead(cycle), self.schedule.time_zone)

    @property
    def last_due_time(self) -> datetime | None:
        """When its last cycle is due; None when there is none to come."""
        last = self.base_cycle + calendar.cycle_count(self.schedule) - 1
        if self.last_cycle is not None:
            last = min(last, self.last_cycle)
        if self.next_cycle is None or last < self.next_cycle:
            return None
        cycle_date = self.date(last)
        return cycle_date.due_at if cycle_date else None

    @property
    def price_agreement(self) -> PriceAgreement | None:
        """How its prices are protected in cycles to come; None: never agreed on."""
        return self.price_agreements[-1] if self.price_agreements else None

    def agreement_of(self, cycle: int) -> PriceAgreement | None:
        """How its prices are protected in a cycle."""
        return agreement_of(self.price_agreements, cycle)

    @property
    def protection_end_time(self) -> datetime | None:
        """When the last protected cycle is due, or before when cycles are; None: it does not end."""
        agreement = self.price_agreement
        if agreement is None or agreement.protection is None:
            return None
        if not agreement.last_cycle:
            return agreement.until_time
        cycle_date = self.date(agreement.last_cycle)
        if cycle_date is not None:
            return cycle_date.due_at
        # Of a schedule before, or of none.
        is_past = self.next_cycle is None or agreement.last_cycle < self.next_cycle
        return agreement.agree_time if is_past else None

    @property
    def protection_notice_time(self) -> datetime | None:
        """When its customer is notified that the protection is about to end; None: is not, or was."""
        agreement, end_time = self.price_agreement, self.protection_end_time
        if agreement is None or end_time is None or agreement.ending_notified:
            return None
        if agreement.last_cycle and self.date(agreement.last_cycle + 1) is None:
            return None
        if not agreement.last_cycle and (self.last_due_time or end_time) < end_time:
            return None
        return end_time - ENDING_NOTICE_LEAD

    @property
    def promotion_notice_time(self) -> datetime | None:
        """When its customer is notified that its promotion is about to end; None: is not, or was."""
        promotion = self.ending_promotion
        if promotion is None:
            return None
        ends = [promotion.until_time] if promotion.until_time else []
        if promotion.last_cycle and (following := self.date(promotion.last_cycle + 1)) is not None:
            ends.append(following.due_at)
        return min(ends) - promotion.notice_lead if ends else None

    @property
    def skipped_cycles(self) -> tuple[int, ...]:
        """The coming cycles that the customer leaves out."""
        return tuple(sorted(cycle for cycle, change in self.changes.items() if change.skip))


def under_rule_lead(standing_order: StandingOrder, found: RuleLead) -> StandingOrder:
    """The standing order as it goes on with the lead that rule packs ask for."""
    if found == (standing_order.rule_lead, standing_order.notice_rule_pack):
        return standing_order
    lead, rule_pack = found
    changed = replace(standing_order, rule_lead=lead, notice_rule_pack=rule_pack)
    due_time, cycle = changed.next_due_time, changed.next_cycle
    if due_time is None or cycle is None:
        return changed
    return replace(changed, prepare_time=changed.prepare_at(cycle, due_time))


class Opening(NamedTuple):
    """A standing order as it goes on, and the orders of the cycles that it leaves behind."""

    standing_order: StandingOrder
    # SKIPPED ones are done; the others are yet to be prepared.
    orders: tuple[Order, ...] = ()


def _kept_date(schedule: Schedule, index: int, kept: KeptDate) -> CycleDate:
    due_at = calendar.local_to_utc(kept.local_date, schedule.local_time, schedule.time_zone)
    return CycleDate(index, kept.nominal_date, kept.local_date, due_at)


def _changed_date(schedule: Schedule, cycle_date: CycleDate, change: CycleChange) -> CycleDate:
    zone = schedule.time_zone
    if change.order_now_time is not None:
        day, due_at = calendar.utc_to_local_date(change.order_now_time, zone), change.order_now_time
    elif change.local_date is not None:
        day = change.local_date
        due_at = calendar.local_to_utc(day, schedule.local_time, zone)
    else:
        return cycle_date
    return replace(cycle_date, local_date=day, due_at=due_at, skip_reason=None, move_reason=None)


def at_cycle(standing_order: StandingOrder, cycle: int) -> StandingOrder:
    """The standing order with this cycle as its next; with none if there is no such cycle."""
    return advanced(standing_order, cycle, standing_order.date(cycle))


def advanced(
    standing_order: StandingOrder,
    cycle: int,
    date_: CycleDate | None,
    opened: CycleDate | None = None,
) -> StandingOrder:
    """The standing order with a cycle as its next; None for its date: with none.

    `opened` is the date of the cycle that has got its order last, None if none has now.
    """
    used_up = opened.nominal_date if opened else standing_order.last_nominal_date
    if date_ is None:
        return replace(
            standing_order,
            next_cycle=None,
            next_due_time=None,
            prepare_time=None,
            changes={},
            last_nominal_date=used_up,
        )
    return replace(
        standing_order,
        next_cycle=cycle,
        next_due_time=date_.due_at,
        prepare_time=standing_order.prepare_at(cycle, date_.due_at),
        # One-cycle changes are gone with their cycle.
        changes={c: change for c, change in standing_order.changes.items() if c >= cycle},
        last_nominal_date=used_up,
    )


def with_change(standing_order: StandingOrder, cycle: int, change: CycleChange) -> StandingOrder:
    """The standing order with something different in one coming cycle."""
    changes = {**standing_order.changes, cycle: change}
    if change == _UNCHANGED:
        del changes[cycle]
    return at_cycle(replace(standing_order, changes=changes), standing_order.next_cycle or cycle)


def following_due_time(standing_order: StandingOrder, cycle: int) -> datetime | None:
    """When the cycle after one is due, or would be if the standing order went on for ever."""
    endless = replace(standing_order.schedule, end=None)
    # Of an order that the schedule before brought, the first of the present one follows.
    index = max(0, cycle + 1 - standing_order.base_cycle)
    following = standing_order.date(cycle + 1) or calendar.cycle(endless, index)
    return following.due_at if following else None
