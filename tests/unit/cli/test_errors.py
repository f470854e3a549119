"""Errors name what the caller of a command gave, not the fields of a request that it never saw."""

from collections.abc import Collection, Coroutine, Iterator
from functools import cache
from typing import Any

import grpc
import grpc.aio
import pytest
import typer
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.descriptor import Descriptor
from google.rpc import error_details_pb2, status_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2
from typer.testing import CliRunner

from cli import command
from cli.__main__ import app
from cli.errors import FIELD_OPTIONS, describe_rpc_error, name_of_field

CONTRACTS = (catalog_pb2, scheduler_pb2, payments_pb2, notify_pb2)


def error_about(*violations: tuple[str, str]) -> grpc.aio.AioRpcError:
    broken = error_details_pb2.BadRequest()
    for field, description in violations:
        broken.field_violations.add(field=field, description=description)
    details: list[Any] = [error_details_pb2.ErrorInfo(reason="FIELD_INVALID"), broken]
    status = status_pb2.Status(code=3, message="; ".join(rule for _, rule in violations))
    for detail in details:
        packed = Packed()
        packed.Pack(detail)
        status.details.append(packed)
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(
        grpc.StatusCode.INVALID_ARGUMENT, grpc.aio.Metadata(), trailing, details=status.message
    )


@cache
def commands() -> dict[str, set[str]]:
    """Each command, with what its help calls its options and arguments."""

    def walk(command: Any, path: str) -> Iterator[tuple[str, set[str]]]:  # noqa: ANN401 - typer's own
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, f"{path} {name}".strip())
        if not hasattr(command, "commands"):
            yield (
                path,
                {
                    it.opts[0] if it.param_type_name == "option" else it.metavar
                    for it in command.params
                },
            )

    return dict(walk(typer.main.get_command(app), ""))


def field_names(descriptor: Descriptor) -> Iterator[str]:
    for field in descriptor.fields:
        yield field.name
    for nested in descriptor.nested_types:
        yield from field_names(nested)


def test_a_rule_names_the_options_of_its_command_and_leaves_alone_what_is_quoted() -> None:
    error = error_about(
        ("end_time", "must be after start_time"),
        ("failure_code", "'start_time' is none"),
        ("page_size", "must be less than 1000"),
    )
    assert describe_rpc_error(error, ["--since", "--until", "--code"]).splitlines() == [
        "FIELD_INVALID:",
        "  --until: must be after --since",
        "  --code: 'start_time' is none",
        "  page_size: must be less than 1000",
    ]
    # Of a call by its method, whose caller wrote the fields.
    assert "  end_time: must be after start_time" in describe_rpc_error(error)


@pytest.mark.parametrize(
    ("path", "field", "name"),
    [
        ("notices redrive", "start_time", "--since"),
        ("webhooks replay", "event_id", "--event"),
        ("offers create", "price_protection_offer.start_time", "--from"),
        ("promotions create", "promotion.discount_until_time", "--cycles-before"),
        ("promotions create", "promotion.cycle_count", "--cycles"),
        ("standing-orders create", "standing_order.schedule.cycle_count", "--count"),
        ("standing-orders create", "standing_order.schedule.start_date", "--start"),
        ("standing-orders create", "standing_order.schedule.blackouts[2].x", "--blackout[2].x"),
        ("standing-orders create", "standing_order.items[0].product", "--item[0].product"),
        ("standing-orders create", "standing_order.price_protection.lock.cycle_count", "--lock-cycles"),
        ("standing-orders preview-update", "cycle_count", "--cycles"),
        ("standing-orders create", "standing_order.mandate", "--mandate"),
        ("mandates create", "mandate.charge_ceiling.currency_code", "--ceiling.currency_code"),
        ("contacts set", "contact.locale", "--language"),
        ("credit grant", "credit_transaction.amount", "AMOUNT"),
        ("books sales", "end_date", "--to"),
        ("documents settings", "document_settings.time_zone", "--zone"),
        ("call", "start_time", "start_time"),
    ],
)  # fmt: skip
def test_a_field_is_called_as_the_option_that_it_is_from(path: str, field: str, name: str) -> None:
    assert name_of_field(field, commands()[path]) == name


def test_each_name_of_a_field_is_one_that_some_command_and_some_request_has() -> None:
    options = set().union(*(names for names in commands().values()))
    fields = {
        name
        for contract in CONTRACTS
        for message in contract.DESCRIPTOR.message_types_by_name.values()
        for name in field_names(message)
    }
    assert {part for path in FIELD_OPTIONS for part in path.split(".")} <= fields
    assert {option for named in FIELD_OPTIONS.values() for option in named} <= options


@pytest.mark.parametrize(
    "arguments",
    [
        ["webhooks", "replay", "shop", "--event", "1"],
        ["cycles", "change", "tea", "3", "--date", "2026-12-31"],
        ["standing-orders", "update", "tea", "--title", "Tea"],
        ["standing-orders", "cancel", "tea"],
    ],
)
def test_a_command_knows_what_its_help_calls_its_options_and_arguments(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[set[str]] = []

    def take(play: Coroutine[Any, Any, None], options: Collection[str]) -> None:
        play.close()
        known.append(set(options))

    monkeypatch.setattr(command, "run_to_exit", take)
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert known == [commands()[" ".join(arguments[:2])] - {"--help"}]
