"""The embedded stack's own secrets: made at its first start, readable by its owner only."""

import base64
import hashlib
import json
import secrets
import time
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.embedded.certificates import Authority
from deploy.embedded.files import private_folder, write_secret
from deploy.embedded.ports import HOST

ISSUER = "https://embedded.recurring.localhost"
AUDIENCE = "recurring"
ALGORITHM = "EdDSA"
DAY_SECONDS = 24 * 3600
TOKEN_VALIDITY_SECONDS = 365 * DAY_SECONDS
TOKEN_RENEWAL_SECONDS = 30 * DAY_SECONDS
PASSWORD_BYTES = 24
DATA_KEY_BYTES = 32
# Production refuses a key of such a name.
KEY_ID_PREFIX = "development-"


class Keys:
    """Secrets in a folder: a signing key with its JWKS, tokens, certificates and passwords."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        private_folder(self.folder).chmod(0o700)
        self.jwks_file = folder / "jwks.json"
        self._key = self._signing_key()
        self._key_id = self._publish()

    def token(
        self, subject: str, merchant: str, scope: str, validity: timedelta, customer: str = ""
    ) -> str:
        """Return a token that nobody keeps: the merchant's, or a customer's if one is named."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "merchant": merchant,
            "scope": scope,
        }
        if customer:
            claims["customer"] = customer
        return self._sign(claims, int(validity.total_seconds()))

    def token_file(self, subject: str, *, merchant: str, scope: str) -> Path:
        """Return the file with a token for the subject, made or renewed when it has to be."""
        file = self.folder / f"{subject}.jwt"
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "merchant": merchant,
            "scope": scope,
        }
        if not self._is_good(file, claims):
            token = self._sign(claims)
            write_secret(file, token)
        return file

    @cached_property
    def authority(self) -> Authority:
        """Return the authority that signs certificates here."""
        return Authority(self.folder / "authority")

    def certificate_folder(self, service: str) -> Path:
        """Return the folder with a service's certificate, made or renewed when it has to be."""
        return self.authority.ensure(self.folder / "tls" / service, service, (HOST, "localhost"))

    def password(self, name: str) -> str:
        """Return the password of that name, made when it is first asked for."""
        file = self.folder / f"{name}.password"
        if not file.exists():
            write_secret(file, secrets.token_urlsafe(PASSWORD_BYTES))
        return file.read_text()

    def data_keys(self, service: str) -> str:
        """Return the keys that encrypt a service's personal data, made on first use."""
        file = self.folder / f"recurring_{service}.data-keys"
        if not file.exists():
            key = base64.b64encode(secrets.token_bytes(DATA_KEY_BYTES)).decode()
            write_secret(file, f"{KEY_ID_PREFIX}1:{key}")
        return file.read_text()

    def _signing_key(self) -> Ed25519PrivateKey:
        file = self.folder / "signing.pem"
        if not file.exists():
            pem = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            write_secret(file, pem.decode())
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError(f"{file} is not an Ed25519 key")
        return key

    def _publish(self) -> str:
        """Write the JWKS and return the key's id, made of its thumbprint (RFC 7638, RFC 8037)."""
        public = self._key.public_key().public_bytes_raw()
        members = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(public)}
        canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
        key_id = KEY_ID_PREFIX + _base64url(hashlib.sha256(canonical).digest())
        jwk = {**members, "alg": ALGORITHM, "use": "sig", "kid": key_id}
        write_secret(self.jwks_file, json.dumps({"keys": [jwk]}, indent=2) + "\n")
        return key_id

    def _sign(self, claims: dict[str, Any], validity_seconds: int = TOKEN_VALIDITY_SECONDS) -> str:
        now = int(time.time())
        times = {"iat": now, "exp": now + validity_seconds}
        return jwt.encode(
            {**claims, **times}, self._key, algorithm=ALGORITHM, headers={"kid": self._key_id}
        )

    def _is_good(self, file: Path, claims: dict[str, Any]) -> bool:
        if not file.exists():
            return False
        try:
            held = jwt.decode(
                file.read_text(),
                self._key.public_key(),
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
            )
            named = jwt.get_unverified_header(file.read_text()).get("kid")
        except jwt.InvalidTokenError:
            return False
        same = named == self._key_id and all(
            held.get(name) == value for name, value in claims.items()
        )
        return same and held["exp"] - time.time() > TOKEN_RENEWAL_SECONDS


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
