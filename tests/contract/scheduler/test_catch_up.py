"""After an outage each standing order bills what its policy says, and every cycle has its row."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf import duration_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from deploy.embedded import wiring
from services.runtime.rpc.conversions import from_timestamp
from tests.contract.scheduler.shop import LEAD, Shop
from tests.suite import Suite

DAY = timedelta(days=1)
ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def without_scheduler(suite: Suite) -> AsyncIterator[None]:
    """Stop the scheduler, and let the clock move without it; afterwards both are as before."""
    stack = suite.stack
    environment = wiring.sandbox_environment(stack.home, stack.addresses, suite.deployment.keys) | {
        "SANDBOX_EXPECTED_SERVICES": "catalog,payments,notify"
    }
    for part in ("scheduler", "sandbox"):
        await asyncio.to_thread(stack.kill, part)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox",
        cwd=ROOT, env={**os.environ, **environment}, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert b"INFO sandbox ready: " in await process.stderr.readline()
        yield
    finally:
        process.terminate()
        await process.communicate()
        await asyncio.to_thread(stack.up)


@pytest.mark.faults
@pytest.mark.embedded
async def test_each_policy_bills_what_it_says_after_an_outage(shop: Shop) -> None:
    policies = {
        "latest only": pb.CatchUp(mode=pb.CatchUp.LATEST_ONLY),
        "all of two days": pb.CatchUp(
            mode=pb.CatchUp.ALL_IN_ORDER, window=duration_pb2.Duration(seconds=2 * 86_400)
        ),
        "none": pb.CatchUp(mode=pb.CatchUp.NONE),
    }
    # Due after 2, 3, 4 … days, and announced a day ahead.
    when = await shop.due_in(2 * DAY)
    names = {
        policy: (await shop.create(when, catch_up=catch_up)).name
        for policy, catch_up in policies.items()
    }
    async with without_scheduler(shop.suite):
        await shop.suite.advance(5.5 * DAY)
    await shop.suite.sandbox.settle()

    missed: tuple[str, list[str]] = ("SKIPPED", ["MISSED"])
    billed: tuple[str, list[str]] = ("UPCOMING", [])
    expected = {
        "latest only": [missed, missed, missed, billed, billed],
        "all of two days": [missed, missed, billed, billed, billed],
        "none": [missed, missed, missed, missed, billed],
    }
    for policy, name in names.items():
        outcomes = [(state, reasons) for _, state, reasons in await shop.outcomes(name)]
        assert outcomes == expected[policy], policy
    # What was told late is charged late: the customer has the whole lead.
    now = await shop.now()
    for order in await shop.orders(names["latest only"]):
        if order.state == pb.Order.UPCOMING:
            assert from_timestamp(order.charge_not_before_time) >= now + LEAD - timedelta(minutes=1)
