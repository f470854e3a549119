"""Settings come from the environment, and a process with a bad one says so and does not start."""

from enum import StrEnum
from typing import TypeVar

from pydantic import Field, FilePath, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ENVIRONMENT_PREFIX = "RECURRING_"


class Environment(StrEnum):
    """Where a process runs: production refuses whatever is for development only."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"


class RuntimeSettings(BaseSettings):
    """What every service needs to know. Each name is read as RECURRING_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True)

    environment: Environment
    database_url: str = Field(pattern=r"^postgresql\+asyncpg://")
    database_pool_size: int = Field(default=8, ge=2, le=100)
    nats_url: str = Field(pattern=r"^(nats|tls)://")
    grpc_address: str = Field(pattern=r"^.+:\d+$")
    metrics_address: str = Field(pattern=r"^.+:\d+$")
    # Base address of the sandbox, whose clock all services share; empty: the system's clock.
    clock_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    auth_jwks_file: FilePath
    auth_issuer: str = Field(min_length=1)
    auth_audience: str = Field(min_length=1)
    service_token_file: FilePath
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")
    reflection_enabled: bool = False
    migrate_on_start: bool = False
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


S = TypeVar("S", bound=RuntimeSettings)


def load(settings_type: type[S]) -> S:
    """Read the settings from the environment.

    Raises SettingsError with one line for each bad or missing variable. Values are left out of the
    message, since some of them are secrets.
    """
    try:
        return settings_type()
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False, include_input=False, include_context=False):
            location = "_".join(str(part) for part in problem["loc"])
            variable = f"{ENVIRONMENT_PREFIX}{location.upper()}" if location else "settings"
            lines.append(f"{variable}: {problem['msg']}")
        raise SettingsError("\n".join(lines)) from None
