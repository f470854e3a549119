"""Tokens and certificates: which callers are authenticated, and for which methods."""

import asyncio
import base64
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.runtime.auth import call_context
from services.runtime.auth.authenticator import (
    CLOCK_SKEW_SECONDS,
    TOKEN_MAX_BYTES,
    Access,
    Authenticator,
)
from services.runtime.auth.call_context import ANY_TENANT, Caller
from services.runtime.auth.customer_access import by_name
from services.runtime.auth.key_sets import KeyFile
from services.runtime.errors import Problem

ISSUER, AUDIENCE = "https://issuer.example", "recurring"
METHOD = "/recurring.catalog.v1.CatalogService/GetProduct"
SUITE_METHOD = "/recurring.catalog.v1.CatalogService/BatchQuote"
SHARED_METHOD = "/recurring.catalog.v1.CatalogService/ListProducts"
CUSTOMER_METHOD = "/recurring.payments.v1.PaymentsService/GetCharge"
UNKNOWN_METHOD = "/recurring.catalog.v1.CatalogService/NotInTheTable"
HOUR_SECONDS = 3600

KEY = Ed25519PrivateKey.generate()
OTHER_KEY = Ed25519PrivateKey.generate()
Claims = dict[str, Any]


@pytest.fixture
def authenticator(tmp_path: Path) -> Authenticator:
    file = tmp_path / "jwks.json"
    public = base64.urlsafe_b64encode(KEY.public_key().public_bytes_raw()).rstrip(b"=").decode()
    key = {"kty": "OKP", "crv": "Ed25519", "x": public, "kid": "one", "alg": "EdDSA"}
    file.write_text(json.dumps({"keys": [key]}))
    methods = {
        METHOD: Access("products:read"),
        SUITE_METHOD: Access(services=("scheduler",)),
        SHARED_METHOD: Access("products:read", services=("scheduler", "notify")),
        CUSTOMER_METHOD: Access("payments:read", customer=by_name("name")),
    }
    return Authenticator(KeyFile(file, production=False), ISSUER, AUDIENCE, methods)


def claims(**changes: Any) -> Claims:  # noqa: ANN401 - claims can be anything
    """The claims of a good token, changed; None leaves a claim out."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "shop",
        "merchant": "acme",
        "scope": "platform",
        "exp": int(time.time()) + HOUR_SECONDS,
    }
    null = {"customer": None} if changes.pop("null_customer", False) else {}
    return {name: value for name, value in {**good, **changes}.items() if value is not None} | null


def signed(key: Ed25519PrivateKey = KEY, kid: str | None = "one", **changes: Any) -> str:  # noqa: ANN401
    headers = {"kid": kid} if kid else None
    return jwt.encode(claims(**changes), key, algorithm="EdDSA", headers=headers)


async def refusal(authenticator: Authenticator, authorization: str, method: str = METHOD) -> str:
    with pytest.raises(Problem) as refused:
        await authenticator.admit_platform(method, authorization)
    return refused.value.reason


async def test_a_valid_token_names_the_caller(authenticator: Authenticator) -> None:
    who = await authenticator.admit_platform(METHOD, f"Bearer {signed()}")
    assert who == Caller("shop", "acme", frozenset({"platform"}))


@pytest.mark.parametrize("authorization", ["", "Basic eDp5", "bearer x", "Bearer"])
async def test_without_a_bearer_token_nobody_is_let_in(
    authenticator: Authenticator, authorization: str
) -> None:
    assert await refusal(authenticator, authorization) == "TOKEN_MISSING"


def unsigned() -> str:
    return jwt.encode(claims(), "", algorithm="none", headers={"kid": "one"})


def signed_with_the_public_key() -> str:
    """A secret that everybody knows: the classic confusion of algorithms."""
    public = KEY.public_key().public_bytes_raw()
    return jwt.encode(claims(), public, algorithm="HS256", headers={"kid": "one"})


def signed_with_the_public_pem() -> str:
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    head = _base64url(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "one"}).encode())
    text = f"{head}.{_base64url(json.dumps(claims()).encode())}"
    return f"{text}.{_base64url(signature.sign(text.encode(), pem))}"


def tampered() -> str:
    head, _, signature = signed().split(".")
    return f"{head}.{_base64url(json.dumps(claims(merchant='other')).encode())}.{signature}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


BAD_TOKENS = {
    "expired": signed(exp=int(time.time()) - HOUR_SECONDS),
    "not yet valid": signed(nbf=int(time.time()) + HOUR_SECONDS),
    "foreign issuer": signed(iss="https://elsewhere.example"),
    "wrong audience": signed(aud="somebody-else"),
    "signed by another key": signed(OTHER_KEY),
    "unknown key": signed(kid="two"),
    "no key named": signed(kid=None),
    "algorithm none": unsigned(),
    "HS256 with the public key": signed_with_the_public_key(),
    "HS256 with the public key's PEM": signed_with_the_public_pem(),
    "tampered": tampered(),
    "no token at all": "x",
    "empty": "",
    "too long": signed(padding="x" * TOKEN_MAX_BYTES),
    **{
        f"without {name}": signed(KEY, "one", **{name: None})
        for name in ("iss", "aud", "sub", "exp", "merchant", "scope")
    },
    "merchant no text": signed(merchant=["acme"]),
    "merchant empty": signed(merchant=""),
    "every merchant": signed(merchant=ANY_TENANT),
    "merchant no id": signed(merchant="acme\0"),
    "subject empty": signed(sub=""),
    "subject that cannot be stored": signed(sub="shop\0"),
    "subject too long": signed(sub="x" * (call_context.SUBJECT_MAX_CHARACTERS + 1)),
    "valid beyond all time": signed(exp=10**400),
    "scope no text": signed(scope=["platform"]),
    **{
        f"customer {customer}": signed(scope="customer", customer=customer)
        for customer in ("", "-", "*", "ann/bob", "Ann")
    },
    "customer a number": signed(scope="customer", customer=7),
    "customer a list": signed(scope="customer", customer=["ann"]),
    # An issuer that has no customer to name must not make a token for all of them.
    "customer null": signed(scope="platform", null_customer=True),
}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
async def test_a_bad_token_is_refused(authenticator: Authenticator, token: str) -> None:
    assert await refusal(authenticator, f"Bearer {token}") == "TOKEN_INVALID"


async def test_a_bad_token_stays_bad(authenticator: Authenticator) -> None:
    token = BAD_TOKENS["signed by another key"]
    assert [await refusal(authenticator, f"Bearer {token}") for _ in range(2)] == [
        "TOKEN_INVALID"
    ] * 2


async def test_a_token_is_valid_by_the_clock_that_is_given_not_by_the_machines(
    authenticator: Authenticator,
) -> None:
    now = [datetime.fromtimestamp(time.time() + 10 * HOUR_SECONDS, UTC)]
    authenticator._now = lambda: now[0]
    issued = now[0].timestamp()
    token = f"Bearer {signed(iat=issued, nbf=issued, exp=issued + HOUR_SECONDS)}"
    await authenticator.admit_platform(METHOD, token)
    now[0] += timedelta(seconds=HOUR_SECONDS + CLOCK_SKEW_SECONDS)
    assert await refusal(authenticator, token) == "TOKEN_INVALID"
    assert await refusal(authenticator, f"Bearer {signed(iat=issued + 9999)}") == "TOKEN_INVALID"


async def test_a_token_that_was_good_is_refused_once_it_has_expired(
    authenticator: Authenticator,
) -> None:
    # Within the skew that clocks are allowed, and over it in a second or two.
    token = signed(exp=int(time.time()) - CLOCK_SKEW_SECONDS + 2)
    await authenticator.admit_platform(METHOD, f"Bearer {token}")

    async def until_refused() -> None:
        while True:
            await authenticator.admit_platform(METHOD, f"Bearer {token}")
            await asyncio.sleep(0.02)

    with pytest.raises(Problem) as refused:
        await until_refused()
    assert refused.value.reason == "TOKEN_INVALID"


async def test_tokens_are_distinguished_however_many_there_are(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.auth.authenticator.VERIFIED_TOKENS_MAX", 3)
    tokens = {f"m{number}": signed(merchant=f"m{number}") for number in range(6)}
    for _ in range(2):
        admitted = {
            merchant: (await authenticator.admit_platform(METHOD, f"Bearer {token}")).tenant
            for merchant, token in tokens.items()
        }
        assert admitted == {merchant: merchant for merchant in tokens}


@pytest.mark.parametrize(
    ("scope", "method", "let_in"),
    [
        ("platform", METHOD, True),
        ("products:read", METHOD, True),
        ("contacts:read products:read", METHOD, True),
        ("products:write", METHOD, False),
        ("platform", SUITE_METHOD, False),
        ("", SUITE_METHOD, False),
        ("products:read", SHARED_METHOD, True),
        ("", METHOD, False),
        ("platform products:read", UNKNOWN_METHOD, False),
    ],
)
async def test_a_method_needs_one_of_its_scopes(
    authenticator: Authenticator, scope: str, method: str, *, let_in: bool
) -> None:
    authorization = f"Bearer {signed(scope=scope)}"
    if let_in:
        assert (await authenticator.admit_platform(method, authorization)).subject == "shop"
    else:
        assert await refusal(authenticator, authorization, method) == "SCOPE_MISSING"


async def test_a_customers_token_names_the_customer_whatever_its_subject(
    authenticator: Authenticator,
) -> None:
    token = signed(sub="auth0|7", scope="customer", customer="ann")
    who = await authenticator.admit_platform(CUSTOMER_METHOD, f"Bearer {token}")
    assert (who.subject, who.tenant, who.customer) == (
        "merchants/acme/customers/ann", "acme", "ann",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "method", "reason"),
    [
        ("platform", CUSTOMER_METHOD, "SCOPE_MISSING"),
        ("payments:read", CUSTOMER_METHOD, "SCOPE_MISSING"),
        ("customer", METHOD, "CUSTOMER_FORBIDDEN"),
        ("customer products:read platform", METHOD, "CUSTOMER_FORBIDDEN"),
        ("customer", SUITE_METHOD, "CUSTOMER_FORBIDDEN"),
        ("customer", UNKNOWN_METHOD, "CUSTOMER_FORBIDDEN"),
    ],
)
async def test_a_customers_token_opens_by_its_own_scope_what_is_open_to_customers(
    authenticator: Authenticator, scope: str, method: str, reason: str
) -> None:
    token = signed(scope=scope, customer="ann")
    assert await refusal(authenticator, f"Bearer {token}", method) == reason


async def test_the_scope_of_customers_opens_nothing_without_a_customer(
    authenticator: Authenticator,
) -> None:
    token = signed(scope="customer")
    assert await refusal(authenticator, f"Bearer {token}", CUSTOMER_METHOD) == "SCOPE_MISSING"


@pytest.mark.parametrize(
    ("identity", "method", "let_in"),
    [
        ("spiffe://recurring/scheduler", SUITE_METHOD, True),
        ("spiffe://recurring/notify", SHARED_METHOD, True),
        ("spiffe://recurring/notify", SUITE_METHOD, False),
        ("spiffe://recurring/scheduler", METHOD, False),
        ("spiffe://recurring/scheduler", UNKNOWN_METHOD, False),
        ("spiffe://elsewhere/scheduler", SUITE_METHOD, False),
        ("spiffe://recurring/scheduler/x", SUITE_METHOD, False),
        ("https://recurring/scheduler", SUITE_METHOD, False),
        ("scheduler", SUITE_METHOD, False),
        ("", SUITE_METHOD, False),
    ],
)
def test_a_method_names_its_services(
    authenticator: Authenticator, identity: str, method: str, *, let_in: bool
) -> None:
    if let_in:
        who = authenticator.admit_service(method, [identity.encode()])
        assert (who.subject, who.tenant) == (identity.rpartition("/")[2], ANY_TENANT)
        return
    with pytest.raises(Problem) as refused:
        authenticator.admit_service(method, [identity.encode()])
    assert refused.value.reason == "SERVICE_FORBIDDEN"


def test_a_service_can_confine_a_call_to_one_merchant(authenticator: Authenticator) -> None:
    identity = b"spiffe://recurring/scheduler"
    assert authenticator.admit_service(SUITE_METHOD, [identity], tenant="acme").tenant == "acme"
    with pytest.raises(Problem) as refused:
        authenticator.admit_service(SUITE_METHOD, [identity], tenant="Acme%")
    assert refused.value.reason == "TENANT_INVALID"


def test_a_certificate_without_a_name_opens_nothing(authenticator: Authenticator) -> None:
    with pytest.raises(Problem) as refused:
        authenticator.admit_service(SUITE_METHOD, [])
    assert refused.value.reason == "SERVICE_FORBIDDEN"


def test_a_caller_sees_one_merchant_only() -> None:
    who = Caller("shop", "acme", frozenset())
    who.check("acme")
    with pytest.raises(Problem) as refused:
        who.check("other")
    assert refused.value.reason == "MERCHANT_FORBIDDEN"


def test_the_suites_own_services_see_every_merchant() -> None:
    who = Caller("scheduler", ANY_TENANT, frozenset())
    who.check("acme")
    who.check("other")


def test_no_merchant_can_be_called_like_the_wildcard() -> None:
    with pytest.raises(Problem):
        Caller("shop", "acme", frozenset()).check(ANY_TENANT)
