"""What a proof at an interval shows to Prometheus."""

import asyncio
import socket
from dataclasses import replace
from datetime import timedelta

from typer.testing import CliRunner, Result

from cli.__main__ import app
from cli.command import FAILED
from cli.errors import CommandError
from cli.prove.findings import Finding, Report
from cli.prove.watch import Watch
from cli.values import parse_host_port
from deploy.embedded.ports import free_ports
from tests.prometheus import alert_queries, metrics_in
from tests.unit.cli.test_prove_statement import REPORT, VERDICT

BROKEN = replace(REPORT, verdicts=(replace(VERDICT, violations=(Finding("acme", "none sent"),)),))

BOTH = ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",)


def watched(*outcomes: Report | CommandError) -> Watch:
    left = list(outcomes)

    async def prove() -> Report:
        outcome = left.pop(0)
        if isinstance(outcome, CommandError):
            raise outcome
        return outcome

    return Watch(prove, timedelta(minutes=5))


async def test_each_clause_has_its_violations() -> None:
    watch = watched(BROKEN)
    await watch.step()
    shown = watch.exposition()
    assert 'recurring_proof_violations{clause="receipt-sent"} 1.0\n' in shown
    assert 'recurring_proof_checked{clause="receipt-sent"} 3.0\n' in shown
    assert "recurring_proof_failures_total 0.0\n" in shown


async def test_a_proof_that_failed_leaves_the_one_before_and_its_time() -> None:
    watch = watched(REPORT, CommandError("the database of notify cannot be read"))
    await watch.step()
    first = watch.exposition()
    await watch.step()
    assert watch.exposition() == first.replace("failures_total 0.0", "failures_total 1.0")


async def test_before_the_first_proof_no_clause_holds_or_breaks() -> None:
    shown = watched().exposition()
    assert "clause=" not in shown
    assert "recurring_proof_timestamp_seconds 0.0\n" in shown


async def test_all_that_alerts_ask_of_it_is_shown() -> None:
    watch = watched(REPORT)
    await watch.step()
    queried = {name for name in metrics_in(alert_queries()) if name.startswith("recurring_proof_")}
    assert queried
    assert {name for name in queried if f"\n{name}" not in watch.exposition()} == set()


def show(metrics: str) -> Result:
    return CliRunner().invoke(app, ["prove", "watch", "--metrics", metrics])


def test_an_address_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        failed = show(f"127.0.0.1:{port}")
    assert (failed.exit_code, failed.stderr) == (
        FAILED,
        f"--metrics: cannot listen at 127.0.0.1 port {port}: [Errno 98] Address already in use\n",
    )


def test_a_port_without_a_host_is_refused() -> None:
    failed = show("9464")
    assert failed.exit_code == 2
    assert "'9464' is not a host and a port" in failed.stderr


async def test_numbers_are_shown_to_ipv4_and_ipv6() -> None:
    [port] = free_ports(1)
    running = asyncio.create_task(watched(REPORT).run(*parse_host_port(f"[::]:{port}")))
    await asyncio.sleep(0)
    for host in BOTH:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b"recurring_proof_timestamp_seconds" in await reader.read()
        writer.close()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
