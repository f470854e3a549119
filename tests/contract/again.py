"""Delivers events again, each in another batch than before, and looks for what that changes."""

from collections import Counter

import asyncpg
import nats
from recurring.cloudevents.v1.cloudevents_pb2 import CloudEventBatch

from deploy.embedded import wiring
from deploy.embedded.addresses import SERVICES
from services.runtime.messaging.batches import batch_headers, batch_id
from services.runtime.messaging.broker import DOMAIN
from tests.suite import Suite
from tests.tables import CHANGED_AT_INTERVALS

# Each delivery leaves its batch in the inbox.
LEFT_OUT = ("inbox", *CHANGED_AT_INTERVALS)
TABLES = """
    SELECT relname FROM pg_class
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
      AND relname <> ALL ($1)
"""
DIGEST = """
    SELECT coalesce(sum(hashtextextended(content::text, 0)), 0)::text
    FROM (SELECT to_jsonb(content) AS content FROM {table} AS content) AS contents
"""


async def digests(suite: Suite) -> dict[str, str]:
    """A digest of each table of each service."""
    found = {}
    for service in SERVICES:
        keys = suite.deployment.keys
        url = wiring.database_url(service, suite.stack.addresses, keys, "_readonly")
        connection = await asyncpg.connect(url)
        try:
            for (table,) in await connection.fetch(TABLES, LEFT_OUT):
                digest = await connection.fetchval(DIGEST.format(table=table))
                found[f"{service}.{table}"] = digest
        finally:
            await connection.close()
    return found


async def publish_again(suite: Suite) -> Counter[str]:
    """Publish every event so far in a batch of its own; returns how many of each type."""
    types: Counter[str] = Counter()
    for service in SERVICES:
        client = await nats.connect(
            wiring.nats_url(service, suite.stack.addresses, suite.deployment.keys)
        )
        jetstream = client.jetstream(domain=DOMAIN)
        try:
            async for message in suite.events([service.upper()]):
                for event in CloudEventBatch.FromString(message.data).events:
                    # Twice, so that the batch has an id that none before had.
                    batch = CloudEventBatch(events=[event, event])
                    head = batch_headers(batch_id([event.id, event.id]))
                    data = batch.SerializeToString()
                    await jetstream.publish(message.subject, data, headers=head)
                    types[event.type] += 1
        finally:
            await client.close()
    return types
