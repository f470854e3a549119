"""The payment provider, as a merchant's program meets it."""

import asyncio
import sqlite3

import aiohttp
import pytest

from tests.integration.sandbox.process import PROVIDER_API_KEY, Answer, Sandbox, StartSandbox

APPROVED = ["pm_card_visa", "pm_card_mastercard"]
DECLINED = [
    ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
    ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
    ("pm_card_chargeDeclinedLostCard", "card_declined", "lost_card"),
    ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
]


@pytest.mark.parametrize("card", APPROVED)
async def test_a_good_card_is_charged_in_full_at_the_simulated_time(
    sandbox: Sandbox, card: str
) -> None:
    answer = await sandbox.charge(card, key="1", **{"metadata[charge]": "c1"})

    assert answer.status == 200
    shown = {name: answer.body[name] for name in ("status", "amount_received", "created")}
    assert shown == {"status": "succeeded", "amount_received": 1250, "created": 1769846400}
    assert (
        await sandbox.provider("GET", f"/payment_intents/{answer.body['id']}")
    ).body == answer.body


@pytest.mark.parametrize(("card", "code", "decline_code"), DECLINED)
async def test_a_bad_card_is_declined_with_its_own_code(
    sandbox: Sandbox, card: str, code: str, decline_code: str
) -> None:
    answer = await sandbox.charge(card, key="1")

    error = answer.body["error"]
    assert answer.status == 402
    assert (error["type"], error["code"], error["decline_code"]) == (
        "card_error",
        code,
        decline_code,
    )
    assert error["payment_intent"]["status"] == "requires_payment_method"
    assert error["payment_intent"]["amount_received"] == 0


async def test_the_first_attempt_of_each_charge_is_declined_and_the_next_succeeds(
    sandbox: Sandbox,
) -> None:
    async def attempt(charge: str, key: str) -> int:
        card = "pm_sandbox_declineFirstAttempt"
        answer = await sandbox.charge(card, key=key, **{"metadata[charge]": charge})
        return int(answer.status)

    attempts = [("c1", "a1"), ("c1", "a1"), ("c1", "a2"), ("c2", "b1"), ("c2", "b2")]
    assert [await attempt(*arguments) for arguments in attempts] == [402, 402, 200, 402, 200]


async def test_a_time_out_after_the_charge_leaves_it_charged_once(sandbox: Sandbox) -> None:
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await sandbox.charge("pm_sandbox_timeoutAfterCharge", key="1", **{"metadata[attempt]": "1"})
    search = await sandbox.provider("GET", "/payment_intents/search?query=metadata['attempt']:'1'")
    replay = await sandbox.charge(
        "pm_sandbox_timeoutAfterCharge", key="1", **{"metadata[attempt]": "1"}
    )

    assert search.body["data"] == [replay.body]
    assert (replay.status, replay.headers["Idempotent-Replayed"]) == (200, "true")
    assert (await sandbox.ask("GET", "/record")).body["payment_intents"] == {"succeeded": 1}


async def test_a_time_out_before_the_charge_leaves_nothing_until_it_is_asked_again(
    sandbox: Sandbox,
) -> None:
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await sandbox.charge("pm_sandbox_timeoutBeforeCharge", key="1")
    after_the_first = (await sandbox.ask("GET", "/record")).body["payment_intents"]
    again = await sandbox.charge("pm_sandbox_timeoutBeforeCharge", key="1")

    assert after_the_first == {}
    assert (again.status, "Idempotent-Replayed" in again.headers) == (200, False)


@pytest.mark.parametrize("card", ["pm_card_visa", "pm_card_chargeDeclined"])
async def test_the_same_key_is_answered_the_same_and_charged_once(
    sandbox: Sandbox, card: str
) -> None:
    first = await sandbox.charge(card, key="1")
    second = await sandbox.charge(card, key="1")

    assert (second.status, second.body) == (first.status, first.body)
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len((await sandbox.provider("GET", "/payment_intents")).body["data"]) == 1


async def test_the_same_key_with_other_parameters_is_refused(sandbox: Sandbox) -> None:
    await sandbox.charge(key="1")
    other = await sandbox.charge(key="1", amount="1251")

    assert (other.status, other.body["error"]["type"]) == (400, "idempotency_error")


async def test_a_key_may_be_used_again_after_a_request_that_made_no_sense(sandbox: Sandbox) -> None:
    assert (await sandbox.charge(key="1", amount="0")).status == 400
    assert (await sandbox.charge(key="1")).status == 200


async def test_a_key_is_free_after_a_request_that_was_lost_before_it_was_carried_out(
    sandbox: Sandbox,
) -> None:
    with pytest.raises(aiohttp.ClientError):
        await sandbox.charge("pm_sandbox_timeoutBeforeCharge", key="1")
    closed = await sandbox.provider("POST", "/setup_intents", {"metadata[closes]": "1"}, "1")
    late = await sandbox.charge("pm_sandbox_timeoutBeforeCharge", key="1")

    assert closed.status == 200
    assert (late.status, late.body["error"]["type"]) == (400, "idempotency_error")


async def test_a_key_in_flight_is_refused_until_the_first_request_is_answered(
    sandbox: Sandbox,
) -> None:
    # Somebody else holds the lock of the record, so the first request cannot be finished.
    lock = sqlite3.connect(sandbox.record_file, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    requests = {asyncio.create_task(sandbox.charge(key="1")) for _ in range(2)}
    early, late = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
    lock.execute("ROLLBACK")
    lock.close()

    refused, charged = early.pop().result(), await late.pop()
    assert (refused.status, refused.body["error"]["code"]) == (409, "idempotency_key_in_use")
    assert charged.status == 200


async def test_many_requests_of_one_key_at_once_charge_once(sandbox: Sandbox) -> None:
    answers = await asyncio.gather(*(sandbox.charge(key="1") for _ in range(20)))

    assert {answer.status for answer in answers} <= {200, 409}
    assert (await sandbox.ask("GET", "/record")).body["captured_minor"] == {"eur": 1250}


async def test_what_was_charged_and_answered_survives_a_kill(sandbox: Sandbox) -> None:
    first = await sandbox.charge(key="1")
    await sandbox.kill_and_restart()
    again = await sandbox.charge(key="1")

    assert (again.body, again.headers["Idempotent-Replayed"]) == (first.body, "true")
    assert (await sandbox.ask("GET", "/record")).body["requests"]["provider"] == {
        "200": 1,
        "200 replayed": 1,
    }


async def test_a_search_finds_what_has_all_the_given_metadata(sandbox: Sandbox) -> None:
    wanted = await sandbox.charge(**{"metadata[attempt]": "1", "metadata[order]": "A"})
    await sandbox.charge(**{"metadata[attempt]": "2", "metadata[order]": "A"})
    query = "metadata['order']:'A' AND metadata[\"attempt\"]:\"1\" AND status:'succeeded'"
    headers = {"Authorization": f"Bearer {PROVIDER_API_KEY}"}
    path = "/v1/payment_intents/search"
    search = await sandbox.ask("GET", path, query={"query": query}, headers=headers)

    assert (search.body["object"], search.body["data"]) == ("search_result", [wanted.body])


async def test_a_search_that_lags_shows_nothing_new_and_the_list_shows_it(sandbox: Sandbox) -> None:
    lag = {"search_lag_seconds": 90}
    shown = (await sandbox.ask("PUT", "/provider/behavior", json=lag)).body
    assert {name: value for name, value in shown.items() if value is not None} == lag
    made = await sandbox.charge(**{"metadata[attempt]": "1"})
    headers = {"Authorization": f"Bearer {PROVIDER_API_KEY}"}
    query = {"query": "metadata['attempt']:'1'"}
    path = "/v1/payment_intents/search"
    await sandbox.kill_and_restart()
    assert (await sandbox.ask("GET", path, query=query, headers=headers)).body["data"] == []
    listed = await sandbox.provider("GET", "/payment_intents")
    assert listed.body["data"] == [made.body]

    await sandbox.ask("PUT", "/provider/behavior", json={"search_lag_seconds": None})
    search = await sandbox.ask("GET", path, query=query, headers=headers)
    assert search.body["data"] == [made.body]


@pytest.mark.parametrize("body", [{"search_lag_seconds": 0}, {"search_lag_seconds": "1"}, {"x": 1}])
async def test_a_behavior_that_does_not_exist_is_refused(
    sandbox: Sandbox, body: dict[str, object]
) -> None:
    assert (await sandbox.ask("PUT", "/provider/behavior", json=body)).status == 400


async def test_a_setup_takes_its_key_and_no_payment_can_have_it_afterwards(
    sandbox: Sandbox,
) -> None:
    form = {"metadata[closes]": "key"}
    taken = await sandbox.provider("POST", "/setup_intents", form, "key")
    late = await sandbox.charge(key="key")

    assert (taken.status, taken.body["object"]) == (200, "setup_intent")
    assert (late.status, late.body["error"]["type"]) == (400, "idempotency_error")


async def test_the_pages_of_a_search_hold_everything_once(sandbox: Sandbox) -> None:
    made = [(await sandbox.charge(**{"metadata[k]": "v"})).body["id"] for _ in range(3)]
    path = "/payment_intents/search?limit=2&query=metadata['k']:'v'"
    first = (await sandbox.provider("GET", path)).body
    second = (await sandbox.provider("GET", f"{path}&page={first['next_page']}")).body

    assert [payment["id"] for payment in first["data"] + second["data"]] == made[::-1]
    assert (first["has_more"], second["has_more"], second["next_page"]) == (True, False, None)


async def test_the_pages_of_the_list_hold_everything_once_newest_first(sandbox: Sandbox) -> None:
    made = [(await sandbox.charge()).body["id"] for _ in range(3)]
    first = (await sandbox.provider("GET", "/payment_intents?limit=2")).body
    last = first["data"][-1]["id"]
    second = (await sandbox.provider("GET", f"/payment_intents?starting_after={last}")).body

    assert [payment["id"] for payment in first["data"] + second["data"]] == made[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)


async def test_the_list_can_begin_at_a_time(sandbox: Sandbox) -> None:
    charge = await sandbox.charge()
    now = charge.body["created"]

    at = (await sandbox.provider("GET", f"/payment_intents?created[gte]={now}")).body["data"]
    after = (await sandbox.provider("GET", f"/payment_intents?created[gte]={now + 1}")).body["data"]
    assert (at, after) == ([charge.body], [])


async def test_refunds_add_up_to_what_was_captured_and_no_more(sandbox: Sandbox) -> None:
    intent = (await sandbox.charge()).body["id"]

    async def refund(key: str, **form: str) -> Answer:
        return await sandbox.provider("POST", "/refunds", {"payment_intent": intent, **form}, key)

    part = await refund("1", amount="1000", **{"metadata[refund]": "r1"})
    replay = await refund("1", amount="1000", **{"metadata[refund]": "r1"})
    too_much = await refund("2", amount="251")
    rest = await refund("3")
    nothing_left = await refund("4")

    assert (part.body["amount"], part.body["status"]) == (1000, "succeeded")
    assert replay.body == part.body
    assert (too_much.status, too_much.body["error"]["param"]) == (400, "amount")
    assert rest.body["amount"] == 250
    assert nothing_left.body["error"]["code"] == "charge_already_refunded"
    listed = await sandbox.provider("GET", f"/refunds?payment_intent={intent}")
    assert listed.body["data"] == [rest.body, part.body]
    shown = await sandbox.provider("GET", f"/refunds/{part.body['id']}")
    assert shown.body == part.body


async def test_a_declined_charge_cannot_be_refunded(sandbox: Sandbox) -> None:
    declined = await sandbox.charge("pm_card_chargeDeclined")
    intent = declined.body["error"]["payment_intent"]["id"]
    answer = await sandbox.provider("POST", "/refunds", {"payment_intent": intent})

    assert answer.body["error"]["code"] == "payment_intent_unexpected_state"


async def test_a_payment_method_shows_its_card_and_no_more(sandbox: Sandbox) -> None:
    known = await sandbox.provider("GET", "/payment_methods/pm_card_mastercard")
    unknown = await sandbox.provider("GET", "/payment_methods/pm_nobody")

    assert (known.body["card"]["brand"], known.body["card"]["last4"]) == ("mastercard", "4444")
    assert (unknown.status, unknown.body["error"]["code"]) == (404, "resource_missing")


async def test_a_payment_says_where_its_payer_comes_back_to_or_sends_them_nowhere(
    sandbox: Sandbox,
) -> None:
    redirects = {"automatic_payment_methods[allow_redirects]": "always"}
    refused = await sandbox.charge(**redirects)
    taken = await sandbox.charge(**redirects, return_url="https://shop.test")

    assert (refused.status, refused.body["error"]["type"]) == (400, "invalid_request_error")
    assert "return_url" in refused.body["error"]["message"]
    assert (taken.status, taken.body["status"]) == (200, "succeeded")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "12.50"}, "amount"),
        ({"amount": "1000000000000"}, "amount"),
        ({"currency": "euros"}, "currency"),
        ({"currency": "eru"}, "currency"),
        ({"currency": "ghs"}, "currency"),
        ({"payment_method": "pm_nobody"}, "payment_method"),
        ({"confirm": "false"}, "confirm"),
        ({"off_session": "yes"}, "off_session"),
        ({"capture_method": "manual"}, "capture_method"),
        ({"metadata[x]": "y" * 501}, "metadata[x]"),
    ],
)
async def test_a_bad_parameter_is_named(
    sandbox: Sandbox, changes: dict[str, str], param: str
) -> None:
    answer = await sandbox.charge(**changes)

    assert (answer.status, answer.body["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        ("49", "eur", "amount_too_small"),
        ("17400", "huf", "amount_too_small"),
        ("49", "jpy", "amount_too_small"),
        ("1000000000000", "eur", "amount_too_large"),
        ("3050", "isk", "invalid_charge_amount"),
        ("550", "ugx", "invalid_charge_amount"),
        ("5124", "kwd", "invalid_charge_amount"),
    ],
)
async def test_an_amount_that_the_currency_does_not_allow_is_refused_with_its_code(
    sandbox: Sandbox, amount: str, currency: str, code: str
) -> None:
    answer = await sandbox.charge(amount=amount, currency=currency)

    assert (answer.status, answer.body["error"]["code"]) == (400, code)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("50", "eur"), ("300000", "isk"), ("5120", "kwd"), ("10", "mga"), ("80045", "twd")],
)
async def test_an_amount_in_the_currencys_own_units_is_charged(
    sandbox: Sandbox, amount: str, currency: str
) -> None:
    answer = await sandbox.charge(amount=amount, currency=currency)

    assert (answer.status, answer.body["amount_received"]) == (200, int(amount))


async def test_a_refund_is_counted_as_the_charge_was(sandbox: Sandbox) -> None:
    intent = (await sandbox.charge(amount="300000", currency="isk")).body["id"]
    form = {"payment_intent": intent, "amount": "150"}
    half = await sandbox.provider("POST", "/refunds", form)
    whole = await sandbox.provider("POST", "/refunds", form | {"amount": "200"})

    assert (half.status, half.body["error"]["code"]) == (400, "invalid_charge_amount")
    assert (whole.status, whole.body["amount"]) == (200, 200)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/payment_intents/pi_nobody", 404),
        ("/refunds/re_nobody", 404),
        ("/nothing", 404),
        ("/payment_intents?limit=101", 400),
        ("/payment_intents?starting_after=pi_nobody", 400),
        ("/payment_intents/search?query=amount>1", 400),
        ("/payment_intents/search", 400),
    ],
)
async def test_a_bad_question_is_refused_in_the_error_envelope(
    sandbox: Sandbox, path: str, status: int
) -> None:
    answer = await sandbox.provider("GET", path)

    assert (answer.status, answer.body["error"]["type"]) == (status, "invalid_request_error")


async def test_nobody_enters_without_the_key(sandbox: Sandbox) -> None:
    headers = {"Authorization": "Bearer sk_test_of_somebody_else"}
    answer = await sandbox.ask("GET", "/v1/payment_intents", headers=headers)

    assert answer.status == 401


@pytest.mark.parametrize(
    ("kind", "status"), [("throttled", 429), ("unauthorized", 401), ("conflict", 409)]
)
async def test_a_provider_that_refuses_everything_charges_nothing(
    sandbox: Sandbox, kind: str, status: int
) -> None:
    await sandbox.ask("PUT", "/outages/provider", json={"on": True, "kind": kind})
    assert (await sandbox.charge(key="1")).status == status
    await sandbox.ask("PUT", "/outages/provider", json={"on": False})
    assert (await sandbox.ask("GET", "/record")).body["payment_intents"] == {}


async def test_a_provider_whose_answers_are_lost_charges_all_the_same(sandbox: Sandbox) -> None:
    await sandbox.ask("PUT", "/outages/provider", json={"on": True, "kind": "lost_answers"})
    with pytest.raises(aiohttp.ClientError):
        await sandbox.charge(key="1")
    await sandbox.ask("PUT", "/outages/provider", json={"on": False})
    again = await sandbox.charge(key="1")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await sandbox.ask("GET", "/record")).body["payment_intents"] == {"succeeded": 1}


@pytest.mark.parametrize("kind", ["slow", "queued"])
async def test_a_slow_provider_charges_a_caller_who_has_gone_once(
    sandbox: Sandbox, kind: str
) -> None:
    trouble = {"on": True, "kind": kind, "seconds": 0.5, "times": 1}
    await sandbox.ask("PUT", "/outages/provider", json=trouble)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await sandbox.charge(key="1")
    # The outage is over after one request; this one comes before what is still on its way, if it is.
    assert (await sandbox.charge(key="1")).status == 200
    await asyncio.sleep(0.5)
    assert (await sandbox.ask("GET", "/record")).body["payment_intents"] == {"succeeded": 1}


async def test_a_refund_is_pending_then_succeeds_and_fails_when_the_bank_sends_it_back(
    start_sandbox: StartSandbox,
) -> None:
    sandbox = await start_sandbox(SANDBOX_EXPECTED_SERVICES=",")
    behavior = {"refunds_pending_seconds": 60, "refunds_fail_after_seconds": 3600}
    await sandbox.ask("PUT", "/provider/behavior", json=behavior)
    intent = (await sandbox.charge()).body["id"]
    refund = (await sandbox.provider("POST", "/refunds", {"payment_intent": intent})).body
    statuses = [refund["status"]]
    for seconds in (60, 3600):
        url, body = f"{sandbox.url}/clock/advance", {"seconds": seconds}
        async with sandbox.http.post(url, json=body) as steps:
            # Whoever does not read to the end stops the clock.
            await steps.text()
        statuses.append((await sandbox.provider("GET", f"/refunds/{refund['id']}")).body["status"])
    assert statuses == ["pending", "succeeded", "failed"]
    # What came back can be given back again.
    again = await sandbox.provider("POST", "/refunds", {"payment_intent": intent})
    assert (again.status, again.body["amount"]) == (200, 1250)


@pytest.mark.parametrize(
    "body",
    [
        {"on": True, "kind": "slow"},
        {"on": True, "kind": "slow", "seconds": 61},
        {"on": True, "kind": "garbage", "seconds": 1},
        {"on": True, "times": 0},
        {"on": True, "kind": "falsely_delivered"},
    ],
)
async def test_an_outage_of_an_extent_that_makes_no_sense_is_refused(
    sandbox: Sandbox, body: dict[str, object]
) -> None:
    assert (await sandbox.ask("PUT", "/outages/provider", json=body)).status == 400


async def test_an_outage_of_a_kind_that_there_is_not_is_refused(sandbox: Sandbox) -> None:
    body = {"on": True, "kind": "sleepy"}
    assert (await sandbox.ask("PUT", "/outages/provider", json=body)).status == 400


async def test_an_outage_refuses_everything_and_survives_a_kill(sandbox: Sandbox) -> None:
    await sandbox.ask("PUT", "/outages/provider", json={"on": True})
    await sandbox.kill_and_restart()
    during = await sandbox.charge(key="1")
    await sandbox.ask("PUT", "/outages/provider", json={"on": False})
    after = await sandbox.charge(key="1")

    assert (during.status, during.body["error"]["type"], after.status) == (503, "api_error", 200)
