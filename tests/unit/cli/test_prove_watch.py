"""What a proof at an interval shows to Prometheus."""

from dataclasses import replace
from datetime import timedelta

from cli.errors import CommandError
from cli.prove.findings import Finding, Report
from cli.prove.watch import Watch
from tests.prometheus import alert_queries, metrics_in
from tests.unit.cli.test_prove_statement import REPORT, VERDICT

BROKEN = replace(REPORT, verdicts=(replace(VERDICT, violations=(Finding("acme", "none sent"),)),))


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
