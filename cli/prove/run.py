"""A proof: every clause, judged at one moment."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain

from cli.prove import (
    calendar_clauses,
    charges,
    consent,
    cycles,
    documents,
    ledger,
    notices,
    progress,
    stock,
    webhooks,
)
from cli.prove.agreements import judge_agreement
from cli.prove.findings import Report, Verdict
from cli.prove.local import judge_joint, judge_local
from cli.prove.moment import Moment, open_moment
from cli.prove.motion import Motion, read_motion
from cli.prove.settled import Days, KeptDays
from cli.prove.target import Target
from cli.prove.whole import SETTLED_DAYS_UNCHANGED, WholeDays
from cli.prove.witness import judge_witness
from cli.sandbox import Sandbox

# A service that calls another comes before it.
SERVICES = ("scheduler", "payments", "notify", "catalog")
LOCAL = (
    *cycles.LOCAL, *charges.LOCAL, *consent.LOCAL, *ledger.LOCAL, *documents.LOCAL,
    *notices.LOCAL, *webhooks.LOCAL, *stock.LOCAL, *progress.LOCAL,
)  # fmt: skip
JOINT = (consent.OF_ATTEMPTS, notices.OF_DELIVERIES, progress.OF_DUE_WORK)
AGREEMENTS = (
    *charges.AGREEMENTS, *consent.AGREEMENTS, *notices.AGREEMENTS, *stock.AGREEMENTS,
)  # fmt: skip
# All that a statement on rows judges.
OF_ROWS = (
    *LOCAL, *(clause for joint in JOINT for clause in joint.clauses), *AGREEMENTS,
    SETTLED_DAYS_UNCHANGED,
)  # fmt: skip


async def run(
    target: Target,
    *,
    merchant: str = "",
    full: bool = False,
    on_judged: Callable[[int, int], None] | None = None,
) -> Report:
    """Prove what can be proved of a deployment, of one merchant or of all.

    `full` adds what no statement can aggregate: the calendar, and the events of more than the last
    hour. The sandbox's record is compared for all merchants together only. `on_judged` is
    called with how many groups of clauses were judged, and of how many. Raises CommandError if
    something to be read is out of reach.
    """
    sandbox = Sandbox(target.sandbox_url) if target.sandbox_url else None
    try:
        # The clock is read first: what is due by it is done by the snapshots, or late.
        now = await sandbox.now() if sandbox else None
        opened = open_moment(target.database_urls, SERVICES, merchant, now, full=full)
        async with opened as moment:
            motion = await read_motion(moment, full=full)
            judged = await _gather(_judged(moment, motion, full=full), on_judged)
            verdicts = [*chain(*judged), motion.verdict]
            if sandbox and not merchant:
                verdicts += await judge_witness(
                    moment, sandbox, target.provider_api_key, target.provider_accounts
                )
            positions = {name: each.position for name, each in moment.snapshots.items()}
            return Report(moment.now, merchant, full, positions, tuple(verdicts))
    finally:
        if sandbox:
            await sandbox.close()


async def _gather(
    judged: list[Awaitable[list[Verdict]]], on_judged: Callable[[int, int], None] | None
) -> list[list[Verdict]]:
    done = 0

    async def count(one: Awaitable[list[Verdict]]) -> list[Verdict]:
        nonlocal done
        verdicts = await one
        done += 1
        if on_judged:
            on_judged(done, len(judged))
        return verdicts

    return await asyncio.gather(*map(count, judged))


def _judged(moment: Moment, motion: Motion, *, full: bool) -> list[Awaitable[list[Verdict]]]:
    """Every clause; statements on one database wait for one another."""
    judged: list[Awaitable[list[Verdict]]] = []
    days: Days = KeptDays(moment)
    if full:
        # First, since others wait for it.
        days = whole = WholeDays(moment, AGREEMENTS)
        judged += [whole.judge_settled(), calendar_clauses.judge_dates(moment)]
    judged += [judge_agreement(moment, clause, motion.subjects, days) for clause in AGREEMENTS]
    judged += [judge_joint(moment, joint, full=full) for joint in JOINT]
    judged += [judge_local(moment, clause, full=full) for clause in LOCAL]
    judged.append(calendar_clauses.judge_brought_forward(moment))
    judged.append(webhooks.judge_kept(moment, full=full))
    return judged
