"""The RPCs of notify: request, use case, response; each method's contract is in its proto."""

from recurring.notify.v1 import notify_pb2_grpc

from services.notify.api.methods.audit import AuditMethods
from services.notify.api.methods.contacts import ContactMethods
from services.notify.api.methods.internal import InternalMethods
from services.notify.api.methods.notices import NoticeMethods
from services.notify.api.methods.phones import PhoneMethods
from services.notify.api.methods.settings import SettingsMethods
from services.notify.api.methods.templates import TemplateMethods
from services.notify.api.methods.webhooks import WebhookMethods


class Servicer(
    ContactMethods,
    PhoneMethods,
    SettingsMethods,
    NoticeMethods,
    TemplateMethods,
    WebhookMethods,
    AuditMethods,
    InternalMethods,
    notify_pb2_grpc.NotifyServiceServicer,
):
    """Answers recurring.notify.v1.NotifyService."""
