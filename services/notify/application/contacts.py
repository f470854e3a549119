"""Contacts: how customers are reached, and the end of all that is known of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from services.notify.domain.notices import Contact, CustomerKey, new_contact
from services.notify.domain.phone_codes import CodePurpose
from services.notify.names import CONTACT
from services.notify.store import codes, contacts, deliveries, inbound, notices
from services.runtime.db.idempotency import forget_answers
from services.runtime.db.pool import Connection
from services.runtime.errors import Violations, not_found
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag


@dataclass(frozen=True, slots=True)
class ContactUpdate:
    """What a caller wants a contact to be."""

    key: CustomerKey
    # All that was given, by the fields' names in the domain.
    fields: Mapping[str, str | bool]
    # Those of the fields to change.
    mask: frozenset[str]
    # Empty: whatever the contact is now.
    etag: str
    allow_missing: bool


async def update(tx: Connection, wanted: ContactUpdate, now: datetime) -> Applied[Contact]:
    """Change a contact, or create it if that is allowed.

    Raises ABORTED ETAG_MISMATCH, NOT_FOUND CONTACT_NOT_FOUND, INVALID_ARGUMENT without a display name.
    """
    present = await contacts.one(tx, wanted.key, lock=True)
    check_etag(wanted.etag, present.version if present else None, CONTACT.format(*wanted.key))
    if present is None and not wanted.allow_missing:
        raise not_found("CONTACT_NOT_FOUND", CONTACT.format(*wanted.key))
    # A contact that is created takes all that is given, whatever the mask (AIP-134).
    mask = frozenset(wanted.fields) if present is None else wanted.mask
    violations = Violations()
    violations.require(
        "contact.display_name",
        "must be given",
        met="display_name" not in mask or bool(wanted.fields["display_name"]),
    )
    violations.check()
    changes = {name: value for name, value in wanted.fields.items() if name in mask}
    changed = (present or new_contact(wanted.key, now))._replace(**changes)  # type: ignore[arg-type]
    if present is None and (created := await contacts.insert(tx, changed)) is not None:
        return Applied(created)
    # Another caller may have created the contact at this instant: then it is changed.
    email_changed = present is None or changed.email != present.email
    if email_changed:
        await codes.void(tx, wanted.key, [CodePurpose.EMAIL])
    return Applied(await contacts.update(tx, changed, email_changed=email_changed), present)


async def existing(connection: Connection, key: CustomerKey, *, lock: bool = False) -> Contact:
    """A contact, locked if `lock` is set. Raises NOT_FOUND CONTACT_NOT_FOUND."""
    contact = await contacts.one(connection, key, lock=lock)
    if contact is None:
        raise not_found("CONTACT_NOT_FOUND", CONTACT.format(*key))
    return contact


async def erase(tx: Connection, key: CustomerKey) -> Applied[None]:
    """Erase what is known of a customer."""
    # The contact comes first: whoever binds a phone or changes the contact waits for its lock.
    await contacts.delete(tx, key)
    await codes.delete(tx, key)
    await notices.erase_facts(tx, key)
    await deliveries.erase_texts(tx, key)
    await inbound.erase(tx, key)
    await forget_answers(tx, key.merchant, [CONTACT.format(*key)])
    return Applied(None)
