"""Webhooks: where a platform gets the merchant's events, and what it was sent."""

from datetime import datetime, timedelta
from typing import Annotated

import typer
from google.protobuf import field_mask_pb2
from google.protobuf.duration_pb2 import Duration
from recurring.notify.v1 import notify_pb2 as pb

from cli.command import command, group
from cli.connect import Session, all_pages, new_request_id
from cli.names import WEBHOOK_ENDPOINT, last_id
from cli.output import Columns
from cli.values import format_timestamp, parse_duration, parse_moment, to_timestamp

webhooks = group("Manage where a platform gets events by HTTPS, and send them again.")

EndpointArgument = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Id or resource name.")]
TypesOption = Annotated[
    list[str] | None,
    typer.Option("--type", help="Only events of this type; give it several times for several."),
]


def describe_attempt(attempt: pb.WebhookDelivery.Attempt) -> str:
    """What came of a request, for example "2026-01-28 07:45Z 503 in 12 ms: try later"."""
    came = str(attempt.status_code or attempt.failure_code)
    milliseconds = attempt.duration.ToMilliseconds()
    text = f"{format_timestamp(attempt.start_time)} {came} in {milliseconds} ms"
    return f"{text}: {attempt.answer}" if attempt.answer else text


def _type(full_name: str) -> str:
    """The type without its package's beginning, as it is given."""
    return full_name.removeprefix("recurring.")


ENDPOINT_COLUMNS: Columns[pb.WebhookEndpoint] = {
    "endpoint": lambda it: last_id(it.name),
    "address": lambda it: it.url,
    "events": lambda it: ", ".join(map(_type, it.event_types)) or "all",
    "disabled": lambda it: (
        pb.WebhookEndpoint.DisableReason.Name(it.disable_reason) if it.disabled else ""
    ),
    "since": lambda it: format_timestamp(it.disable_time),
    "failing since": lambda it: format_timestamp(it.failing_since_time),
    "description": lambda it: it.description,
}
ENDPOINT_DETAIL_COLUMNS: Columns[pb.WebhookEndpoint] = {
    **ENDPOINT_COLUMNS,
    "secret": lambda it: it.secret,
    "secret before until": lambda it: format_timestamp(it.previous_secret_expire_time),
    "created": lambda it: format_timestamp(it.create_time),
}
DELIVERY_COLUMNS: Columns[pb.WebhookDelivery] = {
    "event": lambda it: last_id(it.name),
    "type": lambda it: _type(it.event_type),
    "happened": lambda it: format_timestamp(it.occur_time),
    "queued": lambda it: format_timestamp(it.create_time),
    "state": lambda it: pb.WebhookDelivery.State.Name(it.state),
    "why": lambda it: it.failure_code,
    "attempts": lambda it: str(it.attempt_count or ""),
    "delivered": lambda it: format_timestamp(it.deliver_time),
    "next": lambda it: format_timestamp(it.next_attempt_time),
    "log": lambda it: "\n".join(map(describe_attempt, it.attempts)),
}


@command(webhooks, "create")
async def create_endpoint(
    session: Session,
    endpoint: EndpointArgument,
    url: Annotated[str, typer.Argument(metavar="URL", help="An HTTPS address.")],
    types: TypesOption = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
) -> None:
    """Register an endpoint, and show the secret that requests are signed with: keep it."""
    request = pb.CreateWebhookEndpointRequest(
        parent=session.parent,
        webhook_endpoint_id=endpoint,
        webhook_endpoint=pb.WebhookEndpoint(
            url=url, event_types=_full_types(types), description=description
        ),
        request_id=new_request_id(),
    )
    made = await session.notify.CreateWebhookEndpoint(request)
    session.output.one(made, ENDPOINT_DETAIL_COLUMNS)


@command(webhooks, "set")
async def set_endpoint(
    session: Session,
    endpoint: EndpointArgument,
    url: Annotated[str | None, typer.Option(help="An HTTPS address.")] = None,
    types: TypesOption = None,
    all_types: Annotated[bool, typer.Option("--all-types", help="Events of every type.")] = False,
    description: Annotated[str | None, typer.Option(help="For people; empty removes it.")] = None,
    disabled: Annotated[
        bool | None,
        typer.Option("--disable/--enable", help="Whether nothing is sent to it."),
    ] = None,
) -> None:
    """Change an endpoint, disable it, or enable it again."""
    given = {
        "url": url,
        "event_types": types or ([] if all_types else None),
        "description": description,
        "disabled": disabled,
    }
    request = pb.UpdateWebhookEndpointRequest(
        webhook_endpoint=pb.WebhookEndpoint(
            name=session.name(WEBHOOK_ENDPOINT, endpoint),
            url=url or "",
            event_types=_full_types(types),
            description=description or "",
            disabled=bool(disabled),
        ),
        update_mask=field_mask_pb2.FieldMask(
            paths=[path for path, value in given.items() if value is not None]
        ),
        request_id=new_request_id(),
    )
    changed = await session.notify.UpdateWebhookEndpoint(request)
    session.output.one(changed, ENDPOINT_DETAIL_COLUMNS)


@command(webhooks, "get")
async def get_endpoint(session: Session, endpoint: EndpointArgument) -> None:
    """Show an endpoint."""
    request = pb.GetWebhookEndpointRequest(name=session.name(WEBHOOK_ENDPOINT, endpoint))
    session.output.one(await session.notify.GetWebhookEndpoint(request), ENDPOINT_DETAIL_COLUMNS)


@command(webhooks, "list")
async def list_endpoints(session: Session) -> None:
    """List the endpoints."""
    request = pb.ListWebhookEndpointsRequest(parent=session.parent)
    listed = await all_pages(session.notify.ListWebhookEndpoints, request, "webhook_endpoints")
    session.output.many(listed, ENDPOINT_COLUMNS, "no webhook endpoints")


@command(webhooks, "delete")
async def delete_endpoint(session: Session, endpoint: EndpointArgument) -> None:
    """Delete an endpoint with its secrets."""
    request = pb.DeleteWebhookEndpointRequest(
        name=session.name(WEBHOOK_ENDPOINT, endpoint), request_id=new_request_id()
    )
    await session.notify.DeleteWebhookEndpoint(request)


@command(webhooks, "rotate-secret")
async def rotate_secret(
    session: Session,
    endpoint: EndpointArgument,
    keep: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration,
            metavar="TIME",
            help="How long requests are signed with the secret before as well. Default: 1d.",
        ),
    ] = None,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="The secret before is void: it became known.")
    ] = False,
) -> None:
    """Give an endpoint a new secret, and show it: keep it."""
    request = pb.RotateWebhookSecretRequest(
        name=session.name(WEBHOOK_ENDPOINT, endpoint), request_id=new_request_id()
    )
    if keep is not None or at_once:
        length = Duration()
        length.FromTimedelta(timedelta() if at_once or keep is None else keep)
        request.previous_secret_ttl.CopyFrom(length)
    rotated = await session.notify.RotateWebhookSecret(request)
    session.output.one(rotated, ENDPOINT_DETAIL_COLUMNS)


@command(webhooks, "test")
async def test_endpoint(session: Session, endpoint: EndpointArgument) -> None:
    """Send a ping to an endpoint; `webhooks deliveries` shows what came of it."""
    request = pb.TestWebhookEndpointRequest(
        name=session.name(WEBHOOK_ENDPOINT, endpoint), request_id=new_request_id()
    )
    session.output.one(await session.notify.TestWebhookEndpoint(request), DELIVERY_COLUMNS)


@command(webhooks, "deliveries")
async def list_deliveries(
    session: Session,
    endpoint: EndpointArgument,
    state: Annotated[
        str, typer.Option(help="Only those PENDING, DELIVERED, FAILED or CANCELLED.")
    ] = "",
) -> None:
    """List what an endpoint was sent, the newest first, with what it answered."""
    states = pb.WebhookDelivery.State
    if state and state.upper() not in states.keys()[1:]:
        raise typer.BadParameter(f"{state!r} is no state of a delivery")
    request = pb.ListWebhookDeliveriesRequest(
        parent=session.name(WEBHOOK_ENDPOINT, endpoint),
        state=states.Value(state.upper()) if state else states.STATE_UNSPECIFIED,
    )
    listed = await all_pages(session.notify.ListWebhookDeliveries, request, "webhook_deliveries")
    session.output.many(listed, DELIVERY_COLUMNS, "no deliveries")


@command(webhooks, "replay")
async def replay(
    session: Session,
    endpoint: EndpointArgument,
    event: Annotated[str, typer.Option(help="The id of one event.")] = "",
    since: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="Events from this time on."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="And before this. Default: now."),
    ] = None,
    undelivered: Annotated[
        bool, typer.Option("--undelivered", help="Only what the endpoint has not taken.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and send nothing.")] = False,
) -> None:
    """Send an event again, or those of a time."""
    request = pb.ReplayWebhookDeliveriesRequest(
        parent=session.name(WEBHOOK_ENDPOINT, endpoint),
        event_id=event,
        start_time=to_timestamp(since) if since else None,
        end_time=to_timestamp(until) if until else None,
        undelivered_only=undelivered,
        dry_run=dry_run,
        request_id=new_request_id(),
    )
    answer = await session.notify.ReplayWebhookDeliveries(request)
    would = "events that would be sent again" if dry_run else "events sent again"
    session.output.one(answer, {would: lambda it: str(it.replay_count)})


def _full_types(types: list[str] | None) -> list[str]:
    """Types may be given without `recurring.` before them."""
    return [name if name.startswith("recurring.") else f"recurring.{name}" for name in types or ()]
