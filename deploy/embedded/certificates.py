"""A small certificate authority: the services of one stack prove to each other who they are.

Sources: RFC 5280 (certificates) and the SPIFFE ID standard (the name of a service is a URI).
"""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.embedded.files import private_folder, write_secret

# The names that cert-manager gives the files of a certificate.
CERTIFICATE_FILE, KEY_FILE, AUTHORITY_FILE = "tls.crt", "tls.key", "ca.crt"
# A service in production refuses whatever comes from an authority of this name.
DEVELOPMENT_AUTHORITY = "Recurring development authority"
SPIFFE_PREFIX = "spiffe://recurring/"
AUTHORITY_VALIDITY = timedelta(days=3650)
CERTIFICATE_VALIDITY = timedelta(days=365)
RENEWAL = timedelta(days=30)
# Clocks differ a little.
BACKDATE = timedelta(minutes=5)

Key = ec.EllipticCurvePrivateKey


class Authority:
    """An authority whose key and certificate are kept in a folder of its own."""

    def __init__(self, folder: Path, name: str = DEVELOPMENT_AUTHORITY) -> None:
        private_folder(folder)
        self._key_file, self.certificate_file = folder / "ca.key", folder / AUTHORITY_FILE
        if not self.certificate_file.exists():
            self._create(name)
        self._key = _read_key(self._key_file)
        self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())

    def ensure(self, folder: Path, service: str, hosts: tuple[str, ...]) -> Path:
        """Return a folder with a certificate of the service, made or renewed when it has to be."""
        private_folder(folder)
        if not self._is_good(folder, hosts):
            self.issue(folder, service, hosts)
        return folder

    def issue(
        self,
        folder: Path,
        service: str,
        hosts: tuple[str, ...],
        validity: timedelta = CERTIFICATE_VALIDITY,
    ) -> None:
        """Write a new key and certificate, valid for the service at these hosts."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        names = [x509.UniformResourceIdentifier(SPIFFE_PREFIX + service), *map(_host, hosts)]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(service))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, now + validity) - BACKDATE)
            .not_valid_after(now + validity)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        write_secret(folder / AUTHORITY_FILE, self.certificate_file.read_text())
        write_secret(folder / KEY_FILE, _pem(key))
        write_secret(folder / CERTIFICATE_FILE, _certificate_pem(certificate))

    def _create(self, common_name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        name = _name(common_name)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(now + AUTHORITY_VALIDITY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_secret(self._key_file, _pem(key))
        write_secret(self.certificate_file, _certificate_pem(certificate))

    def _is_good(self, folder: Path, hosts: tuple[str, ...]) -> bool:
        file = folder / CERTIFICATE_FILE
        if not file.exists():
            return False
        held = x509.load_pem_x509_certificate(file.read_bytes())
        names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return (
            held.issuer == self._certificate.subject
            and (folder / AUTHORITY_FILE).read_bytes() == self.certificate_file.read_bytes()
            and all(_host(host) in list(names) for host in hosts)
            and held.not_valid_after_utc - datetime.now(UTC) > RENEWAL
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: Key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _read_key(file: Path) -> Key:
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{file} is no elliptic curve key")
    return key
