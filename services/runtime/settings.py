"""Settings come from the environment and from files; a process with a bad one does not start.

Source: the environment and mounted secrets as Kubernetes gives them, read by pydantic-settings.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from pydantic import (
    DirectoryPath,
    Field,
    FilePath,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

ENVIRONMENT_PREFIX = "RECURRING_"
# A folder whose files are settings, too, each named as its variable in lower case.
SECRETS_FOLDER_VARIABLE = f"{ENVIRONMENT_PREFIX}SECRETS_FOLDER"


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
    database_pool_size: int = Field(default=8, ge=2, le=100)
    nats_url: str = Field(pattern=r"^(nats|tls)://")
    # Where platforms call, with a bearer token.
    grpc_address: str = Field(pattern=r"^.+:\d+$")
    # No TLS there: only for development, where the address is one of this machine.
    grpc_plaintext: bool = False
    # Where the other services call, with a certificate.
    peer_address: str = Field(pattern=r"^.+:\d+$")
    # Where probes ask for health, in plain text: "" is readiness, "liveness" is liveness.
    health_address: str = Field(pattern=r"^.+:\d+$")
    # tls.crt, tls.key and ca.crt: this service's own certificate, and the authority to trust.
    tls_folder: DirectoryPath
    metrics_address: str = Field(pattern=r"^.+:\d+$")
    # Base address of the sandbox, whose clock all services share; empty: the system's clock.
    clock_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    auth_jwks_file: FilePath
    auth_issuer: str = Field(min_length=1)
    auth_audience: str = Field(min_length=1)
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")
    reflection_enabled: bool = False
    migrate_on_start: bool = False
    # How long calls are still taken after SIGTERM, while readiness says already to call others.
    stop_delay_seconds: float = Field(default=0, ge=0, le=60)
    drain_seconds: float = Field(default=10, ge=0, le=300)
    outbox_retention_days: int = Field(default=30, ge=1, le=3650)

    @field_validator("clock_url")
    @classmethod
    def _production_is_real(cls, clock_url: str, info: ValidationInfo) -> str:
        if clock_url and info.data.get("environment") is Environment.PRODUCTION:
            msg = "a simulated clock is refused in production"
            raise ValueError(msg)
        return clock_url


class SettingsError(Exception):
    """The environment does not describe a process that can run; the message names every cause."""


class MigrationSettings(BaseSettings):
    """All that `migrate` needs to know."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True)

    migration_database_url: str = Field(pattern=r"^postgresql\+asyncpg://.+$")
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")


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
        return settings_type(_secrets_dir=folder or None)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False, include_input=False, include_context=False):
            location = "_".join(str(part) for part in problem["loc"])
            variable = f"{ENVIRONMENT_PREFIX}{location.upper()}" if location else "settings"
            lines.append(f"{variable}: {problem['msg']}")
        raise SettingsError("\n".join(lines)) from None
