"""Key sets from an issuer's URL or a file, while they are rotated and while they are not."""

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.runtime.auth import key_sets
from services.runtime.auth.authenticator import Access, Authenticator
from services.runtime.auth.key_sets import KeyFile, KeySet, KeyUrl
from services.runtime.errors import Problem

METHOD = "/recurring.catalog.v1.CatalogService/GetProduct"
ISSUER, AUDIENCE = "https://issuer.example", "recurring"
ED25519 = [Ed25519PrivateKey.generate() for _ in range(2)]
ES256 = ec.generate_private_key(ec.SECP256R1())
RS256 = rsa.generate_private_key(65537, 2048)


def jwk(key: Any, key_id: str) -> dict[str, Any]:  # noqa: ANN401 - any key
    if isinstance(key, Ed25519PrivateKey):
        x = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
        return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": key_id, "alg": "EdDSA"}
    algorithm = jwt.algorithms.RSAAlgorithm if key is RS256 else jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": key_id}


def token(key: Any = ED25519[0], key_id: str = "one", algorithm: str = "EdDSA") -> str:  # noqa: ANN401
    claims = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "merchant": "acme", "scope": "platform",
        "exp": int(time.time()) + 3600,
    }  # fmt: skip
    return "Bearer " + jwt.encode(claims, key, algorithm=algorithm, headers={"kid": key_id})


def authenticator_of(keys: KeySet, *algorithms: str) -> Authenticator:
    access = {METHOD: Access("products:read")}
    return Authenticator(keys, ISSUER, AUDIENCE, access, algorithms or ("EdDSA",))


async def admitted(own: Authenticator, authorization: str) -> bool:
    try:
        await own.admit_platform(METHOD, authorization)
    except Problem:
        return False
    return True


class Issuer:
    """An issuer of tokens, outside, whose key set is what a test makes it."""

    def __init__(self) -> None:
        self.keys = [jwk(ED25519[0], "one")]
        self.status = 200
        self.padding = ""
        self.delay_seconds = 0.0
        self.asked = 0
        self.answered = asyncio.Event()

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        self.answered.set()
        await asyncio.sleep(self.delay_seconds)
        text = json.dumps({"keys": self.keys, "padding": self.padding})
        return web.Response(text=text, status=self.status)


@pytest.fixture
async def issuer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Issuer, KeyUrl]]:
    monkeypatch.setattr(key_sets, "FETCH_AGAIN_SECONDS", 0.0)
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/keys", issuer.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    keys = KeyUrl(f"http://127.0.0.1:{runner.addresses[0][1]}/keys", production=True)
    await keys.fetch()
    yield issuer, keys
    await keys.close()
    await runner.cleanup()


async def test_a_new_key_is_fetched_when_it_first_comes(issuer: tuple[Issuer, KeyUrl]) -> None:
    outside, keys = issuer
    own = authenticator_of(keys)
    assert await admitted(own, token())
    outside.keys = [jwk(ED25519[1], "two"), jwk(ED25519[0], "one")]
    assert await admitted(own, token(ED25519[1], "two"))
    assert await admitted(own, token())


async def test_a_key_that_was_withdrawn_opens_nothing_any_more(
    issuer: tuple[Issuer, KeyUrl],
) -> None:
    outside, keys = issuer
    own = authenticator_of(keys)
    assert await admitted(own, token())
    outside.keys = [jwk(ED25519[1], "two")]
    await keys.fetch()
    assert not await admitted(own, token())


async def test_unknown_keys_do_not_flood_the_issuer(
    issuer: tuple[Issuer, KeyUrl], monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, keys = issuer
    monkeypatch.setattr(key_sets, "FETCH_AGAIN_SECONDS", 60.0)
    before = outside.asked
    own = authenticator_of(keys)
    admissions = await asyncio.gather(
        *(admitted(own, token(key_id=f"made-up-{number}")) for number in range(200))
    )
    assert not any(admissions)
    assert outside.asked == before


async def test_many_who_wait_for_a_new_key_ask_once(issuer: tuple[Issuer, KeyUrl]) -> None:
    outside, keys = issuer
    outside.keys = [jwk(ED25519[1], "two")]
    outside.delay_seconds = 0.2
    before = outside.asked
    own = authenticator_of(keys)
    new = token(ED25519[1], "two")
    assert all(await asyncio.gather(*(admitted(own, new) for _ in range(50))))
    assert outside.asked == before + 1


@pytest.mark.parametrize("fault", ["away", "too long", "no keys", "slow"])
async def test_an_issuer_at_fault_leaves_the_old_keys_in_use(
    issuer: tuple[Issuer, KeyUrl], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, keys = issuer
    own = authenticator_of(keys)
    outside.keys = [jwk(ED25519[1], "two")] if fault != "no keys" else []
    outside.status = 503 if fault == "away" else 200
    outside.padding = "x" * key_sets.SET_MAX_BYTES if fault == "too long" else ""
    if fault == "slow":
        outside.delay_seconds = 5
        monkeypatch.setattr(key_sets, "FETCH_TIMEOUT_SECONDS", 0.1)
    assert not await admitted(own, token(ED25519[1], "two"))
    assert await admitted(own, token())


async def test_an_old_set_is_fetched_again_in_the_background(
    issuer: tuple[Issuer, KeyUrl], monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, keys = issuer
    monkeypatch.setattr(key_sets, "FETCH_SECONDS", 0.0)
    before = outside.asked
    outside.answered.clear()
    assert await admitted(authenticator_of(keys), token())
    await asyncio.wait_for(outside.answered.wait(), 5)
    assert outside.asked > before


async def test_a_file_is_read_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_sets, "FILE_CHECK_SECONDS", 0.0)
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk(ED25519[0], "one")]}))
    own = authenticator_of(KeyFile(file, production=False))
    assert await admitted(own, token())
    file.write_text("{ half of it")
    assert await admitted(own, token())
    file.write_text(json.dumps({"keys": [jwk(ED25519[1], "two")]}))
    assert await admitted(own, token(ED25519[1], "two"))
    assert not await admitted(own, token())


async def test_a_file_that_was_half_written_is_read_again_though_its_time_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(key_sets, "FILE_CHECK_SECONDS", 0.0)
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk(ED25519[0], "one")]}))
    own = authenticator_of(KeyFile(file, production=False))
    for _ in range(2):
        file.write_text("{ half of it")
        os.utime(file, (1, 1))
        assert await admitted(own, token())
    file.write_text(json.dumps({"keys": [jwk(ED25519[1], "two")]}))
    os.utime(file, (1, 1))
    assert await admitted(own, token(ED25519[1], "two"))
    assert len(caplog.messages) == 1


async def test_in_production_no_key_for_development_is_ever_taken_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_sets, "FILE_CHECK_SECONDS", 0.0)
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk(ED25519[0], "one")]}))
    production, sandbox = (
        authenticator_of(KeyFile(file, production=production)) for production in (True, False)
    )
    file.write_text(json.dumps({"keys": [jwk(ED25519[1], "development-1")]}))
    assert await admitted(sandbox, token(ED25519[1], "development-1"))
    assert not await admitted(production, token(ED25519[1], "development-1"))
    assert await admitted(production, token())


async def test_in_production_no_key_for_development_is_ever_taken_from_an_issuer(
    issuer: tuple[Issuer, KeyUrl],
) -> None:
    outside, keys = issuer
    outside.keys = [jwk(ED25519[0], "one"), jwk(ED25519[1], "development-1")]
    own = authenticator_of(keys)
    assert not await admitted(own, token(ED25519[1], "development-1"))
    assert await admitted(own, token())


async def test_only_the_configured_algorithms_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    made = {"EdDSA": ED25519[0], "ES256": ES256, "RS256": RS256}
    listed = [jwk(key, name) for name, key in made.items()]
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "HS256", "alg": "HS256"}
    file.write_text(json.dumps({"keys": [*listed, secret]}))
    tokens = {name: token(key, name, name) for name, key in made.items()}
    tokens["HS256"] = token("secret-that-is-long-enough-for-it", "HS256", "HS256")
    for allowed in made:
        own = authenticator_of(KeyFile(file, production=False), allowed)
        allowed_names = {name for name, token in tokens.items() if await admitted(own, token)}
        assert allowed_names == {allowed}
