"""Rows of standing orders, and the domain's values."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from services.runtime.db.pool import to_json
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId, StandingOrderKey
from services.scheduler.domain.purchases import RepurchaseAction, RepurchaseRule
from services.scheduler.domain.standing_order import CatchUp, CatchUpMode, StandingOrder, State
from services.scheduler.domain.terms import BillingMode
from services.scheduler.store import conditions, ending_promotions, price_agreements, schedules
from services.scheduler.store.items import dump_changes, dump_items, load_change, load_items


class StandingOrderRow(NamedTuple):
    """A row of the view `standing_order_rows`."""

    merchant: MerchantId
    standing_order: StandingOrderId
    customer: CustomerId
    title: str
    items: list[tuple[str, int]]
    schedule: str
    billing_mode: str
    mandate: str
    ship_to: bytes
    region_code: str
    tax_id: str
    price_protection: dict[str, Any] | None
    notice_lead: timedelta
    payment_window: timedelta
    currency: str
    promotion_code: str
    rule_lead: timedelta
    notice_rule_pack: str
    price_agreements: list[dict[str, Any]]
    protection_end_time: datetime | None
    protection_notice_time: datetime | None
    protection_saved_minor: int
    ending_promotion: dict[str, Any] | None
    promotion_notice_time: datetime | None
    create_time: datetime
    update_time: datetime
    state: str
    base_cycle: int
    plan_first_cycle: int
    last_nominal_date: date | None
    next_cycle: int | None
    next_due_time: datetime | None
    prepare_time: datetime | None
    catch_up_mode: str
    catch_up_window: timedelta
    conditions: str
    repurchase_window: timedelta | None
    repurchase_action: str
    slot_days_before: int
    slot_days_after: int
    last_cycle: int | None
    resume_time: datetime | None
    last_due_time: datetime | None
    changes: dict[str, dict[str, Any]]
    dates_changed: bool
    paid_order_count: int
    last_amount_minor: int | None
    last_currency: str
    version: int
    # Whether cycles wait while an order is unpaid, by the merchant's settings.
    waits_for_payment: bool
    # For how many days an order that lapsed unpaid can still be paid, by the merchant's settings.
    late_payment_days: int
    # The page of the merchant's settings on which customers act on notices; empty: none.
    action_page_uri: str


def standing_order_of(row: StandingOrderRow) -> StandingOrder:
    """A standing order from its row."""
    return StandingOrder(
        merchant=row.merchant,
        standing_order=row.standing_order,
        customer=row.customer,
        title=row.title,
        items=load_items(row.items),
        schedule=schedules.load(row.schedule),
        billing_mode=BillingMode[row.billing_mode],
        mandate=row.mandate,
        ship_to=row.ship_to,
        region_code=row.region_code,
        tax_id=row.tax_id,
        price_protection=row.price_protection,
        notice_lead=row.notice_lead,
        payment_window=row.payment_window,
        currency=row.currency,
        promotion_code=row.promotion_code,
        rule_lead=row.rule_lead,
        notice_rule_pack=row.notice_rule_pack,
        price_agreements=price_agreements.load(row.price_agreements),
        protection_saved_minor=row.protection_saved_minor,
        ending_promotion=ending_promotions.load(row.ending_promotion),
        create_time=row.create_time,
        update_time=row.update_time,
        state=State[row.state],
        base_cycle=row.base_cycle,
        plan_first_cycle=row.plan_first_cycle,
        last_nominal_date=row.last_nominal_date,
        next_cycle=row.next_cycle,
        next_due_time=row.next_due_time,
        prepare_time=row.prepare_time,
        catch_up=CatchUp(CatchUpMode[row.catch_up_mode], row.catch_up_window),
        conditions=conditions.load(row.conditions),
        repurchase=(
            RepurchaseRule(row.repurchase_window, RepurchaseAction[row.repurchase_action])
            if row.repurchase_window is not None
            else None
        ),
        slot_days_before=row.slot_days_before,
        slot_days_after=row.slot_days_after,
        waits_for_payment=row.waits_for_payment,
        late_payment_days=row.late_payment_days,
        action_page_uri=row.action_page_uri,
        last_cycle=row.last_cycle,
        resume_time=row.resume_time,
        changes={int(cycle): load_change(data) for cycle, data in row.changes.items()},
        paid_order_count=row.paid_order_count,
        last_amount_minor=row.last_amount_minor,
        last_currency=row.last_currency,
        version=row.version,
    )


def columns_of(standing_order: StandingOrder) -> dict[str, Any]:
    """The columns that a change of a standing order can change, and its key."""
    rule, protection = standing_order.repurchase, standing_order.price_protection
    return {
        "merchant": standing_order.merchant,
        "standing_order": standing_order.standing_order,
        "title": standing_order.title,
        "items": dump_items(standing_order.items),
        "schedule": schedules.dump(standing_order.schedule),
        "billing_mode": standing_order.billing_mode,
        "mandate": standing_order.mandate,
        "ship_to": standing_order.ship_to,
        "region_code": standing_order.region_code,
        "tax_id": standing_order.tax_id,
        "notice_lead": standing_order.notice_lead,
        "rule_lead": standing_order.rule_lead,
        "notice_rule_pack": standing_order.notice_rule_pack,
        "payment_window": standing_order.payment_window,
        "catch_up_mode": standing_order.catch_up.mode,
        "catch_up_window": standing_order.catch_up.window,
        "conditions": conditions.dump(standing_order.conditions),
        "repurchase_window": rule.window if rule else None,
        "repurchase_action": rule.action if rule else RepurchaseAction.SKIP,
        "slot_days_before": standing_order.slot_days_before,
        "slot_days_after": standing_order.slot_days_after,
        "state": standing_order.state,
        "base_cycle": standing_order.base_cycle,
        "plan_first_cycle": standing_order.plan_first_cycle,
        "last_nominal_date": standing_order.last_nominal_date,
        "next_cycle": standing_order.next_cycle,
        "next_due_time": standing_order.next_due_time,
        "prepare_time": standing_order.prepare_time,
        "last_cycle": standing_order.last_cycle,
        "resume_time": standing_order.resume_time,
        "last_due_time": standing_order.last_due_time,
        "changes": dump_changes(standing_order.changes),
        "price_protection": to_json(protection) if protection else None,
        "price_agreements": price_agreements.dump(standing_order.price_agreements),
        "protection_end_time": standing_order.protection_end_time,
        "protection_notice_time": standing_order.protection_notice_time,
        "ending_promotion": ending_promotions.dump(standing_order.ending_promotion),
        "promotion_notice_time": standing_order.promotion_notice_time,
    }


def arrays_of(keys: Sequence[StandingOrderKey]) -> dict[str, list[str]]:
    """Keys as parameters of a statement, an array a column."""
    return {
        "merchant": [key.merchant for key in keys],
        "standing_order": [key.standing_order for key in keys],
    }
