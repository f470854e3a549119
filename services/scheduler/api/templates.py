"""Standing orders as a whole: create, look, change, pause, resume, cancel."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from google.protobuf import field_mask_pb2
from recurring.scheduler.v1 import scheduler_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.auth.call_context import caller
from services.runtime.db.idempotency import Mutation, derived_id, mutation
from services.runtime.db.pool import Database
from services.runtime.errors import Violations, already_exists, wrong_state
from services.runtime.messaging import outbox
from services.runtime.observability import tracing
from services.runtime.resource_names import read_id
from services.runtime.rpc.conversions import read_timestamp
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.runtime.rpc.paging import read_page
from services.runtime.workers.clock import Clock
from services.scheduler import names, publishers
from services.scheduler.api.lookups import (
    LIVE_STATES,
    check_present,
    existing,
    locked,
    record_pause,
    refuse_duplicate,
    refuse_items,
)
from services.scheduler.api.reading import read_aside, read_standing_order
from services.scheduler.api.requests import read_name
from services.scheduler.api.responses import standing_order_message
from services.scheduler.api.schedules import read_calendar_date
from services.scheduler.api.sign_up import PRECONDITION_REASONS, sign_up_violations
from services.scheduler.application import settlement
from services.scheduler.clients import Clients
from services.scheduler.domain import calendar, validation
from services.scheduler.domain.ids import StandingOrderId, StandingOrderKey
from services.scheduler.domain.order import (
    WITHDRAWABLE_STATES,
    Item,
    Order,
    OrderReason,
    OrderState,
)
from services.scheduler.domain.order_lifecycle import cancelled, mandate_changed
from services.scheduler.domain.overdue import ended, overdue_opened
from services.scheduler.domain.pauses import paused, reactivated, resumed
from services.scheduler.domain.rescheduling import LastOrder, rescheduled
from services.scheduler.domain.standing_order import (
    CHANGE_AHEAD_MAX_CYCLES,
    Opening,
    StandingOrder,
    State,
    at_cycle,
    place_of,
)
from services.scheduler.names import standing_order_name
from services.scheduler.store import orders, purchases, sign_ups, standing_orders

CHANGEABLE_FIELDS = (
    "title", "items", "schedule", "billing_mode", "mandate", "ship_to", "notice_lead",
    "payment_window", "catch_up", "conditions", "repurchase_window", "repurchase_action",
)  # fmt: skip
# What a change of these asks of the other services is asked again.
CHECKED_FIELDS = frozenset({"items", "billing_mode", "mandate", "conditions"})

StandingOrderMessage = scheduler_pb2.StandingOrder


class TemplateMethods:
    """The methods of recurring.scheduler.v1.SchedulerService about standing orders as a whole."""

    database: Database
    _clock: Clock
    _clients: Clients
    _checking: ConcurrencyLimiter

    def _message(self, template: StandingOrder) -> StandingOrderMessage:
        return standing_order_message(template, self.database.keyring)

    async def CreateStandingOrder(
        self, request: scheduler_pb2.CreateStandingOrderRequest, _context: object
    ) -> StandingOrderMessage:
        """Create a standing order, once everything that it needs is known to be there."""
        once = Mutation(request, request.request_id)
        if (answered := await once.answered(self.database, StandingOrderMessage)) is not None:
            return answered
        template = await read_aside(
            request.standing_order, self._checking, partial(self._read_new, request)
        )
        name = standing_order_name(template.merchant, template.standing_order)
        async with self.database.read() as connection:
            known = await standing_orders.get(
                connection, template.merchant, template.standing_order
            )
        if known is not None:
            raise already_exists("STANDING_ORDER_ALREADY_EXISTS", name)
        # Told first, so that a duplicate leaves nothing behind anywhere.
        products = [] if request.allow_duplicate else _products(template.items)
        async with self.database.read() as connection:
            await refuse_duplicate(connection, template, products)
        await self._check_with_peers(template)

        async def act(tx: AsyncConnection) -> StandingOrderMessage:
            await purchases.lock_customer(tx, template.merchant, template.customer)
            await refuse_duplicate(tx, template, products)
            if not await sign_ups.insert(tx, [template]):
                raise already_exists("STANDING_ORDER_ALREADY_EXISTS", name)
            fact = publishers.standing_order_changed(template, "CREATED", template.create_time)
            await outbox.put(tx, [fact])
            return self._message(template)

        async with self.database.begin() as tx:
            return await once.once(tx, StandingOrderMessage, act)

    def _read_new(self, request: scheduler_pb2.CreateStandingOrderRequest) -> StandingOrder:
        violations = Violations()
        merchant = names.read_merchant(violations, "parent", request.parent)
        violations.check()
        caller().check(merchant)
        standing_order_id = request.standing_order_id
        if standing_order_id:
            read_id(violations, "standing_order_id", standing_order_id)
        else:
            standing_order_id = str(derived_id(merchant, request.request_id))
        template = read_standing_order(
            merchant,
            StandingOrderId(standing_order_id),
            request.standing_order,
            self._clock.now(),
            self.database.keyring,
            violations,
        )
        return _sound(template, violations)

    async def _check_with_peers(self, template: StandingOrder) -> None:
        """Refuse what could not be billed; then have the sign-up prices remembered."""
        (found,) = await sign_up_violations(self._clients, [template])
        for violation in found.found:
            if violation.reason in PRECONDITION_REASONS:
                raise wrong_state(violation.reason, violation.description)
        found.check()
        (problems,) = await self._clients.protect_prices([template])
        refuse_items(template.merchant, "standing_order.items", template.items, problems)

    async def GetStandingOrder(
        self, request: scheduler_pb2.GetStandingOrderRequest, _context: object
    ) -> StandingOrderMessage:
        """Get a standing order."""
        merchant, standing_order = read_name(request.name)
        async with self.database.read() as connection:
            return self._message(await existing(connection, merchant, standing_order))

    async def ListStandingOrders(
        self, request: scheduler_pb2.ListStandingOrdersRequest, _context: object
    ) -> scheduler_pb2.ListStandingOrdersResponse:
        """List a merchant's standing orders by id."""
        violations = Violations()
        merchant = names.read_merchant(violations, "parent", request.parent)
        customer = None
        if request.customer:
            owner, customer = names.read_customer(violations, "customer", request.customer)
            if customer and owner != merchant:
                violations.add("customer", "must be a customer of the parent merchant")
        violations.check()
        caller().check(merchant)
        page = read_page(request, keys=1)
        state = scheduler_pb2.StandingOrder.State.Name(request.state) if request.state else None
        first = page.after[0] if page.after else ""

        async def find(last: StandingOrder | None, limit: int) -> list[StandingOrder]:
            async with self.database.read() as connection:
                return await standing_orders.list_of_merchant(
                    connection,
                    merchant,
                    customer=customer,
                    state=state,
                    after=last.standing_order if last else first,
                    limit=limit,
                )

        shown, token = await page.fill(find, self._message, lambda one: (one.standing_order,))
        return scheduler_pb2.ListStandingOrdersResponse(
            standing_orders=shown, next_page_token=token
        )

    async def UpdateStandingOrder(
        self, request: scheduler_pb2.UpdateStandingOrderRequest, _context: object
    ) -> StandingOrderMessage:
        """Change the template from its next cycle on."""
        once = Mutation(request, request.request_id)
        if (answered := await once.answered(self.database, StandingOrderMessage)) is not None:
            return answered
        opening = await self._updated(request.standing_order, request.update_mask)
        wanted = opening.standing_order
        unique = "items" in request.update_mask.paths and not request.allow_duplicate
        if unique:
            async with self.database.read() as connection:
                known = await existing(connection, wanted.merchant, wanted.standing_order)
                await refuse_duplicate(connection, wanted, _products(wanted.items, known.items))
        if CHECKED_FIELDS.intersection(request.update_mask.paths):
            await self._check_with_peers(wanted)

        async def act(tx: AsyncConnection) -> StandingOrderMessage:
            # Whatever changed the standing order meanwhile decided on another one: try again.
            present = await locked(tx, request.standing_order.name, "", LIVE_STATES)
            check_present(wanted, f'"{present.version}"', LIVE_STATES)
            if unique:
                await purchases.lock_customer(tx, wanted.merchant, wanted.customer)
                await refuse_duplicate(tx, wanted, _products(wanted.items, present.items))
            now = self._clock.now()
            unchanged = replace(wanted, update_time=present.update_time) == present
            if unchanged and not opening.orders:
                return self._message(present)
            changed = await self._store(tx, opening, "UPDATED", now)
            if wanted.state is State.ACTIVE:
                facts = [
                    fact
                    for o in opening.orders
                    for fact in publishers.order_events(o, changed, now)
                ]
                await outbox.put(tx, facts)
            if "mandate" in request.update_mask.paths:
                await _publish_mandate(tx, changed, self._clock.now())
            return self._message(changed)

        async with self.database.begin() as tx:
            return await once.once(tx, StandingOrderMessage, act)

    async def _updated(
        self, message: StandingOrderMessage, mask: field_mask_pb2.FieldMask
    ) -> Opening:
        """What the masked fields of a message make of the standing order that it names.

        With the rows of the cycles that fell due before, by the schedule that they had.
        """
        violations = Violations()
        _check_mask(violations, mask)
        merchant, standing_order = read_name(message.name, "standing_order.name")
        now = self._clock.now()
        async with self.database.read() as connection:
            template = await existing(connection, merchant, standing_order)
            last = await orders.last(connection, merchant, standing_order)
        check_present(template, message.etag, LIVE_STATES)
        merged = self._message(template)
        merged.schedule.ClearField("rrule")
        mask.MergeMessage(message, merged, replace_message_field=True, replace_repeated_field=True)
        read = partial(
            read_standing_order,
            merchant,
            standing_order,
            merged,
            now,
            self.database.keyring,
            violations,
            template.plan,
        )
        wanted = _sound(await read_aside(merged, self._checking, read), violations)
        opening = Opening(template, (), place_of(template))
        changes_dates = "schedule" in mask.paths and not calendar.same_dates(
            wanted.schedule, template.plan
        )
        if template.state is State.PAUSED or changes_dates:
            new_trace = partial(tracing.new_traceparent, "prepare cycle", alone=True)
            opening = overdue_opened(template, now, new_trace)
        changed = replace(
            opening.standing_order,
            title=wanted.title,
            items=wanted.items,
            billing_mode=wanted.billing_mode,
            mandate=wanted.mandate,
            ship_to=wanted.ship_to,
            notice_lead=wanted.notice_lead,
            payment_window=wanted.payment_window,
            catch_up=wanted.catch_up,
            conditions=wanted.conditions,
            repurchase=wanted.repurchase,
            update_time=now,
        )
        if changes_dates:
            changed = rescheduled(changed, wanted.schedule, _last(opening, last), now)
        elif changed.next_cycle:
            changed = at_cycle(changed, changed.next_cycle)
        return replace(opening, before=changed, place=place_of(changed))

    @mutation(StandingOrderMessage)
    async def PauseStandingOrder(
        self, request: scheduler_pb2.PauseStandingOrderRequest, tx: AsyncConnection
    ) -> StandingOrderMessage:
        """Stop opening cycles; an announced order is cancelled."""
        violations = Violations()
        until_time = cycle_count = None
        match request.WhichOneof("duration"):
            case "until_time":
                until_time = read_timestamp(violations, "until_time", request.until_time)
                violations.require(
                    "until_time", "must be later than now", met=until_time > self._clock.now()
                )
            case "cycle_count":
                cycle_count = request.cycle_count
                violations.require_range("cycle_count", cycle_count, 1, CHANGE_AHEAD_MAX_CYCLES)
        violations.check()
        template = await locked(tx, request.name, request.etag, (State.ACTIVE,))
        resting = paused(template, until_time, cycle_count)
        opening = Opening(resting, (), place_of(resting))
        found = await orders.open_orders(tx, template.merchant, template.standing_order)
        return self._message(await self._end_open_orders(tx, opening, found, OrderReason.PAUSED))

    @mutation(StandingOrderMessage)
    async def ResumeStandingOrder(
        self, request: scheduler_pb2.ResumeStandingOrderRequest, tx: AsyncConnection
    ) -> StandingOrderMessage:
        """Go on after a pause; the cycles that it swallowed are recorded."""
        now = self._clock.now()
        violations = Violations()
        anchor = None
        if request.HasField("anchor_date"):
            anchor = read_calendar_date(violations, "anchor_date", request.anchor_date)
        violations.check()
        template = await locked(tx, request.name, request.etag, (State.PAUSED,))
        # From a new day on, nothing has to be left out for being too near to be announced.
        opening = resumed(template, now) if anchor is None else overdue_opened(template, now)
        going_on = opening.standing_order
        if anchor is not None:
            going_on = reactivated(going_on)
        if anchor is not None:
            today = calendar.utc_to_local_date(now, template.schedule.time_zone)
            violations.require("anchor_date", "must not be past", met=anchor >= today)
            schedule = replace(template.plan, start_date=anchor)
            # What is put together is as sound as what is created.
            for found in (
                validation.violations(schedule, today=None) if not violations.found else ()
            ):
                violations.add("anchor_date", f"{found.field}: {found.message}", found.reason)
            violations.check()
            last = await orders.last(tx, template.merchant, template.standing_order)
            going_on = rescheduled(going_on, schedule, _last(opening, last), now)
        opening = replace(opening, before=going_on, place=place_of(going_on))
        return self._message(await self._store(tx, opening, "RESUMED", now))

    @mutation(StandingOrderMessage)
    async def CancelStandingOrder(
        self, request: scheduler_pb2.CancelStandingOrderRequest, tx: AsyncConnection
    ) -> StandingOrderMessage:
        """End a standing order, at once or after its current cycle."""
        now = self._clock.now()
        template = await locked(tx, request.name, request.etag, LIVE_STATES)
        if request.after_current_cycle:
            template = await record_pause(tx, template, now)
            return await self._end_after_current(tx, template)
        opening = ended(template, now)
        found = await orders.open_orders(tx, template.merchant, template.standing_order)
        changed = await self._end_open_orders(
            tx, opening, found, OrderReason.STANDING_ORDER_CANCELLED
        )
        withdrawn = [
            publishers.payment_withdrawn(one, now)
            for one in found
            if one.state is OrderState.AWAITING_PAYMENT
        ]
        await outbox.put(tx, withdrawn)
        return self._message(changed)

    async def _end_after_current(
        self, tx: AsyncConnection, template: StandingOrder
    ) -> StandingOrderMessage:
        """Let the cycle that is under way, or else the next one, be the last."""
        if template.next_cycle is None:
            return self._message(template)
        found = await orders.open_orders(tx, template.merchant, template.standing_order)
        last = found[-1].key.cycle if found else template.next_cycle
        ending = at_cycle(replace(template, last_cycle=last), template.next_cycle)
        now = self._clock.now()
        opening = Opening(ending, (), place_of(ending))
        return self._message(await self._store(tx, opening, "UPDATED", now))

    async def _end_open_orders(
        self, tx: AsyncConnection, opening: Opening, found: Sequence[Order], reason: OrderReason
    ) -> StandingOrder:
        """Store a pause or a cancellation, and cancel those of the orders that nobody paid for yet."""
        now = self._clock.now()
        template = opening.standing_order
        facts = []
        for state in WITHDRAWABLE_STATES:
            ending = [cancelled(one, reason, now) for one in found if one.state is state]
            stored = await orders.update(tx, ending, state, now)
            facts += [
                fact for one in stored for fact in publishers.order_events(one, template, now)
            ]
        changed = await self._store(tx, opening, str(template.state), now)
        await outbox.put(tx, facts)
        return changed

    async def _store(
        self, tx: AsyncConnection, opening: Opening, change: str, now: datetime
    ) -> StandingOrder:
        """Store a changed standing order and the rows that it leaves; with nothing left, it ends."""
        changed = await standing_orders.change(tx, opening.standing_order, now)
        await orders.insert(tx, opening.orders, now)
        key = changed.key
        over: dict[StandingOrderKey, StandingOrder] = {}
        if changed.state is not State.CANCELLED and changed.next_cycle is None:
            over = await settlement.end_finished(tx, [key], now)
        if key not in over:
            following = await orders.next_open_time(tx, *key, now)
            fact = publishers.standing_order_changed(changed, change, now, following)
            await outbox.put(tx, [fact])
        return over.get(key, changed)


def _last(opening: Opening, stored: LastOrder | None) -> LastOrder | None:
    """The last cycle that has an order, once those of an opening are stored."""
    if not opening.orders:
        return stored
    order = opening.orders[-1]
    return LastOrder(order.key.cycle, order.local_date)


def _products(items: Sequence[Item], known: Sequence[Item] = ()) -> list[str]:
    """The products of items, but for those that were known."""
    before = {item.product for item in known}
    return [item.product for item in items if item.product not in before]


def _sound(template: StandingOrder | None, violations: Violations) -> StandingOrder:
    """A template that was read without a violation."""
    violations.check()
    if template is None:
        msg = "a message without violations gave no standing order"
        raise RuntimeError(msg)
    return template


def _check_mask(violations: Violations, mask: field_mask_pb2.FieldMask) -> None:
    violations.require("update_mask", "must name at least one field", met=bool(mask.paths))
    for path in mask.paths:
        if path not in CHANGEABLE_FIELDS:
            violations.add("update_mask", f"must name only {', '.join(CHANGEABLE_FIELDS)}")
            break
    violations.check()


async def _publish_mandate(tx: AsyncConnection, changed: StandingOrder, now: datetime) -> None:
    """Have orders that await payment paid under the new mandate, if there is one.

    What was announced as to be confirmed by the customer has no mandate, and gets none.
    """
    found = await orders.open_orders(tx, changed.merchant, changed.standing_order)
    mended = [
        mandate_changed(order, changed.mandate, now)
        for order in found
        if order.state is OrderState.AWAITING_PAYMENT
        and order.terms.mandate
        and changed.mandate not in {"", order.terms.mandate}
    ]
    stored = await orders.update(tx, mended, OrderState.AWAITING_PAYMENT, now)
    await outbox.put(tx, [publishers.payment_mandate_changed(one, changed, now) for one in stored])
