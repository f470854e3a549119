"""recurring.scheduler.v1.SchedulerService; each method's contract is in its proto."""

from collections.abc import Sequence
from dataclasses import replace

import grpc
from google.protobuf.json_format import ParseDict
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime import outbox
from services.runtime.access import SCOPE_PLATFORM, caller
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.errors import (
    FieldViolation,
    Problem,
    Violations,
    already_exists,
    etag_mismatch,
    not_found,
    wrong_state,
)
from services.runtime.requests import Mutation, derived_id, mutation
from services.runtime.wire import (
    NamePattern,
    etag,
    read_id,
    read_page,
    to_date,
    to_money,
    to_timestamp,
)
from services.scheduler import events
from services.scheduler.api.messages import (
    charge_decisions,
    decision_message,
    notice_decisions,
    order_message,
    standing_order_message,
)
from services.scheduler.api.reading import CUSTOMER, MERCHANT, STANDING_ORDER, read_standing_order
from services.scheduler.domain.order import (
    Order,
    OrderKey,
    OrderReason,
    OrderState,
    Quote,
    skipped,
)
from services.scheduler.domain.standing_order import (
    SKIP_AHEAD_MAX_CYCLES,
    StandingOrder,
    State,
    resumed,
    skip_reason,
)
from services.scheduler.peers import (
    Cart,
    MandateQuestion,
    Peers,
    QuoteAnswer,
    customer_name,
    order_name,
    standing_order_name,
)
from services.scheduler.store import orders, standing_orders

PREVIEW_DEFAULT_CYCLES = 12
PREVIEW_MAX_CYCLES = 100
EXPLAIN_MAX_NOTICES = 1000
LIVE_STATES = (State.ACTIVE, State.PAUSED)
WITHDRAWABLE_STATES = (OrderState.UPCOMING, OrderState.HELD)
ORDERS_PARENT = NamePattern(
    "merchants/{merchant}/standingOrders/{standing_order}", wildcard="standing_order"
)

SCOPES = dict.fromkeys(
    (
        "CreateStandingOrder", "GetStandingOrder", "ListStandingOrders", "PauseStandingOrder",
        "ResumeStandingOrder", "CancelStandingOrder", "SkipCycle", "PreviewCycles", "GetOrder",
        "ListOrders", "ExplainOrder",
    ),
    SCOPE_PLATFORM,
)  # fmt: skip


class Servicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Answers the scheduler's calls."""

    def __init__(self, database: Database, clock: Clock, peers: Peers) -> None:
        self.database = database
        self._clock = clock
        self._peers = peers

    # --- create ------------------------------------------------------------------------------------

    async def CreateStandingOrder(
        self, request: scheduler_pb2.CreateStandingOrderRequest, _context: object
    ) -> scheduler_pb2.StandingOrder:
        """Create a standing order, once everything that it needs is known to be there."""
        once = Mutation(request, request.request_id)
        async with self.database.read() as connection:
            answered = await once.replay(connection, scheduler_pb2.StandingOrder)
        if answered is not None:
            return answered
        template = self._read_new(request)
        async with self.database.read() as connection:
            known = await standing_orders.get(
                connection, template.merchant, template.standing_order
            )
        name = standing_order_name(template.merchant, template.standing_order)
        if known is not None:
            raise already_exists("STANDING_ORDER_ALREADY_EXISTS", name)
        await self._check_with_peers(template)

        async def act(tx: AsyncConnection) -> scheduler_pb2.StandingOrder:
            if not await standing_orders.insert(tx, template):
                raise already_exists("STANDING_ORDER_ALREADY_EXISTS", name)
            fact = events.standing_order_changed(template, "CREATED", template.create_time)
            await outbox.put(tx, [fact])
            return standing_order_message(template)

        async with self.database.begin() as tx:
            return await once.once(tx, scheduler_pb2.StandingOrder, act)

    def _read_new(self, request: scheduler_pb2.CreateStandingOrderRequest) -> StandingOrder:
        violations = Violations()
        (merchant,) = MERCHANT.read(violations, "parent", request.parent)
        violations.check()
        caller().check(merchant)
        standing_order_id = request.standing_order_id
        if standing_order_id:
            read_id(violations, "standing_order_id", standing_order_id)
        else:
            standing_order_id = str(derived_id(merchant, request.request_id))
        template = read_standing_order(
            merchant, standing_order_id, request.standing_order, self._clock.now(), violations
        )
        violations.check()
        if template is None:
            msg = "a message without violations gave no standing order"
            raise RuntimeError(msg)
        return template

    async def _check_with_peers(self, template: StandingOrder) -> None:
        """Refuse what could not be billed; then have the sign-up prices remembered."""
        customer = customer_name(template.merchant, template.customer)
        (bound,) = await self._peers.phones_bound([customer])
        if not bound:
            raise wrong_state("PHONE_NOT_BOUND", "the customer has no bound phone")
        first_due = template.next_due_time or template.create_time
        key = OrderKey(template.merchant, template.standing_order, template.base_cycle)
        quote = await self._peers.first_quote(Cart(key, template.items, first_due))
        if not isinstance(quote, Quote):
            _refuse_items(template, quote)
            return
        if template.mandate:
            # A new customer pays the list price.
            amount = sum(line.list_unit_price_minor * line.quantity for line in quote.lines)
            question = MandateQuestion(template.mandate, amount, quote.currency, first_due)
            (covered,) = await self._peers.mandates_cover([question])
            if not covered:
                raise wrong_state(
                    "MANDATE_NOT_COVERING", "the mandate does not cover the first cycle"
                )
        protection = catalog_pb2.PriceProtection()
        if template.price_protection:
            ParseDict(dict(template.price_protection), protection)
        _refuse_items(template, await self._peers.protect_prices(template, protection))

    # --- read --------------------------------------------------------------------------------------

    async def GetStandingOrder(
        self, request: scheduler_pb2.GetStandingOrderRequest, _context: object
    ) -> scheduler_pb2.StandingOrder:
        """Get a standing order."""
        merchant, standing_order = _read_name(request.name)
        async with self.database.read() as connection:
            return standing_order_message(await _existing(connection, merchant, standing_order))

    async def ListStandingOrders(
        self, request: scheduler_pb2.ListStandingOrdersRequest, _context: object
    ) -> scheduler_pb2.ListStandingOrdersResponse:
        """List a merchant's standing orders by id."""
        violations = Violations()
        (merchant,) = MERCHANT.read(violations, "parent", request.parent)
        customer = None
        if request.customer:
            _, customer = CUSTOMER.read(violations, "customer", request.customer)
        violations.check()
        caller().check(merchant)
        page = read_page(request, keys=1)
        state = scheduler_pb2.StandingOrder.State.Name(request.state) if request.state else None
        async with self.database.read() as connection:
            found = await standing_orders.list_of_merchant(
                connection,
                merchant,
                customer=customer,
                state=state,
                after=page.after[0] if page.after else "",
                limit=page.size + 1,
            )
        shown = found[: page.size]
        more = len(found) > page.size
        return scheduler_pb2.ListStandingOrdersResponse(
            standing_orders=[standing_order_message(one) for one in shown],
            next_page_token=page.token((shown[-1].standing_order,)) if more else "",
        )

    async def GetOrder(
        self, request: scheduler_pb2.GetOrderRequest, _context: object
    ) -> scheduler_pb2.Order:
        """Get an order."""
        key = _read_order_name(request.name)
        async with self.database.read() as connection:
            row = await orders.get(connection, key)
        if row is None:
            raise not_found("ORDER_NOT_FOUND", request.name)
        return order_message(row)

    async def ListOrders(
        self, request: scheduler_pb2.ListOrdersRequest, _context: object
    ) -> scheduler_pb2.ListOrdersResponse:
        """List orders by standing order and cycle."""
        violations = Violations()
        merchant, standing_order = ORDERS_PARENT.read(violations, "parent", request.parent)
        violations.check()
        caller().check(merchant)
        page = read_page(request, keys=2)
        state = scheduler_pb2.Order.State.Name(request.state) if request.state else None
        async with self.database.read() as connection:
            found = await orders.list_of_merchant(
                connection,
                merchant,
                standing_order=None if standing_order == "-" else standing_order,
                state=state,
                after=(page.after[0], int(page.after[1])) if page.after else ("", 0),
                limit=page.size + 1,
            )
        shown = found[: page.size]
        more = len(found) > page.size
        return scheduler_pb2.ListOrdersResponse(
            orders=[order_message(row) for row in shown],
            next_page_token=(
                page.token((shown[-1].standing_order, str(shown[-1].cycle))) if more else ""
            ),
        )

    # --- change ------------------------------------------------------------------------------------

    @mutation(scheduler_pb2.StandingOrder)
    async def PauseStandingOrder(
        self, request: scheduler_pb2.PauseStandingOrderRequest, tx: AsyncConnection
    ) -> scheduler_pb2.StandingOrder:
        """Stop opening cycles; an announced order is cancelled."""
        template = await _locked(tx, request.name, request.etag, (State.ACTIVE,))
        paused = replace(template, state=State.PAUSED)
        return await self._end_open_orders(tx, paused, OrderReason.PAUSED)

    @mutation(scheduler_pb2.StandingOrder)
    async def CancelStandingOrder(
        self, request: scheduler_pb2.CancelStandingOrderRequest, tx: AsyncConnection
    ) -> scheduler_pb2.StandingOrder:
        """End a standing order; what awaits payment is withdrawn."""
        template = await _locked(tx, request.name, request.etag, LIVE_STATES)
        ended = replace(
            template, state=State.CANCELLED, next_cycle=None, next_due_time=None, prepare_time=None
        )
        return await self._end_open_orders(tx, ended, OrderReason.STANDING_ORDER_CANCELLED)

    async def _end_open_orders(
        self, tx: AsyncConnection, template: StandingOrder, reason: OrderReason
    ) -> scheduler_pb2.StandingOrder:
        """Store a pause or a cancellation, and end the orders that it ends."""
        now = self._clock.now()
        changed = await standing_orders.change(tx, template, now)
        facts = [events.standing_order_changed(changed, str(changed.state), now)]
        for state in WITHDRAWABLE_STATES:
            found = await orders.open_orders(tx, template.merchant, template.standing_order)
            ending = [events.cancelled(one, reason, now) for one in found if one.state is state]
            stored = await orders.update(tx, ending, state, now)
            facts += [fact for one in stored for fact in events.order_facts(one, changed, now)]
        if template.state is State.CANCELLED:
            found = await orders.open_orders(tx, template.merchant, template.standing_order)
            facts += [events.payment_withdrawn(one, changed, now) for one in found]
        await outbox.put(tx, facts)
        return standing_order_message(changed)

    @mutation(scheduler_pb2.StandingOrder)
    async def ResumeStandingOrder(
        self, request: scheduler_pb2.ResumeStandingOrderRequest, tx: AsyncConnection
    ) -> scheduler_pb2.StandingOrder:
        """Go on after a pause; the cycles that it swallowed are recorded."""
        now = self._clock.now()
        template = await _locked(tx, request.name, request.etag, (State.PAUSED,))
        opening = resumed(template, now)
        changed = await standing_orders.change(tx, opening.standing_order, now)
        await orders.insert(tx, opening.orders, now)
        facts = [events.standing_order_changed(changed, "RESUMED", now)]
        # The customer paused and knows it: the cycles of the pause are recorded, not told.
        await outbox.put(tx, facts)
        return standing_order_message(changed)

    @mutation(scheduler_pb2.StandingOrder)
    async def SkipCycle(
        self, request: scheduler_pb2.SkipCycleRequest, tx: AsyncConnection
    ) -> scheduler_pb2.StandingOrder:
        """Leave out one cycle, opened or yet to come."""
        violations = Violations()
        violations.require("cycle", "must not be negative", met=request.cycle >= 0)
        violations.check()
        template = await _locked(tx, request.name, request.etag, LIVE_STATES)
        found = await orders.open_orders(tx, template.merchant, template.standing_order)
        cycle = request.cycle or _next_to_skip(template, found)
        if template.next_cycle is not None and cycle >= template.next_cycle:
            return await self._skip_coming(tx, template, cycle)
        return await self._skip_opened(tx, template, cycle, request.name)

    async def _skip_coming(
        self, tx: AsyncConnection, template: StandingOrder, cycle: int
    ) -> scheduler_pb2.StandingOrder:
        ahead = cycle - (template.next_cycle or 0)
        if ahead > SKIP_AHEAD_MAX_CYCLES or template.date(cycle) is None:
            raise _cycle_out_of_range()
        if cycle in template.skipped_cycles:
            return standing_order_message(template)
        wanted = replace(template, skipped_cycles=template.skipped_cycles | {cycle})
        return standing_order_message(await standing_orders.change(tx, wanted, self._clock.now()))

    async def _skip_opened(
        self, tx: AsyncConnection, template: StandingOrder, cycle: int, name: str
    ) -> scheduler_pb2.StandingOrder:
        now = self._clock.now()
        key = OrderKey(template.merchant, template.standing_order, cycle)
        order = (await orders.by_key(tx, [key])).get(key)
        if order is None:
            raise _cycle_out_of_range()
        if order.state is OrderState.SKIPPED:
            return standing_order_message(template)
        if order.state not in WITHDRAWABLE_STATES:
            raise wrong_state(
                "ORDER_STATE", f"cycle {cycle} of {name} is {order.state}, too late to leave it out"
            )
        left_out = skipped(order, OrderReason.SKIPPED_BY_CUSTOMER, now)
        await orders.update(tx, [left_out], order.state, now)
        await outbox.put(tx, events.order_facts(left_out, template, now))
        return standing_order_message(template)

    # --- look ahead and back -----------------------------------------------------------------------

    async def PreviewCycles(
        self, request: scheduler_pb2.PreviewCyclesRequest, _context: object
    ) -> scheduler_pb2.PreviewCyclesResponse:
        """Show the coming cycles, priced as they would be."""
        violations = Violations()
        count = request.cycle_count or PREVIEW_DEFAULT_CYCLES
        violations.require_range("cycle_count", count, 1, PREVIEW_MAX_CYCLES)
        violations.check()
        merchant, standing_order = _read_name(request.name)
        async with self.database.read() as connection:
            template = await _existing(connection, merchant, standing_order)
        first = template.next_cycle
        coming = range(first, first + count) if first is not None else range(0)
        carts = [
            Cart(OrderKey(merchant, standing_order, cycle), template.items, date.due_at)
            for cycle in coming
            if (date := template.date(cycle)) and not skip_reason(template, cycle, date)
        ]
        answers = await self._peers.quote(carts)
        quotes = {cart.key.cycle: answer for cart, answer in zip(carts, answers, strict=True)}
        previews = [self._preview(template, cycle, quotes.get(cycle)) for cycle in coming]
        return scheduler_pb2.PreviewCyclesResponse(cycles=[one for one in previews if one])

    def _preview(
        self, template: StandingOrder, cycle: int, answer: QuoteAnswer | None
    ) -> scheduler_pb2.CyclePreview | None:
        date = template.date(cycle)
        if date is None:
            return None
        message = scheduler_pb2.CyclePreview(
            cycle=cycle,
            local_date=to_date(date.local_date or date.nominal_date),
            due_time=to_timestamp(date.due_at),
            notice_time=to_timestamp(max(template.prepare_at(date.due_at), self._clock.now())),
        )
        reason = skip_reason(template, cycle, date)
        if reason is not None:
            message.skip_reason = scheduler_pb2.OrderReason.Value(reason)
        elif isinstance(answer, Quote):
            message.amount.CopyFrom(to_money(answer.amount_minor, answer.currency))
            message.lines.extend(events.line_messages(answer.lines, answer.currency))
        elif answer is not None:
            message.problems.extend(scheduler_pb2.OrderReason.Value(one) for one in answer)
        return message

    async def ExplainOrder(
        self, request: scheduler_pb2.ExplainOrderRequest, _context: object
    ) -> scheduler_pb2.ExplainOrderResponse:
        """Tell every decision of an order, from what all services stored."""
        key = _read_order_name(request.name)
        async with self.database.read() as connection:
            row = await orders.get(connection, key)
            if row is None:
                raise not_found("ORDER_NOT_FOUND", request.name)
            decisions = await orders.history(connection, key)
        customer = customer_name(row.merchant, row.customer)
        charge = f"{customer}/charges/{key.standing_order}-{key.cycle}"
        try:
            decisions += charge_decisions(
                await self._peers.payments.GetCharge(payments_pb2.GetChargeRequest(name=charge))
            )
        except grpc.aio.AioRpcError as error:
            # An order that was never to be paid has no charge.
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        notices = await self._peers.notify.ListNotices(
            notify_pb2.ListNoticesRequest(
                parent=customer,
                subject_resource=order_name(key),
                page_size=EXPLAIN_MAX_NOTICES,
            )
        )
        decisions += notice_decisions(notices.notices)
        decisions.sort(key=lambda decision: decision.time)
        return scheduler_pb2.ExplainOrderResponse(
            order=order_message(row), decisions=[decision_message(one) for one in decisions]
        )


def _read_name(name: str) -> tuple[str, str]:
    violations = Violations()
    merchant, standing_order = STANDING_ORDER.read(violations, "name", name)
    violations.check()
    caller().check(merchant)
    return merchant, standing_order


def _read_order_name(name: str) -> OrderKey:
    violations = Violations()
    merchant, standing_order, cycle = events.ORDER.read(violations, "name", name)
    if cycle and not cycle.isdecimal():
        violations.add("name", "must end in the number of a cycle")
    violations.check()
    caller().check(merchant)
    return OrderKey(merchant, standing_order, min(int(cycle), 2**31 - 1))


async def _existing(
    connection: AsyncConnection, merchant: str, standing_order: str, *, lock: bool = False
) -> StandingOrder:
    found = await standing_orders.get(connection, merchant, standing_order, lock=lock)
    if found is None:
        raise not_found("STANDING_ORDER_NOT_FOUND", standing_order_name(merchant, standing_order))
    return found


async def _locked(
    tx: AsyncConnection, name: str, present_etag: str, states: Sequence[State]
) -> StandingOrder:
    """A standing order in one of the states, as the caller knows it, locked for a change."""
    merchant, standing_order = _read_name(name)
    template = await _existing(tx, merchant, standing_order, lock=True)
    if present_etag and present_etag != etag(template.version):
        raise etag_mismatch(name)
    if template.state not in states:
        raise wrong_state("STANDING_ORDER_STATE", f"{name} is {template.state}")
    return template


def _next_to_skip(template: StandingOrder, found: Sequence[Order]) -> int:
    """The first cycle that can still be left out and is not left out yet."""
    for order in found:
        if order.state in WITHDRAWABLE_STATES:
            return order.key.cycle
    cycle = template.next_cycle
    while cycle is not None and cycle in template.skipped_cycles:
        cycle += 1
    if cycle is None:
        raise _cycle_out_of_range()
    return cycle


def _cycle_out_of_range() -> Problem:
    return Problem(
        grpc.StatusCode.OUT_OF_RANGE,
        "CYCLE_OUT_OF_RANGE",
        f"the schedule has no such cycle, or it is over {SKIP_AHEAD_MAX_CYCLES} cycles ahead",
        (FieldViolation("cycle", "CYCLE_OUT_OF_RANGE", "must be a coming cycle"),),
    )


def _refuse_items(template: StandingOrder, problems: Sequence[catalog_pb2.ItemProblem]) -> None:
    """Refuse products that cannot be ordered, naming each."""
    places = {
        f"merchants/{template.merchant}/products/{item.product}": place
        for place, item in enumerate(template.items)
    }
    violations = Violations()
    for problem in problems:
        reason = catalog_pb2.ItemProblem.Reason.Name(problem.reason)
        violations.add(
            f"standing_order.items[{places[problem.product]}].product",
            {
                "PRODUCT_NOT_FOUND": "does not exist",
                "PRODUCT_DISCONTINUED": "is off sale for good",
                "PRICE_NOT_FOUND": "has no price at the first due time",
                "CURRENCY_MISMATCH": "has a price in another currency than the items before it",
            }[reason],
            reason,
        )
    violations.check()
