"""Webhook endpoints and their secrets."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.notices import MerchantId
from services.notify.domain.webhooks import EndpointId, EndpointKey, WebhookEndpoint
from services.runtime.crypto.encryption import encrypt
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar

ENCRYPTED_COLUMNS = ("secret", "previous_secret")

# A merchant's endpoints are counted by one caller at a time.
_LOCK = Command(
    "SELECT FROM pg_advisory_xact_lock(hashtextextended('webhookEndpoints/' || :merchant, 0))"
)
_COUNT: Query[int] = Query(
    "SELECT count(*) FROM webhook_endpoints WHERE merchant = :merchant", scalar
)

_INSERT = Query(
    """
    INSERT INTO webhook_endpoints
        (merchant, endpoint, url, event_types, description, secret, disable_reason, disable_time,
         keep_since_time, send_since_time, create_time)
    VALUES (:merchant, :endpoint, :url, :event_types, :description, :secret, :disable_reason,
            :disable_time, :create_time, :create_time, :create_time)
    ON CONFLICT (merchant, endpoint) DO NOTHING
    RETURNING merchant, endpoint, url, event_types, description, disable_reason, disable_time,
              previous_secret_expire_time, failing_since_time, create_time, version
""",
    WebhookEndpoint,
)

_ONE = Query(
    """
    SELECT merchant, endpoint, url, event_types, description, disable_reason, disable_time,
           previous_secret_expire_time, failing_since_time, create_time, version
    FROM webhook_endpoints WHERE merchant = :merchant AND endpoint = :endpoint
""",
    WebhookEndpoint,
)

_LOCKED = Query(
    """
    SELECT merchant, endpoint, url, event_types, description, disable_reason, disable_time,
           previous_secret_expire_time, failing_since_time, create_time, version
    FROM webhook_endpoints WHERE merchant = :merchant AND endpoint = :endpoint
    FOR UPDATE
""",
    WebhookEndpoint,
)

_OF_MERCHANT = Query(
    """
    SELECT merchant, endpoint, url, event_types, description, disable_reason, disable_time,
           previous_secret_expire_time, failing_since_time, create_time, version
    FROM webhook_endpoints WHERE merchant = :merchant AND endpoint > :after
    ORDER BY endpoint LIMIT :limit
""",
    WebhookEndpoint,
)

# What was not wanted before is wanted from now on, and what was not sent is sent from now on.
_UPDATE = Query(
    """
    UPDATE webhook_endpoints AS known
    SET url = :url, event_types = :event_types, description = :description,
        disable_reason = :disable_reason, disable_time = :disable_time,
        failing_since_time = :failing_since_time,
        keep_since_time = CASE WHEN known.event_types = CAST(:event_types AS text[])
                               THEN keep_since_time ELSE :now END,
        send_since_time = CASE WHEN known.event_types = CAST(:event_types AS text[])
                                    AND known.disable_reason IS NOT DISTINCT FROM :disable_reason
                               THEN send_since_time ELSE :now END,
        version = version + 1
    WHERE merchant = :merchant AND endpoint = :endpoint
    RETURNING merchant, endpoint, url, event_types, description, disable_reason, disable_time,
              previous_secret_expire_time, failing_since_time, create_time, version
""",
    WebhookEndpoint,
)

_DELETE = Command("""
    DELETE FROM webhook_endpoints WHERE merchant = :merchant AND endpoint = :endpoint
""")


class _Secrets(NamedTuple):
    secret: bytes
    previous_secret: bytes


_SECRETS = Query(
    """
    SELECT secret, previous_secret FROM webhook_endpoints
    WHERE merchant = :merchant AND endpoint = :endpoint
""",
    _Secrets,
)

_ROTATE = Query(
    """
    UPDATE webhook_endpoints
    SET secret = :secret, previous_secret = :previous_secret,
        previous_secret_expire_time = :previous_secret_expire_time, version = version + 1
    WHERE merchant = :merchant AND endpoint = :endpoint
    RETURNING merchant, endpoint, url, event_types, description, disable_reason, disable_time,
              previous_secret_expire_time, failing_since_time, create_time, version
""",
    WebhookEndpoint,
)


class Health(NamedTuple):
    """What came of requests to an endpoint."""

    merchant: MerchantId
    endpoint: EndpointId
    # Whether it has taken any.
    has_taken: bool
    # Whether it wants no more.
    is_gone: bool


_NOTE_HEALTH = Command("""
    UPDATE webhook_endpoints AS known
    SET failing_since_time = CASE WHEN given.has_taken THEN NULL
                                  ELSE coalesce(known.failing_since_time, :now) END,
        last_attempt_time = :now
    FROM unnest(CAST(:merchant AS text[]), CAST(:endpoint AS text[]), CAST(:has_taken AS boolean[]))
      AS given (merchant, endpoint, has_taken)
    WHERE known.merchant = given.merchant AND known.endpoint = given.endpoint
""")

_DISABLE_FAILING = Query(
    """
    UPDATE webhook_endpoints AS known
    SET disable_reason = CASE WHEN given.is_gone THEN 'GONE' ELSE 'FAILING' END,
        disable_time = :now, version = version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:endpoint AS text[]), CAST(:is_gone AS boolean[]))
      AS given (merchant, endpoint, is_gone)
    WHERE known.merchant = given.merchant AND known.endpoint = given.endpoint
      AND known.disable_reason IS NULL
      AND (given.is_gone OR known.failing_since_time <= :failing_before)
    RETURNING known.merchant, known.endpoint, url, event_types, description, disable_reason,
              disable_time, previous_secret_expire_time, failing_since_time, create_time, version
""",
    WebhookEndpoint,
)


def aad(key: EndpointKey, column: str) -> tuple[str, ...]:
    """What a secret is bound to."""
    return "webhook_endpoints", column, *key


async def lock_and_count(tx: Connection, merchant: MerchantId) -> int:
    """How many endpoints a merchant has; none is created by others until the transaction ends."""
    await _LOCK.run(tx, merchant=merchant)
    return await _COUNT.one(tx, merchant=merchant)


async def insert(tx: Connection, endpoint: WebhookEndpoint) -> WebhookEndpoint | None:
    """Store a new endpoint with its secret; None if its id is taken."""
    return await _INSERT.one_or_none(
        tx,
        merchant=endpoint.merchant,
        endpoint=endpoint.endpoint,
        url=endpoint.url,
        event_types=list(endpoint.event_types),
        description=endpoint.description,
        secret=encrypt(tx, endpoint.secret, *aad(endpoint.key, "secret")),
        disable_reason=endpoint.disable_reason,
        disable_time=endpoint.disable_time,
        create_time=endpoint.create_time,
    )


async def one(tx: Connection, key: EndpointKey, *, lock: bool = False) -> WebhookEndpoint | None:
    """An endpoint without its secrets."""
    return await (_LOCKED if lock else _ONE).one_or_none(tx, **key._asdict())


async def of_merchant(
    tx: Connection, merchant: MerchantId, after: str, limit: int
) -> list[WebhookEndpoint]:
    """A merchant's endpoints by id, after an id."""
    return await _OF_MERCHANT.all(tx, merchant=merchant, after=after, limit=limit)


async def update(tx: Connection, changed: WebhookEndpoint, now: datetime) -> WebhookEndpoint:
    """Store what callers may change of an endpoint that is there."""
    return await _UPDATE.one(
        tx,
        **changed.key._asdict(),
        url=changed.url,
        event_types=list(changed.event_types),
        description=changed.description,
        disable_reason=changed.disable_reason,
        disable_time=changed.disable_time,
        failing_since_time=changed.failing_since_time,
        now=now,
    )


async def delete(tx: Connection, key: EndpointKey) -> bool:
    """Delete an endpoint; returns whether it was there."""
    return bool(await _DELETE.run(tx, **key._asdict()))


async def rotate(
    tx: Connection, key: EndpointKey, secret: str, previous_expire_time: datetime | None
) -> WebhookEndpoint:
    """Store a new secret; the one before is kept until a time, if one is given."""
    stored = await _SECRETS.one(tx, **key._asdict())
    previous = b""
    if previous_expire_time is not None:
        plain = tx.keyring.decrypt(stored.secret, *aad(key, "secret"))
        previous = tx.keyring.encrypt(plain, *aad(key, "previous_secret"))
    return await _ROTATE.one(
        tx,
        **key._asdict(),
        secret=encrypt(tx, secret, *aad(key, "secret")),
        previous_secret=previous,
        previous_secret_expire_time=previous_expire_time,
    )


async def note_health(
    tx: Connection, healths: Collection[Health], failing_before: datetime, now: datetime
) -> Sequence[WebhookEndpoint]:
    """Note which endpoints take events; returns those that are disabled, as they have not for long."""
    await _NOTE_HEALTH.run_for(tx, healths, now=now)
    unwell = [health for health in healths if health.is_gone or not health.has_taken]
    return await _DISABLE_FAILING.all_for(tx, unwell, now=now, failing_before=failing_before)
