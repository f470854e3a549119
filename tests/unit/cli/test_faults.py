"""Histories of the fault suite: the same for a seed, kept as text, made shorter while they fail."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest
from recurring.notify.v1 import notify_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.errors import CommandError
from cli.faults import soak
from cli.faults.actions import Acknowledged, Actions
from cli.faults.caller import Caller, Violation
from cli.faults.checks import contract_violations, excused_by_loss
from cli.faults.crash_histories import crash_histories
from cli.faults.crashes import POINTS, After, fault_name
from cli.faults.embedded import EmbeddedTarget
from cli.faults.generate import ACTIONS, NOT_AT_RANDOM, generate
from cli.faults.history import History, Step, read_history
from cli.faults.play import Player, Report, _Run
from cli.faults.poison import batch_id
from cli.faults.shop import Shop
from cli.faults.shrink import shrink
from cli.faults.staging import read_target
from cli.faults.target import Fault, does, nothing
from services.runtime.messaging import batches

ROOT = Path(__file__).resolve().parents[3]
FAULTS = ("kill payments", "outage of sms")


def test_a_seed_gives_the_same_history_again() -> None:
    assert generate(7, FAULTS) == generate(7, FAULTS)
    assert generate(7, FAULTS) != generate(8, FAULTS)


@pytest.mark.parametrize("seed", range(50))
def test_every_history_has_both_ways_to_pay_an_advance_and_a_fault(seed: int) -> None:
    history = generate(seed, FAULTS)
    assert {"AUTOMATIC", "PAY_ON_NOTICE"} <= {order["mode"] for order in history.standing_orders}
    assert any("advance_hours" in step for step in history.steps)
    assert any("fault" in step for step in history.steps)


@pytest.mark.parametrize("seed", range(50))
def test_no_history_has_a_fault_twice(seed: int) -> None:
    made = [step["fault"] for step in generate(seed, FAULTS).steps if "fault" in step]
    assert len(made) == len(set(made))


def second_account(seed: int) -> list[bool]:
    return [customer.get("second_account", False) for customer in generate(seed, FAULTS).customers]


def test_a_third_of_the_histories_has_customers_of_the_second_account() -> None:
    histories = [second_account(seed) for seed in range(1, 301)]
    having = [customers for customers in histories if any(customers)]
    assert 80 <= len(having) <= 120
    # Most have customers of the first one too.
    assert sum(not all(customers) for customers in having) > len(having) / 4


def test_which_account_customers_have_leaves_all_else_of_a_seed_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seed = next(seed for seed in range(100) if any(second_account(seed)))
    history = generate(seed, FAULTS)
    monkeypatch.setattr("cli.faults.generate.SECOND_ACCOUNT_SHARE", 0)
    customers = [
        {name: value for name, value in customer.items() if name != "second_account"}
        for customer in history.customers
    ]
    assert generate(seed, FAULTS) == replace(history, customers=customers)


def test_without_a_simulated_clock_no_time_is_asked_to_pass() -> None:
    steps = generate(7, FAULTS, simulated=False).steps
    assert not any("advance_hours" in step for step in steps)


def test_a_history_is_the_same_after_it_was_printed(tmp_path: Path) -> None:
    history = generate(7, FAULTS)
    file = tmp_path / "history.json"
    file.write_text(history.to_json())
    assert read_history(file).to_json() == history.to_json()


def test_a_text_that_is_no_history_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "history.json"
    file.write_text('{"seed": 1}')
    with pytest.raises(CommandError, match="is no history"):
        read_history(file)


async def test_a_failing_history_is_shrunk_to_the_steps_that_it_needs() -> None:
    history = generate(7, FAULTS)
    needed = [history.steps[3], history.steps[-2]]
    plays: list[int] = []

    async def fails(shorter: History) -> bool:
        plays.append(len(shorter.steps))
        return all(step in shorter.steps for step in needed)

    assert list((await shrink(history, fails, plays_max=500)).steps) == needed


async def test_shrinking_ends_after_so_many_plays() -> None:
    plays: list[History] = []

    async def fails(shorter: History) -> bool:
        plays.append(shorter)
        return False

    history = generate(7, FAULTS)
    assert await shrink(history, fails, plays_max=5) == history
    assert len(plays) == 5


async def test_what_was_sent_before_a_backup_and_answered_after_it_is_sent_again() -> None:
    """Only what was answered before it is in it for certain."""
    caller, asked, may_answer = Caller("a"), Counter[str](), asyncio.Event()

    async def order_now(
        request: scheduler_pb2.OrderNowRequest, **_options: object
    ) -> scheduler_pb2.StandingOrder:
        asked[request.name] += 1
        await may_answer.wait()
        return scheduler_pb2.StandingOrder(name=request.name)

    under_way = asyncio.create_task(
        caller.call(order_now, scheduler_pb2.OrderNowRequest(name="under way"))
    )
    await asyncio.sleep(0)
    backup_before = time.monotonic()
    may_answer.set()
    await under_way
    await caller.repeat("scheduler", time.monotonic())
    assert asked == {"under way": 1}
    await caller.repeat("scheduler", backup_before)
    assert asked == {"under way": 2}


def test_what_was_sent_because_of_a_code_that_was_lost_is_no_violation() -> None:
    sent = Violation("sent-once", "SMS 5 was sent for no notice")
    twice = Violation("sent-once", "SMS of RECEIPT n1 was sent 2 times")
    caller = Caller("a")
    assert not excused_by_loss(sent, caller, {})
    caller.lost_codes_count = 1
    assert excused_by_loss(sent, caller, {})
    assert not excused_by_loss(twice, caller, {})


def test_a_delivery_that_notify_lost_with_its_database_is_no_violation() -> None:
    caller = Caller("a")
    lost, altered = (
        Violation(
            "evidence-as-delivered", f"merchants/a/customers/c/notices/n: notify says {what}, …"
        )
        for what in ("nothing", "900 EUR")
    )
    assert not excused_by_loss(lost, caller, {})
    assert not excused_by_loss(lost, caller, {"notify": {"b"}, "scheduler": {"a"}})
    assert excused_by_loss(lost, caller, {"notify": {"a"}})
    assert not excused_by_loss(altered, caller, {"notify": {"a"}})


def test_a_message_whose_delivery_notify_lost_with_its_database_is_no_violation() -> None:
    caller = Caller("a")
    what = "EMAIL of RECEIPT merchants/a/customers/c/notices/n was sent"
    lost = Violation("sent-once", f"{what}, and notify knows of no delivery")
    assert not excused_by_loss(lost, caller, {"notify": {"b"}, "scheduler": {"a"}})
    assert excused_by_loss(lost, caller, {"notify": {"a"}})
    assert not excused_by_loss(Violation("sent-once", f"{what} 2 times"), caller, {"notify": {"a"}})


def test_a_second_end_of_an_order_that_the_scheduler_lost_is_no_violation() -> None:
    caller = Caller("a")
    twice = Violation(
        "one-notice-a-fact",
        "2 notices of the end of merchants/a/standingOrders/o/orders/5: ORDER_LAPSED, RECEIPT",
    )
    assert not excused_by_loss(twice, caller, {})
    assert not excused_by_loss(twice, caller, {"notify": {"a"}, "scheduler": {"b"}})
    assert excused_by_loss(twice, caller, {"scheduler": {"a"}})


def test_every_action_of_a_history_can_be_played() -> None:
    known = Actions.words()
    assert set(ACTIONS) == known


def test_a_stack_of_ones_own_can_be_ended_at_each_crash_point(tmp_path: Path) -> None:
    faults = EmbeddedTarget(tmp_path / "stack").faults
    for service, points in POINTS.items():
        assert all(f"crash {service} at {point}" in faults for point in points)


def test_every_crash_point_is_tried_in_one_history_for_each_way_to_go_on() -> None:
    faults = {
        fault_name(after, service, point)
        for after in After
        for service, points in POINTS.items()
        for point in points
    }
    tried = [
        step["fault"]
        for history in crash_histories(faults)
        for step in history.steps
        if step.get("must_come")
    ]
    assert sorted(tried) == sorted(faults)


def test_only_the_crash_points_that_are_asked_for_are_tried() -> None:
    wanted = fault_name(After.CRASH, "notify", "notify.phones_changed")
    [history] = crash_histories([wanted])
    assert [step["fault"] for step in history.steps if step.get("must_come")] == [wanted]


def test_a_fault_that_only_a_crash_history_may_have_is_in_no_seed() -> None:
    faults = ("kill payments", *NOT_AT_RANDOM)
    made = {step.get("fault") for seed in range(30) for step in generate(seed, faults).steps}
    assert made & set(faults) == {"kill payments"}


async def no_wait(*_: object) -> None:
    """Answer at once."""


async def test_what_still_fails_is_healed_though_another_fault_could_not_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    healed: list[str] = []

    async def fail(_step: Step) -> bool:
        raise CommandError("no such pod")

    async def heal(name: str) -> None:
        healed.append(name)

    target = SimpleNamespace(
        simulated=False,
        reached={},
        customers=(),
        session=lambda _tag: nullcontext(),
        faults={
            "outage": Fault(does(nothing), partial(heal, "outage"), lasting=True),
            "kill": Fault(fail, partial(heal, "kill")),
        },
    )
    monkeypatch.setattr(Shop, "open", no_wait)
    steps = [
        {"fault": "outage", "for_steps": 9},
        {"fault": "kill", "after_seconds": 0, "for_seconds": 0},
    ]
    report = await Player(target).play(History(1, {}, [], [], [], steps))
    assert report.violations == [Violation("progress", "no such pod")]
    assert healed == ["kill", "outage"]


async def played(faults: dict[str, Fault], **reached: int) -> Report:
    """A play of nothing but these faults, and of how often something came to those that wait."""
    counts = Counter[str]()
    target = SimpleNamespace(
        simulated=False,
        customers=(),
        session=lambda _tag: nullcontext(),
        faults=faults,
        reached=counts,
        restore=no_wait,
    )
    steps = [
        {"fault": name, "after_seconds": 0, "for_seconds": 0, "for_steps": 1, "nth": 1}
        for name in faults
    ]

    async def end(*_: object) -> None:
        counts.update(reached)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Shop, "open", no_wait)
        patched.setattr("cli.faults.play.REST_SECONDS", 0)
        patched.setattr(_Run, "_end_orders", end)
        patched.setattr(Player, "_prove", no_violations)
        patched.setattr("cli.faults.play.contract_violations", no_violations)
        return await Player(target).play(History(1, {}, [], [], [], steps))


async def no_violations(*_: object) -> list[Violation]:
    return []


async def test_a_fault_that_found_nothing_to_break_is_counted() -> None:
    async def find_nothing() -> bool:
        return False

    faults = {
        "kill": Fault(does(nothing), nothing),
        "stop": Fault(does(find_nothing), nothing),
        "clock": Fault(does(find_nothing), nothing, lasting=True),
    }
    report = await played(faults)
    assert report.violations == []
    assert +report.idle == Counter(["stop", "clock"])


async def test_a_fault_that_nothing_has_come_to_is_counted() -> None:
    faults = {
        name: Fault(does(nothing), nothing, lasting=True, waits=True)
        for name in ("crash", "outage")
    }
    report = await played(faults, outage=3)
    assert +report.idle == Counter(["crash"])


async def play_nothing(_player: Player, _history: History) -> Report:
    await asyncio.sleep(0.01)
    return Report(1)


async def soaked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Soak for some samples, in which no service runs and nothing is played."""
    monkeypatch.setattr(soak, "SAMPLE_SECONDS", 0)
    monkeypatch.setattr(Player, "play", play_nothing)
    stack = SimpleNamespace(process_of=lambda _service: SimpleNamespace(find=lambda: None))
    target = SimpleNamespace(faults={"wipe": None}, stack=stack)
    await soak.soak(target, 0.005, lambda _report: None)  # type: ignore[arg-type]


async def test_a_soak_whose_watch_ended_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [RuntimeError("no such column")]

    async def sample(*_: object) -> None:
        if errors:
            raise errors.pop()

    monkeypatch.setattr(soak, "_sample_tables", sample)
    with pytest.raises(RuntimeError, match="no such column"):
        await soaked(monkeypatch)


async def test_a_database_that_goes_away_between_two_questions_ends_no_soak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def sample(*_: object) -> None:
        raise asyncpg.InterfaceError("connection is closed")

    monkeypatch.setattr(soak, "_sample_tables", sample)
    await soaked(monkeypatch)


async def test_a_customer_who_was_erased_is_not_known_any_more() -> None:
    answers: list[notify_pb2.Contact | None] = [notify_pb2.Contact(), None]

    async def call(*_: object) -> notify_pb2.Contact | None:
        return answers.pop(0)

    async def none() -> AsyncIterator[Violation]:
        for violation in list[Violation]():
            yield violation

    shop = SimpleNamespace(
        history=History(1, {}, [], [], [], []),
        customer=lambda _number: "merchants/a/customers/c",
        caller=SimpleNamespace(call=call),
        session=SimpleNamespace(notify=SimpleNamespace(GetContact=None)),
        platform=SimpleNamespace(violations=none),
    )
    erased = Acknowledged(erased={0})
    [violation] = await contract_violations(shop, erased)  # type: ignore[arg-type]
    assert violation.clause == "erasures"
    assert await contract_violations(shop, erased) == []  # type: ignore[arg-type]


GOOD = """
merchant = "acme"
token_file = "{token}"
sandbox_url = "http://sandbox:8400"
[targets]
catalog = "c:1"
scheduler = "s:1"
payments = "p:1"
notify = "n:1"
[faults."kill payments"]
make = "true"
heal = "true"
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    token = tmp_path / "token"
    token.write_text("secret")
    file = tmp_path / "target.toml"
    file.write_text(GOOD.format(token=token))
    return file


def test_a_target_file_says_where_and_what_can_fail(good: Path) -> None:
    target = read_target(good)
    assert target.simulated
    assert list(target.faults) == ["kill payments"]
    assert target.session("any").merchant == "acme"


@pytest.mark.parametrize(
    ("was", "becomes", "complaint"),
    [
        ('merchant = "acme"', "", "merchant: is missing"),
        ('payments = "p:1"', "", "targets.payments: is missing"),
        ('heal = "true"', "", "faults.kill payments: give the commands make and heal"),
        (
            'heal = "true"',
            'heal = "true"\nheel = "true"',
            "faults.kill payments.heel: is not known",
        ),
        ('sandbox_url = "http://sandbox:8400"', "", "customers: in real time"),
        ("[targets]", "[target]", "target: is not known"),
    ],
)
def test_a_target_file_that_is_wrong_says_where(
    good: Path, was: str, becomes: str, complaint: str
) -> None:
    good.write_text(good.read_text().replace(was, becomes))
    with pytest.raises(CommandError, match=complaint):
        read_target(good)


def test_a_command_of_a_target_file_that_fails_says_which(good: Path) -> None:
    good.write_text(good.read_text().replace('make = "true"', 'make = "echo no such pod; false"'))
    make = read_target(good).faults["kill payments"].make
    with pytest.raises(CommandError, match=r"fault kill payments: .*no such pod"):
        asyncio.run(_made(make))


async def _made(make: Callable[[Step], Awaitable[bool]]) -> None:
    await make({})


def test_the_example_for_kubernetes_is_a_target(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    example = (ROOT / "deploy" / "faults" / "kubernetes.toml").read_text()
    file = tmp_path / "target.toml"
    file.write_text(example.replace("/run/secrets/faults.jwt", str(token)))
    target = read_target(file)
    assert {f"kill {service}" for service in POINTS} <= set(target.faults)


def test_a_poisoned_batch_has_the_id_that_services_derive() -> None:
    event_ids = ["0198b2a4-0000-7000-8000-000000000000", "0198b2a4-0000-7000-8000-000000000001"]
    assert batch_id(event_ids) == batches.batch_id(event_ids)
