"""A mail server as providers run them: TLS and a login before anything else; mail ends in a Maildir.

`python -m tests.integration.notify.mail_server PORT MAILDIR TLS_FOLDER starttls|implicit`
"""

import asyncio
import signal
import ssl
import sys
from pathlib import Path

from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "recurring", "only-for-the-mail-of-tests"


def authenticate(
    _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: object
) -> AuthResult:
    assert isinstance(login, LoginPassword)
    good = (login.login, login.password) == (USER.encode(), PASSWORD.encode())
    # Not handled: the server itself answers 535 to a login that is not good.
    return AuthResult(success=good, handled=False)


async def serve(port: int, mails: Path, tls_folder: Path, tls: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls_folder / "tls.crt", tls_folder / "tls.key")
    loop, mailbox = asyncio.get_running_loop(), Mailbox(mails)
    starttls = tls == "starttls"
    await loop.create_server(
        lambda: SMTP(
            mailbox,
            tls_context=context if starttls else None,
            require_starttls=starttls,
            authenticator=authenticate,
            auth_required=True,
            # A connection that was TLS from its first byte looks to the library like one without.
            auth_require_tls=starttls,
            loop=loop,
        ),
        "127.0.0.1",
        port,
        ssl=None if starttls else context,
    )
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await over.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]))
