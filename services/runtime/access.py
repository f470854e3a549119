"""Who calls, and what they may call: a table of methods, and deny by default.

Sources: bearer tokens (RFC 6750), JSON Web Tokens (RFC 7519) and key sets (RFC 7517).
"""

import contextvars
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import jwt

from services.runtime.errors import Problem

ALGORITHMS = ("EdDSA",)
CLOCK_SKEW_SECONDS = 30
VERIFIED_TOKENS_MAX = 1000
TOKEN_MAX_BYTES = 8192
ANY_TENANT = "*"

SCOPE_PLATFORM = "platform"
SCOPE_SUITE = "suite"
# For what platforms read and services ask as well.
SCOPE_EITHER = f"{SCOPE_PLATFORM} {SCOPE_SUITE}"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a call comes from."""

    subject: str
    # The one tenant whose resources the caller sees; ANY_TENANT for the suite's own services.
    tenant: str
    scopes: frozenset[str]

    def check(self, tenant: str) -> None:
        """Refuse a caller of another tenant, whether or not the resource exists."""
        if self.tenant not in {tenant, ANY_TENANT}:
            raise Problem(
                grpc.StatusCode.PERMISSION_DENIED,
                "MERCHANT_FORBIDDEN",
                "the token does not belong to this merchant",
            )


_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller")


def caller() -> Caller:
    """The caller of the call that is being answered."""
    return _caller.get()


def set_caller(who: Caller) -> None:
    """Remember who is calling, for this call."""
    _caller.set(who)


class Gate:
    """Verifies tokens and holds the table: method -> the scopes of which a token needs one."""

    def __init__(
        self, jwks_file: Path, issuer: str, audience: str, scopes: Mapping[str, str]
    ) -> None:
        keys = json.loads(jwks_file.read_text())["keys"]
        self._keys = {key["kid"]: jwt.PyJWK(key) for key in keys}
        self._issuer = issuer
        self._audience = audience
        self._scopes = scopes
        # Verifying a signature costs more than the call it protects, so verified tokens are kept
        # until they expire.
        self._verified: OrderedDict[str, tuple[Caller, float]] = OrderedDict()

    def admit(self, method: str, authorization: str | None) -> Caller:
        """The caller, if the token is good and has the scope of the method. Raises Problem."""
        if not authorization or not authorization.startswith("Bearer "):
            raise _unauthenticated("TOKEN_MISSING", "send `authorization: Bearer <JWT>`")
        who = self._verify(authorization.removeprefix("Bearer "))
        if not who.scopes.intersection(self._scopes.get(method, "").split()):
            raise Problem(
                grpc.StatusCode.PERMISSION_DENIED,
                "SCOPE_MISSING",
                f"the token has no scope for {method}",
            )
        return who

    def _verify(self, token: str) -> Caller:
        known = self._verified.get(token)
        if known is not None and known[1] > time.time() - CLOCK_SKEW_SECONDS:
            return known[0]
        if len(token) > TOKEN_MAX_BYTES:
            raise _unauthenticated("TOKEN_INVALID", "the token is too long")
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(
                token,
                key.key,
                algorithms=list(ALGORITHMS),
                issuer=self._issuer,
                audience=self._audience,
                leeway=CLOCK_SKEW_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub", "merchant", "scope"]},
            )
        except (jwt.PyJWTError, KeyError):
            raise _unauthenticated("TOKEN_INVALID", "the token is not valid here") from None
        subject, tenant, scope = (claims[name] for name in ("sub", "merchant", "scope"))
        if not (isinstance(tenant, str) and tenant and isinstance(scope, str)):
            raise _unauthenticated("TOKEN_INVALID", "merchant and scope must be texts")
        who = Caller(subject, tenant, frozenset(scope.split()))
        self._verified[token] = (who, float(claims["exp"]))
        if len(self._verified) > VERIFIED_TOKENS_MAX:
            self._verified.popitem(last=False)
        return who


def _unauthenticated(reason: str, message: str) -> Problem:
    return Problem(grpc.StatusCode.UNAUTHENTICATED, reason, message)
