"""From a caller's messages to the domain, noting everything that is wrong with them."""

from collections.abc import Mapping

from recurring.notify.v1 import notify_pb2

from services.notify.domain.notices import CustomerKey, MerchantId, NoticeId, NoticeKind
from services.notify.domain.phone_numbers import NumberPolicy, check_number
from services.notify.names import parse_contact, parse_customer, parse_merchant, parse_notice
from services.runtime.auth.call_context import caller
from services.runtime.errors import Violations

# Field masks name fields by these paths; the last part is the name in the domain.
_PATHS = frozenset({
    "display_name", "email", "preferences.sms_receipts_muted", "preferences.email_muted",
})  # fmt: skip

# Fields of a contact, by their names in the domain.
Fields = Mapping[str, str | bool]


def read_merchant(name: str) -> MerchantId:
    """The merchant who is named, which must be the caller's."""
    merchant = parse_merchant(name)
    caller().check(merchant)
    return merchant


def read_contact(name: str) -> CustomerKey:
    """The customer whose contact is named, who must be of the caller's merchant."""
    key = parse_contact(name)
    caller().check(key.merchant)
    return key


def read_customer(name: str) -> CustomerKey:
    """The customer who is named, who must be of the caller's merchant."""
    key = parse_customer(name)
    caller().check(key.merchant)
    return key


def read_notice(name: str) -> tuple[CustomerKey, NoticeId]:
    """The notice that is named, which must be of the caller's merchant."""
    key, notice = parse_notice(name)
    caller().check(key.merchant)
    return key, notice


def read_fields(contact: notify_pb2.Contact) -> Fields:
    """All that a caller can set of a contact; an empty name is one that is not given."""
    return {
        "display_name": contact.display_name,
        "email": contact.email,
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


def read_phone(phone: str, policy: NumberPolicy) -> str:
    """The number of a mobile phone in E.164, which policy allows codes to."""
    violations = Violations()
    refusal = check_number(phone, policy)
    if refusal is not None:
        violations.add("phone", refusal.message, refusal.problem)
    violations.check()
    return phone


def read_kind(number: int) -> NoticeKind:
    """A kind of notice."""
    return NoticeKind(notify_pb2.NoticeKind.Name(notify_pb2.NoticeKind.ValueType(number)))
