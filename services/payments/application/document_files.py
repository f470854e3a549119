"""Documents as files: as they were handed out before, or rendered now."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from services.payments.application import buyers
from services.payments.clients.rendering.process import DocumentRenderer
from services.payments.domain.buyers import Buyer
from services.payments.domain.documents import Document
from services.payments.domain.keys import DocumentKey
from services.payments.store import document_settings as settings_store
from services.payments.store import documents as store
from services.payments.store.document_keys import BuyerCipher
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
        by_year = await buyers.ciphers(connection, documents.values())
        logos = await settings_store.logos(
            connection, [_logo_key(documents[each.key]) for each in missing]
        )

    async def render(each: WantedFile) -> bytes | Problem:
        document = documents[each.key]
        logo, buyer = logos.get(_logo_key(document), b""), buyers.buyer(document, by_year)
        return await _rendered(renderer, stored[each.key], each, logo, buyer)

    # No transaction is open meanwhile.
    rendered = dict(zip(missing, await asyncio.gather(*map(render, missing)), strict=True))
    ciphers = {key: buyers.cipher(document, by_year) for key, document in documents.items()}
    made = [
        _encrypted(DocumentFile(*each, content, sha256(content).hexdigest()), ciphers[each.key])
        for each, content in rendered.items()
        if isinstance(content, bytes)
    ]
    if made:
        async with database.begin(wake_workers=False) as tx:
            kept |= await store.keep_files(tx, made, now)

    def result(each: WantedFile) -> Download | Problem:
        if each.key not in documents:
            return not_found("DOCUMENT_NOT_FOUND", each.key.name)
        if each in kept:
            return Download(documents[each.key], _decrypted(kept[each], ciphers[each.key]))
        problem = rendered[each]
        assert isinstance(problem, Problem)  # noqa: S101 - what was rendered is kept
        return problem

    return [result(each) for each in named]


def _in_a_language(wanted: WantedFile, documents: Mapping[DocumentKey, Document]) -> WantedFile:
    """A file in a language: if none is said, in the one that the document was issued in."""
    if wanted.language_code or wanted.key not in documents:
        return wanted
    return wanted._replace(language_code=documents[wanted.key].language_code)


def _encrypted(file: DocumentFile, cipher: BuyerCipher | None) -> DocumentFile:
    """A file as it is kept: encrypted, if it names a buyer."""
    if cipher is None:
        return file
    return file._replace(content=cipher.encrypt_file(file.wanted, file.content))


def _decrypted(file: DocumentFile, cipher: BuyerCipher | None) -> DocumentFile:
    if cipher is None:
        return file
    return file._replace(content=cipher.decrypt_file(file.wanted, file.content))


def _logo_key(document: Document) -> LogoKey:
    return LogoKey(document.merchant, document.seller.logo_sha256)


async def _rendered(
    renderer: DocumentRenderer,
    stored: StoredDocument,
    wanted: WantedFile,
    logo: bytes,
    buyer: Buyer | None,
) -> bytes | Problem:
    content, sha256_of_content = stored.content, stored.content_sha256
    try:
        return await renderer.render(
            content, sha256_of_content, wanted.format, wanted.language_code, logo, buyer
        )
    except Problem as problem:
        return problem
