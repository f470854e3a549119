"""Collect: at its due time each announced order is priced again, its stock held, its payment asked."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.db.pool import Database
from services.runtime.messaging import outbox
from services.runtime.observability import tracing
from services.runtime.workers.bisection import bisect_failures
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step
from services.scheduler import events
from services.scheduler.domain.conditions import Action
from services.scheduler.domain.order import (
    Order,
    OrderReason,
    OrderState,
    Quote,
    Stage,
    collected,
    skipped,
)
from services.scheduler.domain.rulings import as_charged, passed, stopped
from services.scheduler.domain.substitution import gone, missing, substituted
from services.scheduler.loops.circumstances import sort_out
from services.scheduler.loops.findings import planned_charges, prepare_orders, with_present_mandates
from services.scheduler.loops.pricing import Priced, Templates, judge, pasts, quoted, template_of
from services.scheduler.peers import Peers, is_transient
from services.scheduler.store import gauges, orders, standing_orders

BATCH_ORDERS = 500
# Far longer than any payment takes; what is settled earlier gives its hold back earlier.
STOCK_HOLD = timedelta(days=45)


class Collect:
    """Brings due orders to their payment, and looks again at those that are held."""

    def __init__(self, database: Database, clock: Clock, peers: Peers) -> None:
        self._database = database
        self._clock = clock
        self._peers = peers

    async def collect_step(self) -> Step:
        """Collect a batch of announced orders that are due."""
        now = self._clock.now()
        async with self._database.engine.begin() as tx:
            claimed = await orders.claim_to_collect(tx, now, BATCH_ORDERS)
            if not claimed:
                return _idle(await orders.first_to_collect(tx), now)
            templates = await _templates(tx, claimed)
        with tracing.working("collect", len(claimed), [order.traceparent for order in claimed]):
            await self._work_surely(claimed, OrderState.UPCOMING, templates, now)
        gauges.worked(gauges.COLLECT, [order.collect_time for order in claimed], now)
        return Step(worked=len(claimed))

    async def held_step(self) -> Step:
        """Look again at a batch of held orders."""
        now = self._clock.now()
        async with self._database.engine.begin() as tx:
            claimed = await orders.claim_held(tx, now, BATCH_ORDERS)
            if not claimed:
                return _idle(await orders.first_held(tx), now)
            templates = await _templates(tx, claimed)
        with tracing.working("held", len(claimed), [order.traceparent for order in claimed]):
            await self._work_surely(claimed, OrderState.HELD, templates, now)
        return Step(worked=len(claimed))

    async def _work_surely(
        self, claimed: Sequence[Order], state: OrderState, templates: Templates, now: datetime
    ) -> None:
        """Work on a batch; an order that cannot be worked on does not hold up the others."""

        async def work(batch: Sequence[Order]) -> None:
            await self._work(batch, state, templates, now)

        await bisect_failures(claimed, work, is_transient)

    async def _work(
        self, claimed: Sequence[Order], state: OrderState, templates: Templates, now: datetime
    ) -> None:
        try:
            decided = await self.decide(claimed, templates, now)
        except Exception as error:
            if is_transient(error):
                async with self._database.engine.begin() as tx:
                    await orders.release(tx, [order.key for order in claimed])
            raise
        async with self._database.begin() as tx:
            await store(tx, decided, state, templates, now)

    async def decide(
        self, claimed: Sequence[Order], templates: Templates, now: datetime
    ) -> list[Order]:
        """What becomes of orders that are due or HELD, by what the other services say."""
        to_prepare = [order for order in claimed if order.held_stage is Stage.PREPARE]
        to_collect = [order for order in claimed if order.held_stage is not Stage.PREPARE]
        decided = await self._prepared(to_prepare, templates, now)
        return decided + await self._collected(to_collect, templates, now)

    async def _prepared(
        self, waiting: Sequence[Order], templates: Templates, now: datetime
    ) -> list[Order]:
        known = await sort_out(self._database, waiting, templates, Stage.PREPARE, now)
        if not known.going_on:
            return known.decided
        past = await pasts(self._database, known.going_on, templates)
        planned = await planned_charges(self._database, self._peers, known.going_on, templates, now)
        return known.decided + await prepare_orders(
            self._peers, known.going_on, templates, past, planned, now
        )

    async def _collected(
        self, claimed: Sequence[Order], templates: Templates, now: datetime
    ) -> list[Order]:
        """Price again; hold the stock of what goes on; then it is to be paid, or held."""
        known = await sort_out(self._database, claimed, templates, Stage.COLLECT, now)
        due = await with_present_mandates(self._peers, known.going_on, templates, now)
        priced = await self._priced(due, templates, now) if due else []
        anew: list[Order] = []
        decided = list(known.decided)
        for one, short in priced:
            template = template_of(one.order, templates)
            if not isinstance(one.answer, Quote):
                lacking = missing(one.order, one.answer, one.ruling)
                if lacking and substituted(one.order, lacking, template.conditions, (), now):
                    # The customer agreed to something else, and is told of it.
                    anew.append(one.order)
                elif gone(one.order, one.answer, template.conditions):
                    decided.append(skipped(one.order, OrderReason.PRODUCT_UNAVAILABLE, now))
                else:
                    decided.append(collected(one.order, None, one.answer.reasons, now))
            elif one.ruling.action is None:
                problems = (OrderReason.OUT_OF_STOCK,) if short else ()
                done = passed(collected(one.order, one.answer, problems, now), one.ruling, now)
                decided.append(replace(done, decisions=(*one.order.decisions, *done.decisions)))
            elif one.ruling.action is Action.SUBSTITUTE:
                # The customer was told of another product: it is announced again, if it can be had.
                anew.append(one.order)
            else:
                decided.append(stopped(one.order, one.ruling, template, Stage.COLLECT, now))
        return decided + (await self._prepared(anew, templates, now) if anew else [])

    async def _priced(
        self, due: Sequence[Order], templates: Templates, now: datetime
    ) -> list[tuple[Priced, frozenset[str]]]:
        """Orders with what they cost and their conditions say, and what they are short of."""
        answers = [
            as_charged(order, answer) if isinstance(answer, Quote) else answer
            for order, answer in zip(due, await quoted(self._peers, due, now), strict=True)
        ]
        known = await pasts(self._database, due, templates)
        priced = await judge(due, answers, templates, known, {})
        going_on = [
            one.order
            for one in priced
            if isinstance(one.answer, Quote) and one.ruling.action is None
        ]
        held = await self._peers.hold_stock(going_on, now + STOCK_HOLD) if going_on else []
        short = {order.key: lacking for order, lacking in zip(going_on, held, strict=True)}
        if any(short.values()):
            priced = await judge(due, answers, templates, known, short)
        return [(one, short.get(one.order.key, frozenset())) for one in priced]


async def store(
    tx: AsyncConnection,
    decided: Sequence[Order],
    state: OrderState,
    templates: Templates,
    now: datetime,
) -> None:
    """Store what was decided about orders in a state, publish it, and end what ends with it."""
    # An order that was skipped or cancelled meanwhile stays so; its hold runs out.
    stored = await orders.update(tx, decided, state, now)
    await _tell(tx, stored, templates, now)
    await events.pause_gone(tx, stored, now)
    ended = [o for o in stored if o.state in (OrderState.LAPSED, OrderState.SKIPPED)]
    await events.end_finished(tx, [(o.key.merchant, o.key.standing_order) for o in ended], now)


async def _templates(tx: AsyncConnection, claimed: Sequence[Order]) -> Templates:
    return await standing_orders.by_key(
        tx, [(order.key.merchant, order.key.standing_order) for order in claimed]
    )


async def _tell(
    tx: AsyncConnection, stored: Sequence[Order], templates: Templates, now: datetime
) -> None:
    facts = [
        fact
        for order in stored
        # What is held for the same reason as before is no news.
        if order.decisions
        for fact in events.order_facts(
            order, template_of(order, templates), now, payment_begins=True
        )
    ]
    await outbox.put(tx, facts)


def _idle(first: datetime | None, now: datetime) -> Step:
    """Nothing could be claimed; what is due all the same is claimed elsewhere and not done yet."""
    return Step(wake_at=first, pending=first is not None and first <= now)
