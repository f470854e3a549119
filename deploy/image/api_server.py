"""`python -m deploy.image.api_server`: a cluster's API server, as far as the keys Job needs one.

It keeps Secrets as folders of files, which the check of the images then mounts into the other
containers, as a kubelet would. Everything that it needs is mounted under /etc/api and /secrets.
"""

import base64
import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORT = 6443
# The certificate of this server, and the token and the namespace of the pods' account.
CONFIGURATION = Path("/etc/api")
SECRETS = Path("/secrets")
UNAUTHORIZED, NOT_FOUND, CONFLICT, OK, CREATED = 401, 404, 409, 200, 201


class Handler(BaseHTTPRequestHandler):
    """Reads and creates Secrets for clients with the account's token."""

    def do_GET(self) -> None:
        """Answer with a Secret."""
        folder = SECRETS / Path(self.path).name
        if not self._is_allowed():
            self._answer(UNAUTHORIZED, {})
        elif not folder.is_dir():
            self._answer(NOT_FOUND, {})
        else:
            files = {f.name: base64.b64encode(f.read_bytes()).decode() for f in folder.iterdir()}
            self._answer(OK, {"data": files})

    def do_POST(self) -> None:
        """Make a Secret."""
        secret = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        folder = SECRETS / secret["metadata"]["name"]
        if not self._is_allowed():
            self._answer(UNAUTHORIZED, {})
        elif folder.is_dir():
            self._answer(CONFLICT, {})
        else:
            folder.mkdir()
            for name, data in secret["data"].items():
                folder.joinpath(name).write_bytes(base64.b64decode(data, validate=True))
            self._answer(CREATED, secret)

    def _is_allowed(self) -> bool:
        namespace = CONFIGURATION.joinpath("namespace").read_text()
        token = CONFIGURATION.joinpath("token").read_text()
        here = self.path.startswith(f"/api/v1/namespaces/{namespace}/secrets")
        return here and self.headers["Authorization"] == f"Bearer {token}"

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


def main() -> None:
    """Serve until stopped."""
    server = ThreadingHTTPServer(("", PORT), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CONFIGURATION / "tls.crt", CONFIGURATION / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
