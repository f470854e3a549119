"""A page that shows the phones and the mail that the sandbox received, live: `/inbox`."""

from sandbox.inbox.routes import Inbox

__all__ = ["Inbox"]
