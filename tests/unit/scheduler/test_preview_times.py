"""When a preview says that customers are notified, against when the orders are prepared."""

from datetime import datetime, timedelta

import pytest

from services.scheduler.application.evaluation.projection import Projection
from services.scheduler.application.previews import _coming, _previews
from services.scheduler.domain.charge_rules import RuleLead
from services.scheduler.domain.cycles import open_cycles
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.schedule import Daily
from services.scheduler.domain.standing_order import under_rule_lead
from tests.unit.scheduler.test_standing_order import SIGN_UP, new_standing_order


@pytest.mark.parametrize("every_days", [5, 40])
def test_a_longer_lead_that_comes_with_an_order_counts_from_the_next_preparation_on(
    every_days: int,
) -> None:
    standing_order = new_standing_order(Daily(every_days))
    longer = RuleLead(timedelta(days=14), "rulePacks/sepa")
    coming = list(_coming(standing_order, 6, SIGN_UP))
    projections = {
        order.key: Projection(order._replace(rule_lead=longer, notice_lead=longer.lead))
        for order, _ in coming
    }
    previewed = _previews(standing_order, coming, projections, SIGN_UP)
    prepared: dict[OrderKey, datetime] = {}
    while len(prepared) < len(coming):
        now = standing_order.prepare_time
        assert now is not None
        now = max([now, *prepared.values()])
        opening = open_cycles(standing_order, now)
        prepared |= {order.key: now for order in opening.orders}
        standing_order = under_rule_lead(opening.standing_order, longer)
    assert {preview.order.key: preview.notice_time for preview in previewed} == {
        order.key: prepared[order.key] for order, _ in coming
    }
