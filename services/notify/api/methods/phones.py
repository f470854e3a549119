"""The methods about phones."""

from google.protobuf.message import Message
from recurring.notify.v1 import notify_pb2

from services.notify.api import requests, responses
from services.notify.api.methods.base import Methods
from services.notify.application import emails, phones
from services.notify.domain.notices import Contact
from services.notify.names import CONTACT
from services.runtime.mutations import Apply, run_mutation
from services.runtime.rpc.names import read_name


class PhoneMethods(Methods):
    """Methods about phones."""

    async def StartPhoneBinding(
        self, request: notify_pb2.StartPhoneBindingRequest, _context: object
    ) -> notify_pb2.StartPhoneBindingResponse:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.StartPhoneBindingResponse,
            responses.code_response,
            lambda tx: phones.start_binding(
                tx,
                requests.read_binding_start(request, self._numbers),
                self._budget,
                self._clock.now(),
            ),
        )

    async def ConfirmPhoneBinding(
        self, request: notify_pb2.ConfirmPhoneBindingRequest, _context: object
    ) -> notify_pb2.Contact:
        return await self._change(
            request,
            lambda tx: phones.confirm_binding(
                tx,
                phones.Proof(
                    read_name(CONTACT, request.name),
                    request.code,
                    request.present_phone_code,
                    request.request_id,
                ),
                self._phone_change_wait,
                self._clock.now(),
            ),
        )

    async def StartEmailBinding(
        self, request: notify_pb2.StartEmailBindingRequest, _context: object
    ) -> notify_pb2.StartEmailBindingResponse:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.StartEmailBindingResponse,
            responses.link_response,
            lambda tx: emails.start_binding(
                tx,
                read_name(CONTACT, request.name),
                request.request_id,
                self._budget.caller_hour_max,
                self._clock.now(),
            ),
        )

    async def ConfirmEmailBinding(
        self, request: notify_pb2.ConfirmEmailBindingRequest, _context: object
    ) -> notify_pb2.Contact:
        return await self._change(
            request,
            lambda tx: emails.confirm_binding(
                tx, read_name(CONTACT, request.name), request.token, self._clock.now()
            ),
        )

    async def CancelPhoneChange(
        self, request: notify_pb2.CancelPhoneChangeRequest, _context: object
    ) -> notify_pb2.Contact:
        return await self._change(
            request,
            lambda tx: phones.cancel_change(tx, read_name(CONTACT, request.name)),
        )

    async def UnbindPhone(
        self, request: notify_pb2.UnbindPhoneRequest, _context: object
    ) -> notify_pb2.Contact:
        return await self._change(
            request,
            lambda tx: phones.unbind(
                tx,
                read_name(CONTACT, request.name),
                request.request_id,
                self._phone_change_wait,
                self._clock.now(),
            ),
        )

    async def _change(self, request: Message, apply: Apply[Contact]) -> notify_pb2.Contact:
        return await run_mutation(
            self._database, request, notify_pb2.Contact, responses.contact_message, apply
        )
