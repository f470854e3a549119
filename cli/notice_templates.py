"""Templates of the merchant's own, which take the place of the suite's words."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from recurring.notify.v1 import notify_pb2 as pb

from cli.command import command, group
from cli.connect import Session, all_pages, new_request_id
from cli.errors import CommandError
from cli.names import NOTICE_TEMPLATE, last_id
from cli.output import Columns

templates = group("Write the merchant's own words for messages; docs/notices.md has the variables.")

FROM_STANDARD_INPUT = "-"
# A template has at most 4000 characters.
TEMPLATE_FILE_MAX_CHARACTERS = 64 * 1024

TemplateArgument = Annotated[
    str,
    typer.Argument(
        metavar="TEMPLATE", help="Kind, channel and language, for example receipt-sms-de."
    ),
]
TextOption = Annotated[str, typer.Option(help="The template itself.")]
FileOption = Annotated[
    str, typer.Option(metavar="FILE", help="A file that holds the text; - is standard input.")
]
SubjectOption = Annotated[str, typer.Option(help="Of an e-mail, a template as well.")]

TEMPLATE_COLUMNS: Columns[pb.NoticeTemplate] = {
    "template": lambda it: last_id(it.name),
    "kind": lambda it: pb.NoticeKind.Name(it.kind),
    "channel": lambda it: pb.Channel.Name(it.channel),
    "language": lambda it: it.locale,
    "for other languages": lambda it: "yes" if it.fallback else "no",
    "version": lambda it: str(it.version),
    "subject": lambda it: it.subject,
    "text": lambda it: it.text,
}
PREVIEW_COLUMNS: Columns[pb.PreviewNoticeResponse] = {
    "SMS": lambda it: it.sms_text,
    "encoding": lambda it: pb.SmsEncoding.Name(it.sms_encoding),
    "segments": lambda it: str(it.sms_segment_count),
    "subject": lambda it: it.email_subject,
    "e-mail": lambda it: it.email_text,
    "warnings": lambda it: "\n".join(it.warnings),
}


def _kind(text: str | int) -> int:
    """A kind of notice by its name, in any case and with dashes."""
    if isinstance(text, int):
        return text
    name = text.upper().replace("-", "_")
    if name not in pb.NoticeKind.keys()[1:]:
        raise typer.BadParameter(f"{text!r} is no kind of notice, such as RECEIPT")
    return int(pb.NoticeKind.Value(name))


@command(templates, "list")
async def list_templates(session: Session) -> None:
    """List the merchant's templates by name."""
    request = pb.ListNoticeTemplatesRequest(parent=session.parent)
    listed = await all_pages(session.notify.ListNoticeTemplates, request, "notice_templates")
    session.output.many(listed, TEMPLATE_COLUMNS, "no templates")


@command(templates, "get")
async def get_template(
    session: Session,
    template: TemplateArgument,
    version: Annotated[
        int, typer.Option(min=0, help="One of its versions. Default: the one that holds.")
    ] = 0,
) -> None:
    """Show a template, or what it was."""
    request = pb.GetNoticeTemplateRequest(
        name=session.name(NOTICE_TEMPLATE, template), version=version
    )
    session.output.one(await session.notify.GetNoticeTemplate(request), TEMPLATE_COLUMNS)


@command(templates, "set")
async def set_template(
    session: Session,
    template: TemplateArgument,
    text: TextOption = "",
    file: FileOption = "",
    subject: SubjectOption = "",
    fallback: Annotated[
        bool,
        typer.Option("--fallback", help="It is for languages, too, that have no template."),
    ] = False,
) -> None:
    """Store a template, which holds from the next message on."""
    draft = pb.NoticeTemplate(
        name=session.name(NOTICE_TEMPLATE, template),
        subject=subject,
        text=_text(text, file),
        fallback=fallback,
    )
    request = pb.UpdateNoticeTemplateRequest(notice_template=draft, request_id=new_request_id())
    session.output.one(await session.notify.UpdateNoticeTemplate(request), TEMPLATE_COLUMNS)


@command(templates, "preview")
async def preview_template(
    session: Session,
    kind: Annotated[int, typer.Argument(parser=_kind, metavar="KIND", help="For example RECEIPT.")],
    language: Annotated[
        str,
        typer.Option(metavar="TAG", help="The customer's. Default: the draft's, or English."),
    ] = "",
    template: Annotated[
        str,
        typer.Option(metavar="TEMPLATE", help="Try a draft in its place, such as receipt-sms-de."),
    ] = "",
    text: TextOption = "",
    file: FileOption = "",
    subject: SubjectOption = "",
) -> None:
    """Show what messages of a kind say, with made-up facts; a draft is tried and not stored."""
    request = pb.PreviewNoticeRequest(
        parent=session.parent, kind=pb.NoticeKind.ValueType(kind), locale=language
    )
    if template:
        request.notice_template.name = session.name(NOTICE_TEMPLATE, template)
        request.notice_template.subject = subject
        request.notice_template.text = _text(text, file)
    elif text or file or subject:
        raise CommandError("a draft needs --template, for example --template receipt-sms-de")
    session.output.one(await session.notify.PreviewNotice(request), PREVIEW_COLUMNS)


@command(templates, "delete")
async def delete_template(session: Session, template: TemplateArgument) -> None:
    """Delete a template, so that the suite's words hold again."""
    request = pb.DeleteNoticeTemplateRequest(
        name=session.name(NOTICE_TEMPLATE, template), request_id=new_request_id()
    )
    await session.notify.DeleteNoticeTemplate(request)


def _text(text: str, file: str) -> str:
    """The template that is given, of which there is one. Raises CommandError."""
    if bool(text) == bool(file):
        raise CommandError("give the template by --text or by --file")
    if text:
        return text
    try:
        with (
            sys.stdin if file == FROM_STANDARD_INPUT else Path(file).open(encoding="utf-8") as lines
        ):
            content = lines.read(TEMPLATE_FILE_MAX_CHARACTERS)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(f"{file} is no text: {error}") from None
    # Editors end a file with a line break, which is not part of the message.
    return content.removesuffix("\n")
