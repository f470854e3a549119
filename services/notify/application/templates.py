"""Merchants' own templates: checked, stored as a version, and taken away."""

from datetime import datetime

from services.notify.domain.templates.own import OwnTemplate, TemplateKey
from services.notify.domain.templates.rendering import Source, check
from services.notify.names import NOTICE_TEMPLATE
from services.notify.store import templates
from services.notify.store.templates import Content
from services.runtime.db.pool import Connection
from services.runtime.errors import Violations, not_found
from services.runtime.mutations import Applied


def require_sound(content: Content) -> None:
    """Raise INVALID_ARGUMENT with what is wrong with a template, field by field."""
    violations = Violations()
    source = Source(content.locale, content.subject, content.text)
    for field, problem in check(content.kind, content.channel, source):
        violations.add(f"notice_template.{field}", problem.message, problem.reason)
    violations.check()


async def update(tx: Connection, content: Content, now: datetime) -> Applied[OwnTemplate]:
    """Store a version of a template. Raises INVALID_ARGUMENT TEMPLATE_…."""
    require_sound(content)
    before = await templates.one(tx, content.key)
    return Applied(await templates.store(tx, content, now), before)


async def delete(tx: Connection, key: TemplateKey, now: datetime) -> Applied[OwnTemplate]:
    """Let a template hold no more. Raises NOT_FOUND NOTICE_TEMPLATE_NOT_FOUND."""
    retired = await templates.retire(tx, key, now)
    if retired is None:
        raise not_found("NOTICE_TEMPLATE_NOT_FOUND", NOTICE_TEMPLATE.format(*key))
    return Applied(retired, retired)


async def existing(connection: Connection, key: TemplateKey, version: int) -> OwnTemplate:
    """A version of a template. Raises NOT_FOUND NOTICE_TEMPLATE_NOT_FOUND."""
    template = await templates.one(connection, key, version)
    if template is None:
        raise not_found("NOTICE_TEMPLATE_NOT_FOUND", NOTICE_TEMPLATE.format(*key))
    return template
