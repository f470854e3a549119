"""A process with invalid settings names them, and shows no secret."""

from pathlib import Path

import pytest

from deploy.embedded.keys import Keys
from services.notify.__main__ import Settings as NotifySettings
from services.notify.clients.email import MailTls
from services.payments.__main__ import Settings as PaymentsSettings
from services.runtime.app.settings import (
    PLATFORM_MERCHANTS_MAX,
    Environment,
    MigrationSettings,
    RuntimeSettings,
    Settings,
    load,
)
from services.runtime.errors import SettingsError
from tests.conftest import DATA_KEYS

SECRET = "kept-to-ourselves"


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which a process can start."""
    (tmp_path / "jwks.json").write_text("{}")
    settings = {
        "ENVIRONMENT": "sandbox",
        "DATABASE_URL": f"postgresql://me:{SECRET}@localhost/db",
        "NATS_URL": "nats://localhost:4222",
        "DATA_KEYS": DATA_KEYS,
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


def complaint(settings_type: type[Settings] = RuntimeSettings) -> str:
    with pytest.raises(SettingsError) as refusal:
        load(settings_type)
    return str(refusal.value)


def complained_of(settings_type: type[Settings] = RuntimeSettings) -> set[str]:
    return {line.partition(":")[0] for line in complaint(settings_type).splitlines()}


def test_a_good_environment_is_read(good: pytest.MonkeyPatch) -> None:
    good.setenv("RECURRING_DRAIN_SECONDS", "2.5")
    settings = load(RuntimeSettings)
    assert (settings.environment, settings.drain_seconds) == (Environment.SANDBOX, 2.5)


def test_an_empty_environment_is_refused_with_every_required_setting() -> None:
    assert complained_of() == {
        "RECURRING_ENVIRONMENT",
        "RECURRING_DATABASE_URL",
        "RECURRING_DATA_KEYS",
        "RECURRING_NATS_URL",
        "RECURRING_GRPC_ADDRESS",
        "RECURRING_PEER_ADDRESS",
        "RECURRING_HEALTH_ADDRESS",
        "RECURRING_TLS_FOLDER",
        "RECURRING_METRICS_ADDRESS",
        "RECURRING_AUTH_ISSUER",
        "RECURRING_AUTH_AUDIENCE",
    }


def test_a_folder_of_secrets_gives_settings(good: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = "postgresql://from-a-file@localhost/db"
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


def test_migrations_need_only_an_address_and_where_they_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECURRING_ENVIRONMENT", "sandbox")
    monkeypatch.setenv("RECURRING_MIGRATION_DATABASE_URL", "postgresql://m@localhost/db")
    assert load(MigrationSettings).migration_database_url.endswith("m@localhost/db")


BAD = {
    "RECURRING_ENVIRONMENT": "staging",
    "RECURRING_DATABASE_URL": f"mysql://me:{SECRET}@localhost/db",
    "RECURRING_DATABASE_CALL_CONNECTIONS": "0",
    "RECURRING_DATABASE_WORKER_CONNECTIONS": "0",
    "RECURRING_DATA_KEYS": f"test-1:{SECRET}",
    "RECURRING_NATS_URL": f"http://{SECRET}@localhost",
    "RECURRING_GRPC_ADDRESS": "localhost",
    "RECURRING_CLOCK_URL": "tomorrow",
    "RECURRING_AUTH_JWKS_FILE": f"/nowhere/{SECRET}",
    "RECURRING_PLATFORM_MERCHANTS": f"demo {SECRET}.>",
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


def test_a_broker_bears_so_many_platforms_and_no_more(good: pytest.MonkeyPatch) -> None:
    merchants = [f"m{number}" for number in range(PLATFORM_MERCHANTS_MAX)]
    good.setenv("RECURRING_PLATFORM_MERCHANTS", " ".join(merchants))
    assert load(RuntimeSettings).platform_merchants.split() == merchants
    good.setenv("RECURRING_PLATFORM_MERCHANTS", " ".join([*merchants, "demo"]))
    assert complained_of() == {"RECURRING_PLATFORM_MERCHANTS"}


def test_tokens_are_verified_by_a_file_or_a_url_and_not_by_both(good: pytest.MonkeyPatch) -> None:
    good.setenv("RECURRING_AUTH_JWKS_URL", "https://issuer.example/keys")
    assert complained_of() == {"RECURRING_AUTH_JWKS_FILE"}
    good.delenv("RECURRING_AUTH_JWKS_FILE")
    assert load(RuntimeSettings).auth_jwks_url
    good.delenv("RECURRING_AUTH_JWKS_URL")
    assert complained_of() == {"RECURRING_AUTH_JWKS_FILE"}


@pytest.mark.parametrize("algorithms", ["HS256", "none", "EdDSA none", "", "eddsa", "EdDSA,ES256"])
def test_only_algorithms_with_a_public_key_are_taken(
    good: pytest.MonkeyPatch, algorithms: str
) -> None:
    good.setenv("RECURRING_AUTH_ALGORITHMS", algorithms)
    assert complained_of() == {"RECURRING_AUTH_ALGORITHMS"}


@pytest.fixture
def production(good: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that production takes."""
    for name, value in {
        "ENVIRONMENT": "production",
        "DATABASE_URL": f"postgresql://me:{SECRET}@db.example/db?sslmode=verify-full",
        "NATS_URL": "tls://nats.example:4222",
        "CLOCK_URL": "",
    }.items():
        good.setenv(f"RECURRING_{name}", value)
    assert load(RuntimeSettings).environment is Environment.PRODUCTION
    return good


# Variable -> a value that is for development only.
DANGERS = {
    "RECURRING_CLOCK_URL": "http://localhost:7002",
    "RECURRING_CRASH_POINT": "outbox.read",
    "RECURRING_CLOCK_STEP_SECONDS": "300",
    "RECURRING_GRPC_PLAINTEXT": "true",
    "RECURRING_REFLECTION_ENABLED": "true",
    "RECURRING_DATABASE_URL": f"postgresql://me:{SECRET}@db.example/db?sslmode=prefer",
    "RECURRING_NATS_URL": "nats://nats.example:4222",
    "RECURRING_MIGRATION_NATS_URL": f"tls://streams:{SECRET}@nats.example:4222",
    "RECURRING_DATA_KEYS": f"development-1:{DATA_KEYS.partition(':')[2]}",
    "RECURRING_AUTH_ISSUER": "https://embedded.recurring.localhost",
}


@pytest.mark.parametrize("name", sorted(DANGERS))
def test_production_refuses_what_is_for_development(
    production: pytest.MonkeyPatch, name: str
) -> None:
    production.setenv(name, DANGERS[name])
    assert complained_of() == {name}
    assert "is refused in production" in complaint()


def test_production_names_every_cause_at_once(
    production: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in DANGERS.items():
        production.setenv(name, value)
    production.setenv("RECURRING_MIGRATE_ON_START", "true")
    production.setenv("RECURRING_MIGRATION_DATABASE_URL", "postgresql://m@db.example/db")
    keys = Keys(tmp_path / "keys")
    production.setenv("RECURRING_AUTH_JWKS_FILE", str(keys.jwks_file))
    production.setenv("RECURRING_TLS_FOLDER", str(keys.certificate_folder("catalog")))
    own = {f"RECURRING_{name}" for name in ("MIGRATE_ON_START", "AUTH_JWKS_FILE", "TLS_FOLDER")}
    assert complained_of() == {*DANGERS, *own}
    assert SECRET not in complaint()


@pytest.mark.parametrize(
    "url", ["http://issuer.example/keys", "https://localhost/keys", "https://issuer.test/keys"]
)
def test_production_refuses_a_key_set_that_anybody_could_serve(
    production: pytest.MonkeyPatch, url: str
) -> None:
    production.delenv("RECURRING_AUTH_JWKS_FILE")
    production.setenv("RECURRING_AUTH_JWKS_URL", url)
    assert complained_of() == {"RECURRING_AUTH_JWKS_URL"}


@pytest.mark.parametrize("mode", ["", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-ca"])
def test_production_refuses_a_database_that_anybody_could_be(
    production: pytest.MonkeyPatch, mode: str
) -> None:
    for name in ("DATABASE_URL", "MIGRATION_DATABASE_URL"):
        production.setenv(f"RECURRING_{name}", f"postgresql://me@db.example/db{mode}")
    assert complained_of() == {"RECURRING_DATABASE_URL"}
    assert complained_of(MigrationSettings) == {"RECURRING_MIGRATION_DATABASE_URL"}


def test_production_migrates_a_database_that_proves_to_be_it(
    production: pytest.MonkeyPatch,
) -> None:
    url = "postgresql://me@db.example/db?sslmode=verify-full"
    production.setenv("RECURRING_MIGRATION_DATABASE_URL", url)
    assert load(MigrationSettings).migration_database_url == url


def test_production_makes_streams_over_tls_alone(production: pytest.MonkeyPatch) -> None:
    url = "postgresql://me@db.example/db?sslmode=verify-full"
    production.setenv("RECURRING_MIGRATION_DATABASE_URL", url)
    production.setenv("RECURRING_MIGRATION_NATS_URL", "nats://nats.example:4222")
    assert complained_of(MigrationSettings) == {"RECURRING_MIGRATION_NATS_URL"}


def test_production_refuses_an_authority_for_development_among_others(
    production: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = "postgresql://me@db.example/db?sslmode=verify-full"
    production.setenv("RECURRING_MIGRATION_DATABASE_URL", url)
    folder = Keys(tmp_path / "keys").certificate_folder("catalog")
    other, authority = (folder / name for name in ("tls.crt", "ca.crt"))
    (tmp_path / "ca.crt").write_bytes(other.read_bytes())
    assert load(RuntimeSettings).environment is Environment.PRODUCTION
    (tmp_path / "ca.crt").write_bytes(other.read_bytes() + authority.read_bytes())
    assert complained_of() == {"RECURRING_TLS_FOLDER"}
    assert complained_of(MigrationSettings) == {"RECURRING_TLS_FOLDER"}


@pytest.mark.usefixtures("production")
def test_production_waits_for_an_authority_that_is_only_half_written(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----")
    assert load(RuntimeSettings).environment is Environment.PRODUCTION


def test_production_refuses_the_sandbox_s_provider(production: pytest.MonkeyPatch) -> None:
    production.setenv("RECURRING_CATALOG_TARGET", "dns:///catalog:7402")
    production.setenv("RECURRING_PROVIDER_URL", "http://127.0.0.1:17402")
    production.setenv("RECURRING_PROVIDER_API_KEY", "sk_test_1")
    assert complained_of(PaymentsSettings) == {
        "RECURRING_PROVIDER_URL",
        "RECURRING_PROVIDER_API_KEY",
    }


@pytest.fixture
def gateways(production: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment of notify that production takes."""
    for name, value in {
        "SMS_URL": "https://sms.example",
        "SMS_API_KEY": "key",
        "PAYMENTS_TARGET": "dns:///payments:7402",
        "SCHEDULER_TARGET": "dns:///scheduler:7402",
        "SMTP_HOST": "mail.example",
        "SMTP_PORT": "587",
    }.items():
        production.setenv(f"RECURRING_{name}", value)
    assert load(NotifySettings).smtp_tls is MailTls.STARTTLS
    return production


def test_production_refuses_the_sandbox_s_gateways(gateways: pytest.MonkeyPatch) -> None:
    gateways.setenv("RECURRING_SMS_URL", "http://127.0.0.1:17402/sms")
    gateways.setenv("RECURRING_SMTP_TLS", "none")
    assert complaint(NotifySettings).splitlines() == [
        "RECURRING_SMS_URL: a gateway of this machine or without TLS is refused in production",
        "RECURRING_SMTP_TLS: a mail server without TLS is refused in production",
    ]


def test_a_login_at_the_mail_server_is_there_or_not(gateways: pytest.MonkeyPatch) -> None:
    gateways.setenv("RECURRING_SMTP_PASSWORD", SECRET)
    assert complained_of(NotifySettings) == {"RECURRING_SMTP_PASSWORD"}
    gateways.setenv("RECURRING_SMTP_USER", "recurring")
    assert SECRET not in repr(load(NotifySettings).smtp_password)


def test_production_refuses_phone_numbers_that_nobody_has(gateways: pytest.MonkeyPatch) -> None:
    gateways.setenv("RECURRING_PHONE_TEST_PREFIXES", "+447700900")
    assert complained_of(NotifySettings) == {"RECURRING_PHONE_TEST_PREFIXES"}


def test_production_sends_webhooks_to_the_internet_alone(gateways: pytest.MonkeyPatch) -> None:
    gateways.setenv("RECURRING_WEBHOOK_TEST_HOSTS", "10.0.0.7 sandbox")
    assert complained_of(NotifySettings) == {"RECURRING_WEBHOOK_TEST_HOSTS"}


def test_a_merchant_can_have_countries_of_its_own(gateways: pytest.MonkeyPatch) -> None:
    gateways.setenv("RECURRING_PHONE_COUNTRIES", "DE AT")
    gateways.setenv("RECURRING_MERCHANT_PHONE_COUNTRIES", "shop=GB, acme=US CA")
    numbers = load(NotifySettings).numbers()
    assert [sorted(numbers.of(m).countries) for m in ("acme", "shop", "other")] == [
        ["CA", "US"],
        ["GB"],
        ["AT", "DE"],
    ]


@pytest.mark.parametrize("countries", ["de", "DEU", "acme=", "=DE", "acme=DE,", "acme"])
def test_countries_that_cannot_be_read_are_refused(
    gateways: pytest.MonkeyPatch, countries: str
) -> None:
    gateways.setenv("RECURRING_MERCHANT_PHONE_COUNTRIES", countries)
    assert complained_of(NotifySettings) == {"RECURRING_MERCHANT_PHONE_COUNTRIES"}
