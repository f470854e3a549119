"""Logs, metrics, traces and events of a customer's cycles contain nothing personal."""

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

from recurring.scheduler.v1 import scheduler_pb2

from deploy.embedded.addresses import SERVICES
from services.runtime.messaging.streams import STREAMS
from tests.e2e.traced_stack import Played, within_a_while
from tests.suite import Suite


def leaks(text: str, played: Played) -> list[str]:
    """The secrets in a text; digits that go on to both sides are another number."""
    return [
        secret for secret in played.secrets if re.search(rf"(?<!\d){re.escape(secret)}(?!\d)", text)
    ]


def test_the_customer_was_there_to_be_seen(played: Played) -> None:
    assert played.order.state == scheduler_pb2.Order.PAID
    assert len(played.secrets) == len(set(played.secrets)) == 9
    assert all(played.secrets)


def test_exported_traces_contain_no_secret(played: Played) -> None:
    # The last thing in the life of a cycle.
    last = "process recurring.scheduler.v1.OrderConfirmed"
    assert within_a_while(lambda: any(last in export for export in played.collector.received))
    everything = "\n".join(played.collector.received)
    for told_at_all in ("INSERT INTO deliveries", "StartPhoneBinding", "CreatePaymentMethod"):
        assert told_at_all in everything
    assert leaks(everything, played) == []


def test_logs_contain_no_secret(played: Played) -> None:
    for part in (*SERVICES, "postgres", "nats"):
        lines = (played.stack.home / "log" / f"{part}.log").read_text().splitlines()
        assert lines, part
        assert leaks("\n".join(text for line in lines for text in texts(line)), played) == [], part


def test_metrics_contain_no_secret(played: Played) -> None:
    for service in SERVICES:
        url = f"http://{played.stack.addresses.local(f'{service}_metrics')}/metrics"
        with urllib.request.urlopen(url, timeout=5) as page:
            labels = re.findall(r"\{(.*)\}", page.read().decode())
        assert labels
        assert leaks("\n".join(labels), played) == [], service


async def test_events_contain_no_secret(played: Played) -> None:
    suite, subjects = Suite.on(played.stack), set[str]()
    async for event in suite.events(STREAMS):
        subjects.add(event.subject)
        everything = f"{event.subject} {event.headers} {event.data.decode(errors='replace')}"
        assert leaks(everything, played) == [], event.subject
    merchant, paid = played.order.name.split("/")[1], "recurring.payments.v1.PaymentSucceeded"
    assert {paid, f"merchants.{merchant}.{paid}"} <= subjects


def texts(line: str) -> Iterator[str]:
    """What a line of a log says in words; its numbers may be like a code by chance."""
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        yield line
        return
    yield from (str(value) for value in entry.values() if not isinstance(value, float))
