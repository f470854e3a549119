"""The settings of each program, and the description of the whole stack for clients."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.embedded.addresses import SERVICES, Addresses
from deploy.embedded.databases import Databases, Passwords
from deploy.embedded.keys import AUDIENCE, ISSUER, Keys

DEMO_MERCHANT = "demo"
# Who consumes that merchant's events.
DEMO_USER = f"merchant-{DEMO_MERCHANT}"
# Who makes the streams and the durables.
STREAMS_USER = "streams"
SCOPE_PLATFORM = "platform"
# A second account at the sandbox's provider, of those stacks that have one.
SECOND_ACCOUNT = "stripe-second"
WEBHOOK_PATH = "/webhooks/stripe"
BANK_WEBHOOK_PATH = "/webhooks/bank-debit"
WEBHOOK_SECRET_PREFIX = "whsec_development"  # noqa: S105 - the prefix alone
# Whom a service calls; its settings have their targets.
CALLS = {
    "scheduler": ("catalog", "payments", "notify"),
    "catalog": ("payments",),
    "payments": ("catalog",),
    "notify": ("payments", "scheduler"),
}


def role(service: str) -> str:
    """Return the name of a service's database and of its own role there."""
    return f"recurring_{service}"


def passwords(service: str, keys: Keys) -> Passwords:
    """Return the passwords of the roles of a service's database."""
    name = role(service)
    return Passwords(
        app=keys.password(name),
        migrator=keys.password(f"{name}_migrator"),
        readonly=keys.password(f"{name}_readonly"),
        auditor=keys.password(f"{name}_auditor"),
    )


def database_url(service: str, addresses: Addresses, keys: Keys, suffix: str = "") -> str:
    """Return where a role (the service's own, or one with a suffix) finds its database."""
    name = role(service)
    login = name + suffix
    return Databases(addresses.postgres_url).address(login, keys.password(login), name)


def nats_passwords(keys: Keys) -> dict[str, str]:
    """Return the password of each user of the broker."""
    users = (*SERVICES, STREAMS_USER, DEMO_USER, "developer")
    return {user: keys.password(f"nats_{user}") for user in users}


def nats_url(user: str, addresses: Addresses, keys: Keys) -> str:
    """Return where a user finds the broker; one that runs elsewhere is taken as it was named."""
    if "nats" in addresses.replaced:
        return addresses.nats_url
    return f"nats://{user}:{nats_passwords(keys)[user]}@{addresses.local('nats')}"


def webhook_secret(keys: Keys, name: str = "webhook") -> str:
    """Return what the sandbox's provider signs its webhooks with; production refuses such a one."""
    return f"{WEBHOOK_SECRET_PREFIX}{keys.password(name)}"


def demo_token_file(keys: Keys) -> Path:
    """Return the file with the token of a platform that acts for the merchant `demo`."""
    return keys.token_file("demo-platform", merchant=DEMO_MERCHANT, scope=SCOPE_PLATFORM)


def sandbox_environment(home: Path, addresses: Addresses, keys: Keys) -> dict[str, str]:
    """Return the settings of the sandbox."""
    return {
        "SANDBOX_HTTP_ADDRESS": addresses.local("sandbox"),
        "SANDBOX_SMTP_ADDRESS": addresses.local("sandbox_smtp"),
        "SANDBOX_RECORD_FILE": str(home / "sandbox" / "record.sqlite"),
        "SANDBOX_PROVIDER_API_KEY": keys.password("provider"),
        "SANDBOX_SMS_API_KEY": keys.password("sms"),
        "SANDBOX_SMS_RECEIPT_SECRET": webhook_secret(keys),
        "SANDBOX_SMS_REPLY_URL": f"http://{addresses.local('notify_callback')}/callbacks/sms/messages",
        "SANDBOX_WEBHOOK_URL": f"http://{addresses.local('payments_webhook')}{WEBHOOK_PATH}",
        "SANDBOX_WEBHOOK_SECRET": webhook_secret(keys),
        "SANDBOX_BANK_API_KEY": keys.password("provider"),
        "SANDBOX_BANK_WEBHOOK_URL": f"http://{addresses.local('payments_webhook')}{BANK_WEBHOOK_PATH}",
        "SANDBOX_BANK_WEBHOOK_SECRET": webhook_secret(keys),
    }


def second_account_environment(part: str, addresses: Addresses, keys: Keys) -> dict[str, str]:
    """Return the further settings of a part where the sandbox's provider has a second account."""
    api_key, secret = keys.password("second_provider"), webhook_secret(keys, "second_webhook")
    if part == "sandbox":
        return {
            "SANDBOX_SECOND_PROVIDER_API_KEY": api_key,
            "SANDBOX_SECOND_WEBHOOK_URL": (
                f"http://{addresses.local('payments_webhook')}/webhooks/{SECOND_ACCOUNT}"
            ),
            "SANDBOX_SECOND_WEBHOOK_SECRET": secret,
        }
    if part == "payments":
        return {
            "RECURRING_STRIPE_ACCOUNT_API_KEYS": f"{SECOND_ACCOUNT}={api_key}",
            "RECURRING_STRIPE_ACCOUNT_WEBHOOK_SECRETS": f"{SECOND_ACCOUNT}={secret}",
        }
    return {}


def service_environment(service: str, addresses: Addresses, keys: Keys) -> dict[str, str]:
    """Return the settings of a service."""
    smtp_host, smtp_port = addresses.smtp
    settings = {
        "ENVIRONMENT": "sandbox",
        "DATABASE_URL": database_url(service, addresses, keys),
        "MIGRATION_DATABASE_URL": database_url(service, addresses, keys, "_migrator"),
        "DATA_KEYS": keys.data_keys(service),
        "NATS_URL": nats_url(service, addresses, keys),
        "MIGRATION_NATS_URL": nats_url(STREAMS_USER, addresses, keys),
        "PLATFORM_MERCHANTS": DEMO_MERCHANT,
        "GRPC_ADDRESS": addresses.local(service),
        "GRPC_PLAINTEXT": "true",
        "PEER_ADDRESS": addresses.local(f"{service}_peer"),
        "HEALTH_ADDRESS": addresses.local(f"{service}_health"),
        "TLS_FOLDER": str(keys.certificate_folder(service)),
        "METRICS_ADDRESS": addresses.local(f"{service}_metrics"),
        "CLOCK_URL": addresses.sandbox_url,
        "AUTH_JWKS_FILE": str(keys.jwks_file),
        "AUTH_ISSUER": ISSUER,
        "AUTH_AUDIENCE": AUDIENCE,
        "REFLECTION_ENABLED": "true",
        # Imports, demonstrations and measurements of one developer are no flood.
        "CALLER_CALLS_PER_SECOND": "20000",
        "CALLER_BURST_CALLS": "20000",
        "CALLER_CALLS_AT_ONCE": "1000",
        "MIGRATE_ON_START": "true",
    }
    for called in CALLS.get(service, ()):
        settings[f"{called.upper()}_TARGET"] = addresses.peer_target(called)
    if service == "catalog":
        settings["TAX_SERVICE_URL"] = f"{addresses.sandbox_url}/tax"
        settings["TAX_SERVICE_API_KEY"] = keys.password("provider")
    if service == "payments":
        settings["PROVIDER_URL"] = addresses.sandbox_url
        settings["PROVIDER_API_KEY"] = keys.password("provider")
        settings["PAYMENT_PAGE_URL"] = f"{addresses.sandbox_url}/pay/{{merchant}}"
        # The sandbox takes what comes.
        settings["PROVIDER_TURNS_PER_SECOND"] = "20000"
        settings["WEBHOOK_ADDRESS"] = addresses.local("payments_webhook")
        settings["WEBHOOK_SECRETS"] = webhook_secret(keys)
        settings["BANK_DEBIT_URL"] = f"{addresses.sandbox_url}/bank"
        settings["BANK_DEBIT_ACCESS_TOKEN"] = keys.password("provider")
        settings["BANK_DEBIT_TURNS_PER_SECOND"] = "20000"
        settings["BANK_DEBIT_WEBHOOK_SECRETS"] = webhook_secret(keys)
    if service == "notify":
        settings["SMS_URL"] = f"{addresses.sandbox_url}/sms"
        settings["SMS_API_KEY"] = keys.password("sms")
        settings["SMS_SENDER"] = SMS_SENDER
        settings["CALLBACK_ADDRESS"] = addresses.local("notify_callback")
        settings["CALLBACK_URL"] = f"http://{addresses.local('notify_callback')}"
        settings["SMS_CALLBACK_SECRETS"] = webhook_secret(keys)
        settings["SMTP_HOST"] = smtp_host
        settings["SMTP_PORT"] = str(smtp_port)
        settings["SMTP_TLS"] = "none"
        settings["PHONE_TEST_PREFIXES"] = TEST_PHONE_PREFIXES
        settings["WEBHOOK_TEST_HOSTS"] = urlsplit(addresses.sandbox_url).hostname or ""
    return {f"RECURRING_{name}": value for name, value in settings.items()}


# Of films (Ofcom: 07700 900000 to 900999), and those whose messages the sandbox's gateway loses.
TEST_PHONE_PREFIXES = "+447700900 +1500555000"
# A number, so that customers can reply. Nobody has it.
SMS_SENDER = "+447700900000"


def description(
    home: Path, addresses: Addresses, keys: Keys, *, second_account: bool = False
) -> dict[str, Any]:
    """Return what clients need to use the stack; holds passwords."""
    smtp_host, smtp_port = addresses.smtp
    accounts = {SECOND_ACCOUNT: keys.password("second_provider")} if second_account else {}
    return {
        "home": str(home),
        "environment": "sandbox",
        "targets": {service: addresses.target(service) for service in SERVICES},
        "metrics": {
            service: f"http://{addresses.local(f'{service}_metrics')}/metrics"
            for service in SERVICES
            if service not in addresses.replaced
        },
        "database_urls": {
            service: database_url(service, addresses, keys, "_auditor") for service in SERVICES
        },
        "nats_url": nats_url("developer", addresses, keys),
        "platform_nats_url": nats_url(DEMO_USER, addresses, keys),
        "sandbox_url": addresses.sandbox_url,
        "provider_api_key": keys.password("provider"),
        "provider_accounts": accounts,
        "smtp": f"{smtp_host}:{smtp_port}",
        "merchant": DEMO_MERCHANT,
        "token_file": str(demo_token_file(keys)),
        "jwks_file": str(keys.jwks_file),
        "log_folder": str(home / "log"),
    }
