"""The certificate of a process and the authorities that it trusts, read again when the files change.

Sources: RFC 5280 (certificates), the SPIFFE ID standard (names of services, `spiffe://recurring/catalog`).
"""

import logging
import ssl
import time
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates

log = logging.getLogger(__name__)

# The file names that cert-manager uses.
CERTIFICATE_FILE = "tls.crt"
KEY_FILE = "tls.key"
AUTHORITY_FILE = "ca.crt"
SPIFFE_PREFIX = "spiffe://recurring/"
# The name of the authority of a development stack.
DEVELOPMENT_AUTHORITY = "Recurring development authority"
# A new certificate is noticed within this time.
PROBE_INTERVAL_SECONDS = 1.0

Material = tuple[bytes, bytes, bytes]


class Identity:
    """A folder with a certificate, its key and the certificates of authorities.

    Files that do not fit together, as while they are being replaced, are ignored: the last ones stay in
    use. In production, so are files with an authority for development.
    """

    def __init__(self, folder: Path, *, production: bool) -> None:
        self._production = production
        self._files = tuple(folder / name for name in (KEY_FILE, CERTIFICATE_FILE, AUTHORITY_FILE))
        self._changed_ns = self._times()
        self._material = self._read()
        self._checked_at = time.monotonic()
        # The last error of new files, which is logged once.
        self._logged = ""
        # Grows when new files come into use.
        self.version = 1

    def current(self) -> Material:
        """The key, the certificate and the authorities in use now."""
        if time.monotonic() - self._checked_at > PROBE_INTERVAL_SECONDS:
            self._checked_at = time.monotonic()
            self._renew()
        return self._material

    def server_credentials(self, *, peers: bool) -> grpc.ServerCredentials:
        """The credentials of a server; for peers, it requires a certificate of each client."""
        used = self.version

        def changed() -> Any:  # noqa: ANN401 - None if nothing changed, which the stubs leave out
            nonlocal used
            self.current()
            if used == self.version:
                return None
            used = self.version
            return self._server_configuration()

        return grpc.dynamic_ssl_server_credentials(
            self._server_configuration(), changed, require_client_authentication=peers
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """The credentials of a client with a certificate."""
        key, certificate, authority = self.current()
        return grpc.ssl_channel_credentials(authority, key, certificate)

    def trust(self) -> ssl.SSLContext:
        """The authorities for a client without a certificate."""
        _, _, authorities = self.current()
        listed = load_pem_x509_certificates(authorities)
        return ssl.create_default_context(
            cadata=b"".join(certificate.public_bytes(Encoding.DER) for certificate in listed)
        )

    def server_context(self) -> ssl.SSLContext:
        """What a server has that is not gRPC's; a new connection gets the certificate in use then."""
        used, context = self.version, self._context()

        def renew(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            nonlocal used, context
            self.current()
            if used != self.version:
                used, context = self.version, self._context()
            connection.context = context

        context.sni_callback = renew
        return context

    def _context(self) -> ssl.SSLContext:
        key_file, certificate_file, _ = self._files
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate_file, key_file)
        return context

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
            if repr(error) != self._logged:
                self._logged = repr(error)
                log.warning("new certificate not usable: %s", self._logged)
            return
        self._changed_ns, self._logged = changed_ns, ""
        self.version += 1
        log.info("certificate renewed")

    def _times(self) -> list[int]:
        return [file.stat().st_mtime_ns for file in self._files]

    def _read(self) -> Material:
        key_file, certificate_file, authority_file = self._files
        # Raises ssl.SSLError, an OSError, if the key does not belong to the certificate.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(certificate_file, key_file)
        context.load_verify_locations(authority_file)
        authorities = authority_file.read_bytes()
        if self._production and is_for_development(authorities):
            raise ValueError("an authority for development is refused in production")
        return key_file.read_bytes(), certificate_file.read_bytes(), authorities


def is_for_development(authorities: bytes) -> bool:
    """Whether one of the authorities (PEM) is for development. Raises ValueError if there are none."""
    return any(
        DEVELOPMENT_AUTHORITY in certificate.subject.rfc4514_string()
        for certificate in load_pem_x509_certificates(authorities)
    )
