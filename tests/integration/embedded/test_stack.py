"""The stack starts what is missing, names what prevents it, and recovers from crashes."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import psutil
import pytest

from deploy.embedded.addresses import PARTS, SERVICES, Addresses, port_variable
from deploy.embedded.databases import Databases
from deploy.embedded.keys import Keys
from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.process import PartError
from deploy.embedded.program import ROOT
from deploy.embedded.stack import EmbeddedStack
from deploy.embedded.wiring import database_url
from services.payments.clients.stripe_accounts import values_by_account

OUTSIDE = ("postgres", "nats", "sandbox")


@pytest.fixture
def home(servers_folder: Path, request: pytest.FixtureRequest) -> Path:
    return servers_folder / str(request.node.name)


@pytest.fixture(scope="module")
def kept_home(servers_folder: Path) -> Iterator[Path]:
    """A home that is used again by one test after the other: its data folder is made once."""
    home = servers_folder / "kept"
    yield home
    EmbeddedStack(home, Addresses.free(), OUTSIDE).destroy()


@pytest.fixture
def stack(kept_home: Path) -> Iterator[EmbeddedStack]:
    """A stack that is down, with what the tests before have left."""
    stack = EmbeddedStack(kept_home, Addresses.free(), OUTSIDE)
    yield stack
    stack.down()


@pytest.fixture
def fresh_stack(home: Path) -> Iterator[EmbeddedStack]:
    """A stack that has never been up."""
    stack = EmbeddedStack(home, Addresses.free(), OUTSIDE)
    yield stack
    stack.destroy()


def states(stack: EmbeddedStack) -> dict[str, str]:
    return {part.part: part.state for part in stack.status()}


def pids(stack: EmbeddedStack) -> dict[str, int | None]:
    return {part.part: part.pid for part in stack.status()}


def test_up_starts_everything_and_up_again_nothing(fresh_stack: EmbeddedStack) -> None:
    assert fresh_stack.up() == list(OUTSIDE)
    assert states(fresh_stack) == dict.fromkeys(OUTSIDE, "ready")
    assert fresh_stack.up() == []


def test_nobody_else_reads_anything_that_the_stack_keeps(fresh_stack: EmbeddedStack) -> None:
    fresh_stack.home.mkdir(mode=0o755)
    log = fresh_stack.home / "log" / "sandbox.log"
    log.parent.mkdir(mode=0o755)
    log.touch(mode=0o644)
    fresh_stack.up()
    fresh_stack.restart("sandbox")
    kept = [fresh_stack.home, *fresh_stack.home.rglob("*")]
    names = {file.name for file in kept}
    assert {"record.sqlite", "sandbox.log", "nats.conf", "stack.json", "jwks.json"} <= names
    open_to_others = [
        (str(file), oct(file.stat().st_mode))
        for file in kept
        if not file.is_symlink() and file.stat().st_mode & 0o077 and file != log.parent
    ]
    assert open_to_others == []


def test_down_leaves_no_process_and_keeps_the_data(fresh_stack: EmbeddedStack) -> None:
    fresh_stack.up()
    numbers = [part.pid for part in fresh_stack.status()]
    assert fresh_stack.down() == list(OUTSIDE)
    assert not [number for number in numbers if number and psutil.pid_exists(number)]
    assert states(fresh_stack) == dict.fromkeys(OUTSIDE, "stopped")
    assert fresh_stack.home.joinpath("postgres", "data", "PG_VERSION").exists()


@pytest.mark.parametrize("part", OUTSIDE)
def test_up_brings_back_what_was_killed(stack: EmbeddedStack, part: str) -> None:
    stack.up()
    [number] = [part_.pid for part_ in stack.status() if part_.part == part]
    assert number
    os.kill(number, signal.SIGKILL)
    psutil.Process(number).wait()
    assert states(stack)[part] == "stopped"
    assert stack.up() == [part]
    assert states(stack) == dict.fromkeys(OUTSIDE, "ready")


def test_up_restarts_what_runs_with_other_settings(stack: EmbeddedStack) -> None:
    stack.up()
    moved = Addresses({**stack.addresses.ports, "sandbox": Addresses.free().ports["sandbox"]})
    other = EmbeddedStack(stack.home, moved, OUTSIDE)
    assert states(other)["sandbox"] == "runs with other settings"
    assert other.up() == ["sandbox"]
    assert states(other)["sandbox"] == "ready"
    other.down()


def test_up_starts_nothing_when_a_port_is_taken(stack: EmbeddedStack) -> None:
    with socket.create_server(("127.0.0.1", stack.addresses.ports["sandbox_smtp"])) as squatter:
        port = squatter.getsockname()[1]
        with pytest.raises(PartError) as refusal:
            stack.up()
    message = str(refusal.value)
    assert f"port {port} of sandbox is in use by" in message
    assert f"process {os.getpid()}" in message
    assert "set RECURRING_SANDBOX_SMTP_PORT or RECURRING_PORT_BASE" in message
    assert states(stack) == dict.fromkeys(OUTSIDE, "stopped")
    assert stack.up() == list(OUTSIDE)


def test_what_is_up_stays_up_when_a_part_fails_and_up_goes_on_from_there(
    fresh_stack: EmbeddedStack,
) -> None:
    record = fresh_stack.home / "sandbox" / "record.sqlite"
    record.mkdir(parents=True)
    with pytest.raises(PartError, match="sandbox ended while it started") as failure:
        fresh_stack.up()
    assert f"{fresh_stack.home}/log/sandbox.log ends with" in str(failure.value)
    assert "missing: sandbox; up, and stays so: postgres, nats" in str(failure.value)
    assert states(fresh_stack) == {"postgres": "ready", "nats": "ready", "sandbox": "stopped"}
    record.rmdir()
    assert fresh_stack.up() == ["sandbox"]


def test_a_part_that_is_slow_is_left_to_become_ready(
    stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.up()
    stack.kill("sandbox")
    monkeypatch.setenv("RECURRING_START_TIMEOUT_SECONDS", "0.01")
    with pytest.raises(PartError, match=r"sandbox runs, but is not ready after 0\.01 s") as failure:
        stack.up()
    assert f"{stack.home}/log/sandbox.log" in str(failure.value)
    slow = pids(stack)
    monkeypatch.delenv("RECURRING_START_TIMEOUT_SECONDS")
    assert stack.up() == []
    assert states(stack) == dict.fromkeys(OUTSIDE, "ready")
    assert pids(stack) == slow


@pytest.mark.parametrize("seconds", ["soon", "0", "-1", "inf", "nan"])
def test_how_long_to_wait_is_a_number_of_seconds(
    stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setenv("RECURRING_START_TIMEOUT_SECONDS", seconds)
    with pytest.raises(PartError, match="RECURRING_START_TIMEOUT_SECONDS is not a number"):
        stack.up()


def test_two_ups_at_once_start_one_stack(fresh_stack: EmbeddedStack) -> None:
    twin = EmbeddedStack(fresh_stack.home, fresh_stack.addresses, OUTSIDE)
    with ThreadPoolExecutor() as threads:
        started = [
            future.result() for future in [threads.submit(s.up) for s in (fresh_stack, twin)]
        ]
    assert sorted(started, key=len) == [[], list(OUTSIDE)]
    twin.down()
    fresh_stack.down()


def test_secrets_are_for_their_owner_only(stack: EmbeddedStack) -> None:
    stack.up()
    keys = stack.home / "keys"
    secret = [
        stack.description_file,
        *keys.glob("*.password"),
        *keys.glob("*.jwt"),
        *keys.glob("*.pem"),
    ]
    assert len(secret) > 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in secret} == {0o600}


def test_the_demo_token_is_one_platform_of_one_merchant(stack: EmbeddedStack) -> None:
    stack.up()
    described = json.loads(stack.description_file.read_text())
    [key] = jwt.PyJWKSet.from_json(Path(described["jwks_file"]).read_text()).keys
    claims = jwt.decode(
        Path(described["token_file"]).read_text(), key, algorithms=["EdDSA"], audience="recurring"
    )
    assert (claims["merchant"], claims["scope"]) == ("demo", "platform")


def test_a_part_can_run_elsewhere(
    home: Path, postgres: EmbeddedPostgres, nats_server: EmbeddedNats
) -> None:
    replaced = {"postgres": postgres.databases.url, "nats": nats_server.url}
    stack = EmbeddedStack(home, Addresses(Addresses.free().ports, replaced), OUTSIDE)
    try:
        assert stack.up() == ["sandbox"]
        assert states(stack) == {"postgres": "reachable", "nats": "reachable", "sandbox": "ready"}
        stack.down()
        assert postgres.is_ready()
    finally:
        stack.destroy()


def test_a_part_elsewhere_that_does_not_answer_is_named_without_its_password(home: Path) -> None:
    addresses = Addresses.free()
    url = f"postgresql://admin:hush@{addresses.local('postgres')}/postgres"
    stack = EmbeddedStack(home, Addresses(addresses.ports, {"postgres": url}), OUTSIDE)
    with pytest.raises(PartError) as refusal:
        stack.up()
    assert "RECURRING_POSTGRES_URL" in str(refusal.value)
    assert addresses.local("postgres") in str(refusal.value)
    assert "hush" not in str(refusal.value)
    stack.destroy()


def test_a_part_that_does_not_exist_is_refused_with_those_that_do(stack: EmbeddedStack) -> None:
    with pytest.raises(PartError, match="ledger does not run here; what does: postgres, nats"):
        stack.restart("ledger")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RECURRING_PORT_BASE": "high"}, "RECURRING_PORT_BASE is not a port number"),
        ({"RECURRING_NATS_PORT": "70000"}, "RECURRING_NATS_PORT is not a port number"),
        (
            {"RECURRING_NATS_PORT": "17400"},
            "given to postgres and nats: set RECURRING_POSTGRES_PORT and RECURRING_NATS_PORT",
        ),
    ],
)
def test_a_bad_port_in_the_environment_is_refused(
    environment: Mapping[str, str], message: str
) -> None:
    with pytest.raises(PartError, match=message):
        Addresses.from_environment(environment)


def test_a_second_account_is_known_to_the_sandbox_and_to_payments_alone(home: Path) -> None:
    home.mkdir()
    stack = EmbeddedStack(home, Addresses.free(), second_account=True)
    environments = {part: stack.process_of(part).environment for part in ("sandbox", *SERVICES)}
    key = Keys(home / "keys").password("second_provider")
    assert {
        (part, name)
        for part, environment in environments.items()
        for name, value in environment.items()
        if key in value
    } == {
        ("sandbox", "SANDBOX_SECOND_PROVIDER_API_KEY"),
        ("payments", "RECURRING_STRIPE_ACCOUNT_API_KEYS"),
    }
    payments = environments["payments"]
    keys, secrets = [
        values_by_account(payments[f"RECURRING_STRIPE_ACCOUNT_{what}"])
        for what in ("API_KEYS", "WEBHOOK_SECRETS")
    ]
    assert keys == {"stripe-second": [key]}
    assert secrets == {"stripe-second": [environments["sandbox"]["SANDBOX_SECOND_WEBHOOK_SECRET"]]}
    one_account = EmbeddedStack(home, Addresses.free())
    assert not any(
        key in value for value in one_account.process_of("payments").environment.values()
    )


def test_a_killed_service_comes_back_to_its_own_database(home: Path) -> None:
    stack = EmbeddedStack(home, Addresses.free(), (*OUTSIDE, "catalog"))
    try:
        stack.up()
        owner = database_url("catalog", stack.addresses, Keys(home / "keys"), "_migrator")
        catalog = Databases(owner)
        catalog.execute("CREATE TABLE kept AS SELECT 7 AS number")
        stack.kill("catalog")
        assert states(stack)["catalog"] == "stopped"
        assert stack.up() == ["catalog"]
        assert states(stack)["catalog"] == "ready"
        assert catalog.execute("SELECT number FROM kept") == "7"
    finally:
        stack.destroy()


def test_a_database_can_be_started_while_a_service_waits_for_it(home: Path) -> None:
    stack = EmbeddedStack(home, Addresses.free(), (*OUTSIDE, "catalog"))
    try:
        stack.up()
        stack.kill("postgres")
        with ThreadPoolExecutor() as threads:
            restarted = threads.submit(stack.restart, "catalog")
            while not restarted.done() and states(stack)["catalog"] != "not ready":
                time.sleep(0.1)
            threads.submit(stack.start, "postgres").result(timeout=60)
            restarted.result(timeout=60)
        assert states(stack) == dict.fromkeys((*OUTSIDE, "catalog"), "ready")
    finally:
        stack.destroy()


def test_the_command_runs_another_with_the_whole_suite_and_leaves_nothing_running(
    home: Path,
) -> None:
    variables = {port_variable(name): str(port) for name, port in Addresses.free().ports.items()}
    environment = {**os.environ, **variables, "RECURRING_HOME": str(home)}

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deploy.embedded", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    try:
        inside = command("run", "--", sys.executable, "-m", "deploy.embedded", "status")
        assert inside.returncode == 0, inside.stderr
        assert inside.stdout.count("ready") == 2 * len(PARTS)
        after = command("status")
        assert after.returncode == 1
        assert after.stdout.count("stopped") == len(PARTS)
    finally:
        command("destroy")
    assert not home.exists()


def test_the_command_names_every_port_that_is_taken(home: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as first_socket,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        taken = {"nats": first_socket.getsockname()[1], "payments": two.getsockname()[1]}
        free = Addresses.free().ports
        variables = {port_variable(name): str(port) for name, port in {**free, **taken}.items()}
        completed = subprocess.run(
            [sys.executable, "-m", "deploy.embedded", "up"],
            cwd=ROOT,
            env={**os.environ, **variables, "RECURRING_HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert completed.returncode == 1
    assert [line.split(" is in use")[0] for line in completed.stderr.splitlines()] == [
        f"port {taken['nats']} of nats",
        f"port {taken['payments']} of payments",
    ]


def test_the_command_says_that_nothing_runs(home: Path) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "deploy.embedded", "down"],
        cwd=ROOT,
        env={**os.environ, "RECURRING_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout == "nothing ran\n"
    assert not home.exists()
