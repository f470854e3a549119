"""Keys that tokens are verified with: a JSON Web Key Set (RFC 7517) in a file or at a URL, followed.

A new set that cannot be had or read leaves the old one in use: an issuer that is away locks nobody out.
"""

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Protocol

import aiohttp
import jwt

log = logging.getLogger(__name__)

# Anything else in a key set (and `none`) verifies nothing.
ALGORITHMS = frozenset({"EdDSA", "ES256", "RS256"})
SET_MAX_BYTES = 64 * 1024
KEYS_MAX = 64
# How long a changed file may go unnoticed.
FILE_LOOK_SECONDS = 1.0
# How old a fetched set may become before it is fetched again, beside the calls.
FETCH_SECONDS = 300.0
# A token with a key that is not known yet has the set fetched, but not more often than this.
FETCH_AGAIN_SECONDS = 10.0
FETCH_TIMEOUT_SECONDS = 5.0

# What the keys of a development stack are called.
DEVELOPMENT_KEY_PREFIX = "development-"

Keys = dict[str, jwt.PyJWK]


class KeySet(Protocol):
    """The keys in use."""

    # Grows when the keys change.
    version: int

    def look(self) -> None:
        """Have changes noticed; to be called now and then."""

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key of that name, as far as anybody knows."""


def read(text: str | bytes, *, production: bool) -> Keys:
    """The usable keys of a set, by name. Raises ValueError if it is none, or has none.

    In production a set with a key for development is none: whoever wrote it made a mistake.
    """
    listed = json.loads(text)["keys"]
    if not isinstance(listed, list) or len(listed) > KEYS_MAX:
        raise ValueError(f"no list of at most {KEYS_MAX} keys")
    keys: Keys = {}
    for member in listed:
        try:
            key = jwt.PyJWK(member)
        except jwt.PyJWTError:
            continue
        if key.key_id and key.algorithm_name in ALGORITHMS:
            keys[key.key_id] = key
    if production and any(key_id.startswith(DEVELOPMENT_KEY_PREFIX) for key_id in keys):
        raise ValueError("a key for development is refused in production")
    if not keys:
        raise ValueError(f"no key with a name for {', '.join(sorted(ALGORITHMS))}")
    return keys


class KeyFile:
    """A key set in a file, which whoever rotates the keys replaces."""

    def __init__(self, file: Path, *, production: bool) -> None:
        self.version = 1
        self._file = file
        self._production = production
        self._changed_ns = file.stat().st_mtime_ns
        self._keys = read(file.read_bytes(), production=production)
        self._looked_at = time.monotonic()

    def look(self) -> None:
        """Read the file again if it is another."""
        if time.monotonic() - self._looked_at < FILE_LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        try:
            changed_ns = self._file.stat().st_mtime_ns
            if changed_ns == self._changed_ns:
                return
            self._changed_ns = changed_ns
            self._keys = read(self._file.read_bytes(), production=self._production)
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("new key set not usable: %r", error)
            return
        self.version += 1

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key of that name."""
        return self._keys.get(key_id)


class KeyUrl:
    """A key set that an issuer serves over HTTP."""

    def __init__(self, http: aiohttp.ClientSession, url: str, *, production: bool) -> None:
        self.version = 0
        self._http = http
        self._url = url
        self._production = production
        self._keys: Keys = {}
        self._tried_at = -FETCH_SECONDS
        self._fetching: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Have an old set fetched anew, beside the call."""
        if time.monotonic() - self._tried_at > FETCH_SECONDS:
            self._start()

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key of that name; asks the issuer if it is new."""
        if key_id not in self._keys:
            if self._fetching is None and time.monotonic() - self._tried_at > FETCH_AGAIN_SECONDS:
                self._start()
            if self._fetching is not None:
                # Whoever waits may go away; the others wait on.
                await asyncio.shield(self._fetching)
        return self._keys.get(key_id)

    async def fetch(self) -> None:
        """Fetch the set. Raises aiohttp.ClientError, TimeoutError or ValueError."""
        self._tried_at = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)
        async with self._http.get(self._url, timeout=timeout, allow_redirects=False) as response:
            response.raise_for_status()
            if response.status != 200:  # noqa: PLR2004
                raise ValueError(f"status {response.status}")
            text = await response.content.read(SET_MAX_BYTES + 1)
            while len(text) <= SET_MAX_BYTES and not response.content.at_eof():
                text += await response.content.read(SET_MAX_BYTES + 1 - len(text))
        if len(text) > SET_MAX_BYTES:
            raise ValueError(f"more than {SET_MAX_BYTES} bytes")
        try:
            keys = read(text, production=self._production)
        except (KeyError, TypeError) as error:
            raise ValueError(repr(error)) from None
        if _ids(keys) != _ids(self._keys):
            self._keys = keys
            self.version += 1

    def _start(self) -> None:
        if self._fetching is None:
            self._tried_at = time.monotonic()
            self._fetching = asyncio.create_task(self._fetch_or_keep())

    async def _fetch_or_keep(self) -> None:
        try:
            await self.fetch()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            log.warning("key set not to be had: %r", error)
        finally:
            self._fetching = None


def _ids(keys: Keys) -> dict[str, str]:
    return {key_id: str(key.public_key_use) + repr(key._jwk_data) for key_id, key in keys.items()}  # noqa: SLF001
