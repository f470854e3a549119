"""Documents: how many PDFs two processes render in a second, and how many are issued."""

import asyncio
import time
from datetime import UTC, datetime

from bench.measure import Aim, Figure, WrongResultError
from services.payments.clients.rendering.process import DocumentRenderer
from services.payments.domain.documents import (
    Content,
    Document,
    DocumentAdjustment,
    DocumentLine,
    DocumentType,
    Seller,
    TaxTotal,
    dump_document,
)
from services.payments.domain.keys import ChargeId, CustomerId, DocumentId, MerchantId, RefundId

PROCESSES = 2
WARM_UP = 4
PDFS = 400
PDFS_A_SECOND = Aim(50)
_AT = datetime(2027, 1, 31, 8, tzinfo=UTC)
_CONTENT = Content(
    (
        DocumentLine(
            "beans", "Coffee beans, 1 kg", 2, 2353, 2800, 3000,
            (DocumentAdjustment("SUBSCRIBER_DISCOUNT", -100, ""),
             DocumentAdjustment("PROMOTION", -100, "Spring")),
        ),
        DocumentLine("milk", "Oat milk", 6, 1262, 1350),
    ),
    3615,
    (TaxTotal("VAT", 190_000, "CHARGED", 2353, 447), TaxTotal("VAT", 70_000, "CHARGED", 1262, 88)),
    500,
)  # fmt: skip


def sample(number: int, language_code: str = "en") -> Document:
    """An invoice of two lines, as most are."""
    printed = f"INV-2027-{number:06}"
    return Document(
        merchant=MerchantId("demo"),
        document=DocumentId(printed.lower()),
        type=DocumentType.INVOICE,
        number=printed,
        issue_date=_AT.date(),
        issue_time=_AT,
        fact_time=_AT,
        time_zone="Europe/Berlin",
        language_code=language_code,
        customer=CustomerId("ada"),
        charge=ChargeId("weekly-coffee-4"),
        refund=RefundId(""),
        order_name="merchants/demo/standingOrders/weekly-coffee/orders/4",
        mandate="merchants/demo/customers/ada/mandates/consent",
        notice="merchants/demo/customers/ada/notices/upcoming-weekly-coffee-4",
        corrected=DocumentId(""),
        title="Weekly coffee",
        region_code="DE",
        currency="EUR",
        content=_CONTENT,
        brand="visa",
        last4="4242",
        seller=Seller(
            "Roastery & Söhne GmbH",
            ("Hafenstraße 12", "20457 Hamburg", "Germany"),
            "DE123456789",
            "",
        ),
        footer="Questions? hello@roastery.example\nHRB 12345, Amtsgericht Hamburg",
    )


async def measure() -> list[Figure]:
    """PDFs a second, of documents that differ, by processes as the service has them."""
    async with DocumentRenderer(PROCESSES) as renderer:
        await asyncio.gather(*(_render(renderer, number) for number in range(WARM_UP)))
        numbers = iter(range(WARM_UP, WARM_UP + PDFS))

        async def render_all() -> None:
            for number in numbers:
                await _render(renderer, number)

        begun = time.perf_counter()
        await asyncio.gather(*(render_all() for _ in range(2 * PROCESSES)))
        seconds = time.perf_counter() - begun
    return [Figure(f"PDFs by {PROCESSES} processes", PDFS / seconds, "/s", PDFS_A_SECOND)]


async def _render(renderer: DocumentRenderer, number: int) -> None:
    stored = dump_document(sample(number))
    content = await renderer.render(stored, f"{number:064}", "PDF", "en", b"")
    if not content.startswith(b"%PDF"):
        raise WrongResultError("no PDF")


if __name__ == "__main__":
    for figure in asyncio.run(measure()):
        print(f"{figure.name}: {figure.value:.0f} {figure.unit} (aim {figure.aim})")
