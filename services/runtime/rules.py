"""The rules that contracts put on their fields (protovalidate), checked before a call is answered.

They say what a field that is given must look like; what depends on stored facts, on other fields or on
the time is for the services.
"""

from typing import Any

import protovalidate
from google.protobuf.message import Message

from services.runtime.errors import FIELD_INVALID, Violations

# Its compiled rules are kept for each type of message.
_validator = protovalidate.Validator()


def note(violations: Violations, message: Message) -> None:
    """Note every rule that a message breaks.

    A rule whose id is in upper case is a reason of its own; every other is FIELD_INVALID.
    """
    for found in _validator.collect_violations(message):
        broken = found.proto
        reason = broken.rule_id if broken.rule_id.isupper() else FIELD_INVALID
        violations.add(_path(broken.field), broken.message, reason)


def check(message: Message) -> None:
    """Raise INVALID_ARGUMENT with every rule that a request breaks."""
    violations = Violations()
    note(violations, message)
    violations.check()


def _path(field: Any) -> str:  # noqa: ANN401 - a message of another protobuf library
    """The path of a field, for example `standing_order.items[2].quantity`."""
    steps = []
    for element in field.elements if field else ():
        steps.append(f".{element.field_name}")
        if element.subscript:
            steps.append(f"[{element.subscript.value}]")
    return "".join(steps).removeprefix(".")
