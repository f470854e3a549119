"""Who may call which method of notify, and what customers may set by it."""

from services.runtime.auth.authenticator import Access
from services.runtime.auth.customer_access import by_name

READ, WRITE = "contacts:read", "contacts:write"
READ_WEBHOOKS, WRITE_WEBHOOKS = "webhooks:read", "webhooks:write"
# What customers set of their own.
_OWN_CONTACT = (
    "contact.display_name", "contact.email", "contact.preferences", "contact.locale",
    "contact.time_zone",
)  # fmt: skip
# Method -> who may call it. What is not named here is closed to all.
ACCESS = {
    "UpdateContact": Access(
        WRITE, customer=by_name("contact.name", *_OWN_CONTACT, "allow_missing")
    ),
    "GetContact": Access(READ, customer=by_name("name")),
    "ListContacts": Access(READ),
    "EraseCustomer": Access(WRITE),
    "StartPhoneBinding": Access(
        WRITE, customer=by_name("name", "phone", "with_present_phone_code")
    ),
    "ConfirmPhoneBinding": Access(WRITE, customer=by_name("name", "code", "present_phone_code")),
    "CancelPhoneChange": Access(WRITE, customer=by_name("name")),
    "StartEmailBinding": Access(WRITE, customer=by_name("name")),
    "ConfirmEmailBinding": Access(WRITE, customer=by_name("name", "token")),
    "UnbindPhone": Access(WRITE, customer=by_name("name")),
    "GetNotifySettings": Access(READ),
    "UpdateNotifySettings": Access(WRITE),
    "ListNotices": Access(
        READ,
        services=("scheduler",),
        customer=by_name("parent", "subject_resource", "kind", "state"),
    ),
    "GetNotice": Access(READ, customer=by_name("name")),
    "ResendNotice": Access(WRITE),
    "RedriveNotices": Access(WRITE),
    "ListNoticeStatistics": Access(READ),
    "PreviewNotice": Access(READ),
    "PreviewNotices": Access(READ),
    "UpdateNoticeTemplate": Access(WRITE),
    "GetNoticeTemplate": Access(READ),
    "ListNoticeTemplates": Access(READ),
    "DeleteNoticeTemplate": Access(WRITE),
    "CreateWebhookEndpoint": Access(WRITE_WEBHOOKS),
    "GetWebhookEndpoint": Access(READ_WEBHOOKS),
    "ListWebhookEndpoints": Access(READ_WEBHOOKS),
    "UpdateWebhookEndpoint": Access(WRITE_WEBHOOKS),
    "DeleteWebhookEndpoint": Access(WRITE_WEBHOOKS),
    "RotateWebhookSecret": Access(WRITE_WEBHOOKS),
    "TestWebhookEndpoint": Access(WRITE_WEBHOOKS),
    "ListWebhookDeliveries": Access(READ_WEBHOOKS),
    "ReplayWebhookDeliveries": Access(WRITE_WEBHOOKS),
    "BatchCheckContacts": Access(services=("scheduler",)),
    "ListAuditEntries": Access("audit:read"),
}
