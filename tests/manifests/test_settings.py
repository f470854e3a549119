"""The manifests give a process all settings that it has, and no others."""

import re
from pathlib import Path

import pytest

from deploy.manifests import parse, render_component
from deploy.pods.keys import Secrets
from sandbox.__main__ import read_settings
from services.catalog.__main__ import CatalogSettings
from services.notify.__main__ import Settings as NotifySettings
from services.payments.__main__ import Settings as PaymentsSettings
from services.runtime.app.settings import MigrationSettings, RuntimeSettings, load
from services.scheduler.__main__ import SchedulerSettings
from tests.conftest import DATA_KEYS
from tests.manifests.cluster import SERVICES, Cluster, Manifest, Pod

SETTINGS: dict[str, type[RuntimeSettings]] = {
    "catalog": CatalogSettings,
    "scheduler": SchedulerSettings,
    "payments": PaymentsSettings,
    "notify": NotifySettings,
}
# Read by libraries, and by what reads the settings.
OTHER_NAMES = {"PGSSLROOTCERT", "OTEL_EXPORTER_OTLP_ENDPOINT", "RECURRING_SECRETS_FOLDER"}
# Left out on purpose, by one overlay or both, and why.
LEFT_OUT = {
    "RECURRING_TAX_SERVICE_URL": "a deployment has a tax service only if its merchants want one",
    "RECURRING_TAX_SERVICE_API_KEY": "as its URL",
    "RECURRING_BANK_DEBIT_URL": "a deployment debits banks only if its merchants want it",
    "RECURRING_BANK_DEBIT_ACCESS_TOKEN": "as its URL",
    "RECURRING_BANK_DEBIT_TURNS_PER_SECOND": "as its URL",
    "RECURRING_BANK_DEBIT_WEBHOOK_SECRETS": "as its URL",
    "RECURRING_STRIPE_ACCOUNT_API_KEYS": "a deployment has more accounts only if its merchants do",
    "RECURRING_STRIPE_ACCOUNT_WEBHOOK_SECRETS": "as their keys",
    "RECURRING_MIGRATION_DATABASE_URL": "the service has no such right; its migrations are told",
    "RECURRING_MIGRATION_NATS_URL": "the service has no such right; its migrations are told",
    "RECURRING_AUTH_JWKS_URL": "the keys come as a file, AUTH_JWKS_FILE",
    "RECURRING_CLOCK_URL": "production has none",
    "RECURRING_CLOCK_STEP_SECONDS": "no deployment steps its own clocks",
    "RECURRING_LEASE_SECONDS": "the defaults differ by service, and are what a cluster needs",
    "RECURRING_CRASH_POINT": "no deployment ends its own processes",
    "RECURRING_PHONE_TEST_PREFIXES": "production has no numbers that nobody has",
    "RECURRING_WEBHOOK_TEST_HOSTS": "production sends webhooks to the public internet alone",
    **dict.fromkeys(
        (
            "RECURRING_SMS_FALLBACK_URL",
            "RECURRING_SMS_FALLBACK_API_KEY",
            "RECURRING_SMS_FALLBACK_SENDER",
            "RECURRING_SMS_FALLBACK_PROVIDER",
            "RECURRING_SMS_FALLBACK_ACCOUNT",
            "RECURRING_SMS_FALLBACK_CALLBACK_SECRETS",
            "RECURRING_SMS_FALLBACK_MESSAGES_PER_SECOND",
        ),
        "a deployment has a second gateway only if its operator has an account there",
    ),
    "RECURRING_SMTP_USER": "the sandbox's mail asks for no login",
    "RECURRING_SMTP_PASSWORD": "the sandbox's mail asks for no login",
}
# What a secret's template puts in place of a name.
TEMPLATE = re.compile(r"\{\{ \.\w+ \}\}")
SECRET = "a-password-of-the-store"
# Files whose secret has a form of its own.
STORE = {
    "recurring_data_keys": DATA_KEYS,
    "recurring_stripe_account_api_keys": f"stripe-uk={SECRET}",
    "recurring_stripe_account_webhook_secrets": f"stripe-uk={SECRET} stripe-uk={SECRET}",
}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_every_setting_and_no_other(
    cluster: Cluster, service: str, dev_secrets: Secrets
) -> None:
    pod = cluster.pod(service)
    environment = set(cluster.environment(pod.main))
    environment |= {name.upper() for name in secret_settings(cluster, pod, pod.main, dev_secrets)}
    known = {f"RECURRING_{name.upper()}" for name in SETTINGS[service].model_fields}
    assert environment - OTHER_NAMES <= known
    assert known - environment <= set(LEFT_OUT)
    # What a pod of development loses, its service makes again; in production none has the right.
    may_make = {name for name in environment if name.startswith("RECURRING_MIGRATION_")}
    assert bool(may_make) == (cluster.name == "dev")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_with_its_settings(
    cluster: Cluster,
    service: str,
    dev_secrets: Secrets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pod = cluster.pod(service)
    environment = cluster.environment(pod.main)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    secrets = secret_settings(cluster, pod, pod.main, dev_secrets)
    monkeypatch.setenv("RECURRING_SECRETS_FOLDER", str(written(tmp_path / "secrets", secrets)))
    monkeypatch.setenv("RECURRING_TLS_FOLDER", str(written(tmp_path / "tls", {})))
    keys = written(tmp_path / "platforms", {"jwks.json": '{"keys": []}'}) / "jwks.json"
    monkeypatch.setenv("RECURRING_AUTH_JWKS_FILE", str(keys))
    assert load(SETTINGS[service]).environment.value == (
        "sandbox" if cluster.name == "dev" else "production"
    )


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_start_with_their_settings(
    cluster: Cluster,
    service: str,
    dev_secrets: Secrets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pod = cluster.pod(service)
    (migrate,) = pod.spec["initContainers"]
    environment = cluster.environment(migrate)
    own = ("ENVIRONMENT", "TLS_FOLDER", "NATS_STREAM_REPLICAS", "PLATFORM_MERCHANTS")
    assert set(environment) - OTHER_NAMES == {f"RECURRING_{name}" for name in own}
    assert environment["RECURRING_TLS_FOLDER"] in {where for _, _, where in pod.mounted(migrate)}
    monkeypatch.setenv("RECURRING_ENVIRONMENT", environment["RECURRING_ENVIRONMENT"])
    monkeypatch.setenv("RECURRING_TLS_FOLDER", str(written(tmp_path / "tls", {})))
    secrets = secret_settings(cluster, pod, migrate, dev_secrets)
    monkeypatch.setenv("RECURRING_SECRETS_FOLDER", str(written(tmp_path / "secrets", secrets)))
    settings = load(MigrationSettings)
    assert f"recurring_{service}_migrator:" in settings.migration_database_url
    assert "://streams:" in settings.migration_nats_url
    assert settings.environment.value == ("sandbox" if cluster.name == "dev" else "production")


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_reads_from_files_is_mounted_there(cluster: Cluster, service: str) -> None:
    pod = cluster.pod(service)
    environment = cluster.environment(pod.main)
    places = {where: name for _, name, where in pod.mounted(pod.main)}
    assert places[environment["RECURRING_SECRETS_FOLDER"]] == f"{service}-secrets"
    assert places[environment["RECURRING_TLS_FOLDER"]] == f"{service}-tls"
    folder, _, file = environment["RECURRING_AUTH_JWKS_FILE"].rpartition("/")
    assert (places[folder], file) == ("platform-keys", "jwks.json")


def test_the_services_listen_where_their_pods_say(cluster: Cluster) -> None:
    for service in SERVICES:
        pod = cluster.pod(service)
        environment = cluster.environment(pod.main)
        for port, number in pod.ports.items():
            assert environment[f"RECURRING_{port.upper()}_ADDRESS"] == f"[::]:{number}"


def test_payments_of_production_debit_banks_with_the_component_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = payments_settings_with("bank-debits", tmp_path, monkeypatch)
    assert settings.bank_debit_url == "https://api.gocardless.com"
    assert settings.bank_debit_access_token.get_secret_value() == SECRET
    assert settings.bank_debit_webhook_secrets.get_secret_value() == SECRET


def test_payments_of_production_have_several_accounts_with_the_component_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = payments_settings_with("stripe-accounts", tmp_path, monkeypatch)
    assert settings.stripe_accounts == {"stripe": SECRET, "stripe-uk": SECRET}
    assert settings.signing_secrets == {"stripe": [SECRET], "stripe-uk": [SECRET, SECRET]}


def payments_settings_with(
    component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> PaymentsSettings:
    rendered = render_component(component, on="overlays/prod")
    cluster = Cluster("prod", parse(rendered))
    pod = cluster.pod("payments")
    for name, value in cluster.environment(pod.main).items():
        monkeypatch.setenv(name, value)
    secrets = secret_settings(cluster, pod, pod.main, {})
    monkeypatch.setenv("RECURRING_SECRETS_FOLDER", str(written(tmp_path / "secrets", secrets)))
    monkeypatch.setenv("RECURRING_TLS_FOLDER", str(written(tmp_path / "tls", {})))
    keys = written(tmp_path / "platforms", {"jwks.json": '{"keys": []}'}) / "jwks.json"
    monkeypatch.setenv("RECURRING_AUTH_JWKS_FILE", str(keys))
    return load(PaymentsSettings)


def test_the_sandbox_starts_with_its_settings(
    dev: Cluster, dev_secrets: Secrets, tmp_path: Path
) -> None:
    pod = dev.pod("sandbox")
    environment = dev.environment(pod.main)
    folder = written(tmp_path / "secrets", dev_secrets["sandbox-secrets"])
    names = (
        "PROVIDER_API_KEY", "SMS_API_KEY", "SMS_RECEIPT_SECRET", "WEBHOOK_SECRET", "BANK_API_KEY",
        "BANK_WEBHOOK_SECRET",
    )  # fmt: skip
    for name in (f"SANDBOX_{name}_FILE" for name in names):
        environment[name] = environment[name].replace("/etc/sandbox", str(folder))
    settings = read_settings(environment)
    assert (
        settings.provider_api_key == dev_secrets["payments-secrets"]["recurring_provider_api_key"]
    )
    assert settings.webhook_secret == dev_secrets["payments-secrets"]["recurring_webhook_secrets"]
    payments = dev_secrets["payments-secrets"]
    assert settings.bank_api_key == payments["recurring_bank_debit_access_token"]
    assert settings.bank_webhook_secret == payments["recurring_bank_debit_webhook_secrets"]
    notify = dev_secrets["notify-secrets"]
    assert settings.sms_receipt_secret == notify["recurring_sms_callback_secrets"]
    assert settings.sms_api_key == dev_secrets["notify-secrets"]["recurring_sms_api_key"]
    assert {settings.http_address[1], settings.smtp_address[1]} == set(pod.ports.values())


def secret_settings(
    cluster: Cluster, pod: Pod, container: Manifest, dev_secrets: Secrets
) -> dict[str, str]:
    """The files of the folder that holds a container's secret settings."""
    (name,) = [n for _, n, where in pod.mounted(container) if where == "/etc/recurring/secrets"]
    if cluster.name == "dev":
        return dev_secrets[name]
    files = cluster.files("Secret", name)
    return {file: TEMPLATE.sub(STORE.get(file, SECRET), text) for file, text in files.items()}


def written(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder
