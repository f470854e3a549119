"""What a caller of the bank debit provider is refused, in its words."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.endpoint import RefusedError, Reply

_DOCS = "https://developer.gocardless.com/api-reference#errors"
# The types of errors of which the shared parts of the sandbox speak.
_TYPES = {
    "api_error": "gocardless",
    "idempotency_error": "invalid_state",
    "invalid_request_error": "invalid_api_usage",
}


@dataclass(eq=False)
class ReplacedError(RefusedError):
    """A refusal that names what is to be used instead."""

    links: Mapping[str, str] = field(default_factory=dict)


def refusal_body(refused: RefusedError) -> Mapping[str, object]:
    """Word a refusal in the provider's error envelope."""
    error: dict[str, object] = {"message": refused.message}
    if refused.code is not None:
        error["reason"] = refused.code
    if refused.param is not None:
        error["field"] = refused.param
        error["request_pointer"] = f"/{refused.param.replace('.', '/')}"
    if isinstance(refused, ReplacedError):
        error["links"] = refused.links
    return _envelope(refused.status, _TYPES.get(refused.kind, refused.kind), error)


def _envelope(status: int, kind: str, error: Mapping[str, object]) -> Mapping[str, object]:
    return {
        "error": {
            "message": error["message"],
            "documentation_url": _DOCS,
            "request_id": "sandbox",
            "type": kind,
            "code": status,
            "errors": [error],
        }
    }


def replayed(reply: Reply) -> Reply:
    """What a used Idempotency-Key is answered with: what it created, and nothing is created."""
    [created] = reply.body.values()
    name = created.get("id") if isinstance(created, dict) else None
    if name is None:
        return reply
    error = {
        "message": "A resource has already been created with this idempotency key",
        "reason": "idempotent_creation_conflict",
        "links": {"conflicting_resource_id": name},
    }
    return Reply(409, _envelope(409, "invalid_state", error), replayed=True)


def invalid(message: str, field: str) -> RefusedError:
    """Build the refusal of a field."""
    return RefusedError(422, "validation_failed", None, message, field)


def wrong_state(reason: str, message: str) -> RefusedError:
    """Build the refusal of what cannot be done now."""
    return RefusedError(422, "invalid_state", reason, message)


def replaced(new_mandate: str) -> RefusedError:
    """Build the refusal of what would be made under a mandate that another one has replaced."""
    message, links = "Mandate has been replaced", {"new_mandate": new_mandate}
    return ReplacedError(422, "invalid_state", "mandate_replaced", message, links=links)


def missing() -> RefusedError:
    """Build the refusal of a name that stands for nothing."""
    return RefusedError(404, "invalid_api_usage", "resource_not_found", "Resource not found")


def misused(message: str) -> RefusedError:
    """Build the refusal of a request that is none."""
    return RefusedError(400, "invalid_api_usage", "invalid_document_structure", message)
