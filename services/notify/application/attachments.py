"""The files that go with messages."""

from collections.abc import Iterable
from dataclasses import replace

from services.notify.domain.attachments import Attachment, AttachmentKey, AttachmentProblem
from services.notify.domain.templates.kinds import DocumentIssued
from services.notify.domain.templates.shipped import shipped_locale
from services.notify.store.attempts import Outgoing


def attachment_key(outgoing: Outgoing) -> AttachmentKey:
    """Which file goes with a delivery: the document, in the customer's language if it is known."""
    language = shipped_locale(outgoing.addressee.locale) if outgoing.addressee.locale else ""
    return AttachmentKey(outgoing.notice.subject_resource, language)


def attachment_keys(due: Iterable[Outgoing]) -> list[AttachmentKey]:
    """Which files are wanted: none of what is not sent any more."""
    return [attachment_key(it) for it in due if it.address and it.notice.facts is not None]


def with_attachment(outgoing: Outgoing, file: Attachment | AttachmentProblem | None) -> Outgoing:
    """A delivery with its file; its text does not speak of one that it has no room for."""
    notice = outgoing.notice
    if file is AttachmentProblem.TOO_LARGE and isinstance(notice.facts, DocumentIssued):
        notice = notice._replace(facts=replace(notice.facts, attached=False))
    return outgoing._replace(notice=notice, attachment=file)
