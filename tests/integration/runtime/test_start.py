"""A process that lacks something logs it, waits without being ready, and goes on when it is there."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import nats
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc

from deploy.embedded.databases import Passwords
from deploy.embedded.keys import AUDIENCE, ISSUER, Keys
from deploy.embedded.ports import HOST, free_ports
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.program import ROOT
from services.runtime.app.readiness import STREAMS_MISSING_SECONDS
from services.runtime.messaging.broker import Broker
from services.runtime.rpc.health import LIVENESS, PROBE_INTERVAL_SECONDS
from tests.conftest import DATA_KEYS, PASSWORD, ServiceDatabase
from tests.integration.runtime.pubsub import until

EXIT_BAD_SETTINGS, EXIT_RESTART = 78, 75
SERVING, NOT_SERVING = "SERVING", "NOT_SERVING"


class Process:
    """A catalog as Kubernetes runs it: secrets are files, which somebody may change."""

    def __init__(self, folder: Path, nats_url: str) -> None:
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        self.keys = Keys(folder / "keys")
        self._log = folder / "log"
        *ports, port_of_nobody = free_ports(5)
        own, peer, health, metrics = (f"{HOST}:{port}" for port in ports)
        self.grpc_address, self.health_address = own, health
        self.settings = {
            "ENVIRONMENT": "sandbox",
            "PAYMENTS_TARGET": f"{HOST}:{port_of_nobody}",
            "NATS_URL": nats_url,
            "MIGRATION_NATS_URL": nats_url,
            "DATA_KEYS": DATA_KEYS,
            "GRPC_ADDRESS": own,
            "GRPC_PLAINTEXT": "true",
            "PEER_ADDRESS": peer,
            "HEALTH_ADDRESS": health,
            "METRICS_ADDRESS": metrics,
            "TLS_FOLDER": str(self.keys.certificate_folder("catalog")),
            "AUTH_JWKS_FILE": str(self.keys.jwks_file),
            "AUTH_ISSUER": ISSUER,
            "AUTH_AUDIENCE": AUDIENCE,
            "SECRETS_FOLDER": str(self.secrets),
        }
        self.process: subprocess.Popen[bytes] | None = None
        # Whether it is started again when it asks for that.
        self.supervised = True

    def write_secret(self, name: str, content: str) -> None:
        (self.secrets / f"recurring_{name}").write_text(content)

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        settings = {f"RECURRING_{name}": value for name, value in self.settings.items()}
        supervisor = ["deploy.embedded.supervisor"] if self.supervised else []
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *supervisor, "services.catalog", *arguments],
                cwd=ROOT,
                env={"PATH": os.defpath, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", **settings},
                stdout=log,
                stderr=log,
            )
        return self.process

    def start_with(self, settings: dict[str, str], *arguments: str) -> "subprocess.Popen[bytes]":
        """Start it with settings that are for this start alone."""
        usual = dict(self.settings)
        self.settings.update(settings)
        try:
            return self.start(*arguments)
        finally:
            self.settings = usual

    def said(self, words: str) -> int:
        """How many lines of the log have these words."""
        return self._log.read_text().count(words)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    async def health(self, service: str = "") -> str:
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(self.health_address, options) as channel:
            check: Any = health_pb2_grpc.HealthStub(channel)
            try:
                answer = await check.Check(
                    health_pb2.HealthCheckRequest(service=service), timeout=2
                )
            except grpc.aio.AioRpcError as error:
                return error.code().name
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    async def until_health(self, wanted: str, service: str = "", seconds: float = 25) -> None:
        async def so() -> bool:
            return await self.health(service) == wanted

        await until(so, seconds)

    async def until_said(self, words: str, seconds: float = 25) -> None:
        async def so() -> bool:
            return self.said(words) > 0

        await until(so, seconds)

    async def waits_for(self, words: str) -> None:
        """It says once what it waits for, is alive, and is not ready."""
        await self.until_health(SERVING, LIVENESS)
        await self.until_said(words)
        # A few more tries, of which nobody has to read.
        await asyncio.sleep(2.5)
        assert self.said(words) == 1
        assert await self.health() == NOT_SERVING
        assert await self.health(LIVENESS) == SERVING

    async def call(self) -> str:
        """Make a call that anybody may make; returns how it ended."""
        token = self.keys.token_file("acme", merchant="acme", scope="platform").read_text()
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(self.grpc_address, options) as channel:
            stub = catalog_pb2_grpc.CatalogServiceStub(channel)
            try:
                await stub.ListProducts(
                    catalog_pb2.ListProductsRequest(parent="merchants/acme"),
                    metadata=(("authorization", f"Bearer {token}"),),
                    timeout=5,
                )
            except grpc.aio.AioRpcError as error:
                return error.code().name
        return "OK"


@pytest.fixture
async def process(tmp_path: Path, nats_url: str) -> AsyncIterator[Process]:
    process = Process(tmp_path, nats_url)
    yield process
    if process.process is not None:
        with suppress(ProcessLookupError):
            process.process.kill()
        process.process.wait()


@pytest.fixture
def database(service_database: ServiceDatabase, process: Process) -> str:
    """A migrated database that the process is told of."""
    url = service_database("catalog")
    process.write_secret("database_url", url)
    return url


async def execute(url: str, *statements: str) -> None:
    """Do what only the owner may."""
    owner = url.replace(":only", "_migrator:only")
    connection = await asyncpg.connect(owner)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def shut(postgres: EmbeddedPostgres, url: str) -> str:
    """Let nobody into a database any more; returns its name."""
    name = url.rpartition("/")[2]
    postgres.databases.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    end_connections = f"""
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'
    """  # noqa: S608
    postgres.databases.execute(end_connections)
    return name


async def test_a_secret_that_is_missing_is_waited_for(
    process: Process, service_database: ServiceDatabase
) -> None:
    process.write_secret("database_url", "mysql://somewhere")
    process.start()
    await process.waits_for("RECURRING_DATABASE_URL: String should match pattern")
    process.write_secret("database_url", service_database("catalog"))
    await process.until_health(SERVING)


async def test_without_files_that_may_change_a_bad_setting_ends_the_process(
    process: Process,
) -> None:
    del process.settings["SECRETS_FOLDER"]
    assert process.start().wait(20) == EXIT_BAD_SETTINGS
    assert process.said("RECURRING_DATABASE_URL: Field required") == 1


async def test_a_secret_that_is_wrong_is_waited_for_until_it_is_another(
    process: Process, database: str
) -> None:
    process.write_secret("database_url", database.replace(PASSWORD, "some-other-password"))
    process.start()
    await process.waits_for("waiting for database: InvalidPasswordError")
    process.write_secret("database_url", database)
    await process.until_health(SERVING)


async def test_a_process_that_serves_restarts_with_a_setting_that_has_changed(
    process: Process, database: str
) -> None:
    del database
    started = process.start()
    await process.until_health(SERVING)
    process.write_secret("log_level", "SILENT")
    await process.until_said("settings have become bad: RECURRING_LOG_LEVEL")
    assert await process.health() == SERVING
    process.write_secret("log_level", "DEBUG")
    await process.until_said("settings have changed: restarting")
    await process.until_said('"level": "DEBUG"')
    await process.until_health(SERVING)
    # The supervisor is the same.
    assert started.poll() is None


async def test_a_process_whose_settings_have_changed_drains_and_ends_with_the_status_to_restart(
    process: Process, database: str
) -> None:
    del database
    process.supervised = False
    process.settings["STOP_DELAY_SECONDS"] = "3"
    started = process.start()
    await process.until_health(SERVING)
    process.write_secret("log_level", "DEBUG")
    await process.until_health(NOT_SERVING)
    assert await process.call() == "OK"
    assert await asyncio.to_thread(started.wait, 20) == EXIT_RESTART
    assert process.said("Traceback") == 0


async def test_a_process_that_crashes_is_not_started_again_by_its_supervisor(
    process: Process, database: str
) -> None:
    del database
    supervisor = process.start()
    await process.until_health(SERVING)
    [service] = psutil.Process(supervisor.pid).children()
    service.kill()
    assert await asyncio.to_thread(supervisor.wait, 20) == 128 + signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
async def test_a_supervisor_that_is_killed_takes_its_service_with_it(
    process: Process, database: str
) -> None:
    del database
    supervisor = process.start()
    await process.until_health(SERVING)
    [service] = psutil.Process(supervisor.pid).children()
    supervisor.kill()
    await asyncio.to_thread(service.wait, 10)


async def test_a_process_that_its_settings_keep_from_being_ready_restarts_without_waiting_its_turn(
    process: Process, database: str, postgres: EmbeddedPostgres
) -> None:
    process.settings["RESTART_JITTER_SECONDS"] = "600"
    process.start()
    await process.until_health(SERVING)
    process.write_secret("log_level", "DEBUG")
    shut(postgres, database)
    await process.until_said("not ready: database: ")
    # A turn would be waited for up to ten minutes.
    await process.until_said("settings have changed: restarting", seconds=60)


@pytest.mark.parametrize("file", ["tls.crt", "jwks.json"])
async def test_a_malformed_key_is_waited_for(process: Process, database: str, file: str) -> None:
    del database
    jwks = Path(process.settings["AUTH_JWKS_FILE"])
    bad = jwks if file == "jwks.json" else Path(process.settings["TLS_FOLDER"]) / file
    good = bad.read_text()
    bad.write_text("not what it should be")
    process.start()
    await process.waits_for(
        "waiting for keys" if file == "jwks.json" else "waiting for certificate"
    )
    bad.write_text(good)
    await process.until_health(SERVING)


async def test_a_broker_that_is_away_is_waited_for(process: Process, database: str) -> None:
    del database
    [port] = free_ports(1)
    process.settings["NATS_URL"] = f"nats://{HOST}:{port}"
    process.start()
    await process.waits_for("waiting for nats")


async def test_code_waits_for_the_migration(process: Process, postgres: EmbeddedPostgres) -> None:
    name = "without_schema"
    postgres.databases.ensure(name, Passwords(*[PASSWORD] * 4))
    process.write_secret("database_url", postgres.databases.address(name, PASSWORD, name))
    process.start()
    await process.waits_for("the database has no schema; this code needs 0001")
    assert await process.call() == "UNAVAILABLE"
    migrator = postgres.databases.address(f"{name}_migrator", PASSWORD, name)
    process.write_secret("migration_database_url", migrator)
    serving = process.process
    assert process.start("migrate").wait(30) == 0
    process.process = serving
    await process.until_health(SERVING)


async def test_a_service_that_may_makes_the_schema_again_that_its_database_has_lost(
    process: Process, postgres: EmbeddedPostgres
) -> None:
    name = "lost_schema"
    postgres.databases.ensure(name, Passwords(*[PASSWORD] * 4))
    process.write_secret("database_url", postgres.databases.address(name, PASSWORD, name))
    migrator = postgres.databases.address(f"{name}_migrator", PASSWORD, name)
    process.write_secret("migration_database_url", migrator)
    process.settings["MIGRATE_ON_START"] = "true"
    process.start()
    await process.until_health(SERVING)
    # As with a pod that has lost its data: the roles are made at its start, and nothing else is there.
    postgres.databases.execute(f"DROP DATABASE {name} WITH (FORCE)")
    postgres.databases.ensure(name, Passwords(*[PASSWORD] * 4))
    await process.until_said("no longer serving: the database has no schema")
    await process.until_health(SERVING)
    assert await process.call() == "OK"


async def test_code_waits_for_the_streams_that_a_migration_makes_with_all_that_is_read_by(
    process: Process, database: str
) -> None:
    url = process.settings.pop("MIGRATION_NATS_URL")
    process.start()
    await process.waits_for("stream CATALOG is not there: migrate")
    serving = process.process
    process.settings["MIGRATION_NATS_URL"] = url
    process.settings["MIGRATION_DATABASE_URL"] = database.replace(":only", "_migrator:only")
    process.settings["PLATFORM_MERCHANTS"] = "acme demo"
    assert process.start("migrate").wait(30) == 0
    process.process = serving
    await process.until_health(SERVING)
    broker = await Broker.connect(url, "test")
    for merchant in ("acme", "demo"):
        assert await broker.subjects_of("MERCHANTS", merchant) == {f"merchants.{merchant}.>"}
    assert "recurring.scheduler.v1.OrderConfirmed" in await broker.subjects_of(
        "SCHEDULER", "catalog"
    )
    await broker.close()


async def delete(nats_url: str, stream: str, durable: str = "") -> None:
    """As an operator's mistake, or a broker that has lost its disk."""
    client = await nats.connect(nats_url)
    try:
        if durable:
            await client.jetstream().delete_consumer(stream, durable)
        else:
            await client.jetstream().delete_stream(stream)
    finally:
        await client.close()


async def test_a_durable_that_was_deleted_is_made_again_where_the_service_may(
    process: Process, database: str, nats_url: str
) -> None:
    del database
    process.start()
    await process.until_health(SERVING)
    broker = await Broker.connect(nats_url, "test")
    heard = await broker.subjects_of("SCHEDULER", "catalog")
    for durable in ("catalog", ""):
        await delete(nats_url, "SCHEDULER", durable)

        async def is_there() -> bool:
            return await broker.subjects_of("SCHEDULER", "catalog") == heard

        await until(is_there, 10)
    await delete(nats_url, "CATALOG")

    async def is_back() -> bool:
        return await broker.creation_time("CATALOG") is not None

    await until(is_back, 10)
    await broker.close()
    assert await process.health() == SERVING
    assert process.said("not ready") == 0


@pytest.mark.parametrize(
    ("stream", "durable", "words"),
    [
        (
            "SCHEDULER",
            "catalog",
            "DurableMissingError: durable catalog of stream SCHEDULER is not there: migrate",
        ),
        (
            "SCHEDULER",
            "",
            "DurableMissingError: durable catalog of stream SCHEDULER is not there: migrate",
        ),
        ("CATALOG", "", "StreamMissingError: stream CATALOG is not there: migrate"),
    ],
)
async def test_a_service_that_may_not_make_what_was_deleted_says_so_and_is_not_ready_until_it_is_there(
    process: Process, database: str, stream: str, durable: str, words: str
) -> None:
    url = process.settings.pop("MIGRATION_NATS_URL")
    migrate = {
        "MIGRATION_NATS_URL": url,
        "MIGRATION_DATABASE_URL": database.replace(":only", "_migrator:only"),
    }
    assert process.start_with(migrate, "migrate").wait(30) == 0
    process.start()
    await process.until_health(SERVING)
    await delete(url, stream, durable)
    await process.until_health(NOT_SERVING, seconds=STREAMS_MISSING_SECONDS + 5)
    assert process.said("not ready: ") == process.said(f"not ready: streams: {words}") == 1
    assert await process.health(LIVENESS) == SERVING
    assert process.said("Traceback") == 0
    serving = process.process
    assert process.start_with(migrate, "migrate").wait(30) == 0
    process.process = serving
    await process.until_health(SERVING)


async def test_code_serves_on_a_newer_schema_that_says_that_it_still_serves_it(
    process: Process, database: str
) -> None:
    await execute(
        database,
        "UPDATE alembic_version SET version_num = '0002'",
        "INSERT INTO served_revisions VALUES ('0002')",
    )
    process.start()
    await process.until_health(SERVING)


async def test_code_stops_serving_on_a_schema_that_does_not_serve_it(
    process: Process, database: str
) -> None:
    process.start()
    await process.until_health(SERVING)
    await execute(
        database,
        "UPDATE alembic_version SET version_num = '0002'",
        "UPDATE served_revisions SET revision = '0002'",
    )
    await process.waits_for("no longer serving: the schema is 0002, newer than this code (0001)")
    assert await process.call() == "UNAVAILABLE"
    # The release is taken back.
    await execute(
        database,
        "UPDATE alembic_version SET version_num = '0001'",
        "UPDATE served_revisions SET revision = '0001'",
    )
    await process.until_health(SERVING)
    assert await process.call() == "OK"


async def test_readiness_follows_the_database_and_liveness_does_not(
    process: Process, database: str, postgres: EmbeddedPostgres
) -> None:
    process.start()
    await process.until_health(SERVING)
    name = shut(postgres, database)
    # A moment is a hiccup.
    await asyncio.sleep(3)
    assert await process.health() == SERVING
    await process.until_health(NOT_SERVING, seconds=20)
    assert await process.health(LIVENESS) == SERVING
    postgres.databases.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await process.until_health(SERVING, seconds=20)


async def test_calls_are_answered_while_callers_are_sent_away(
    process: Process, database: str
) -> None:
    del database
    process.settings["STOP_DELAY_SECONDS"] = "5"
    started = process.start()
    await process.until_health(SERVING)
    started.send_signal(signal.SIGTERM)
    await process.until_health(NOT_SERVING, seconds=2)
    # That all it needs is there brings no caller back.
    await asyncio.sleep(2 * PROBE_INTERVAL_SECONDS)
    assert await process.health() == NOT_SERVING
    assert await process.call() == "OK"
    assert await asyncio.to_thread(started.wait, 20) == 0
    assert process.said("Traceback") == 0


async def test_a_process_that_is_asked_to_stop_while_it_restarts_stops(
    process: Process, database: str
) -> None:
    del database
    process.settings["STOP_DELAY_SECONDS"] = "3"
    started = process.start()
    await process.until_health(SERVING)
    process.write_secret("log_level", "DEBUG")
    await process.until_said("settings have changed: restarting")
    started.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(started.wait, 20) == 0


async def test_a_process_that_stops_does_not_restart(process: Process, database: str) -> None:
    del database
    process.settings["STOP_DELAY_SECONDS"] = "8"
    started = process.start()
    await process.until_health(SERVING)
    started.send_signal(signal.SIGTERM)
    process.write_secret("log_level", "DEBUG")
    await process.until_said("settings have changed: restarting")
    assert await asyncio.to_thread(started.wait, 20) == 0


async def test_a_signal_that_comes_before_the_process_has_restarted_is_obeyed(
    process: Process, database: str
) -> None:
    del database
    started = process.start()
    await process.until_health(SERVING)
    process.write_secret("log_level", "DEBUG")
    # The one has stopped answering, and the other has not begun to.
    await process.until_health("UNAVAILABLE")
    started.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(started.wait, 20) == 0
