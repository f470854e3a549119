"""Creates the keys of the development overlay in the cluster, so that none is in the repository.

In production cert-manager and External Secrets create the Secrets that the services mount; here this
module does, by the same names. All of them come from one folder of keys, which is stored as the first
Secret. To run it again, even after an interruption, creates what is missing from the same keys.
"""

import base64
import io
import json
import os
import ssl
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.embedded import nats, wiring
from deploy.embedded.addresses import SERVICES, Addresses
from deploy.embedded.keys import Keys
from deploy.embedded.process import PartError

KEYS_SECRET = "development-keys"  # noqa: S105  The name of a Secret.
KEYS_ARCHIVE = "keys.zip"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API_TIMEOUT_SECONDS = 10.0
CONFLICT, NOT_FOUND = 409, 404
# Where the demo's pod mounts its Secret.
DEMO_HOME = Path("/etc/recurring/stack")
DEMO_TOKEN_FILE = "platform.jwt"  # noqa: S105  The name of a file.

# Name of a Secret -> its files.
Secrets = dict[str, dict[str, str]]


def make() -> None:
    """Make every Secret that is not there yet. Raises PartError if the cluster refuses."""
    cluster = Cluster()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        held = cluster.secret(KEYS_SECRET)
        if held is None:
            secrets_of(home, cluster.namespace)
            cluster.create(KEYS_SECRET, {KEYS_ARCHIVE: pack(home)})
            held = cluster.secret(KEYS_SECRET) or {}
        # Whoever was first decides: what is made below comes from the keys that are kept.
        unpack(held[KEYS_ARCHIVE], home)
        for name, files in secrets_of(home, cluster.namespace).items():
            made = cluster.create(name, {file: text.encode() for file, text in files.items()})
            print(f"{name}: {'made' if made else 'is there'}", flush=True)


def secrets_of(folder: Path, namespace: str) -> Secrets:
    """Return every Secret of the overlay, from keys in a folder; those that it lacks are made."""
    keys = Keys(folder)
    made: Secrets = {
        "platform-keys": {"jwks.json": keys.jwks_file.read_text()},
        "sandbox-secrets": {
            "provider_api_key": keys.password("provider"),
            "sms_api_key": keys.password("sms"),
            "webhook_secret": wiring.webhook_secret(keys),
        },
        "nats-users": {
            "users.conf": nats.users(),
            "passwords.conf": nats.passwords(wiring.nats_passwords(keys)),
        },
        "demo": _demo(keys),
        "prover": {"databases.json": json.dumps({"database_urls": _database_urls(keys)}, indent=2)},
    }
    for service in SERVICES:
        hosts = (service, f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local")
        certificate = keys.authority.ensure(folder / "cluster" / service, service, hosts)
        made |= {
            f"{service}-tls": {file.name: file.read_text() for file in certificate.iterdir()},
            f"{service}-database": asdict(wiring.passwords(service, keys)),
            f"{service}-secrets": _service(service, keys),
            f"{service}-migrator": _migrator(service, keys),
        }
    return made


def addresses(service: str) -> Addresses:
    """Return where everything answers in the cluster; each service has a database server of its own."""
    return Addresses(
        ports={},
        replaced={
            "postgres": f"postgresql://{service}-db:5432/postgres",
            "sandbox": "http://sandbox:8400",
            **{name: f"dns:///{name}:7401" for name in SERVICES},
        },
    )


def pack(folder: Path) -> bytes:
    """Return a folder's files as one archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, mode="w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return packed.getvalue()


def unpack(packed: bytes, folder: Path) -> None:
    """Put an archive's files into a folder; none of them lands outside it."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(folder)


class Cluster:
    """The API server, as the pod's own account: it may make Secrets, and read the one with the keys."""

    def __init__(self) -> None:
        self.namespace = ACCOUNT.joinpath("namespace").read_text()
        self._token = ACCOUNT.joinpath("token").read_text()
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        self._address = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(
                context=ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
            ),
        )

    def secret(self, name: str) -> dict[str, bytes] | None:
        """Return a Secret's files; None if there is no such Secret."""
        try:
            secret = self._call("GET", f"/{name}")
        except urllib.error.HTTPError as error:
            if error.code == NOT_FOUND:
                return None
            raise PartError(f"Secret {name}: {error}") from error
        return {file: base64.b64decode(text) for file, text in secret["data"].items()}

    def create(self, name: str, files: Mapping[str, bytes]) -> bool:
        """Make a Secret; returns whether it was not there before."""
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "recurring"}},
            "immutable": True,
            "data": {file: base64.b64encode(data).decode() for file, data in files.items()},
        }
        try:
            self._call("POST", "", secret)
        except urllib.error.HTTPError as error:
            if error.code == CONFLICT:
                return False
            raise PartError(f"Secret {name}: {error}") from error
        return True

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
        request = urllib.request.Request(  # noqa: S310  The address is the kubelet's word.
            f"{self._address}/api/v1/namespaces/{self.namespace}/secrets{path}",
            method=method,
            data=json.dumps(body).encode() if body else None,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=API_TIMEOUT_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError:
            raise
        except OSError as error:
            raise PartError(f"the API server does not answer: {error}") from error


def _service(service: str, keys: Keys) -> dict[str, str]:
    """Return a service's secret settings, each named as its variable in lower case."""
    made = {
        "recurring_database_url": wiring.database_url(service, addresses(service), keys),
        "recurring_data_keys": keys.data_keys(service),
        "recurring_nats_url": _nats_url(service, keys),
        # Servers of this overlay lose their data with their pods; services make what they need again.
        **_migrator(service, keys),
    }
    if service == "payments":
        made["recurring_provider_api_key"] = keys.password("provider")
        made["recurring_webhook_secrets"] = wiring.webhook_secret(keys)
        # The sandbox is both providers.
        made["recurring_bank_debit_access_token"] = keys.password("provider")
        made["recurring_bank_debit_webhook_secrets"] = wiring.webhook_secret(keys)
    if service == "notify":
        made["recurring_sms_api_key"] = keys.password("sms")
        made["recurring_sms_callback_secrets"] = wiring.webhook_secret(keys)
    return made


def _migrator(service: str, keys: Keys) -> dict[str, str]:
    """Return the addresses of those who may change the schema, and make streams."""
    return {
        "recurring_migration_database_url": wiring.database_url(
            service, addresses(service), keys, "_migrator"
        ),
        "recurring_migration_nats_url": _nats_url(wiring.STREAMS_USER, keys),
    }


def _nats_url(user: str, keys: Keys) -> str:
    return f"nats://{user}:{wiring.nats_passwords(keys)[user]}@nats:4222"


def _database_urls(keys: Keys) -> dict[str, str]:
    """Return where a proof finds the databases."""
    return {
        service: wiring.database_url(service, addresses(service), keys, "_auditor")
        for service in SERVICES
    }


def _demo(keys: Keys) -> dict[str, str]:
    """Return what the command needs: the stack's description, and a platform's token."""
    described = {
        "targets": {service: addresses(service).target(service) for service in SERVICES},
        "grpc_plaintext": True,
        "database_urls": _database_urls(keys),
        "nats_url": _nats_url("developer", keys),
        "platform_nats_url": _nats_url(wiring.DEMO_USER, keys),
        "sandbox_url": addresses("catalog").sandbox_url,
        "provider_api_key": keys.password("provider"),
        "merchant": wiring.DEMO_MERCHANT,
        "token_file": str(DEMO_HOME / DEMO_TOKEN_FILE),
    }
    return {
        "stack.json": json.dumps(described, indent=2),
        DEMO_TOKEN_FILE: wiring.demo_token_file(keys).read_text(),
    }
