"""Pictures of what customers get, for the documentation: `make pictures`.

The texts are those that notify ships, with the facts of its previews. Its own mail client sends
the mail.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import aiohttp

from deploy.embedded.ports import HOST
from services.notify.clients.email import EmailGateway, MailServer, MailTls
from services.notify.clients.gateway import Message
from services.notify.domain.attachments import Attachment
from services.notify.domain.notices import Channel, NoticeKind, Sender, Verdict
from services.notify.domain.replies.words import Word, shown
from services.notify.domain.templates.examples import EXAMPLES
from services.notify.domain.templates.kinds import OrderUpcoming, Receipt
from services.notify.domain.templates.phones import PhoneCode
from services.notify.domain.templates.rendering import rendered_as_shipped
from services.notify.domain.templates.replies import ReplyAnswer
from tests.browser.chromium import Chromium, Page
from tests.integration.sandbox.process import SMS_API_KEY, Sandbox, advance

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
ADDRESS = "ann@example.com"
# A phone and a name for each language that notify ships.
CUSTOMERS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "en": ("+447700900123", "Ann"),
    "de": ("+493012345678", "Anna"),
    "es": ("+34612345678", "Ana"),
    "fr": ("+33612345678", "Anne"),
    "zh": ("+8613812345678", "安娜"),
    "ar": ("+971501234567", "آنا"),
})  # fmt: skip
TITLES: Mapping[str, str] = MappingProxyType({
    "en": "Coffee for the office", "de": "Kaffee fürs Büro", "es": "Café de la oficina",
    "fr": "Café du bureau", "zh": "办公室咖啡", "ar": "قهوة المكتب",
})  # fmt: skip
SHOP = Sender("Coffee Shop", takes_replies=True)
LINK = "https://shop.example/o/mq7w3xk9rtc2v5hzpd4j"
MESSAGES = 4
# Time passes without services, and what is replied goes to nobody.
ENVIRONMENT = {
    "SANDBOX_EXPECTED_SERVICES": ",",
    "SANDBOX_SMS_REPLY_URL": "http://127.0.0.1:9/",
    "SANDBOX_SMS_RECEIPT_SECRET": "whsec_pictures",
}
RECEIPT = Attachment("R-2026-000042.pdf", b"%PDF-1.7")
PHONE_SIZE, MAIL_SIZE, PAGE_SIZE = (480, 830), (720, 530), (1000, 830)


async def send_all(sandbox: Sandbox, locale: str) -> None:
    """What a customer of a language gets by SMS, a reply with its answer, and one mail."""
    phone, name = CUSTOMERS[locale]
    title = TITLES[locale]
    upcoming, receipt, skipped = (
        EXAMPLES[kind] for kind in (NoticeKind.ORDER_UPCOMING, NoticeKind.RECEIPT, NoticeKind.REPLY)
    )
    assert isinstance(upcoming, OrderUpcoming)
    assert isinstance(receipt, Receipt)
    assert isinstance(skipped, ReplyAnswer)
    announced = replace(upcoming, title=title, previous_amount=None, link_uri=LINK)
    for facts in (PhoneCode("12345678"), announced):
        text = rendered_as_shipped(facts, Channel.SMS, locale, name, SHOP).text
        sent = await sandbox.sms(phone, text, key=f"{locale} {facts.kind}")
        assert sent.status == 201, sent.body
    await advance(sandbox, 60)
    written = {"from": phone, "body": shown(Word.SKIP, locale)}
    async with sandbox.http.post(f"{sandbox.url}/inbox/v1/replies", json=written) as answer:
        assert answer.ok, await answer.text()
    await advance(sandbox, 60)
    text = rendered_as_shipped(replace(skipped, title=title), Channel.SMS, locale, "", SHOP).text
    await sandbox.sms(phone, text, key=f"{locale} answer")
    mail = rendered_as_shipped(replace(receipt, title=title), Channel.EMAIL, locale, name, SHOP)
    gateway = EmailGateway(
        MailServer(HOST, sandbox.smtp_port, MailTls.NONE), "Shop <shop@example.com>"
    )
    message = Message(locale, f"{locale}.{ADDRESS}", mail.subject, mail.text, locale=locale)
    attempt = await gateway.send(message._replace(attachment=RECEIPT))
    await gateway.close()
    assert attempt.verdict is Verdict.DELIVERED, attempt


async def take(page: Page, sandbox: Sandbox, locale: str) -> None:
    """The phone, then the mail."""
    shown = {
        "phone": (CUSTOMERS[locale][0], f".bubble:nth-child({MESSAGES})", PHONE_SIZE),
        "mail": (f"{locale}.{ADDRESS}", ".letter iframe", MAIL_SIZE),
    }
    for name, (to, selector, (width, height)) in shown.items():
        await page.open(f"{sandbox.url}/inbox#to={quote(to)}")
        await page.wait_for(f"document.querySelector('{selector}') !== null")
        # The phone or the mail alone, without the list beside it.
        await page.evaluate(
            "document.querySelector('nav').hidden = true;"
            "document.body.style.gridTemplateColumns = 'minmax(0, 1fr)'"
        )
        picture = await page.photograph(width, height)
        (FOLDER / f"{name}-{locale}.png").write_bytes(picture)


async def take_list(page: Page, sandbox: Sandbox) -> None:
    """The page as it is, with all phones and addresses."""
    to = quote(CUSTOMERS["en"][0])
    await page.open(f"{sandbox.url}/inbox#key={SMS_API_KEY}&to={to}")
    everybody = 2 * len(CUSTOMERS)
    await page.wait_for(f"document.querySelectorAll('#recipients li').length === {everybody}")
    (FOLDER / "inbox.png").write_bytes(await page.photograph(*PAGE_SIZE))


async def main() -> None:
    """Take a picture of the phone and of the mail in each language."""
    with tempfile.TemporaryDirectory() as folder:
        async with aiohttp.ClientSession() as http:
            sandbox = Sandbox(Path(folder) / "record.sqlite3", http, environment=ENVIRONMENT)
            browser = Chromium(Path(folder), http)
            try:
                await sandbox.start()
                await browser.start()
                page = await browser.new_page()
                for locale in CUSTOMERS:
                    await send_all(sandbox, locale)
                    await take(page, sandbox, locale)
                await take_list(await browser.new_page(), sandbox)
            finally:
                await browser.close()
                await sandbox.close()


if __name__ == "__main__":
    asyncio.run(main())
