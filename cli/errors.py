"""What went wrong, in words: a reason, a message, and every field that broke a rule."""

import re
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# What commands call a field whose option or argument has another name, in the order of preference; a
# field that means several things is named with the one that it is in.
FIELD_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "accept_time": ("--accepted",),
        "action_page_uri": ("--action-page",),
        "address_lines": ("--address",),
        "amount": ("AMOUNT",),
        "anchor_date": ("--anchor",),
        "as_of_time": ("--at",),
        "blackouts": ("--blackout",),
        "charge_ceiling": ("--ceiling",),
        "charge_not_before_time": ("--charge-at",),
        "code_spend_day_max": ("--code-spend",),
        "complaint_address": ("--complaints",),
        "conditions": ("--condition",),
        "cycle_count": ("--cycles",),
        "daily_message_max": ("--day-max",),
        "daily": ("--every",),
        "date": ("--on", "DAY"),
        "delivery_id": ("--id",),
        "delta_units": ("--by",),
        "discount_until_time": ("--cycles-before",),
        "display_name": ("--name", "--seller"),
        "due_before_time": ("--due-before",),
        "due_from_time": ("--due-from",),
        "effective_time": ("--from",),
        "email_page_uri": ("--email-page",),
        "end_before_time": ("--ending-before",),
        "end_date": ("--to", "--until"),
        "end_time": ("--until",),
        "event_id": ("--event",),
        "event_types": ("--type",),
        "expected_date": ("--on",),
        "expire_time": ("--expires-at",),
        "failure_code": ("--code",),
        "increase_limit_bps": ("--cap-percent",),
        "items": ("--item", "PRODUCT[=QUANTITY]…"),
        "language_code": ("--language",),
        "lines": ("--line",),
        "local_date": ("--date", "--on"),
        "local_time": ("--at",),
        "locale": ("--language",),
        "lock.cycle_count": ("--lock-cycles",),
        "lock.until_time": ("--lock-until",),
        "make_time": ("--at",),
        "mandate_id": ("ID",),
        "merchant_display_name": ("--name",),
        "monthly": ("--every",),
        "notice_lead": ("--lead",),
        "payment_method_id": ("ID",),
        "payment_window": ("--window",),
        "percent_off_bps": ("--percent-off",),
        "phone": ("PHONE",),
        "phone_proof_days": ("--proof-days",),
        "phone_region_codes": ("--country",),
        "price_id": ("--id",),
        "price_protection_offer_id": ("ID",),
        "price_time": ("--at",),
        "product_id": ("ID",),
        "products": ("--product", "PRODUCT..."),
        "promotion_code": ("--promotion",),
        "promotion_id": ("ID",),
        "provider_token": ("--token",),
        "purchase_time": ("--at",),
        "rate_ppm": ("PERCENT",),
        "received_units": ("--units",),
        "redemption_limit": ("--limit",),
        "refund_id": ("--id",),
        "region_code": ("--region", "--country", "REGION"),
        "schedule.cycle_count": ("--count",),
        "schedule_time_zone": ("--schedule-zone",),
        "standing_order_id": ("--id",),
        "start_date": ("--start", "--from"),
        "start_time": ("--since", "--from"),
        "subscriber_discount_bps": ("--subscriber-discount",),
        "tax_category": ("--category",),
        "tax_rate_id": ("--id",),
        "through_date": ("DAY",),
        "tiers": ("--tier",),
        "time": ("--at",),
        "time_zone": ("--zone",),
        "undelivered_only": ("--undelivered",),
        "unit_price": ("--amount", "AMOUNT"),
        "until_time": ("--until",),
        "valid_until_time": ("--valid-until",),
        "weekly": ("--every",),
        "yearly": ("--every",),
    }
)
# A field in a path, and in a description, in which what is quoted is somebody else's.
_STEP = re.compile(r"(?:^|\.)([^.[]+)")
_FIELD_NAME = re.compile(r"(?<!['\"\w.])[a-z]+(?:_[a-z]+)+(?!['\"\w.(])")


class CommandError(Exception):
    """An expected failure, worded for people; it ends the command with status 1."""


def describe_rpc_error(error: grpc.aio.AioRpcError, options: Collection[str] = ()) -> str:
    """A failed call in words: reason and message, then each field violation, one a line.

    Fields that a command has an option or an argument for are called as those.
    """
    return "\n".join(_lines(error, options))


def name_of_field(path: str, options: Collection[str]) -> str:
    """A field of a request as the option or argument of a command that it is from, and what of that.

    For example `--item[0].quantity`; the path itself if it is from none.
    """
    parent = ""
    for step in _STEP.finditer(path):
        field = step[1]
        named = (*FIELD_OPTIONS.get(f"{parent}.{field}", ()), *FIELD_OPTIONS.get(field, ()))
        for option in (*named, f"--{field.replace('_', '-')}"):
            if option in options:
                return option + path[step.end(1) :]
        parent = field
    return path


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The machine-readable reason of a failed call; empty when it came from the transport."""
    for detail in _details(error):
        if isinstance(detail, error_details_pb2.ErrorInfo):
            return str(detail.reason)
    return ""


def _lines(error: grpc.aio.AioRpcError, options: Collection[str]) -> Iterator[str]:
    reason = reason_of(error) or error.code().name
    message = error.details() or "no message"
    violations = [
        violation
        for detail in _details(error)
        if isinstance(detail, error_details_pb2.BadRequest)
        for violation in detail.field_violations
    ]
    # Where the message only strings the violations together, they are not said twice.
    if violations and all(violation.description in message for violation in violations):
        yield f"{reason}:"
    else:
        yield f"{reason}: {message}"
    for violation in violations:
        own_reason = f" [{violation.reason}]" if violation.reason not in {"", reason} else ""
        field = name_of_field(violation.field, options)
        rule = _FIELD_NAME.sub(lambda it: name_of_field(it[0], options), violation.description)
        yield f"  {field}: {rule}{own_reason}"


def _details(error: grpc.aio.AioRpcError) -> Iterator[object]:
    # The type stubs know synchronous calls only; what is read is the same for both.
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for packed in status.details if status is not None else ():
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest):
            detail = kind()
            if packed.Unpack(detail):
                yield detail
