"""Settings come from the environment and from files; a process with a bad one does not start.

Source: the environment and mounted secrets as Kubernetes gives them, read by pydantic-settings.
"""

import os
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    DirectoryPath,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.runtime import crash_points
from services.runtime.auth import tls
from services.runtime.auth.key_sets import DEVELOPMENT_KEY_PREFIX
from services.runtime.crypto.encryption import Keyring
from services.runtime.errors import SettingsError
from services.runtime.resource_names import ID_PATTERN

ENVIRONMENT_PREFIX = "RECURRING_"
# A folder whose files are settings, too, each named as its variable in lower case.
SECRETS_FOLDER_VARIABLE = f"{ENVIRONMENT_PREFIX}SECRETS_FOLDER"
_ALGORITHMS = r"^(EdDSA|ES256|RS256)( (EdDSA|ES256|RS256))*$"
# Ids of merchants, as contracts have them: one durable each, and no more than a broker bears.
PLATFORM_MERCHANTS_MAX = 1000
_MERCHANTS = rf"^({ID_PATTERN.pattern}( {ID_PATTERN.pattern})*)?$"
# Less than this takes any server's word for being the database.
_DATABASE_VERIFIED = re.compile(r"[?&]ssl=verify-full(&|$)")
_DATABASE_DANGER = "a connection without ssl=verify-full"
_AUTHORITY_DANGER = ("TLS_FOLDER", "an authority for development")
_HERE = ("localhost", "127.0.0.1", "::1")


def _few_enough(merchants: str) -> str:
    """A pattern that counted them would take tens of megabytes in every process."""
    if len(merchants.split()) > PLATFORM_MERCHANTS_MAX:
        raise ValueError(f"more than {PLATFORM_MERCHANTS_MAX} merchants")
    return merchants


PlatformMerchants = Annotated[str, Field(pattern=_MERCHANTS), AfterValidator(_few_enough)]


class Environment(StrEnum):
    """Where a process runs: production refuses whatever is for development only."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"


class RuntimeSettings(BaseSettings):
    """What every service needs to know. Each name is read as RECURRING_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True)

    environment: Environment
    database_url: str = Field(pattern=r"^postgresql\+asyncpg://")
    # Of a role that may change the schema; the service itself gets on without it.
    migration_database_url: str = Field(default="", pattern=r"^(postgresql\+asyncpg://.+)?$")
    # What encrypts personal data in the database: `id:key` by commas, the first for what is new.
    data_keys: SecretStr
    # Of which calls take none from what is due, nor the other way round.
    database_call_connections: int = Field(default=6, ge=1, le=100)
    database_worker_connections: int = Field(default=8, ge=1, le=100)
    nats_url: str = Field(pattern=r"^(nats|tls)://")
    # Of the user who may make streams; the service itself gets on without it.
    migration_nats_url: str = Field(default="", pattern=r"^((nats|tls)://.+)?$")
    # Servers that keep each event of a stream; no more than there are.
    nats_stream_replicas: int = Field(default=1, ge=1, le=5)
    # Whether each event is told once more by merchant, for platforms to hear.
    merchant_events: bool = False
    # The merchants whose platforms hear it, separated by spaces: each gets its durable.
    platform_merchants: PlatformMerchants = ""
    # Where platforms call, with a bearer token.
    grpc_address: str = Field(pattern=r"^.+:\d+$")
    # No TLS there: only for development, where the address is one of this machine.
    grpc_plaintext: bool = False
    # Only a proxy can connect there, and it adds to x-forwarded-for whom it is connected with.
    behind_proxy: bool = False
    # Where the other services call, with a certificate.
    peer_address: str = Field(pattern=r"^.+:\d+$")
    # Where probes ask for health, in plain text: "" is readiness, "liveness" is liveness.
    health_address: str = Field(pattern=r"^.+:\d+$")
    # tls.crt, tls.key and ca.crt: this service's own certificate, and the authority to trust.
    tls_folder: DirectoryPath
    metrics_address: str = Field(pattern=r"^.+:\d+$")
    # Base address of the sandbox, whose clock all services share; empty: the system's clock.
    clock_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    # The keys that callers' tokens are signed with: one of these two.
    auth_jwks_file: FilePath | None = None
    auth_jwks_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    # Of EdDSA, ES256 and RS256, those that are taken, separated by spaces.
    auth_algorithms: str = Field(default="EdDSA", pattern=_ALGORITHMS)
    auth_issuer: str = Field(min_length=1)
    auth_audience: str = Field(min_length=1)
    # What one caller may ask of one process.
    caller_calls_per_second: float = Field(default=100, gt=0, le=100_000)
    caller_burst_calls: int = Field(default=200, ge=1, le=100_000)
    caller_calls_at_once: int = Field(default=100, ge=1, le=1000)
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")
    reflection_enabled: bool = False
    migrate_on_start: bool = False
    # How long calls are still taken after SIGTERM, while readiness says already to call others.
    stop_delay_seconds: float = Field(default=0, ge=0, le=60)
    drain_seconds: float = Field(default=10, ge=0, le=300)
    # Replicas that Restart for the same changed files do so within this time.
    restart_jitter_seconds: float = Field(default=0, ge=0, le=600)
    outbox_retention_days: int = Field(default=30, ge=1, le=3650)
    # Where a fault suite ends this process.
    crash_point: str = Field(default="", pattern=crash_points.PATTERN)

    @field_validator("data_keys")
    @classmethod
    def _are_keys(cls, data_keys: SecretStr) -> SecretStr:
        Keyring.parse(data_keys.get_secret_value())
        return data_keys

    def invalid_settings(self) -> Iterator[tuple[str, str]]:
        """Each setting that makes no sense beside the others, and why."""
        if (self.auth_jwks_file is None) == (not self.auth_jwks_url):
            yield "AUTH_JWKS_FILE", "set either this or RECURRING_AUTH_JWKS_URL"
        if self.migrate_on_start and not self.migration_database_url:
            yield "MIGRATION_DATABASE_URL", "is needed by RECURRING_MIGRATE_ON_START"
        if self.environment is Environment.PRODUCTION:
            for name, why in self.production_violations():
                yield name, f"{why} is refused in production"

    def production_violations(self) -> Iterator[tuple[str, str]]:
        """Each setting that is for development only, and what it is."""
        jwks_file = self.auth_jwks_file
        found = {
            ("CLOCK_URL", "a simulated clock"): self.clock_url,
            ("CRASH_POINT", "a process that ends itself"): self.crash_point,
            ("GRPC_PLAINTEXT", "a server without TLS"): self.grpc_plaintext,
            ("REFLECTION_ENABLED", "reflection"): self.reflection_enabled,
            ("MIGRATE_ON_START", "a service that may change its schema"): self.migrate_on_start,
            ("MIGRATION_NATS_URL", "a service that may make streams"): self.migration_nats_url,
            ("DATABASE_URL", _DATABASE_DANGER): not _DATABASE_VERIFIED.search(self.database_url),
            ("NATS_URL", "a connection without tls://"): not self.nats_url.startswith("tls://"),
            ("AUTH_ISSUER", "an issuer for development"): is_for_development(self.auth_issuer),
            ("DATA_KEYS", "a key for development"): (
                DEVELOPMENT_KEY_PREFIX in self.data_keys.get_secret_value()
            ),
            ("AUTH_JWKS_URL", "a key set of this machine or without TLS"): (
                self.auth_jwks_url and is_for_development(self.auth_jwks_url)
            ),
            ("AUTH_JWKS_FILE", "a key for development"): (
                jwks_file and DEVELOPMENT_KEY_PREFIX in jwks_file.read_text()
            ),
            _AUTHORITY_DANGER: _has_authority_for_development(self.tls_folder),
        }
        yield from (danger for danger, is_so in found.items() if is_so)


class MigrationSettings(BaseSettings):
    """All that `migrate` needs to know."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True)

    environment: Environment
    migration_database_url: str = Field(pattern=r"^postgresql\+asyncpg://.+$")
    # Empty: the streams are somebody else's affair.
    migration_nats_url: str = Field(default="", pattern=r"^((nats|tls)://.+)?$")
    nats_stream_replicas: int = Field(default=1, ge=1, le=5)
    # The merchants whose platforms hear events, separated by spaces: each gets its durable.
    platform_merchants: PlatformMerchants = ""
    # Where the authority is that vouches for the broker.
    tls_folder: DirectoryPath | None = None
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")

    def invalid_settings(self) -> Iterator[tuple[str, str]]:
        """What production refuses."""
        if self.environment is not Environment.PRODUCTION:
            return
        if not _DATABASE_VERIFIED.search(self.migration_database_url):
            yield "MIGRATION_DATABASE_URL", f"{_DATABASE_DANGER} is refused in production"
        if self.migration_nats_url.startswith("nats:"):
            yield "MIGRATION_NATS_URL", "a connection without tls:// is refused in production"
        if self.tls_folder and _has_authority_for_development(self.tls_folder):
            name, why = _AUTHORITY_DANGER
            yield name, f"{why} is refused in production"


class HealthSettings(BaseSettings):
    """All that a process needs to know to say that it waits for the rest."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True)

    health_address: str = Field(pattern=r"^.+:\d+$")


S = TypeVar("S", bound=BaseSettings)


def settings_may_change() -> bool:
    """Whether some settings are files, which somebody may mend while the process waits."""
    return bool(os.environ.get(SECRETS_FOLDER_VARIABLE))


def load(settings_type: type[S]) -> S:
    """Read the settings from the environment and the folder of secrets; the environment wins.

    Raises SettingsError with one line for each bad or missing variable. Values are left out of the
    message, since some of them are secrets.
    """
    folder = os.environ.get(SECRETS_FOLDER_VARIABLE)
    if folder and not Path(folder).is_dir():
        raise SettingsError(f"{SECRETS_FOLDER_VARIABLE}: is no folder")
    try:
        settings = settings_type(_secrets_dir=folder or None)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False, include_input=False, include_context=False):
            location = "_".join(str(part) for part in problem["loc"])
            variable = f"{ENVIRONMENT_PREFIX}{location.upper()}" if location else "settings"
            lines.append(f"{variable}: {problem['msg']}")
        raise SettingsError("\n".join(lines)) from None
    invalid: list[tuple[str, str]] = []
    if isinstance(settings, RuntimeSettings | MigrationSettings):
        invalid = list(settings.invalid_settings())
    if invalid:
        raise SettingsError(
            "\n".join(f"{ENVIRONMENT_PREFIX}{name}: {why}" for name, why in invalid)
        )
    return settings


def is_for_development(url: str) -> bool:
    """Whether a URL is of this machine, of a name that nobody owns, or without TLS."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme != "https" or host in _HERE or host.endswith((".localhost", ".test"))


def _has_authority_for_development(tls_folder: Path) -> bool:
    """Whether the process would trust one; what cannot be read, nobody trusts."""
    try:
        return tls.is_for_development((tls_folder / tls.AUTHORITY_FILE).read_bytes())
    except (OSError, ValueError):
        return False
