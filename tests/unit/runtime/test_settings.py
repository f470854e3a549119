"""A process with a bad setting says what is wrong, and gives no secret away."""

from pathlib import Path

import pytest

from services.runtime.settings import (
    Environment,
    MigrationSettings,
    RuntimeSettings,
    SettingsError,
    load,
)

SECRET = "kept-to-ourselves"


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which a process can start."""
    (tmp_path / "jwks.json").write_text("{}")
    settings = {
        "ENVIRONMENT": "sandbox",
        "DATABASE_URL": f"postgresql+asyncpg://me:{SECRET}@localhost/db",
        "NATS_URL": "nats://localhost:4222",
        "GRPC_ADDRESS": "127.0.0.1:7000",
        "PEER_ADDRESS": "127.0.0.1:7003",
        "HEALTH_ADDRESS": "127.0.0.1:7004",
        "TLS_FOLDER": str(tmp_path),
        "METRICS_ADDRESS": "127.0.0.1:7001",
        "CLOCK_URL": "http://localhost:7002",
        "AUTH_JWKS_FILE": str(tmp_path / "jwks.json"),
        "AUTH_ISSUER": "https://issuer.example",
        "AUTH_AUDIENCE": "recurring",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"RECURRING_{name}", value)
    return monkeypatch


def complaint() -> str:
    with pytest.raises(SettingsError) as refusal:
        load(RuntimeSettings)
    return str(refusal.value)


def complained_of() -> set[str]:
    return {line.partition(":")[0] for line in complaint().splitlines()}


def test_a_good_environment_is_read(good: pytest.MonkeyPatch) -> None:
    good.setenv("RECURRING_DRAIN_SECONDS", "2.5")
    settings = load(RuntimeSettings)
    assert (settings.environment, settings.drain_seconds) == (Environment.SANDBOX, 2.5)


def test_an_empty_environment_is_told_everything_that_is_needed() -> None:
    assert complained_of() == {
        "RECURRING_ENVIRONMENT",
        "RECURRING_DATABASE_URL",
        "RECURRING_NATS_URL",
        "RECURRING_GRPC_ADDRESS",
        "RECURRING_PEER_ADDRESS",
        "RECURRING_HEALTH_ADDRESS",
        "RECURRING_TLS_FOLDER",
        "RECURRING_METRICS_ADDRESS",
        "RECURRING_AUTH_JWKS_FILE",
        "RECURRING_AUTH_ISSUER",
        "RECURRING_AUTH_AUDIENCE",
    }


def test_a_folder_of_secrets_gives_settings(good: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = "postgresql+asyncpg://from-a-file@localhost/db"
    (tmp_path / "recurring_database_url").write_text(f"{address}\n")
    good.setenv("RECURRING_SECRETS_FOLDER", str(tmp_path))
    good.delenv("RECURRING_DATABASE_URL")
    assert load(RuntimeSettings).database_url == address


def test_the_environment_wins_over_a_file(good: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "recurring_drain_seconds").write_text("99")
    good.setenv("RECURRING_SECRETS_FOLDER", str(tmp_path))
    good.setenv("RECURRING_DRAIN_SECONDS", "2.5")
    assert load(RuntimeSettings).drain_seconds == 2.5


def test_a_bad_file_is_named_as_its_variable_and_not_shown(
    good: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "recurring_migration_database_url").write_text(f"mysql://me:{SECRET}@localhost")
    good.setenv("RECURRING_SECRETS_FOLDER", str(tmp_path))
    assert complained_of() == {"RECURRING_MIGRATION_DATABASE_URL"}
    assert SECRET not in complaint()


def test_a_missing_folder_of_secrets_is_named(good: pytest.MonkeyPatch) -> None:
    good.setenv("RECURRING_SECRETS_FOLDER", "/nowhere/at/all")
    assert complaint() == "RECURRING_SECRETS_FOLDER: is no folder"


def test_migrations_need_one_address_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECURRING_MIGRATION_DATABASE_URL", "postgresql+asyncpg://m@localhost/db")
    assert load(MigrationSettings).migration_database_url.endswith("m@localhost/db")


BAD = {
    "RECURRING_ENVIRONMENT": "staging",
    "RECURRING_DATABASE_URL": f"mysql://me:{SECRET}@localhost/db",
    "RECURRING_DATABASE_POOL_SIZE": "0",
    "RECURRING_NATS_URL": f"http://{SECRET}@localhost",
    "RECURRING_GRPC_ADDRESS": "localhost",
    "RECURRING_CLOCK_URL": "tomorrow",
    "RECURRING_AUTH_JWKS_FILE": f"/nowhere/{SECRET}",
    "RECURRING_LOG_LEVEL": "LOUD",
    "RECURRING_DRAIN_SECONDS": "long",
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_variable_is_named(good: pytest.MonkeyPatch, name: str) -> None:
    good.setenv(name, BAD[name])
    assert complained_of() == {name}


def test_all_bad_variables_are_named_at_once_and_no_value_is_shown(
    good: pytest.MonkeyPatch,
) -> None:
    for name, value in BAD.items():
        good.setenv(name, value)
    assert complained_of() == set(BAD)
    assert SECRET not in complaint()


def test_a_simulated_clock_is_refused_in_production(good: pytest.MonkeyPatch) -> None:
    good.setenv("RECURRING_ENVIRONMENT", "production")
    assert "RECURRING_CLOCK_URL" in complaint()
    assert "refused in production" in complaint()
    good.setenv("RECURRING_CLOCK_URL", "")
    assert load(RuntimeSettings).environment is Environment.PRODUCTION
