"""From a caller's messages to the domain, noting everything that is wrong with them."""

import re
from collections.abc import Mapping, Sequence

from recurring.notify.v1 import notify_pb2

from services.notify.domain import CODE_DIGITS, CustomerKey, NoticeKind
from services.notify.events.facts import CONTACT, CUSTOMER
from services.notify.templates.wording import DISPLAY_NAME_MAX_CHARACTERS
from services.runtime.errors import Violations
from services.runtime.wire import NamePattern, Page

MERCHANT = NamePattern("merchants/{merchant}")
EMAIL_MAX_CHARACTERS = 254
SUBJECT_RESOURCE_MAX_CHARACTERS = 300
BATCH_MAX_CUSTOMERS = 500
# Positions are bigint in PostgreSQL; all numbers with so many digits are.
_POSITION_MAX_DIGITS = 18

# RFC 5321's common form, without quoted local parts.
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
_CODE = re.compile(rf"[0-9]{{{CODE_DIGITS}}}")

# Field masks name fields by these paths; the last part is the name in the domain.
_PATHS = frozenset({
    "display_name", "email", "preferences.sms_receipts_muted", "preferences.email_muted",
})  # fmt: skip

# Fields of a contact, by their names in the domain.
Fields = Mapping[str, str | bool]


def read_contact(violations: Violations, field: str, name: str) -> CustomerKey:
    """The customer whose contact is named."""
    return CustomerKey(*CONTACT.read(violations, field, name))


def read_customer(violations: Violations, field: str, name: str) -> CustomerKey:
    """The customer who is named."""
    return CustomerKey(*CUSTOMER.read(violations, field, name))


def read_customers(violations: Violations, names: Sequence[str]) -> list[CustomerKey]:
    """At least one and at most BATCH_MAX_CUSTOMERS customers."""
    if not violations.require(
        "customers",
        f"must have 1 to {BATCH_MAX_CUSTOMERS} entries",
        met=1 <= len(names) <= BATCH_MAX_CUSTOMERS,
    ):
        return []
    return [
        read_customer(violations, f"customers[{index}]", name) for index, name in enumerate(names)
    ]


def read_fields(violations: Violations, contact: notify_pb2.Contact) -> Fields:
    """All that a caller can set of a contact; an empty name is one that is not given."""
    name, email = contact.display_name, contact.email
    violations.require(
        "contact.display_name",
        f"must have 1 to {DISPLAY_NAME_MAX_CHARACTERS} printable characters",
        met=not name or (_is_line(name, DISPLAY_NAME_MAX_CHARACTERS) and bool(name.strip())),
    )
    violations.require(
        "contact.email",
        f"must be empty or a mail address of at most {EMAIL_MAX_CHARACTERS} characters",
        met=not email
        or (len(email) <= EMAIL_MAX_CHARACTERS and _EMAIL.fullmatch(email) is not None),
    )
    return {
        "display_name": name,
        "email": email,
        "sms_receipts_muted": contact.preferences.sms_receipts_muted,
        "email_muted": contact.preferences.email_muted,
    }


def read_mask(violations: Violations, request: notify_pb2.UpdateContactRequest) -> frozenset[str]:
    """The names of the fields to change: those of the mask, or all that are set (AIP-134)."""
    paths = set(request.update_mask.paths)
    if not paths:
        contact = request.contact
        paths = {name for name in ("display_name", "email") if getattr(contact, name)}
        paths |= {"preferences"} if contact.HasField("preferences") else set()
    chosen: set[str] = set()
    for path in paths:
        meant = {known for known in _PATHS if path in {known, known.partition(".")[0], "*"}}
        violations.require("update_mask", f"{path!r} cannot be changed here", met=bool(meant))
        chosen |= {known.rpartition(".")[2] for known in meant}
    return frozenset(chosen)


def require_name(violations: Violations, fields: Fields) -> None:
    """Note a name that is missing where one is needed."""
    violations.require("contact.display_name", "must be given", met=bool(fields["display_name"]))


def read_phone(violations: Violations, field: str, text: str) -> str:
    """A phone number (E.164)."""
    violations.require(
        field,
        "must be an E.164 number, for example +491701234567",
        met=_PHONE.fullmatch(text) is not None,
    )
    return text


def read_code(violations: Violations, field: str, text: str) -> str:
    """A one-time code."""
    violations.require(
        field, f"must be {CODE_DIGITS} digits", met=_CODE.fullmatch(text) is not None
    )
    return text


def read_kind(violations: Violations, field: str, number: int) -> NoticeKind:
    """A kind of notice."""
    known = {int(notify_pb2.NoticeKind.Value(kind)): kind for kind in NoticeKind}
    violations.require(field, "must be a kind of notice", met=number in known)
    return known.get(number, NoticeKind.PHONE_CODE)


def read_subject_resource(violations: Violations, field: str, text: str) -> str:
    """The name of any resource, or nothing."""
    violations.require(
        field,
        f"must be a resource name of at most {SUBJECT_RESOURCE_MAX_CHARACTERS} characters",
        met=_is_line(text, SUBJECT_RESOURCE_MAX_CHARACTERS),
    )
    return text


def read_position(page: Page) -> int:
    """The position after which a page of notices begins."""
    if not page.after:
        return 0
    [text] = page.after
    violations = Violations()
    if not (text.isascii() and text.isdigit() and len(text) <= _POSITION_MAX_DIGITS):
        violations.add("page_token", "must come from the page before", "PAGE_TOKEN_INVALID")
    violations.check()
    return int(text)


def _is_line(text: str, most_characters: int) -> bool:
    return len(text) <= most_characters and text.isprintable()
