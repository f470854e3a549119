"""Files that go with a message. Pure."""

from enum import StrEnum
from typing import NamedTuple


class Attachment(NamedTuple):
    """A PDF file."""

    file_name: str
    content: bytes


class AttachmentProblem(StrEnum):
    """Why there is no file."""

    # There is one, and a message has no room for it.
    TOO_LARGE = "TOO_LARGE"
    # Nobody has such a document.
    NOT_FOUND = "DOCUMENT_NOT_FOUND"
    # There may be one later.
    UNAVAILABLE = "DOCUMENT_UNAVAILABLE"


class AttachmentKey(NamedTuple):
    """Which file."""

    # The resource name.
    document: str
    # Empty: the one that it was issued in.
    language_code: str
