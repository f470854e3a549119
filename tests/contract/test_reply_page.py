"""A customer replies on the sandbox's page of phones, and the suite does what they want."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from recurring.scheduler.v1 import scheduler_pb2

from cli import sandbox as client
from tests.browser.chromium import Chromium, Page
from tests.contract.customer import new_customer
from tests.suite import Suite

TEXTS = "[...document.querySelectorAll('.bubble .text')].map(e => e.innerText)"
REPLY = """
    document.querySelector('#reply input').value = 'SKIP';
    document.querySelector('#reply button').click()
"""


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """A tab of a browser of its own."""
    async with aiohttp.ClientSession() as http:
        browser = Chromium(tmp_path, http)
        try:
            await browser.start()
            yield await browser.new_page()
        finally:
            await browser.close()


@pytest.mark.embedded
async def test_skip_written_on_the_page_is_done_and_confirmed_there(
    page: Page, suite: Suite
) -> None:
    ann = await new_customer(suite)
    tea = (await ann.subscribe()).name
    await suite.advance(timedelta(days=2, hours=12))
    await page.open(client.Sandbox(suite.deployment.sandbox_url).page(to=ann.phone))
    await page.wait_for(f"{TEXTS}.some(text => text.includes('Reply SKIP'))")

    await page.evaluate(REPLY)
    await page.wait_for(f"({TEXTS}.at(-1) ?? '').includes('is skipped')")

    assert (await page.evaluate(TEXTS))[-2] == "SKIP"
    request = scheduler_pb2.GetOrderRequest(name=f"{tea}/orders/1")
    order = await ann.shop.scheduler.GetOrder(request)
    assert order.state == scheduler_pb2.Order.SKIPPED
