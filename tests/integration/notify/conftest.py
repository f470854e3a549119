from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import pytest

from services.notify import api, workers
from services.notify.clients.documents import Documents
from services.notify.clients.email import EmailGateway, MailServer, MailTls
from services.notify.clients.gateway import Gateway
from services.notify.clients.sms import SmsGateway
from services.notify.domain.notices import Channel
from services.runtime.db.pool import Database, Pool
from tests.conftest import KEYRING, ServiceDatabase
from tests.integration.notify.suite import NOW, PAYMENTS_AWAY, ManualClock, Notify
from tests.integration.sandbox.process import SMS_API_KEY, Sandbox


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with aiohttp.ClientSession() as http:
        process = Sandbox(tmp_path / "record.sqlite3", http)
        try:
            yield process
        finally:
            await process.close()


@pytest.fixture
async def notify(service_database: ServiceDatabase, sandbox: Sandbox) -> AsyncIterator[Notify]:
    engine = Pool(service_database("notify"), application="test", size=4, keyring=KEYRING)
    database, clock = Database(engine), ManualClock(NOW)
    sms = SmsGateway(f"{sandbox.url}/sms", SMS_API_KEY, "Recurring")
    server = MailServer("127.0.0.1", sandbox.smtp_port, MailTls.NONE)
    email = EmailGateway(server, "orders@acme.example")
    gateways: dict[Channel, Gateway] = {Channel.SMS: sms, Channel.EMAIL: email}
    payments = grpc.aio.insecure_channel(PAYMENTS_AWAY)
    documents = Documents(payments)
    deliveries = workers.Deliveries(database, clock, gateways, documents)
    yield Notify(
        database,
        clock,
        sandbox,
        api.Servicer(database, clock),
        deliveries,
        workers.Receipts(database, clock, {sms.name: sms}),
        documents,
        gateways,
    )
    await sms.close()
    await email.close()
    await payments.close()
    await database.close()
