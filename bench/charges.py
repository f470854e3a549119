"""How many charges payments makes in a second over HTTP, and how soon it answers a webhook.

`python -m bench.charges` starts a stack, gives its payments process charges that are due, whose
notices were delivered, and waits until the provider's sandbox has taken all of them. Then it makes as
many while another provider, which some of the charges are for, answers nothing. In the end it sends
signed webhooks at a steady rate, each when its time has come, whether or not those before it were
answered.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import aiohttp
import asyncpg

from bench import seed, stack
from bench.cost import book_of
from bench.full_cycle import CHARGED
from bench.measure import Run, WrongResultError, check, percentile
from bench.stack import Stack
from deploy.embedded.__main__ import DEFAULT_HOME, HOME_VARIABLE
from deploy.embedded.process import PartError

CHARGES = 5_000
CHARGES_A_SECOND_MIN = 600
WEBHOOKS_A_SECOND = 500
WEBHOOK_SECONDS = 10
ANSWER_SECONDS_MAX = 0.005
NOTIFIED_AHEAD = timedelta(days=3)
POLL_SECONDS = 0.05
TIMEOUT_SECONDS = 240.0
# Of the charges that are made while a provider hangs, so many more are for that one.
HANGING_SHARE = 0.1
HANGING_SECONDS = 60

_NOTICES = """
    INSERT INTO notices (merchant, customer, charge, notice, amount_minor, currency,
                         charge_not_before_time, deliver_time, billing_mode)
    SELECT merchant, customer, 'so-1', 'notice', 1290, 'EUR', $2, $2, 'AUTOMATIC'
    FROM mandates WHERE merchant = $1
"""
_CHARGES = """
    INSERT INTO charges (merchant, customer, charge, order_name, due_time, billing_mode, amount_minor,
                         currency, mandate, title, time_zone, traceparent, charge_rules, create_time,
                         state, next_attempt_time, update_time, provider)
    SELECT merchant, customer, 'so-1',
           format('merchants/%s/standingOrders/%s/orders/1', merchant, customer), $2, 'AUTOMATIC',
           1290, 'EUR', format('merchants/%s/customers/%s/mandates/main', merchant, customer), 'Tea',
           'UTC', '', '[]', $2, 'SCHEDULED', $2, $2, provider
    FROM mandates JOIN payment_methods USING (merchant, customer, payment_method)
    WHERE merchant = $1
"""
# So many of a merchant's cards become accounts that another provider debits.
_BANK_DEBITS = """
    UPDATE payment_methods SET provider = 'bank-debit', kind = 'BANK_DEBIT'
    WHERE merchant = $1 AND customer IN (
        SELECT customer FROM payment_methods WHERE merchant = $1 ORDER BY customer LIMIT $2)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench.charges", description=__doc__)
    parser.add_argument("--charges", type=int, default=CHARGES, help="how many charges to make")
    parser.add_argument(
        "--webhook-seconds", type=int, default=WEBHOOK_SECONDS, help="how long to send webhooks"
    )
    chosen = parser.parse_args(arguments)
    home = Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME) / "bench"
    try:
        with stack.running(home / "stack") as running:
            stack.migrate_scheduler(running)
            asyncio.run(_measure(running, chosen.charges, chosen.webhook_seconds))
    except (PartError, WrongResultError) as error:
        print(f"bench.charges: {error}", file=sys.stderr)
        return 1
    return 0


async def _measure(running: Stack, charges: int, webhook_seconds: int) -> None:
    await _charge(running, "warm-up", min(charges, 200))
    run = await _charge(running, "measured", charges)
    print(f"charges a second: {run.per_second:.0f} (aim {CHARGES_A_SECOND_MIN})")
    for part, seconds in run.cpu_seconds.items():
        print(f"  CPU a charge, {part}: {seconds / charges * 1e6:.0f} us")
    hanging = await _charge(running, "beside", charges, hanging=int(charges * HANGING_SHARE))
    print(
        f"charges a second while another provider hangs: {hanging.per_second:.0f}, "
        f"{hanging.per_second / run.per_second:.2f} of the rate before"
    )
    before = running.cpu_seconds()
    taken = await _send_webhooks(running, webhook_seconds)
    after = running.cpu_seconds()
    late = percentile(taken, 0.99)
    print(
        f"webhooks at {WEBHOOKS_A_SECOND} a second: p50 {percentile(taken, 0.5) * 1e3:.1f} ms, "
        f"p99 {late * 1e3:.1f} ms (aim {ANSWER_SECONDS_MAX * 1e3:.0f} ms)"
    )
    for part in after:
        print(f"  CPU a webhook, {part}: {(after[part] - before[part]) / len(taken) * 1e6:.0f} us")


async def _charge(running: Stack, merchant: str, count: int, hanging: int = 0) -> Run:
    """Make so many charges, and so many more that nobody answers; seeding them is not measured."""
    book = await book_of(running, merchant, count + hanging)
    await seed.fill(running, book)
    running.checkpoint()
    connection = await asyncpg.connect(running.url("payments"))
    try:
        await connection.execute(_NOTICES, merchant, book.now - NOTIFIED_AHEAD)
        if hanging:
            await connection.execute(_BANK_DEBITS, merchant, hanging)
            await _switch_bank(running, on=True)
        before = running.cpu_seconds()
        begun = time.perf_counter()
        await connection.execute(_CHARGES, merchant, book.now)
        made = 0
        while made < count and time.perf_counter() - begun < TIMEOUT_SECONDS:
            await asyncio.sleep(POLL_SECONDS)
            made = int(await connection.fetchval(CHARGED, merchant))
        seconds = time.perf_counter() - begun
        after = running.cpu_seconds()
    finally:
        await connection.close()
        if hanging:
            await _switch_bank(running, on=False)
    check("charges", count, made)
    return Run(count, seconds, {part: after[part] - before[part] for part in after})


async def _switch_bank(running: Stack, *, on: bool) -> None:
    outage = {"on": on, "kind": "queued", "seconds": HANGING_SECONDS}
    async with (
        aiohttp.ClientSession() as http,
        http.put(f"{running.sandbox_url}/outages/bank", json=outage) as answer,
    ):
        check("the status of the outage", 200, answer.status)


async def _send_webhooks(running: Stack, seconds: int) -> list[float]:
    """How long each answer took, from when the webhook was to be sent, in seconds."""
    settings = running.environment("payments")
    url = f"http://{settings['RECURRING_WEBHOOK_ADDRESS']}/webhooks/stripe"
    secret = settings["RECURRING_WEBHOOK_SECRETS"].split()[0].encode()
    now = int((await book_of(running, "webhooks", 1)).now.timestamp())
    loop = asyncio.get_running_loop()
    begin = loop.time() + 1
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as http:

        async def send(number: int) -> float:
            event = {
                "id": f"evt_{number}", "object": "event", "type": "payment_intent.succeeded",
                "created": now,
                "data": {"object": {"id": f"pi_{number}", "object": "payment_intent",
                                    "status": "succeeded", "metadata": {}}},
            }  # fmt: skip
            body = json.dumps(event).encode()
            signed = hmac.new(secret, b"%d.%s" % (now, body), hashlib.sha256).hexdigest()
            at = begin + number / WEBHOOKS_A_SECOND
            await asyncio.sleep(at - loop.time())
            headers = {"Stripe-Signature": f"t={now},v1={signed}"}
            async with http.post(url, data=body, headers=headers) as answer:
                await answer.read()
                check("the status of the answer", 200, answer.status)
            return loop.time() - at

        return await asyncio.gather(*map(send, range(seconds * WEBHOOKS_A_SECOND)))


if __name__ == "__main__":
    sys.exit(main())
