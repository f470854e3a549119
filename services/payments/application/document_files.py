"""Documents as files: as they were handed out before, or rendered now."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments.clients.rendering.process import DocumentRenderer
from services.payments.domain.documents import Document
from services.payments.domain.keys import DocumentKey
from services.payments.store import document_settings as settings_store
from services.payments.store import documents as store
from services.payments.store.document_settings import LogoKey
from services.payments.store.documents import DocumentFile, StoredDocument, WantedFile
from services.runtime.db.pool import Database
from services.runtime.errors import Problem, not_found


class Download(NamedTuple):
    """A document, and a file of it."""

    document: Document
    file: DocumentFile


async def download(
    database: Database, renderer: DocumentRenderer, wanted: Sequence[WantedFile], now: datetime
) -> list[Download | Problem]:
    """Files of documents in the order in which they are wanted, or what is in the way of each.

    A problem is NOT_FOUND DOCUMENT_NOT_FOUND or UNAVAILABLE DEPENDENCY_UNAVAILABLE.
    """
    async with database.read() as connection:
        stored = await store.by_keys(connection, {each.key for each in wanted})
        documents = {key: one.document for key, one in stored.items()}
        named = [_in_a_language(each, documents) for each in wanted]
        known = [each for each in dict.fromkeys(named) if each.key in documents]
        kept = await store.files(connection, known)
        missing = [each for each in known if each not in kept]
        logos = await settings_store.logos(
            connection, [_logo_key(documents[each.key]) for each in missing]
        )

    async def render(each: WantedFile) -> bytes | Problem:
        document = documents[each.key]
        logo = logos.get(_logo_key(document), b"")
        return await _rendered(renderer, stored[each.key], each, logo)

    # No transaction is open meanwhile.
    rendered = dict(zip(missing, await asyncio.gather(*map(render, missing)), strict=True))
    contents = {each: made for each, made in rendered.items() if isinstance(made, bytes)}
    if contents:
        async with database.begin(wake_workers=False) as tx:
            kept |= await store.keep_files(tx, contents, now)

    def result(each: WantedFile) -> Download | Problem:
        if each.key not in documents:
            return not_found("DOCUMENT_NOT_FOUND", each.key.name)
        if each in kept:
            return Download(documents[each.key], kept[each])
        problem = rendered[each]
        assert isinstance(problem, Problem)  # noqa: S101 - what was rendered is kept
        return problem

    return [result(each) for each in named]


def _in_a_language(wanted: WantedFile, documents: Mapping[DocumentKey, Document]) -> WantedFile:
    """A file in a language: if none is said, in the one that the document was issued in."""
    if wanted.language_code or wanted.key not in documents:
        return wanted
    return wanted._replace(language_code=documents[wanted.key].language_code)


def _logo_key(document: Document) -> LogoKey:
    return LogoKey(document.merchant, document.seller.logo_sha256)


async def _rendered(
    renderer: DocumentRenderer, stored: StoredDocument, wanted: WantedFile, logo: bytes
) -> bytes | Problem:
    try:
        return await renderer.render(
            stored.content, stored.content_sha256, wanted.format, wanted.language_code, logo
        )
    except Problem as problem:
        return problem
