"""The methods about contacts."""

from recurring.notify.v1 import notify_pb2

from services.notify.api import requests, responses
from services.notify.api.methods.base import Methods
from services.notify.application import contacts
from services.notify.names import CONTACT, CUSTOMER, MERCHANT
from services.notify.store import contacts as contact_store
from services.notify.store import phones as phone_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class ContactMethods(Methods):
    """Methods about contacts."""

    async def UpdateContact(
        self, request: notify_pb2.UpdateContactRequest, _context: object
    ) -> notify_pb2.Contact:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.Contact,
            responses.contact_message,
            lambda tx: contacts.update(
                tx, requests.read_contact_update(request), self._clock.now()
            ),
        )

    async def GetContact(
        self, request: notify_pb2.GetContactRequest, _context: object
    ) -> notify_pb2.Contact:
        key = read_name(CONTACT, request.name)
        async with self._database.read() as connection:
            return responses.contact_message(await contacts.existing(connection, key))

    async def ListContacts(
        self, request: notify_pb2.ListContactsRequest, _context: object
    ) -> notify_pb2.ListContactsResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            if request.phone:
                listed = await phone_store.of_phone(
                    connection, merchant, request.phone, after, page.limit
                )
            else:
                listed = await contact_store.of_merchant(connection, merchant, after, page.limit)
        shown, token = page.cut(
            listed, responses.contact_message, lambda contact: (contact.key.customer,)
        )
        return notify_pb2.ListContactsResponse(contacts=shown, next_page_token=token)

    async def EraseCustomer(
        self, request: notify_pb2.EraseCustomerRequest, _context: object
    ) -> notify_pb2.EraseCustomerResponse:
        return await run_mutation(
            self._database,
            request,
            notify_pb2.EraseCustomerResponse,
            lambda _: notify_pb2.EraseCustomerResponse(),
            lambda tx: contacts.erase(tx, read_name(CUSTOMER, request.name)),
        )
