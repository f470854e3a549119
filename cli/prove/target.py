"""Where the databases of a deployment are, and its sandbox if it has one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cli.connect import by_service, described_stack, value_of


@dataclass(frozen=True, slots=True)
class Target:
    """What a proof reads."""

    # Service -> postgresql://…, as a role that may read the views.
    database_urls: Mapping[str, str]
    # Empty where there is no sandbox.
    sandbox_url: str = ""
    # The key to the provider's books in the sandbox.
    provider_api_key: str = ""
    # Those of its accounts beside the first, by the name of each.
    provider_accounts: Mapping[str, str] = field(default_factory=dict)


def find_target(environment: Mapping[str, str], file: Path | None = None) -> Target:
    """The deployment that a file describes, or the stack on this machine; the environment overrides.

    Raises CommandError if the file cannot be read.
    """
    described = described_stack(environment, file)
    return Target(
        by_service(environment, "DATABASE_URL", described.get("database_urls", {})),
        value_of(environment, described, "RECURRING_SANDBOX_URL", "sandbox_url"),
        value_of(environment, described, "RECURRING_PROVIDER_API_KEY", "provider_api_key"),
        described.get("provider_accounts", {}),
    )
