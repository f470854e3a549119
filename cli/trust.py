"""Whose word the command takes for who answers: authorities for TLS, and where it does without."""

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from cli.errors import CommandError

# Targets to which nothing leaves this machine.
_HERE = re.compile(
    r"unix:.+|(dns:(///)?|ipv4:|ipv6:)?(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
)


@dataclass(frozen=True, slots=True)
class Trust:
    """The authorities that vouch for a deployment."""

    # Their certificates in one file (PEM); empty: the authorities that this system knows.
    ca_file: str = ""
    # A deployment whose services have no TLS, though they are elsewhere; for development only.
    grpc_plaintext: bool = False

    def of_service(self, target: str) -> grpc.ChannelCredentials | None:
        """What a channel to a target needs; None where it is not encrypted.

        Whoever reads a token on its way can use it, so that is only where it does not leave this
        machine, or where somebody said so. Raises CommandError if the file is of no use.
        """
        if not self.ca_file and (self.grpc_plaintext or _HERE.fullmatch(target)):
            return None
        # gRPC would say of a useless file that nobody answers.
        self._context()
        file = self.ca_file or ssl.get_default_verify_paths().cafile
        # Without a file of the system's, gRPC brings authorities of its own.
        return grpc.ssl_channel_credentials(Path(file).read_bytes() if file else None)

    def of_broker(self, url: str) -> ssl.SSLContext | None:
        """The same for a connection to NATS, whose URL says whether it has TLS."""
        return self._context() if url.startswith("tls:") else None

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file or None)
        except OSError as error:
            raise CommandError(f"{self.ca_file} holds no certificates: {error}") from error
