"""Authenticates callers, and authorizes their calls by a table of methods; what is not in it is denied.

Sources: bearer tokens (RFC 6750), JSON Web Tokens (RFC 7519) and key sets (RFC 7517).
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import jwt
from google.protobuf.message import Message

from services.runtime.auth import customer_access
from services.runtime.auth.call_context import (
    ANY_TENANT,
    SUBJECT_MAX_CHARACTERS,
    TENANT_HEADER,
    Caller,
)
from services.runtime.auth.customer_access import CustomerAccess
from services.runtime.auth.key_sets import KeySet
from services.runtime.auth.tls import SPIFFE_PREFIX
from services.runtime.errors import Problem
from services.runtime.resource_names import ID_PATTERN

CLOCK_SKEW_SECONDS = 30
VERIFIED_TOKENS_MAX = 1000
TOKEN_MAX_BYTES = 8192

# Allows every method that platforms may call.
SCOPE_PLATFORM = "platform"
# Allows every method that customers may call, and is the one scope of their tokens: a service that does
# not know the claim `customer` yet, and an issuer that has left it out, open nothing by it.
SCOPE_CUSTOMER = "customer"
_SERVICE_IDENTITY = re.compile(re.escape(SPIFFE_PREFIX) + r"([a-z]+)")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call a method: platforms whose token has the scope, the services named, customers."""

    # Empty: no platform.
    scope: str = ""
    services: tuple[str, ...] = ()
    # Which requests customers may make; None: the method is closed to them.
    customer: CustomerAccess | None = None


_DENIED = Access()


class Authenticator:
    """Authenticates callers by token or certificate, and checks that they may call a method."""

    def __init__(
        self,
        keys: KeySet,
        issuer: str,
        audience: str,
        methods: Mapping[str, Access],
        algorithms: Iterable[str] = ("EdDSA",),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._methods = methods
        self._algorithms = frozenset(algorithms)
        self._now = now
        self._version = keys.version
        # Verifying a signature costs more than the call that it protects, so verified tokens are
        # cached.
        self._verified: OrderedDict[str, tuple[Caller, float]] = OrderedDict()

    async def admit_platform(self, method: str, authorization: str) -> Caller:
        """The caller, if the token is valid and has the scope of the method. Raises Problem.

        What a customer may ask of the method, `check_request` decides.
        """
        if not authorization.startswith("Bearer "):
            raise _unauthenticated("TOKEN_MISSING", "send `authorization: Bearer <JWT>`")
        token = authorization.removeprefix("Bearer ")
        caller = self._cached(token) or await self._verify(token)
        access = self._methods.get(method, _DENIED)
        if caller.customer:
            if SCOPE_CUSTOMER not in caller.scopes:
                raise _scope_missing(method, SCOPE_CUSTOMER)
            if access.customer is None:
                raise customer_access.closed()
        elif not access.scope or caller.scopes.isdisjoint({access.scope, SCOPE_PLATFORM}):
            raise _scope_missing(method, access.scope)
        return caller

    def check_request(self, method: str, caller: Caller, request: Message) -> None:
        """Refuse a request that is not the customer's whose token it came with. Raises Problem."""
        customer_access.check_request(caller, self._methods.get(method, _DENIED).customer, request)

    def admit_service(
        self,
        method: str,
        identities: Iterable[bytes],
        *,
        tenant: str = ANY_TENANT,
        for_call: bool = False,
    ) -> Caller:
        """The service, if its certificate names one that may call the method. Raises Problem.

        The connection has verified the certificate. A service may call for all tenants, or confine
        itself to one.
        """
        if tenant != ANY_TENANT and not ID_PATTERN.fullmatch(tenant):
            raise _unauthenticated("TENANT_INVALID", f"{TENANT_HEADER} is not an id")
        for identity in identities:
            named = _SERVICE_IDENTITY.fullmatch(identity.decode(errors="replace"))
            if named and named[1] in self._methods.get(method, _DENIED).services:
                return Caller(named[1], tenant, for_call=for_call)
        raise Problem(
            grpc.StatusCode.PERMISSION_DENIED,
            "SERVICE_FORBIDDEN",
            f"the certificate does not name a service that may call {method}",
        )

    def _cached(self, token: str) -> Caller | None:
        """The caller of a token that was verified earlier, with keys that are still in use."""
        self._keys.refresh()
        if self._version != self._keys.version:
            # Tokens that a withdrawn key has signed are no longer valid.
            self._version = self._keys.version
            self._verified.clear()
        caller, expire_seconds = self._verified.get(token, (None, 0.0))
        return caller if self._is_valid_until(expire_seconds) else None

    async def _verify(self, token: str) -> Caller:
        if len(token) > TOKEN_MAX_BYTES:
            raise _unauthenticated("TOKEN_INVALID", "the token is too long")
        try:
            claims = await self._claims(token)
            caller, expire_seconds = _caller(claims), float(claims["exp"])
        except (jwt.PyJWTError, LookupError, TypeError, ValueError, OverflowError):
            raise _unauthenticated("TOKEN_INVALID", "the token is not valid here") from None
        self._verified[token] = (caller, expire_seconds)
        if len(self._verified) > VERIFIED_TOKENS_MAX:
            self._verified.popitem(last=False)
        return caller

    async def _claims(self, token: str) -> dict[str, Any]:
        """The claims of a valid token; raises for any other."""
        key = await self._keys.find(jwt.get_unverified_header(token)["kid"])
        if key is None or key.algorithm_name not in self._algorithms:
            raise LookupError("no such key")
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            # The key's own algorithm, whatever the token's header says.
            algorithms=[key.algorithm_name],
            issuer=self._issuer,
            audience=self._audience,
            options={
                "require": ["exp", "iss", "aud", "sub", "merchant", "scope"],
                # By our clock below: this one would ask the machine's.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
        now_seconds = self._now().timestamp()
        if not self._is_valid_until(float(claims["exp"])):
            raise jwt.ExpiredSignatureError
        if any(
            float(claims.get(name, 0)) > now_seconds + CLOCK_SKEW_SECONDS for name in ("nbf", "iat")
        ):
            raise jwt.ImmatureSignatureError
        return claims

    def _is_valid_until(self, expire_seconds: float) -> bool:
        return expire_seconds > self._now().timestamp() - CLOCK_SKEW_SECONDS


def _caller(claims: Mapping[str, Any]) -> Caller:
    """The caller that a valid token names. Raises ValueError or TypeError for a malformed claim."""
    subject, tenant, scope = (claims[name] for name in ("sub", "merchant", "scope"))
    # An issuer may not name a merchant that the database cannot store, nor all merchants at once.
    if not (isinstance(tenant, str) and ID_PATTERN.fullmatch(tenant)):
        raise ValueError("merchant must be an id")
    if not (subject.isprintable() and 0 < len(subject) <= SUBJECT_MAX_CHARACTERS):
        raise ValueError(f"sub must be 1 to {SUBJECT_MAX_CHARACTERS} printable characters")
    if not isinstance(scope, str):
        raise TypeError("scope must be a text")
    scopes = frozenset(scope.split())
    if "customer" not in claims:
        return Caller(subject, tenant, scopes)
    customer = claims["customer"]
    # Not even an empty one makes the token the merchant's.
    if not (isinstance(customer, str) and ID_PATTERN.fullmatch(customer)):
        raise ValueError("customer must be an id")
    # Whatever the issuer calls the person, the audit names the customer, and limits count by customer.
    named = Caller("", tenant, customer=customer).customer_name
    return Caller(named, tenant, scopes, customer=customer)


def _scope_missing(method: str, scope: str) -> Problem:
    return Problem(
        grpc.StatusCode.PERMISSION_DENIED,
        "SCOPE_MISSING",
        f"the token has no scope for {method}",
        metadata={"scope": scope} if scope else {},
    )


def _unauthenticated(reason: str, message: str) -> Problem:
    return Problem(grpc.StatusCode.UNAUTHENTICATED, reason, message)
