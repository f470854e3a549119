"""Settings come from environment variables and from files; a process does not start with invalid ones.

Files are mounted secrets of Kubernetes; pydantic-settings reads both.
"""

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import parse_qs, urlsplit

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
from services.runtime.db.leases import LEASE_MAX_SECONDS, LEASE_MIN_SECONDS
from services.runtime.errors import SettingsError
from services.runtime.messaging.failed_events import RETRY_SECONDS
from services.runtime.resource_names import ID_PATTERN

ENVIRONMENT_PREFIX = "RECURRING_"
# A folder whose files are settings, too, each named as its variable in lower case.
SECRETS_FOLDER_VARIABLE = f"{ENVIRONMENT_PREFIX}SECRETS_FOLDER"
_ALGORITHMS = r"^(EdDSA|ES256|RS256)( (EdDSA|ES256|RS256))*$"
# Each has a durable consumer; a broker handles no more of them.
PLATFORM_MERCHANTS_MAX = 1000
_MERCHANTS = rf"^({ID_PATTERN.pattern}( {ID_PATTERN.pattern})*)?$"
# Anything less does not verify that the server is the database.
_DATABASE_SSL_MODES = ["verify-full"]
_DATABASE_VIOLATION = "a connection without sslmode=verify-full"
_AUTHORITY_VIOLATION = ("TLS_FOLDER", "an authority for development")
_HERE = ("localhost", "127.0.0.1", "::1")


def _few_enough(merchants: str) -> str:
    """Count the merchants here: a pattern that did would take tens of megabytes in every process."""
    if len(merchants.split()) > PLATFORM_MERCHANTS_MAX:
        raise ValueError(f"more than {PLATFORM_MERCHANTS_MAX} merchants")
    return merchants


PlatformMerchants = Annotated[str, Field(pattern=_MERCHANTS), AfterValidator(_few_enough)]


class Environment(StrEnum):
    """The kind of deployment; production refuses settings for development."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"


Address = Annotated[str, Field(pattern=r"^.+:\d+$")]
OptionalUrl = Annotated[str, Field(pattern=r"^(https?://.+)?$")]


class Settings(BaseSettings):
    """Settings that are read from RECURRING_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True)

    def invalid_settings(self) -> Iterator[tuple[str, str]]:
        """Each setting that contradicts others, and why."""
        yield from ()


def _is_verified(database_url: str) -> bool:
    """Whether the server must prove that it is the database."""
    return parse_qs(urlsplit(database_url).query).get("sslmode") == _DATABASE_SSL_MODES


class HealthSettings(Settings):
    """The setting that a process needs to answer probes while it waits for the others."""

    # The address for probes, in plain text: "" is readiness, "liveness" is liveness.
    health_address: Address


class _StreamSettings(Settings):
    """The settings of a service, and of `migrate`."""

    environment: Environment
    # Of the user who may create streams. Without it, a process waits for them.
    migration_nats_url: str = Field(default="", pattern=r"^((nats|tls)://.+)?$")
    # Servers that store each event of a stream; at most as many as there are.
    nats_stream_replicas: int = Field(default=1, ge=1, le=5)
    # The merchants whose platforms read events, separated by spaces: each has a durable consumer, and
    # its events are published for it.
    platform_merchants: PlatformMerchants = ""
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")


class RuntimeSettings(_StreamSettings, HealthSettings):
    """The settings of every service."""

    database_url: str = Field(pattern=r"^postgresql://")
    # Of a role that may change the schema; only MIGRATE_ON_START needs it.
    migration_database_url: str = Field(default="", pattern=r"^(postgresql://.+)?$")
    # The keys of personal data in the database: `id:key`, separated by commas; the first one encrypts.
    data_keys: SecretStr
    # Calls and due work have separate connections.
    database_call_connections: int = Field(default=6, ge=1, le=100)
    database_worker_connections: int = Field(default=8, ge=1, le=100)
    nats_url: str = Field(pattern=r"^(nats|tls)://")
    # The address for platforms, which call with a bearer token.
    grpc_address: Address
    # No TLS at that address; only for development on one machine.
    grpc_plaintext: bool = False
    # Only a proxy can connect there, which adds the address of its client to x-forwarded-for.
    behind_proxy: bool = False
    # The address for the other services, which call with a certificate.
    peer_address: Address
    # tls.crt, tls.key and ca.crt: the certificate of the service, and the authorities that it trusts.
    tls_folder: DirectoryPath
    metrics_address: Address
    # Base address of the sandbox, whose clock all services share; empty: the system's clock.
    clock_url: OptionalUrl = ""
    # The keys that sign callers' tokens: one of these two.
    auth_jwks_file: FilePath | None = None
    auth_jwks_url: OptionalUrl = ""
    # The accepted ones of EdDSA, ES256 and RS256, separated by spaces.
    auth_algorithms: str = Field(default="EdDSA", pattern=_ALGORITHMS)
    auth_issuer: str = Field(min_length=1)
    auth_audience: str = Field(min_length=1)
    # The limits of one caller at one process.
    caller_calls_per_second: float = Field(default=100, gt=0, le=100_000)
    caller_burst_calls: int = Field(default=200, ge=1, le=100_000)
    caller_calls_at_once: int = Field(default=100, ge=1, le=1000)
    reflection_enabled: bool = False
    migrate_on_start: bool = False
    # How long calls are still answered after SIGTERM, when readiness has ended.
    stop_delay_seconds: float = Field(default=0, ge=0, le=60)
    drain_seconds: float = Field(default=10, ge=0, le=300)
    # Replicas restart at a random moment within this time after their files have changed.
    restart_jitter_seconds: float = Field(default=0, ge=0, le=600)
    # How long buckets of due work are leased; None: as long as the service's work needs.
    lease_seconds: int | None = Field(default=None, ge=LEASE_MIN_SECONDS, le=LEASE_MAX_SECONDS)
    # At most as long as the partitions of the outbox last before their turn comes again.
    outbox_retention_days: int = Field(default=30, ge=1, le=42)
    # How long an event that was not handled waits to be tried again.
    event_retry_seconds: float = Field(default=RETRY_SECONDS, ge=0.1, le=60)
    # Where a fault suite ends this process.
    crash_point: str = Field(default="", pattern=crash_points.PATTERN)
    # How far a fault suite lets the clock of this process's machine step.
    clock_step_seconds: float = 0

    @field_validator("data_keys")
    @classmethod
    def _are_keys(cls, data_keys: SecretStr) -> SecretStr:
        Keyring.parse(data_keys.get_secret_value())
        return data_keys

    def invalid_settings(self) -> Iterator[tuple[str, str]]:
        """Those that contradict each other, and those that production refuses."""
        if (self.auth_jwks_file is None) == (not self.auth_jwks_url):
            yield "AUTH_JWKS_FILE", "set either this or RECURRING_AUTH_JWKS_URL"
        if self.migrate_on_start and not self.migration_database_url:
            yield "MIGRATION_DATABASE_URL", "is needed by RECURRING_MIGRATE_ON_START"
        if self.environment is Environment.PRODUCTION:
            for name, why in self.production_violations():
                yield name, f"{why} is refused in production"

    def production_violations(self) -> Iterator[tuple[str, str]]:
        """Each setting that is only for development, and what it allows."""
        jwks_file = self.auth_jwks_file
        violations = {
            ("CLOCK_URL", "a simulated clock"): self.clock_url,
            ("CRASH_POINT", "a process that ends itself"): self.crash_point,
            ("CLOCK_STEP_SECONDS", "a clock that steps"): self.clock_step_seconds,
            ("GRPC_PLAINTEXT", "a server without TLS"): self.grpc_plaintext,
            ("REFLECTION_ENABLED", "reflection"): self.reflection_enabled,
            ("MIGRATE_ON_START", "a service that may change its schema"): self.migrate_on_start,
            ("MIGRATION_NATS_URL", "a service that may make streams"): self.migration_nats_url,
            ("DATABASE_URL", _DATABASE_VIOLATION): not _is_verified(self.database_url),
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
            _AUTHORITY_VIOLATION: _has_authority_for_development(self.tls_folder),
        }
        yield from (violation for violation, is_violated in violations.items() if is_violated)


class MigrationSettings(_StreamSettings):
    """The settings of `migrate`."""

    migration_database_url: str = Field(pattern=r"^postgresql://.+$")
    # With ca.crt, the authorities of the broker's certificate.
    tls_folder: DirectoryPath | None = None

    def invalid_settings(self) -> Iterator[tuple[str, str]]:
        """Those that production refuses."""
        if self.environment is not Environment.PRODUCTION:
            return
        if not _is_verified(self.migration_database_url):
            yield "MIGRATION_DATABASE_URL", f"{_DATABASE_VIOLATION} is refused in production"
        if self.migration_nats_url.startswith("nats:"):
            yield "MIGRATION_NATS_URL", "a connection without tls:// is refused in production"
        if self.tls_folder and _has_authority_for_development(self.tls_folder):
            name, why = _AUTHORITY_VIOLATION
            yield name, f"{why} is refused in production"


S = TypeVar("S", bound=Settings)


def settings_may_change() -> bool:
    """Whether some settings are files, which can be corrected while the process waits."""
    return bool(os.environ.get(SECRETS_FOLDER_VARIABLE))


def load(settings_type: type[S]) -> S:
    """Read the settings from the environment and the folder of secrets; the environment wins.

    Raises SettingsError with one line for each invalid or missing variable, without its value, which
    may be a secret.
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
    invalid = [f"{ENVIRONMENT_PREFIX}{name}: {why}" for name, why in settings.invalid_settings()]
    if invalid:
        raise SettingsError("\n".join(invalid))
    return settings


def is_for_development(url: str) -> bool:
    """Whether a URL is of this machine, of a reserved name, or without TLS."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme != "https" or host in _HERE or host.endswith((".localhost", ".test"))


def _has_authority_for_development(tls_folder: Path) -> bool:
    """Whether the process would trust one; an unreadable file is not trusted."""
    try:
        return tls.is_for_development((tls_folder / tls.AUTHORITY_FILE).read_bytes())
    except (OSError, ValueError):
        return False
