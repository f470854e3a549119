"""The development overlay makes its keys once, and again only what is missing of them."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.certificates import Authority
from deploy.embedded.ports import HOST
from deploy.embedded.process import PartError
from deploy.pods import keys
from tests.manifests.cluster import decoded

TOKEN = "the-account's-token"
NAMESPACE = "recurring"
SECRETS_PATH = f"/api/v1/namespaces/{NAMESPACE}/secrets"


class ApiServer:
    """A cluster's API server, as far as Secrets go, with the rights that the Job's account has."""

    def __init__(self, certificate: Path) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        # After so many Secrets it breaks down.
        self.breaks_after: int | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix(f"{SECRETS_PATH}/")
                if self.headers["Authorization"] != f"Bearer {TOKEN}" or name != keys.KEYS_SECRET:
                    self._answer(403, {})
                elif name not in server.secrets:
                    self._answer(404, {})
                else:
                    self._answer(200, server.secrets[name])

            def do_POST(self) -> None:
                secret = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = secret["metadata"]["name"]
                if self.headers["Authorization"] != f"Bearer {TOKEN}" or self.path != SECRETS_PATH:
                    self._answer(403, {})
                elif name in server.secrets:
                    self._answer(409, {})
                elif len(server.secrets) == server.breaks_after:
                    self._answer(500, {})
                else:
                    server.secrets[name] = secret
                    self._answer(201, secret)

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *args: object) -> None:
                del args

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def files(self, name: str) -> dict[str, str]:
        return decoded(self.secrets[name]["data"])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API server, and the pod's account there."""
    authority = Authority(tmp_path / "authority")
    certificate = tmp_path / "certificate"
    certificate.mkdir()
    authority.issue(certificate, "api-server", (HOST,), timedelta(days=1))
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text(TOKEN)
    (account / "namespace").write_text(NAMESPACE)
    (account / "ca.crt").write_bytes(authority.certificate_file.read_bytes())
    server = ApiServer(certificate)
    monkeypatch.setattr(keys, "ACCOUNT", account)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", HOST)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    yield server
    server.close()


def test_every_secret_is_made_and_kept(api_server: ApiServer) -> None:
    keys.make()
    made = dict(api_server.secrets)
    assert {"catalog-tls", "payments-secrets", "nats-users", "demo"} <= set(made)
    keys.make()
    assert api_server.secrets == made


def test_whoever_comes_after_an_interruption_goes_on_with_the_same_keys(
    api_server: ApiServer,
) -> None:
    api_server.breaks_after = 6
    with pytest.raises(PartError, match="500"):
        keys.make()
    api_server.breaks_after = None
    keys.make()
    # The service's password is the one that its database knows, whichever of the two was made first.
    for service in ("catalog", "notify"):
        password = api_server.files(f"{service}-database")["app"]
        assert password in api_server.files(f"{service}-secrets")["recurring_database_url"]
        assert (
            api_server.files(f"{service}-tls")["ca.crt"]
            == api_server.files("catalog-tls")["ca.crt"]
        )


def test_a_refusal_of_the_cluster_is_one_line(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "account" / "token").write_text("somebody else's")
    with pytest.raises(PartError, match=r"Secret development-keys: .*403"):
        keys.make()
    api_server.close()
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(PartError, match="the API server does not answer"):
        keys.make()


def test_a_secret_is_data_as_kubernetes_wants_it(api_server: ApiServer) -> None:
    keys.make()
    for name, secret in api_server.secrets.items():
        assert (secret["kind"], secret["metadata"]["name"]) == ("Secret", name)
        assert all(base64.b64decode(data, validate=True) for data in secret["data"].values())
