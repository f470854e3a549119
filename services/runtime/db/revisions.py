"""The revisions of each service's schema, by the files of its migrations."""

import functools
from collections.abc import Sequence
from pathlib import Path

SERVICES_FOLDER = Path(__file__).resolve().parents[2]


def url_variable(service: str) -> str:
    """How a process that migrates is given the address of a service's database, with its password."""
    return f"RECURRING_{service.upper()}_MIGRATION_DATABASE_URL"


def migrations_folder(service: str) -> Path:
    """Where a service's migrations are."""
    return SERVICES_FOLDER / service / "migrations"


# Readiness asks every second, and code does not change while it runs.
@functools.cache
def known(service: str) -> Sequence[str]:
    """The revisions that the code of a service knows, the oldest first.

    Each is the number with which the name of its migration begins.
    """
    versions = migrations_folder(service) / "versions"
    return tuple(sorted(path.stem.partition("_")[0] for path in versions.glob("[0-9]*.py")))


def head(service: str) -> str:
    """The revision that the code of a service was written for."""
    return known(service)[-1]
