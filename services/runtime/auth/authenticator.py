"""Who calls, and what they may call: a table of methods, and deny by default.

Sources: bearer tokens (RFC 6750), JSON Web Tokens (RFC 7519) and key sets (RFC 7517).
"""

import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import jwt

from services.runtime.auth.call_context import ANY_TENANT, SUBJECT_MAX_CHARACTERS, Caller
from services.runtime.auth.key_sets import KeySet
from services.runtime.auth.tls import SPIFFE_PREFIX
from services.runtime.errors import Problem
from services.runtime.resource_names import ID_PATTERN

CLOCK_SKEW_SECONDS = 30
VERIFIED_TOKENS_MAX = 1000
TOKEN_MAX_BYTES = 8192

# Opens every method that is open to platforms at all.
SCOPE_PLATFORM = "platform"
_NAME_OF_A_SERVICE = re.compile(re.escape(SPIFFE_PREFIX) + r"([a-z]+)")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call a method: platforms whose token has the scope, and the services named."""

    # Empty: no platform.
    scope: str = ""
    services: tuple[str, ...] = ()


_CLOSED = Access()


class Authenticator:
    """Knows callers by their token or certificate, and holds the table: method -> who may call it."""

    def __init__(
        self,
        keys: KeySet,
        issuer: str,
        audience: str,
        methods: Mapping[str, Access],
        algorithms: Iterable[str] = ("EdDSA",),
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._methods = methods
        self._algorithms = frozenset(algorithms)
        self._version = keys.version
        # Verifying a signature costs more than the call it protects, so verified tokens are kept
        # until they expire.
        self._verified: OrderedDict[str, tuple[Caller, float]] = OrderedDict()

    async def admit_platform(self, method: str, authorization: str) -> Caller:
        """The caller, if the token is good and has the scope of the method. Raises Problem."""
        if not authorization.startswith("Bearer "):
            raise _unauthenticated("TOKEN_MISSING", "send `authorization: Bearer <JWT>`")
        token = authorization.removeprefix("Bearer ")
        who = self._known(token) or await self._verify(token)
        scope = self._methods.get(method, _CLOSED).scope
        if not scope or (scope not in who.scopes and SCOPE_PLATFORM not in who.scopes):
            raise Problem(
                grpc.StatusCode.PERMISSION_DENIED,
                "SCOPE_MISSING",
                f"the token has no scope for {method}",
                metadata={"scope": scope} if scope else {},
            )
        return who

    def admit_service(
        self, method: str, identities: Iterable[bytes], *, for_call: bool = False
    ) -> Caller:
        """The service, if its certificate's name is one of the method's. Raises Problem.

        That the certificate is good has been checked when the connection was made.
        """
        for identity in identities:
            named = _NAME_OF_A_SERVICE.fullmatch(identity.decode(errors="replace"))
            if named and named[1] in self._methods.get(method, _CLOSED).services:
                return Caller(named[1], ANY_TENANT, for_call=for_call)
        raise Problem(
            grpc.StatusCode.PERMISSION_DENIED,
            "SERVICE_FORBIDDEN",
            f"the certificate does not name a service that may call {method}",
        )

    def _known(self, token: str) -> Caller | None:
        """Whose token has been verified already, with keys that are still in use."""
        self._keys.look()
        if self._version != self._keys.version:
            # A key that was withdrawn must not live on in what it had signed.
            self._version = self._keys.version
            self._verified.clear()
        known = self._verified.get(token)
        if known is None or known[1] <= time.time() - CLOCK_SKEW_SECONDS:
            return None
        return known[0]

    async def _verify(self, token: str) -> Caller:
        if len(token) > TOKEN_MAX_BYTES:
            raise _unauthenticated("TOKEN_INVALID", "the token is too long")
        try:
            claims = await self._claims(token)
            who, expire_seconds = _read(claims), float(claims["exp"])
        except (jwt.PyJWTError, LookupError, TypeError, ValueError, OverflowError):
            raise _unauthenticated("TOKEN_INVALID", "the token is not valid here") from None
        self._verified[token] = (who, expire_seconds)
        if len(self._verified) > VERIFIED_TOKENS_MAX:
            self._verified.popitem(last=False)
        return who

    async def _claims(self, token: str) -> dict[str, Any]:
        """What the token says, if all of it holds; raises otherwise."""
        key = await self._keys.find(jwt.get_unverified_header(token)["kid"])
        if key is None or key.algorithm_name not in self._algorithms:
            raise LookupError("no such key")
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            # The key's own and no other: the token has no say in it.
            algorithms=[key.algorithm_name],
            issuer=self._issuer,
            audience=self._audience,
            leeway=CLOCK_SKEW_SECONDS,
            options={"require": ["exp", "iss", "aud", "sub", "merchant", "scope"]},
        )
        return claims


def _read(claims: Mapping[str, Any]) -> Caller:
    """Who calls, by a token that is good. Raises ValueError where a claim is not what it must be."""
    subject, tenant, scope = (claims[name] for name in ("sub", "merchant", "scope"))
    # Not even the issuer may name what the database cannot keep, or every merchant at once.
    if not (isinstance(tenant, str) and ID_PATTERN.fullmatch(tenant)):
        raise ValueError("merchant must be an id")
    if not (subject.isprintable() and 0 < len(subject) <= SUBJECT_MAX_CHARACTERS):
        raise ValueError(f"sub must be 1 to {SUBJECT_MAX_CHARACTERS} printable characters")
    if not isinstance(scope, str):
        raise TypeError("scope must be a text")
    return Caller(subject, tenant, frozenset(scope.split()))


def _unauthenticated(reason: str, message: str) -> Problem:
    return Problem(grpc.StatusCode.UNAUTHENTICATED, reason, message)
