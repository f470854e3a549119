"""A process's own certificate and the authority it trusts, read again when the files change.

Sources: RFC 5280 (certificates), the SPIFFE ID standard (names of services, `spiffe://recurring/catalog`).
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import grpc
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates

log = logging.getLogger(__name__)

# The names that cert-manager gives the files of a certificate.
CERTIFICATE_FILE = "tls.crt"
KEY_FILE = "tls.key"
AUTHORITY_FILE = "ca.crt"
SPIFFE_PREFIX = "spiffe://recurring/"
# What the authority of a development stack is called.
DEVELOPMENT_AUTHORITY = "Recurring development authority"
# How long a new certificate may go unnoticed.
PROBE_INTERVAL_SECONDS = 1.0

Material = tuple[bytes, bytes, bytes]


class Identity:
    """A folder with a certificate, its key and the authority's certificate.

    Files that do not fit together, as while they are being replaced, are left aside: what was read last
    stays in use until they do. So are, in production, those with an authority for development.
    """

    def __init__(self, folder: Path, *, production: bool) -> None:
        self._production = production
        self._files = tuple(folder / name for name in (KEY_FILE, CERTIFICATE_FILE, AUTHORITY_FILE))
        self._changed_ns = self._times()
        self._material = self._read()
        self._looked_at = time.monotonic()
        # What is wrong with new files is said once, however often they are looked at.
        self._said = ""
        # Grows whenever other files are in use.
        self.version = 1

    def look(self) -> Material:
        """The key, the certificate and the authority in use now."""
        if time.monotonic() - self._looked_at > PROBE_INTERVAL_SECONDS:
            self._looked_at = time.monotonic()
            self._renew()
        return self._material

    def server_credentials(self, *, peers: bool) -> grpc.ServerCredentials:
        """What a server shows; for peers, it asks each client for a certificate as well."""
        shown = self.version

        def changed() -> Any:  # noqa: ANN401 - None where nothing changed, which the stubs leave out
            nonlocal shown
            self.look()
            if shown == self.version:
                return None
            shown = self.version
            return self._server_configuration()

        return grpc.dynamic_ssl_server_credentials(
            self._server_configuration(), changed, require_client_authentication=peers
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """What a client shows, and whom it believes."""
        key, certificate, authority = self.look()
        return grpc.ssl_channel_credentials(authority, key, certificate)

    def trust(self) -> ssl.SSLContext:
        """Whom a client believes that has no certificate to show."""
        _, _, authorities = self.look()
        listed = load_pem_x509_certificates(authorities)
        return ssl.create_default_context(
            cadata=b"".join(each.public_bytes(Encoding.DER) for each in listed)
        )

    def _server_configuration(self) -> grpc.ServerCertificateConfiguration:
        key, certificate, authority = self._material
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)

    def _renew(self) -> None:
        try:
            changed_ns = self._times()
            if changed_ns == self._changed_ns:
                return
            self._material = self._read()
        except (OSError, ValueError) as error:
            if repr(error) != self._said:
                self._said = repr(error)
                log.warning("new certificate not usable: %s", self._said)
            return
        self._changed_ns, self._said = changed_ns, ""
        self.version += 1
        log.info("certificate renewed")

    def _times(self) -> list[int]:
        return [file.stat().st_mtime_ns for file in self._files]

    def _read(self) -> Material:
        key_file, certificate_file, authority_file = self._files
        # Raises ssl.SSLError, an OSError, if the certificate is not that of the key.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(certificate_file, key_file)
        context.load_verify_locations(authority_file)
        authorities = authority_file.read_bytes()
        if self._production and is_for_development(authorities):
            raise ValueError("an authority for development is refused in production")
        return key_file.read_bytes(), certificate_file.read_bytes(), authorities


def is_for_development(authorities: bytes) -> bool:
    """Whether one of the authorities in a file (PEM) is; each of them is trusted.

    Raises ValueError if there are none.
    """
    return any(
        DEVELOPMENT_AUTHORITY in each.subject.rfc4514_string()
        for each in load_pem_x509_certificates(authorities)
    )


class PeerChannel(grpc.aio.Channel):
    """A channel that is opened anew when the certificate is; calls under way end on the old one."""

    def __init__(
        self, identity: Identity, open_channel: Callable[[], grpc.aio.Channel], grace_seconds: float
    ) -> None:
        self._identity = identity
        self._open = open_channel
        self._grace_seconds = grace_seconds
        self._channel = open_channel()
        self._version = identity.version
        self._closing: set[asyncio.Task[None]] = set()

    def current(self) -> grpc.aio.Channel:
        """The channel for a call that begins now."""
        self._identity.look()
        if self._version != self._identity.version:
            self._version = self._identity.version
            old, self._channel = self._channel, self._open()
            closing = asyncio.create_task(old.close(self._grace_seconds))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return self._channel

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """A method, on whatever channel is the current one when it is called."""
        return _Method(self, "unary_unary", args, kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """The same for a method that answers with a stream."""
        return _Method(self, "unary_stream", args, kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """The same for a method that is sent a stream."""
        return _Method(self, "stream_unary", args, kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """The same for a method with streams both ways."""
        return _Method(self, "stream_stream", args, kwargs)

    async def close(self, grace: float | None = None) -> None:
        """Close the channel, and wait for those that were replaced."""
        await self._channel.close(grace)
        await asyncio.gather(*self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002
        """How the current channel is."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the current channel is otherwise."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the current channel is connected."""
        await self._channel.channel_ready()


class _Method:
    """A method of a stub, bound to a channel when it is called."""

    def __init__(
        self, channel: PeerChannel, kind: str, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        self._channel = channel
        self._kind, self._args, self._kwargs = kind, args, kwargs
        self._bound_to: grpc.aio.Channel | None = None
        self._method: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        current = self._channel.current()
        if self._bound_to is not current:
            self._bound_to = current
            self._method = getattr(current, self._kind)(*self._args, **self._kwargs)
        return self._method(*args, **kwargs)
