"""Bearer tokens that renew themselves."""

import base64
import binascii
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

# A token is renewed so long before it ends, so that it does not end on the way.
RENEWAL_SECONDS = 30.0

# The token itself, a file that is read again whenever it changes, or whoever fetches a new one.
TokenSource: TypeAlias = str | Path | Callable[[], Awaitable[str]]


class Token:
    """The token of the next call."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._token = source if isinstance(source, str) else ""
        self._read_at_ns = 0
        self._ends_at = 0.0

    async def current(self) -> str:
        """A token that is good for some time still, as far as it says itself."""
        if isinstance(self._source, Path):
            changed_ns = self._source.stat().st_mtime_ns
            if changed_ns != self._read_at_ns:
                self._token, self._read_at_ns = self._source.read_text().strip(), changed_ns
        elif callable(self._source) and time.time() > self._ends_at - RENEWAL_SECONDS:
            await self.renew()
        return self._token

    async def renew(self) -> bool:
        """Fetch a new token, after one was refused; whether there is another now."""
        before = self._token
        if callable(self._source):
            self._token = await self._source()
            self._ends_at = _end_of(self._token)
        elif isinstance(self._source, Path):
            self._read_at_ns = 0
            await self.current()
        return self._token != before


def _end_of(token: str) -> float:
    """When a JWT ends, by its own words; in the far future if it does not say."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, ValueError, TypeError, binascii.Error):
        return float("inf")
