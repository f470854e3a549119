"""The embedded servers are real ones, and recover from crashes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nats
import psutil
import pytest

from deploy.embedded.databases import Databases, Passwords
from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import free_ports
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.process import PartError

PASSWORD = "a-password-of-the-tests"


@pytest.fixture
def own_postgres(
    servers_folder: Path, request: pytest.FixtureRequest
) -> Iterator[EmbeddedPostgres]:
    folder = servers_folder / request.node.name
    [port] = free_ports(1)
    server = EmbeddedPostgres(folder, port, folder.with_suffix(".log"), durable=False)
    yield server
    server.destroy()


def test_postgres_keeps_its_data_over_a_stop(own_postgres: EmbeddedPostgres) -> None:
    own_postgres.start()
    own_postgres.databases.execute("CREATE TABLE kept AS SELECT 7 AS number")
    own_postgres.stop()
    own_postgres.start()
    assert own_postgres.databases.execute("SELECT number FROM kept") == "7"


def test_postgres_starts_right_after_a_kill(own_postgres: EmbeddedPostgres) -> None:
    own_postgres.start()
    own_postgres.databases.execute("CREATE TABLE kept AS SELECT 7 AS number; CHECKPOINT")
    postmaster = own_postgres.process.find()
    assert postmaster
    postmaster.kill()
    postmaster.wait()
    own_postgres.start()
    assert own_postgres.databases.execute("SELECT number FROM kept") == "7"


def test_postgres_starts_when_its_lock_names_another_program(
    own_postgres: EmbeddedPostgres,
) -> None:
    own_postgres.start()
    lock = own_postgres.folder.joinpath("data").resolve() / "postmaster.pid"
    content = lock.read_text()
    own_postgres.stop()
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        first_line, rest = content.split("\n", 1)
        assert first_line.isdigit()
        lock.write_text(f"{bystander.pid}\n{rest}")
        own_postgres.start()
        assert own_postgres.is_ready()
        assert bystander.poll() is None
    finally:
        bystander.communicate()


def test_postgres_runs_where_only_root_may_enter(
    servers_folder: Path, request: pytest.FixtureRequest
) -> None:
    private = servers_folder / request.node.name
    private.mkdir(mode=0o700)
    [port] = free_ports(1)
    server = EmbeddedPostgres(private / "postgres", port, private / "log", durable=False)
    try:
        server.start()
        data = server.folder.joinpath("data").resolve()
        assert server.databases.execute("SELECT 1") == "1"
    finally:
        server.destroy()
    assert not data.exists()
    assert not server.folder.exists()


def test_postgres_wants_a_password(postgres: EmbeddedPostgres) -> None:
    without = postgres.databases.url.replace(":" + _password(postgres) + "@", ":wrong@")
    with pytest.raises(PartError, match="password authentication failed"):
        Databases(without).execute("SELECT 1")


def test_a_role_reaches_its_own_database_only(postgres: EmbeddedPostgres) -> None:
    for name in ("ours", "theirs"):
        postgres.databases.ensure(name, Passwords(*[PASSWORD] * 4))
    server = postgres.databases.url.rsplit("@", 1)[1].split("/")[0]
    assert Databases(f"postgresql://ours:{PASSWORD}@{server}/ours").execute("SELECT 1") == "1"
    with pytest.raises(PartError, match="permission denied for database"):
        Databases(f"postgresql://ours:{PASSWORD}@{server}/theirs").execute("SELECT 1")


@pytest.mark.parametrize("name", ["", "Upper", "a-b", "a;b", 'a"', "1a", "a" * 64])
def test_a_name_that_needs_quotes_is_refused(postgres: EmbeddedPostgres, name: str) -> None:
    with pytest.raises(ValueError, match="not a plain name"):
        postgres.databases.drop(name)


async def test_nats_keeps_its_streams_over_a_kill(servers_folder: Path) -> None:
    [port] = free_ports(1)
    server = EmbeddedNats(servers_folder / "own-nats", port, servers_folder / "own-nats.log")
    try:
        server.start()
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name="KEPT", subjects=["kept.>"])
        await client.jetstream().publish("kept.one", b"first")
        await client.close()
        server.kill()
        server.start()
        client = await nats.connect(server.url)
        message = await client.jetstream().get_last_msg("KEPT", "kept.one")
        await client.close()
        assert message.data == b"first"
    finally:
        server.destroy()


def test_nats_is_the_same_from_another_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started() -> str:
        return EmbeddedNats(tmp_path, 4222, tmp_path / "log").process.fingerprint

    before = started()
    monkeypatch.setenv("ANOTHER_SHELL", "yes")
    assert started() == before


def test_a_stale_process_file_is_not_believed(nats_server: EmbeddedNats) -> None:
    file = nats_server.process.pid_file
    believed = file.read_text()
    try:
        record = json.loads(believed)
        record["create_time"] -= 60
        file.write_text(json.dumps(record))
        assert nats_server.process.find() is None
    finally:
        file.write_text(believed)
    assert nats_server.process.find() == psutil.Process(record["pid"])


def test_a_server_that_cannot_start_shows_the_end_of_its_log(
    postgres: EmbeddedPostgres, servers_folder: Path
) -> None:
    folder = servers_folder / "no-port"
    server = EmbeddedPostgres(folder, postgres.port, folder.with_suffix(".log"), durable=False)
    try:
        with pytest.raises(PartError, match="Address already in use"):
            server.start()
    finally:
        server.destroy()


def _password(postgres: EmbeddedPostgres) -> str:
    return postgres.databases.url.split(":")[2].split("@")[0]
