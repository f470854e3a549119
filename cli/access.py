"""Tokens for development, and what callers changed."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from recurring.audit.v1 import audit_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.command import command
from cli.connect import SERVICES, Session, pages
from cli.errors import CommandError
from cli.values import format_timestamp

TOKEN_VALIDITY_DAYS = 1
TOKEN_VALIDITY_MAX_DAYS = 365
_CONTRACTS: dict[str, Any] = {
    "catalog": catalog_pb2,
    "scheduler": scheduler_pb2,
    "payments": payments_pb2,
    "notify": notify_pb2,
}


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""

    @command(app, "token")
    async def token(
        session: Session,
        scope: Annotated[
            list[str] | None,
            typer.Option(
                metavar="SCOPE",
                help="Allow this scope, for example products:read. Repeatable. Default: platform.",
            ),
        ] = None,
        customer: Annotated[
            str,
            typer.Option(
                metavar="CUSTOMER",
                help="Allow this one customer what customers may do by themselves, and nothing else.",
            ),
        ] = "",
        subject: Annotated[
            str, typer.Option(help="The caller's name in audit logs.")
        ] = "developer",
        days: Annotated[
            int, typer.Option(min=1, max=TOKEN_VALIDITY_MAX_DAYS, help="Days until it expires.")
        ] = TOKEN_VALIDITY_DAYS,
    ) -> None:
        """Create a bearer token for the merchant or a customer, signed by the stack on this machine."""
        if customer and scope:
            raise CommandError("a customer's token has the scope of customers alone: drop --scope")
        folder = session.stack.keys_folder
        if not folder or not (Path(folder) / "signing.pem").exists():
            raise CommandError(
                "tokens for development are signed by a stack on this machine, and there is none: "
                "run `make up`, or ask your issuer for a token"
            )
        # Where there is no such stack, its code need not be there either.
        from deploy.embedded.keys import Keys  # noqa: PLC0415

        made = Keys(Path(folder)).token(
            subject,
            session.merchant,
            " ".join(scope or ["customer" if customer else "platform"]),
            timedelta(days=days),
            customer,
        )
        session.output.data(made) if session.output.as_json else typer.echo(made)

    @command(app, "audit-log")
    async def audit_log(
        session: Session,
        service: Annotated[str, typer.Argument(metavar="SERVICE", help="|".join(SERVICES))],
        resource: Annotated[
            str, typer.Option(metavar="NAME", help="Only changes of this resource.")
        ] = "",
        subject: Annotated[str, typer.Option(help="Only changes by this caller.")] = "",
        limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
    ) -> None:
        """List the changes that callers made in a service: when, who, and which resource."""
        if service not in _CONTRACTS:
            raise CommandError(f"{service!r} is no service; they are {', '.join(SERVICES)}")
        request = audit_pb2.ListAuditEntriesRequest(
            parent=session.parent, resource=resource, subject=subject
        )
        method = getattr(getattr(session, service), "ListAuditEntries")  # noqa: B009 - any stub
        entries = []
        async for entry in pages(method, request, "audit_entries"):
            entries.append(entry)
            if len(entries) == limit:
                break
        if session.output.as_json:
            session.output.data([MessageToDict(entry) for entry in entries])
            return
        session.output.rows(
            ["time", "who", "from", "what", "resource"],
            [
                [format_timestamp(e.create_time), e.subject, e.origin, e.method, e.resource]
                for e in entries
            ],
            "nothing was changed",
        )
