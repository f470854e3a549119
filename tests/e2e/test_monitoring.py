"""A cycle is one trace across all four services, and every metric of the dashboards is exported."""

import re
import urllib.request
from fnmatch import fnmatchcase

from recurring.scheduler.v1 import scheduler_pb2

from deploy.embedded.addresses import SERVICES
from deploy.embedded.stack import EmbeddedStack
from tests.e2e.traced_stack import Played, within_a_while
from tests.prometheus import (
    EXPORTED_BY_OTHERS,
    ROOT,
    alert_queries,
    dashboard_queries,
    metrics_in,
    rules,
)

# Where a cycle passes from one service to another: by a call, or by an event.
EDGES = {
    ("scheduler", "catalog", "/recurring.catalog.v1.CatalogService/BatchQuote"),
    ("scheduler", "notify", "/recurring.notify.v1.NotifyService/BatchCheckContacts"),
    ("scheduler", "payments", "/recurring.payments.v1.PaymentsService/BatchCheckMandates"),
    ("scheduler", "catalog", "/recurring.catalog.v1.CatalogService/BatchHoldStock"),
    ("scheduler", "notify", "process recurring.scheduler.v1.OrderUpcoming"),
    ("notify", "scheduler", "process recurring.notify.v1.ChargeNoticeDelivered"),
    ("notify", "payments", "process recurring.notify.v1.ChargeNoticeDelivered"),
    ("scheduler", "payments", "process recurring.scheduler.v1.PaymentDue"),
    ("payments", "scheduler", "process recurring.payments.v1.PaymentSucceeded"),
    ("scheduler", "catalog", "process recurring.scheduler.v1.OrderConfirmed"),
    ("scheduler", "notify", "process recurring.scheduler.v1.OrderConfirmed"),
}


def test_a_cycle_is_one_trace_from_preparation_to_receipt(played: Played) -> None:
    assert played.order.state == scheduler_pb2.Order.PAID
    within_a_while(lambda: played.collector.edges() >= EDGES)
    assert EDGES - played.collector.edges() == set()
    cycle = played.collector.cycle()
    assert len({span.trace for span in cycle}) == 1
    # All of it begins with one span, and the statements that it caused are in it as well.
    assert [span.name for span in cycle if not span.parent] == ["work prepare"]
    assert "INSERT" in {span.name for span in cycle}


def test_all_that_dashboards_and_alerts_ask_for_is_exported(played: Played) -> None:
    queried = metrics_in(dashboard_queries()) | metrics_in(alert_queries())
    queried -= EXPORTED_BY_OTHERS
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert len(queried) > 30
    within_a_while(lambda: queried <= exported(played.stack) | recorded)
    assert queried - exported(played.stack) - recorded == set()


def test_every_metric_is_in_the_architecture(played: Played) -> None:
    parts = re.compile(r"_(?:bucket|count|sum)$")
    names = {parts.sub("", name) for name in exported(played.stack)} - {"target_info"}
    named = described()
    assert len(names) > 60
    assert {name for name in names if not any(fnmatchcase(name, it) for it in named)} == set()


def described() -> set[str]:
    """The metrics in the table of the architecture, of which one cell may name several by `{a,b}`."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page.partition("## Monitoring")[2].partition("\n## ")[0]
    first_cells = " ".join(re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE))
    return {
        f"{before}{each}{after}"
        for before, several, after in re.findall(
            r"`([a-z_]+)(?:\{([a-z_,]+)\})?([a-z_*]*)`", first_cells
        )
        for each in several.split(",")
    }


def exported(stack: EmbeddedStack) -> set[str]:
    """The names of the series that the four services show."""
    names: set[str] = set()
    for service in SERVICES:
        url = f"http://{stack.addresses.local(f'{service}_metrics')}/metrics"
        with urllib.request.urlopen(url, timeout=5) as page:
            names.update(re.findall(r"^([a-z_]+)[{ ]", page.read().decode(), re.MULTILINE))
    return names
