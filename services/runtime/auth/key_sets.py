"""The keys that verify tokens: a JSON Web Key Set (RFC 7517) in a file or at a URL.

A new set that cannot be fetched or read leaves the old one in use, so an outage of the issuer locks
nobody out.
"""

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Protocol

import jwt

from services.runtime.http_client import HttpClient, HttpError

log = logging.getLogger(__name__)

# Keys of other algorithms (and `none`) are ignored.
ALGORITHMS = frozenset({"EdDSA", "ES256", "RS256"})
SET_MAX_BYTES = 64 * 1024
KEYS_MAX = 64
# A changed file is noticed within this time.
FILE_CHECK_SECONDS = 1.0
# A fetched set is fetched again in the background when it is older than this.
FETCH_SECONDS = 300.0
# A token with an unknown key causes a fetch, but not more often than this.
FETCH_AGAIN_SECONDS = 10.0
FETCH_TIMEOUT_SECONDS = 5.0

# Ids of keys of a development stack begin with this.
DEVELOPMENT_KEY_PREFIX = "development-"

Keys = dict[str, jwt.PyJWK]


class KeySet(Protocol):
    """The keys in use."""

    # Grows when the keys change.
    version: int

    def refresh(self) -> None:
        """Notice changes; called before each use."""

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key with that id, if there is one."""


def read(text: str | bytes, *, production: bool) -> Keys:
    """The usable keys of a set, by id.

    Raises ValueError if it is no set, has no usable key, or in production has a key for development.
    """
    members = json.loads(text)["keys"]
    if not isinstance(members, list) or len(members) > KEYS_MAX:
        raise ValueError(f"no list of at most {KEYS_MAX} keys")
    keys: Keys = {}
    for member in members:
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
    """A key set in a file, which is replaced to rotate keys."""

    def __init__(self, file: Path, *, production: bool) -> None:
        self.version = 1
        self._file = file
        self._production = production
        self._changed_ns = file.stat().st_mtime_ns
        self._keys = read(file.read_bytes(), production=production)
        self._checked_at = time.monotonic()
        # The last error of a new file, which is logged once.
        self._logged = ""

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if time.monotonic() - self._checked_at < FILE_CHECK_SECONDS:
            return
        self._checked_at = time.monotonic()
        try:
            changed_ns = self._file.stat().st_mtime_ns
            if changed_ns == self._changed_ns:
                return
            self._keys = read(self._file.read_bytes(), production=self._production)
        except (OSError, ValueError, KeyError, TypeError) as error:
            # It is tried again: the file may be half written.
            if repr(error) != self._logged:
                log.warning("new key set not usable: %r", error)
            self._logged = repr(error)
            return
        self._changed_ns = changed_ns
        self._logged = ""
        self.version += 1

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key with that id."""
        return self._keys.get(key_id)


class KeyUrl:
    """A key set that an issuer serves over HTTP."""

    def __init__(self, url: str, *, production: bool) -> None:
        self.version = 0
        self._http = HttpClient(
            connections_max=1,
            timeout_seconds=FETCH_TIMEOUT_SECONDS,
            answer_max_bytes=SET_MAX_BYTES,
        )
        self._url = url
        self._production = production
        self._keys: Keys = {}
        self._tried_at = -FETCH_SECONDS
        self._fetching: asyncio.Task[None] | None = None

    def refresh(self) -> None:
        """Fetch an old set again, in the background."""
        if time.monotonic() - self._tried_at > FETCH_SECONDS:
            self._start()

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key with that id; fetches the set if the id is unknown."""
        if key_id not in self._keys:
            if self._fetching is None and time.monotonic() - self._tried_at > FETCH_AGAIN_SECONDS:
                self._start()
            if self._fetching is not None:
                # A caller that disconnects does not end the wait of the others.
                await asyncio.shield(self._fetching)
        return self._keys.get(key_id)

    async def fetch(self) -> None:
        """Fetch the set. Raises HttpError or ValueError."""
        self._tried_at = time.monotonic()
        answer = (await self._http.request("GET", self._url)).expect_ok()
        try:
            keys = read(answer.body, production=self._production)
        except (KeyError, TypeError) as error:
            raise ValueError(repr(error)) from None
        if _ids(keys) != _ids(self._keys):
            self._keys = keys
            self.version += 1

    async def close(self) -> None:
        """Close the connection to the issuer."""
        await self._http.close()

    def _start(self) -> None:
        if self._fetching is None:
            self._tried_at = time.monotonic()
            self._fetching = asyncio.create_task(self._fetch_or_keep())

    async def _fetch_or_keep(self) -> None:
        try:
            await self.fetch()
        except (HttpError, ValueError) as error:
            log.warning("key set could not be fetched: %r", error)
        finally:
            self._fetching = None


def _ids(keys: Keys) -> dict[str, str]:
    return {key_id: str(key.public_key_use) + repr(key._jwk_data) for key_id, key in keys.items()}  # noqa: SLF001
