"""The sandbox's page of phones and mail, in Chromium."""

import asyncio
import json
import smtplib
from email.message import EmailMessage

from cli import sandbox as client
from deploy.embedded.ports import HOST
from tests.browser.chromium import Page
from tests.integration.sandbox.process import SMS_API_KEY, Sandbox, advance

PHONE, ADDRESS = "+493012345678", "ann@example.test"
PHONE_IS_SHOWN = "document.querySelector('#phone')?.hidden === false"
MARKUP = "<img src=x onerror=\"document.title='taken'\"><b>bold</b>"


def address(sandbox: Sandbox, **fragment: str) -> str:
    """As the command prints it."""
    return client.Sandbox(sandbox.url).page(**fragment)


def texts_of(selector: str, count: int) -> str:
    """What elements say, once there are so many of them."""
    found = f"[...document.querySelectorAll({json.dumps(selector)})]"
    return f"{found}.length === {count} && {found}.map(e => e.innerText)"


async def mail(sandbox: Sandbox, subject: str, text: str, html: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "orders@example.test", ADDRESS, subject
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="R-2026-1.pdf")

    def send() -> None:
        with smtplib.SMTP(HOST, sandbox.smtp_port, timeout=30) as client:
            client.send_message(message)

    await asyncio.to_thread(send)


async def test_a_message_appears_on_the_open_page_of_its_phone(
    page: Page, sandbox: Sandbox
) -> None:
    await sandbox.sms(PHONE, "Your order is coming", key="1")
    await page.open(address(sandbox, to=PHONE))
    await page.wait_for(texts_of(".bubble .text", 1))

    await sandbox.sms("+493087654321", "Somebody else's", key="2")
    await sandbox.sms(PHONE, "Thank you", key="3")

    shown = await page.wait_for(texts_of(".bubble .text", 2))
    assert shown == ["Your order is coming", "Thank you"]


async def test_what_is_delivered_later_appears_when_its_time_has_come(
    page: Page, sandbox: Sandbox
) -> None:
    later = "+15005550006"
    await sandbox.sms(later, "At last", key="1")
    await page.open(address(sandbox, to=later))
    await page.wait_for(PHONE_IS_SHOWN)
    assert await page.texts(".bubble") == []

    await advance(sandbox, 31)

    assert await page.wait_for(texts_of(".bubble .text", 1)) == ["At last"]


async def test_a_page_goes_on_after_the_sandbox_was_killed(page: Page, sandbox: Sandbox) -> None:
    await page.open(address(sandbox, to=PHONE))
    await page.wait_for(PHONE_IS_SHOWN)
    await sandbox.kill_and_restart()
    await sandbox.sms(PHONE, "Back again", key="1")

    assert await page.wait_for(texts_of(".bubble .text", 1)) == ["Back again"]
    page.complaints.clear()  # Of the connection that was lost.


async def test_markup_in_a_message_is_shown_and_not_obeyed(page: Page, sandbox: Sandbox) -> None:
    await sandbox.sms(PHONE, f"{MARKUP} https://shop.example/p/1.", key="1")
    await page.open(address(sandbox, to=PHONE))

    [shown] = await page.wait_for(texts_of(".bubble .text", 1))
    assert shown == f"{MARKUP} https://shop.example/p/1."
    assert await page.evaluate("document.querySelector('.bubble a').href") == (
        "https://shop.example/p/1"
    )
    assert await page.evaluate("document.querySelectorAll('.bubble img, .bubble b').length") == 0
    assert await page.evaluate("document.title") == f"{PHONE}: sandbox"


async def test_a_message_in_arabic_is_written_from_right_to_left(
    page: Page, sandbox: Sandbox
) -> None:
    await sandbox.sms(PHONE, "سيتم خصم 12.50 EUR يوم 31 يناير", key="1")
    await sandbox.sms(PHONE, "12.50 EUR on 31 January", key="2")
    await page.open(address(sandbox, to=PHONE))
    await page.wait_for(texts_of(".bubble .text", 2))

    directions = (
        "[...document.querySelectorAll('.bubble .text')].map(e => getComputedStyle(e).direction)"
    )
    assert await page.evaluate(directions) == ["rtl", "ltr"]


async def test_a_mail_is_shown_with_its_files_in_a_frame_that_runs_nothing(
    page: Page, sandbox: Sandbox
) -> None:
    script = "<script>parent.document.title = 'taken'; document.body.append('ran')</script>"
    html = f'<p style="color: rgb(1, 2, 3)">In <b>colour</b></p>{script}'
    await mail(sandbox, f"Receipt {MARKUP}", "In plain words", html)
    await page.open(address(sandbox, to=ADDRESS))

    assert await page.wait_for(texts_of(".letter h3", 1)) == [f"Receipt {MARKUP}"]
    assert await page.texts(".files li") == ["R-2026-1.pdf (application/pdf, 4 bytes)"]
    assert await page.evaluate("document.querySelector('.letter iframe').sandbox.value") == ""
    assert await page.evaluate("document.querySelector('.letter iframe').contentDocument") is None
    assert await page.evaluate(
        "document.querySelector('.letter details p').textContent.trim()"
    ) == ("In plain words")
    framed = await page.wait_for_frame("In colour")
    assert "ran" not in framed
    assert await page.evaluate("document.title") == f"{ADDRESS}: sandbox"
    # The policy of the frame says so to whoever reads the console.
    page.complaints.clear()


async def test_all_recipients_are_listed_for_a_key_alone(page: Page, sandbox: Sandbox) -> None:
    await sandbox.sms(PHONE, "Hello", key="1")
    await page.open(address(sandbox))
    await page.wait_for("document.querySelector('#unlock')?.hidden === false")
    assert await page.texts("#recipients li") == []

    await page.open(address(sandbox, key=SMS_API_KEY))
    await page.wait_for(texts_of("#recipients li a", 1))
    await sandbox.mail([ADDRESS], "<1@test>")

    assert sorted(await page.wait_for(texts_of("#recipients li a", 2))) == [PHONE, ADDRESS]
    assert SMS_API_KEY not in await page.evaluate("location.href")
    await page.evaluate("document.querySelector('#recipients a[href*=ann]').click()")
    assert await page.wait_for(texts_of(".letter h3", 1)) == ["Your order"]
