"""What the catalog believes of a tax service, which is a process of its own."""

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.catalog.clients.tax_service import HttpTaxService
from services.catalog.domain.service_taxes import TaxedItem, TaxQuestion
from services.catalog.domain.tax import TaxBehavior, TaxIdTreatment
from services.runtime.http_client import HttpClient
from tests.integration.sandbox.process import PROVIDER_API_KEY, Sandbox

TIMEOUT_SECONDS = 0.5


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with aiohttp.ClientSession() as http:
        process = Sandbox(
            tmp_path / "record.sqlite3", http, environment={"SANDBOX_EXPECTED_SERVICES": ","}
        )
        await process.start()
        try:
            yield process
        finally:
            await process.close()


@pytest.fixture
async def service(sandbox: Sandbox) -> AsyncIterator[HttpTaxService]:
    async with HttpClient(connections_max=2, timeout_seconds=TIMEOUT_SECONDS) as http:
        yield HttpTaxService(http, f"{sandbox.url}/tax", PROVIDER_API_KEY)


def question(region_code: str = "DE", **changes: Any) -> TaxQuestion:  # noqa: ANN401
    """What is asked about a line of 10.00 EUR and one of 4.19 EUR."""
    items = (TaxedItem(1000, "standard"), TaxedItem(419, "food"))
    asked = TaxQuestion("EUR", date(2026, 12, 1), region_code, "", TaxBehavior.EXCLUSIVE, items)
    return asked._replace(**changes)


async def requests(sandbox: Sandbox) -> int:
    """How often the tax service was asked."""
    counted = (await sandbox.ask("GET", "/record")).body["requests"]["tax"]
    return sum(counted.values()) if isinstance(counted, dict) else sum(row[-1] for row in counted)


async def out_of_order(sandbox: Sandbox, **outage: Any) -> None:  # noqa: ANN401
    answer = await sandbox.ask("PUT", "/outages/tax", json={"on": True, **outage})
    assert answer.status == 200


async def test_many_carts_are_asked_about_at_once_and_answered_in_their_order(
    service: HttpTaxService, sandbox: Sandbox
) -> None:
    inclusive = question("AT", tax_behavior=TaxBehavior.INCLUSIVE)
    german, austrian, nowhere = await service.taxes([question(), inclusive, question("BR")])
    assert german is not None
    assert austrian is not None
    assert nowhere is not None
    assert [(tax.net_minor, tax.tax_minor) for tax in german] == [(1000, 190), (419, 80)]
    assert [(tax.net_minor, tax.tax_minor) for tax in austrian] == [(833, 167), (349, 70)]
    assert [tax.gross_minor for tax in nowhere] == [1000, 419]
    [vat] = german[0].taxes
    assert (vat.rate.title, vat.rate.rate_ppm) == ("VAT", 190_000)
    assert await requests(sandbox) == 1


async def test_a_reverse_charge_is_named_with_nothing_charged(service: HttpTaxService) -> None:
    [answer] = await service.taxes([question(tax_id="ATU12345678")])
    assert answer is not None
    [vat] = answer[0].taxes
    assert (vat.amount_minor, vat.rate.treatment) == (0, TaxIdTreatment.REVERSE_CHARGE)


@pytest.mark.parametrize(
    "outage",
    [
        {"kind": "unavailable"},
        {"kind": "garbage"},
        {"kind": "throttled"},
        {"kind": "lost_answers"},
        {"kind": "slow", "seconds": 2.0},
    ],
)
async def test_nothing_is_known_while_it_is_out_of_order(
    service: HttpTaxService, sandbox: Sandbox, outage: dict[str, Any]
) -> None:
    await out_of_order(sandbox, **outage)
    assert await service.taxes([question(), question("AT")]) == [None, None]


async def test_one_request_that_fails_is_sent_again(
    service: HttpTaxService, sandbox: Sandbox
) -> None:
    await out_of_order(sandbox, kind="unavailable", times=1)
    [answer] = await service.taxes([question()])
    assert answer is not None


async def test_a_key_that_is_refused_is_not_tried_again(
    service: HttpTaxService, sandbox: Sandbox
) -> None:
    await out_of_order(sandbox, kind="unauthorized")
    assert await service.taxes([question()]) == [None]
    assert await requests(sandbox) == 1


async def test_an_answer_in_another_currency_is_none_and_spoils_no_other(
    service: HttpTaxService,
) -> None:
    wrong, right = await service.taxes([question("DE-ZZ"), question()])
    assert wrong is None
    assert right is not None
