"""The sandbox as a process: settings, record, shutdown."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.sandbox.process import ROOT, Sandbox


async def run_to_its_end(**environment: str) -> tuple[int | None, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SANDBOX_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sandbox",
        cwd=ROOT,
        env={**inherited, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def test_every_bad_setting_is_named_at_once() -> None:
    status, errors = await run_to_its_end(
        SANDBOX_HTTP_ADDRESS="nowhere", SANDBOX_START="yesterday", SANDBOX_SMS_API_KEY="k"
    )

    assert status == 2
    for name in ("HTTP_ADDRESS", "START", "RECORD_FILE", "PROVIDER_API_KEY"):
        assert f"SANDBOX_{name}: " in errors
    assert "SANDBOX_SMS_API_KEY" not in errors


async def test_a_port_in_use_is_named_without_a_traceback(sandbox: Sandbox, tmp_path: Path) -> None:
    status, errors = await run_to_its_end(
        SANDBOX_HTTP_ADDRESS=f"127.0.0.1:{sandbox.port}",
        SANDBOX_RECORD_FILE=str(tmp_path / "other.sqlite3"),
        SANDBOX_PROVIDER_API_KEY="k",
        SANDBOX_SMS_API_KEY="k",
    )

    assert status == 1
    assert str(sandbox.port) in errors
    assert "Traceback" not in errors


async def test_a_record_that_cannot_be_opened_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "record.sqlite3").write_text(
        "This is no database, and long enough to be read." * 99
    )
    status, errors = await run_to_its_end(
        SANDBOX_RECORD_FILE=str(tmp_path / "record.sqlite3"),
        SANDBOX_PROVIDER_API_KEY="k",
        SANDBOX_SMS_API_KEY="k",
    )

    assert status == 1
    assert "not a database" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_cleanly_on_a_signal_with_a_poll_open(sandbox: Sandbox, number: int) -> None:
    clock = (await sandbox.ask("GET", "/clock")).body
    report = {"round": clock["round"], "quiet": True, "activity": 0, "wake_at": None}
    poll = asyncio.create_task(sandbox.ask("POST", "/clock/participants/payments/a", json=report))
    await sandbox.clock_when(lambda clock: clock["participants"])

    assert await sandbox.stop(number) == 0
    assert (await poll).status == 200


async def test_it_says_that_it_is_well(sandbox: Sandbox) -> None:
    assert (await sandbox.ask("GET", "/healthz")).status == 200


async def test_the_record_has_every_request_and_no_secret(sandbox: Sandbox) -> None:
    await sandbox.charge("pm_card_chargeDeclined", key="c1")
    await sandbox.sms("+15005550002", "The code is 123456", key="s1")
    await sandbox.mail(["ann@example.test"], "<1@test>")
    await sandbox.provider("GET", "/payment_intents?customer=cus_ann")
    first = (await sandbox.ask("GET", "/record/requests?limit=3")).body
    last = first["data"][-1]["seq"]
    second = (await sandbox.ask("GET", f"/record/requests?after={last}")).body

    requests_ = [
        (entry["part"], entry["method"], entry["path"], entry["key"], entry["outcome"])
        for entry in first["data"] + second["data"]
    ]
    assert requests_ == [
        ("provider", "POST", "/v1/payment_intents", "c1", "402"),
        ("sms", "POST", "/sms/v1/messages", "s1", "201"),
        ("mail", "SMTP", "/mail", "<1@test>", "250"),
        ("provider", "GET", "/v1/payment_intents", None, "200"),
    ]
    assert (first["has_more"], second["has_more"]) == (True, False)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/outages/weather", {"on": True}),
        ("PUT", "/outages/sms", {"on": "yes"}),
        ("GET", "/record/requests?limit=0", None),
        ("GET", "/record/requests?after=x", None),
        ("GET", "/sms/v1/messages?to=x&after=sms_nobody", None),
        ("GET", "/mail/v1/messages?to=x&after=x", None),
    ],
)
async def test_a_bad_request_says_what_is_wrong(
    sandbox: Sandbox, method: str, path: str, body: object
) -> None:
    answer = await sandbox.ask(method, path, json=body)

    assert (answer.status, bool(answer.body["error"])) == (400, True)
