"""PostgreSQL in a pod: creates data and roles at the first start, then becomes the server."""

import os
from dataclasses import fields
from pathlib import Path

from deploy.embedded import wiring
from deploy.embedded.databases import Passwords
from deploy.embedded.postgres import EmbeddedPostgres

FOLDER = Path("/var/lib/postgresql")
PASSWORDS = Path("/etc/postgresql/passwords")
PORT = 5432
# The superuser comes in from inside the pod alone; everybody else shows a password.
ACCESS = """\
host  all  postgres  127.0.0.1/32  scram-sha-256
host  all  postgres  all           reject
host  all  all       all           scram-sha-256
"""


def serve(service: str) -> None:
    """Run the service's database server; does not return. Raises PartError if it does not start."""
    server = EmbeddedPostgres(FOLDER, PORT, FOLDER / "first-start.log")
    # Nobody else can reach it until its roles are there: it listens inside the pod alone.
    server.start()
    held = {field.name: PASSWORDS.joinpath(field.name).read_text() for field in fields(Passwords)}
    server.databases.ensure(wiring.role(service), Passwords(**held))
    server.stop()
    FOLDER.joinpath("data", "pg_hba.conf").write_text(ACCESS)
    command = [*server.process.command, "--listen_addresses=*"]
    os.execv(command[0], command)  # noqa: S606  The command is this module's own.
