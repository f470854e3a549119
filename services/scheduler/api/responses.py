"""From the domain to messages."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.json_format import ParseDict
from google.type import dayofweek_pb2, money_pb2, timeofday_pb2
from google.type.postal_address_pb2 import PostalAddress
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.crypto.encryption import Keyring
from services.runtime.rpc.conversions import (
    etag,
    optional_timestamp,
    to_date,
    to_money,
    to_timestamp,
)
from services.scheduler import names
from services.scheduler.application.action_links import LinkView
from services.scheduler.application.imports import Book, ShadowBill
from services.scheduler.application.previews import CyclePreview
from services.scheduler.domain.condition_outcomes import words
from services.scheduler.domain.conditions import (
    Condition,
    DaysSinceLastOrder,
    Expression,
    InStock,
    MonthCeiling,
    TotalCeiling,
    UnitPriceCeiling,
)
from services.scheduler.domain.coverage import Coverage
from services.scheduler.domain.forecast import Demand, DemandKey
from services.scheduler.domain.ids import MerchantId, OrderKey
from services.scheduler.domain.order import Decision, Item, OrderState, line_of, mandate_reasons
from services.scheduler.domain.price_change_previews import PriceChangePreview
from services.scheduler.domain.price_protection import remaining_cycle_count, used_cycle_count
from services.scheduler.domain.rrule import to_rrule
from services.scheduler.domain.schedule import (
    BusinessDayRule,
    Daily,
    EndAfter,
    EndOn,
    Monthly,
    Schedule,
    Weekly,
    Yearly,
)
from services.scheduler.domain.settings import SchedulerSettings
from services.scheduler.domain.standing_order import CycleChange, StandingOrder
from services.scheduler.names import customer_name, order_name, product_name, standing_order_name
from services.scheduler.publishers import line_messages
from services.scheduler.store import addresses
from services.scheduler.store.order_rows import OrderRow

# Of one product, in one answer.
SHORT_CYCLES_SHOWN_MAX = 10


def standing_order_message(standing_order: StandingOrder, keyring: Keyring) -> pb.StandingOrder:
    """A standing order on the wire, its addresses opened."""
    merchant, customer = standing_order.merchant, standing_order.customer

    def opened(ship_to: bytes) -> PostalAddress:
        return addresses.decrypt(keyring, merchant, customer, ship_to)

    rule, protection = standing_order.repurchase, standing_order.price_protection
    return pb.StandingOrder(
        name=standing_order_name(merchant, standing_order.standing_order),
        customer=customer_name(merchant, standing_order.customer),
        title=standing_order.title,
        items=_item_messages(merchant, standing_order.items),
        schedule=_schedule_message(standing_order.plan),
        billing_mode=pb.BillingMode.Value(standing_order.billing_mode),
        mandate=standing_order.mandate,
        ship_to=opened(standing_order.ship_to) if standing_order.ship_to else None,
        region_code=standing_order.region_code,
        tax_id=standing_order.tax_id,
        price_protection=ParseDict(dict(protection), pb.PriceProtection()) if protection else None,
        currency=standing_order.currency,
        promotion_code=standing_order.promotion_code,
        notice_lead=_seconds(standing_order.notice_lead),
        effective_notice_lead=_seconds(standing_order.effective_notice_lead),
        notice_rule_pack=(
            standing_order.notice_rule_pack
            if standing_order.rule_lead > standing_order.notice_lead
            else ""
        ),
        payment_window=_seconds(standing_order.payment_window),
        state=pb.StandingOrder.State.Value(standing_order.state),
        next_cycle=standing_order.next_cycle or 0,
        next_due_time=_timestamp(standing_order.next_due_time),
        resume_time=_timestamp(standing_order.resume_time),
        catch_up=pb.CatchUp(
            mode=pb.CatchUp.Mode.Value(standing_order.catch_up.mode),
            window=_seconds(standing_order.catch_up.window),
        ),
        conditions=[
            _condition_message(merchant, condition) for condition in standing_order.conditions
        ],
        repurchase_window=_seconds(rule.window) if rule else None,
        repurchase_action=(
            pb.Otherwise.Action.Value(rule.action) if rule else pb.Otherwise.ACTION_UNSPECIFIED
        ),
        slot_days_before=standing_order.slot_days_before,
        slot_days_after=standing_order.slot_days_after,
        skipped_cycles=standing_order.skipped_cycles,
        cycle_changes=[
            message
            for cycle in sorted(standing_order.changes)
            if (message := _change_message(merchant, cycle, standing_order.changes[cycle], opened))
        ],
        last_cycle=standing_order.last_cycle or 0,
        paid_order_count=standing_order.paid_order_count,
        create_time=to_timestamp(standing_order.create_time),
        update_time=to_timestamp(standing_order.update_time),
        etag=etag(standing_order.version),
    )


def protection_message(standing_order: StandingOrder) -> pb.StandingPriceProtection:
    """How the prices of a standing order are protected, that are."""
    agreement = standing_order.price_agreement
    message = pb.StandingPriceProtection(
        standing_order=standing_order_name(*standing_order.key),
        customer=customer_name(standing_order.merchant, standing_order.customer),
        price_protection=ParseDict(
            dict(standing_order.price_protection or {}), pb.PriceProtection()
        ),
        end_time=_timestamp(standing_order.protection_end_time),
        saved_amount=to_money(standing_order.protection_saved_minor, standing_order.currency),
    )
    if agreement is not None:
        present = {item.product for item in standing_order.items}
        kept = (price for product, price in agreement.prices.items() if product in present)
        message.prices.extend(sorted(kept))
        message.agree_time.CopyFrom(to_timestamp(agreement.agree_time))
        message.first_cycle = agreement.first_cycle
        message.used_cycle_count = used_cycle_count(standing_order, agreement)
        message.remaining_cycle_count = remaining_cycle_count(standing_order, agreement)
    return message


def _seconds(length: timedelta) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=int(length.total_seconds()))


def _timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    return to_timestamp(moment) if moment else None


def _money(amount_minor: int | None, currency: str) -> money_pb2.Money | None:
    return None if amount_minor is None else to_money(amount_minor, currency)


def _item_messages(merchant: MerchantId, items: Sequence[Item]) -> list[pb.Item]:
    return [
        pb.Item(
            product=product_name(merchant, item.product),
            quantity=item.quantity,
            substitutes=[product_name(merchant, product) for product in item.substitutes],
        )
        for item in items
    ]


def _change_message(
    merchant: MerchantId, cycle: int, change: CycleChange, opened: Callable[[bytes], PostalAddress]
) -> pb.CycleChange | None:
    """What is different in a cycle, apart from its being skipped; None if nothing is."""
    local_date = change.local_date or (change.kept_date and change.kept_date.local_date)
    message = pb.CycleChange(
        cycle=cycle,
        local_date=to_date(local_date) if local_date else None,
        items=_item_messages(merchant, change.items or ()),
        ship_to=opened(change.ship_to) if change.ship_to else None,
    )
    return message if len(message.ListFields()) > 1 else None


def _schedule_message(schedule: Schedule) -> pb.Schedule:
    """A schedule on the wire, as fields and as a rule."""
    message = pb.Schedule(
        start_date=to_date(schedule.start_date),
        local_time=timeofday_pb2.TimeOfDay(
            hours=schedule.local_time.hour, minutes=schedule.local_time.minute
        ),
        time_zone=schedule.time_zone,
        blackouts=[
            pb.Schedule.Blackout(
                start_date=to_date(blackout.start_date), end_date=to_date(blackout.end_date)
            )
            for blackout in schedule.blackouts
        ],
        rrule=to_rrule(schedule),
    )
    if schedule.blackouts:
        message.blackout_rule = pb.Schedule.BlackoutRule.Value(schedule.blackout_rule)
    if schedule.business_days.rule is not BusinessDayRule.NONE:
        message.business_days.rule = pb.Schedule.BusinessDays.Rule.Value(
            schedule.business_days.rule
        )
        message.business_days.country = schedule.business_days.country
        message.business_days.subdivision = schedule.business_days.subdivision
    match schedule.recurrence:
        case Daily(every_days):
            message.daily.every_days = every_days
        case Weekly(every_weeks, weekdays):
            message.weekly.every_weeks = every_weeks
            message.weekly.weekdays.extend(
                dayofweek_pb2.DayOfWeek.Name(int(day)) for day in weekdays
            )
        case Monthly(every_months, month_days, nth_weekdays):
            message.monthly.every_months = every_months
            message.monthly.month_days.extend(month_days)
            message.monthly.nth_weekdays.extend(
                pb.Schedule.NthWeekday(
                    nth=nth_weekday.nth,
                    weekday=dayofweek_pb2.DayOfWeek.Name(int(nth_weekday.weekday)),
                )
                for nth_weekday in nth_weekdays
            )
        case Yearly(every_years, month, month_day):
            message.yearly.every_years = every_years
            message.yearly.month = month
            message.yearly.month_day = month_day
    match schedule.end:
        case EndAfter(cycle_count):
            message.cycle_count = cycle_count
        case EndOn(end_date):
            message.end_date.CopyFrom(to_date(end_date))
    return message


def _condition_message(merchant: MerchantId, condition: Condition) -> pb.Condition:
    otherwise = condition.otherwise
    message = pb.Condition(
        otherwise=pb.Otherwise(
            action=pb.Otherwise.Action.Value(otherwise.action),
            defer_days=otherwise.defer_days,
        )
    )
    if otherwise.substitute:
        message.otherwise.substitute = product_name(merchant, otherwise.substitute)
    match condition.kind:
        case UnitPriceCeiling(product, ceiling_minor, currency):
            message.unit_price_ceiling.product = product_name(merchant, product)
            message.unit_price_ceiling.ceiling.CopyFrom(to_money(ceiling_minor, currency))
        case TotalCeiling(ceiling_minor, currency):
            message.total_ceiling.CopyFrom(to_money(ceiling_minor, currency))
        case MonthCeiling(ceiling_minor, currency):
            message.month_ceiling.CopyFrom(to_money(ceiling_minor, currency))
        case InStock():
            message.in_stock.SetInParent()
        case DaysSinceLastOrder(days):
            message.days_since_last_order = days
        case Expression(source):
            message.expression = source
    return message


def order_message(row: OrderRow, keyring: Keyring) -> pb.Order:
    """An order's row on the wire, its address opened."""
    address = addresses.decrypt(keyring, row.merchant, row.customer, row.ship_to)
    return pb.Order(
        name=order_name(OrderKey(row.merchant, row.standing_order, row.cycle)),
        customer=customer_name(row.merchant, row.customer),
        cycle=row.cycle,
        local_date=to_date(row.local_date),
        moved_from_date=to_date(row.moved_from_date) if row.moved_from_date else None,
        due_time=to_timestamp(row.due_time),
        state=pb.Order.State.Value(row.state),
        title=row.title,
        billing_mode=pb.BillingMode.Value(row.billing_mode),
        mandate=row.mandate,
        reasons=[pb.OrderReason.Value(reason) for reason in row.reasons],
        lines=line_messages([line_of(line) for line in row.lines], row.currency),
        ship_to=address if row.ship_to else None,
        region_code=row.region_code,
        tax_id=row.tax_id,
        notified_amount=_money(row.notified_minor, row.currency),
        amount=_money(row.amount_minor, row.currency),
        notice_time=_timestamp(row.notice_time),
        charge_not_before_time=_timestamp(row.charge_not_before_time),
        pay_time=_timestamp(row.pay_time),
        late_payment_until_time=_timestamp(row.late_payment_until_time),
        create_time=to_timestamp(row.create_time),
        update_time=to_timestamp(row.update_time),
    )


def decision_message(decision: Decision) -> pb.Decision:
    """A decision on the wire."""
    data = struct_pb2.Struct()
    data.update(_without_numbers(dict(decision.data)))
    return pb.Decision(
        time=to_timestamp(decision.time), kind=decision.kind, summary=decision.summary, data=data
    )


def _without_numbers(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Numbers as decimal text: those of a Struct are floats, which money must not become."""
    match value:
        case bool():
            return value
        case int():
            return str(value)
        case dict():
            return {key: _without_numbers(entry) for key, entry in value.items()}
        case list():
            return [_without_numbers(element) for element in value]
    return value


def settings_message(settings: SchedulerSettings) -> pb.SchedulerSettings:
    """A merchant's settings on the wire."""
    return pb.SchedulerSettings(
        name=names.SETTINGS.format(settings.merchant),
        unpaid_policy=pb.SchedulerSettings.UnpaidPolicy.Value(settings.unpaid_policy),
        late_payment_days=settings.late_payment_days,
        action_page_uri=settings.action_page_uri,
        etag=etag(settings.version),
    )


def action_link_message(view: LinkView) -> pb.ActionLink:
    """What a customer sees of a link."""
    link, standing_order, order, offers = view
    message = pb.ActionLink(
        standing_order=standing_order_name(*standing_order.key),
        title=standing_order.title,
        time_zone=standing_order.schedule.time_zone,
        standing_order_state=pb.StandingOrder.State.Value(standing_order.state),
        offers=[
            pb.ActionLink.Offer(
                action=pb.ActionLink.Action.Value(offer.action),
                next_due_time=optional_timestamp(offer.next_due_time),
            )
            for offer in offers
        ],
        expire_time=to_timestamp(link.expire_time),
        use_time=optional_timestamp(link.use_time),
    )
    if link.used_action is not None:
        message.used_action = pb.ActionLink.Action.Value(link.used_action)
    if order is not None:
        message.order = order_name(order.key)
        message.order_state = pb.Order.State.Value(order.state)
        message.due_time.CopyFrom(to_timestamp(order.due_time))
        if order.notified_minor is not None:
            message.amount.CopyFrom(to_money(order.notified_minor, order.currency))
    return message


def preview_message(preview: CyclePreview) -> pb.CyclePreview:
    """A cycle to come on the wire."""
    message = pb.CyclePreview(
        cycle=preview.order.key.cycle,
        local_date=to_date(preview.order.local_date),
        due_time=to_timestamp(preview.order.due_time),
        notice_time=to_timestamp(preview.notice_time),
    )
    if preview.skip_reason is not None:
        message.skip_reason = pb.OrderReason.Value(preview.skip_reason)
    projection = preview.projection
    if projection is not None:
        order, quote = projection.order, projection.quote
        message.unmet_conditions.extend(words(projection.outcome))
        if order.state is not OrderState.SKIPPED:
            message.problems.extend(map(pb.OrderReason.Value, order.reasons))
            message.mandate_reasons.extend(
                map(payments_pb2.RefusalReason.Value, mandate_reasons(order))
            )
        if quote is not None:
            message.amount.CopyFrom(to_money(quote.amount_minor, quote.currency))
            message.lines.extend(line_messages(quote.lines, quote.currency))
    return message


def coverage_message(product: str, coverage: Coverage) -> pb.StockCoverage:
    """How far the stock of a product (its name) reaches."""
    short = coverage.short
    return pb.StockCoverage(
        product=product,
        title=coverage.supply.title,
        available_units=coverage.supply.available_units,
        expected_units=coverage.expected_units,
        demand_units=coverage.demand_units,
        short_units=sum(demand.units for demand in short),
        short_cycle_count=len(short),
        first_short_date=to_date(short[0].local_date) if short else None,
        short_cycles=[
            pb.ShortCycle(
                order=order_name(demand.key),
                date=to_date(demand.local_date),
                units=demand.units,
            )
            for demand in short[:SHORT_CYCLES_SHOWN_MAX]
        ],
    )


def demand_message(key: DemandKey, demand: Demand) -> pb.DemandForecast:
    """What a day will want of a product, on the wire."""
    return pb.DemandForecast(
        date=to_date(key.local_date),
        product=key.product,
        units=demand.units,
        revenue=to_money(demand.revenue_minor, key.currency),
        list_revenue=to_money(demand.list_revenue_minor, key.currency),
        gross_revenue=to_money(demand.gross_revenue_minor, key.currency),
    )


def price_change_preview_message(
    preview: PriceChangePreview, currency: str
) -> pb.PreviewPriceChangeResponse:
    """Whom a price version would touch, on the wire."""
    total = preview.total
    return pb.PreviewPriceChangeResponse(
        customer_count=len(total.customers),
        standing_order_count=total.standing_order_count,
        cycle_count=total.cycle_count,
        gross_revenue=to_money(total.revenue_minor, currency),
        previous_gross_revenue=to_money(total.previous_minor, currency),
        groups=[
            pb.PriceChangeGroup(
                timing=pb.PriceChangeGroup.Timing.Value(timing),
                customer_count=len(group.customers),
                standing_order_count=group.standing_order_count,
                cycle_count=group.cycle_count,
                gross_revenue=to_money(group.revenue_minor, currency),
                previous_gross_revenue=to_money(group.previous_minor, currency),
                first_cycles=[
                    pb.PriceChangeFirstCycles(date=to_date(day), standing_order_count=count)
                    for day, count in sorted(group.first_dates.items())
                ],
            )
            for timing, group in preview.in_order
        ],
    )


def import_message(book: Book, bills: Sequence[ShadowBill]) -> pb.ImportStandingOrdersResponse:
    """What became of an import, on the wire."""
    return pb.ImportStandingOrdersResponse(
        imported_count=book.accepted_count if book.storable else 0,
        unchanged_count=book.unchanged_count,
        refused_count=book.refused_count,
        problems=[
            pb.ImportProblem(
                row=problem.number,
                standing_order_id=problem.standing_order,
                field=problem.violation.field,
                reason=problem.violation.reason,
                description=problem.violation.description,
            )
            for problem in book.problems
        ],
        shadow_bills=[_shadow_message(bill) for bill in bills],
    )


def _shadow_message(bill: ShadowBill) -> pb.ShadowBill:
    cycles = [preview_message(cycle) for cycle in bill.cycles]
    for cycle in cycles:
        # Dates and amounts are what can be compared, and a thousand rows fit in one answer.
        cycle.ClearField("lines")
    return pb.ShadowBill(row=bill.number, standing_order_id=bill.standing_order, cycles=cycles)
