"""Who makes the call, or does the due work, that is under way."""

import contextvars
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from services.runtime.errors import Problem

# It is kept with each change, and lists are searched by it.
SUBJECT_MAX_CHARACTERS = 300
ANY_TENANT = "*"
# With a call between services: it is made to answer a call, which what is due must not wait for.
FOR_CALL_HEADER = "recurring-for-call"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a call comes from."""

    subject: str
    # The one tenant whose resources the caller sees; ANY_TENANT for the suite's own services.
    tenant: str
    scopes: frozenset[str] = frozenset()
    # A service that asks for the sake of a call that it answers itself, and not for what is due.
    for_call: bool = False

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
    """The caller of the call that is being answered."""
    return _caller.get()


def origin() -> str:
    """Where the call that is being answered comes from, as far as its connection tells."""
    return _origin.get()()


def set_caller(who: Caller, where: Callable[[], str] = str) -> None:
    """Remember who is calling, and whom to ask from where, for this call."""
    _caller.set(who)
    _origin.set(where)


def act_for_all(service: str) -> None:
    """Do what follows in this task, and in those it starts, in the service's own name."""
    set_caller(Caller(service, ANY_TENANT))


def tenant() -> str:
    """Whose rows may be seen: the caller's; without a caller nobody's."""
    who = _caller.get(None)
    return who.tenant if who else ""


def is_due_work() -> bool:
    """Whether this is done for what is due, and not for a call, of another service's either."""
    who = _caller.get(None)
    return who is not None and who.tenant == ANY_TENANT and not who.for_call
