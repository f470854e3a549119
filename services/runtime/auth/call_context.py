"""The caller of the current call, or the service that does the current due work."""

import contextvars
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from services.runtime.errors import Problem

# The audit stores it with each change and filters by it.
SUBJECT_MAX_CHARACTERS = 300
ANY_TENANT = "*"
# Marks a call between services that answers another call: it uses the connections for calls.
FOR_CALL_HEADER = "recurring-for-call"
# Names the one tenant for which a service calls: it sees and changes nothing of others, and what it
# changes is that tenant's in the audit and among its request ids.
TENANT_HEADER = "recurring-tenant"


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a method."""

    subject: str
    # The tenant whose resources the caller sees; ANY_TENANT for services.
    tenant: str
    scopes: frozenset[str] = frozenset()
    # A service that calls in order to answer a call, not for due work.
    for_call: bool = False
    # The one customer of the tenant whose rows the caller sees; empty: those of all.
    customer: str = ""

    @property
    def customer_name(self) -> str:
        """The resource name of the customer whose token it is."""
        return f"merchants/{self.tenant}/customers/{self.customer}"

    def check(self, tenant: str) -> None:
        """Refuse a caller of another tenant, whether or not the resource exists."""
        if self.tenant not in {tenant, ANY_TENANT}:
            raise Problem(
                grpc.StatusCode.PERMISSION_DENIED,
                "MERCHANT_FORBIDDEN",
                "the token does not belong to this merchant",
            )


_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller")
_origin: contextvars.ContextVar[Callable[[], str]] = contextvars.ContextVar("origin")


def caller() -> Caller:
    """The caller of the current call."""
    return _caller.get()


def origin() -> str:
    """The address that the current call comes from."""
    return _origin.get()()


def set_caller(caller: Caller, origin: Callable[[], str] = str) -> None:
    """Set the caller, and what gives the address, for the current call."""
    _caller.set(caller)
    _origin.set(origin)


def act_for_all(service: str) -> None:
    """Act as the service itself, for every tenant, in this task and in those that it starts."""
    set_caller(Caller(service, ANY_TENANT))


def tenant() -> str:
    """The tenant whose rows are visible; none without a caller."""
    caller = _caller.get(None)
    return caller.tenant if caller else ""


def customer() -> str:
    """The customer whose rows alone are visible; empty: those of every customer of the tenant."""
    caller = _caller.get(None)
    return caller.customer if caller else ""


def is_due_work() -> bool:
    """Whether this is due work, and not done to answer a call, of another service either."""
    caller = _caller.get(None)
    return caller is not None and caller.tenant == ANY_TENANT and not caller.for_call
