"""Merchants' own templates: the version that holds, and all that were."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.notices import Channel, MerchantId, NoticeKind
from services.notify.domain.templates.own import OwnTemplate, TemplateId, TemplateKey
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_STORE = Query(
    """
    INSERT INTO notice_templates AS known (merchant, template, version, kind, channel, locale,
                                           subject, text, is_fallback, active, update_time)
    VALUES (:merchant, :template, 1, :kind, :channel, :locale, :subject, :text, :is_fallback, true,
            :now)
    ON CONFLICT (merchant, template) DO UPDATE SET
        version = known.version + 1, subject = EXCLUDED.subject, text = EXCLUDED.text,
        is_fallback = EXCLUDED.is_fallback, active = true, update_time = EXCLUDED.update_time
    RETURNING merchant, template, version, kind, channel, locale, subject, text, is_fallback
""",
    OwnTemplate,
)

_KEEP = Command("""
    INSERT INTO notice_template_versions (merchant, template, version, subject, text, create_time)
    VALUES (:merchant, :template, :version, :subject, :text, :now)
""")

_RETIRE = Query(
    """
    UPDATE notice_templates SET active = false, update_time = :now
    WHERE merchant = :merchant AND template = :template AND active
    RETURNING merchant, template, version, kind, channel, locale, subject, text, is_fallback
""",
    OwnTemplate,
)

_ONE = Query(
    """
    SELECT merchant, template, version, kind, channel, locale, subject, text, is_fallback
    FROM notice_templates WHERE merchant = :merchant AND template = :template AND active
""",
    OwnTemplate,
)

_VERSION = Query(
    """
    SELECT merchant, template, kept.version, kind, channel, locale, kept.subject, kept.text,
           is_fallback
    FROM notice_template_versions AS kept JOIN notice_templates USING (merchant, template)
    WHERE merchant = :merchant AND template = :template AND kept.version = :version
""",
    OwnTemplate,
)

_OF_MERCHANT = Query(
    """
    SELECT merchant, template, version, kind, channel, locale, subject, text, is_fallback
    FROM notice_templates WHERE merchant = :merchant AND active AND template > :after
    ORDER BY template LIMIT :limit
""",
    OwnTemplate,
)

_FOR_NOTICES = Query(
    """
    SELECT merchant, template, version, own.kind, channel, locale, subject, text, is_fallback
    FROM unnest(CAST(:merchant AS text[]), CAST(:kind AS text[])) AS named (merchant, kind)
    CROSS JOIN LATERAL (
        SELECT template, version, notice_templates.kind, channel, locale, subject, text, is_fallback
        FROM notice_templates
        WHERE notice_templates.merchant = named.merchant AND notice_templates.kind = named.kind
          AND active
        OFFSET 0) AS own
""",
    OwnTemplate,
)


class MerchantKind(NamedTuple):
    """A kind of notice of a merchant."""

    merchant: MerchantId
    kind: NoticeKind


class Content(NamedTuple):
    """What a caller wants a template to be."""

    key: TemplateKey
    kind: NoticeKind
    channel: Channel
    locale: str
    subject: str
    text: str
    is_fallback: bool

    def as_template(self) -> OwnTemplate:
        """The template that it would be."""
        return OwnTemplate(
            *self.key,
            version=0,
            kind=self.kind,
            channel=self.channel,
            locale=self.locale,
            subject=self.subject,
            text=self.text,
            is_fallback=self.is_fallback,
        )


async def store(tx: Connection, content: Content, now: datetime) -> OwnTemplate:
    """Store a version of a template, which holds from now on; the ones before are kept."""
    key, *others = content
    fields = dict(zip(Content._fields[1:], others, strict=True))
    stored = await _STORE.one(tx, **key._asdict(), **fields, now=now)
    kept = {name: getattr(stored, name) for name in ("version", "subject", "text")}
    await _KEEP.run(tx, **key._asdict(), **kept, now=now)
    return stored


async def retire(tx: Connection, key: TemplateKey, now: datetime) -> OwnTemplate | None:
    """Let a template hold no more; None if none does."""
    return await _RETIRE.one_or_none(tx, **key._asdict(), now=now)


async def one(tx: Connection, key: TemplateKey, version: int = 0) -> OwnTemplate | None:
    """The version of a template that holds, or any that did."""
    if version:
        return await _VERSION.one_or_none(tx, **key._asdict(), version=version)
    return await _ONE.one_or_none(tx, **key._asdict())


async def of_merchant(
    tx: Connection, merchant: MerchantId, after: TemplateId, limit: int
) -> list[OwnTemplate]:
    """A merchant's templates by id, after an id."""
    return await _OF_MERCHANT.all(tx, merchant=merchant, after=after, limit=limit)


async def for_notices(
    tx: Connection, kinds: Collection[MerchantKind]
) -> Mapping[MerchantId, Sequence[OwnTemplate]]:
    """The templates that notices of these kinds may be written by, by merchant."""
    found: dict[MerchantId, list[OwnTemplate]] = defaultdict(list)
    for template in await _FOR_NOTICES.all_for(tx, sorted(set(kinds))):
        found[template.merchant].append(template)
    return found
