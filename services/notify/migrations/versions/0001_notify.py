"""Contacts, phone codes, notices and their deliveries; webhooks.

The shard key is the customer, of webhooks the merchant.
"""

from alembic import op

from services.runtime.db.migrations import RUNTIME_TABLES_V1, statements

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in statements(RUNTIME_TABLES_V1 + TABLES):
        op.execute(statement)


# Names, addresses and texts are encrypted by the service, hence bytea.
TABLES = """
CREATE TABLE contacts (
    merchant              text        NOT NULL,
    customer              text        NOT NULL,
    display_name          bytea       NOT NULL,
    email                 bytea       NOT NULL,
    phone                 bytea       NOT NULL DEFAULT '',
    -- A keyed hash, by which a merchant's customer is found by their phone.
    phone_index           bytea       NOT NULL DEFAULT '',
    -- The same whosever customer it is: by it a reply finds who wrote.
    reply_index           bytea       NOT NULL DEFAULT '',
    -- Proved, and to become the bound phone at a time, unless the owner of the present one objects.
    pending_phone         bytea       NOT NULL DEFAULT '',
    pending_bind_time     timestamptz,
    -- Since a phone was unbound: until when another one has to wait.
    phone_hold_until_time timestamptz,
    -- Why the phone is not proved any more, and since when. Nothing is sent to it.
    phone_lapse_time      timestamptz,
    phone_lapse_reason    text        NOT NULL DEFAULT ''
                            CHECK (phone_lapse_reason IN ('', 'PHONE_SILENT', 'NUMBER_UNASSIGNED')),
    -- Until when it is proved if no message arrives.
    phone_proof_end_time  timestamptz,
    bind_time             timestamptz,
    bind_count            integer     NOT NULL DEFAULT 0,
    -- Messages in a row that the bound phone did not take, and until when no more are tried.
    sms_failure_count     integer     NOT NULL DEFAULT 0,
    sms_retry_time        timestamptz,
    -- Since when the customer wants no SMS.
    sms_stop_time         timestamptz,
    sms_receipts_muted    boolean     NOT NULL,
    email_muted           boolean     NOT NULL,
    summaries_muted       boolean     NOT NULL DEFAULT false,
    -- When the summary of the month is made; none before something is paid, given back or left out.
    summary_due_time      timestamptz,
    -- BCP 47 and IANA; empty: unknown.
    locale                text        NOT NULL DEFAULT '',
    time_zone             text        NOT NULL DEFAULT '',
    version               integer     NOT NULL DEFAULT 1,
    -- When the address was proved by a link; the present one alone.
    email_bind_time       timestamptz,
    create_time           timestamptz NOT NULL,
    bucket                smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(customer)) STORED,
    PRIMARY KEY (customer, merchant),
    CHECK ((phone = '') = (bind_time IS NULL)),
    CHECK ((pending_phone = '') = (pending_bind_time IS NULL)),
    CHECK ((phone_lapse_reason = '') = (phone_lapse_time IS NULL)),
    CHECK (phone <> '' OR (phone_lapse_time IS NULL AND phone_proof_end_time IS NULL))
);
CREATE INDEX contacts_of_merchant ON contacts (merchant, customer);
CREATE INDEX contacts_of_phone ON contacts (merchant, phone_index) WHERE phone_index <> '';
CREATE INDEX contacts_of_reply ON contacts (reply_index) WHERE reply_index <> '';
CREATE INDEX contacts_pending_phone ON contacts (bucket, pending_bind_time)
    WHERE pending_bind_time IS NOT NULL;
CREATE INDEX contacts_phone_proof ON contacts (bucket, phone_proof_end_time)
    WHERE phone_proof_end_time IS NOT NULL;
CREATE INDEX contacts_summary_due ON contacts (bucket, summary_due_time)
    WHERE summary_due_time IS NOT NULL;

CREATE TABLE notices (
    merchant              text        NOT NULL,
    customer              text        NOT NULL,
    notice                text        NOT NULL,
    -- Callers see it, so it is a time and not a count over all merchants.
    position              uuid        NOT NULL DEFAULT uuidv7(),
    kind                  text        NOT NULL,
    subject_resource      text        NOT NULL,
    promised_amount_minor bigint,
    promised_currency     text,
    charge_not_before     timestamptz,
    notice_lead           interval,
    billing_mode          text CHECK (billing_mode IN ('AUTOMATIC', 'PAY_ON_NOTICE')),
    traceparent           text        NOT NULL,
    -- When the event happened that it is about.
    occur_time            timestamptz NOT NULL,
    -- Of a receipt, and of the notice that an order was cancelled: when the order was due.
    due_time              timestamptz,
    create_time           timestamptz NOT NULL,
    -- Of a notice of a price change: the price, and the standing orders that it was about.
    price                 text,
    price_announce_time   timestamptz,
    standing_orders       text[],
    -- What it is made of, as JSON of its kind; empty once the customer is erased.
    facts                 bytea       NOT NULL DEFAULT '',
    -- How it ended, once; later attempts on other channels do not change it.
    outcome               text        CHECK (outcome IN ('DELIVERED', 'FAILED', 'VOIDED')),
    -- The notice that an operator had sent once more; empty: it is no copy.
    original_notice       text        NOT NULL DEFAULT '',
    PRIMARY KEY (customer, merchant, notice),
    CHECK (num_nulls(price, price_announce_time, standing_orders) IN (0, 3)),
    CHECK (num_nulls(promised_amount_minor, promised_currency, charge_not_before, notice_lead,
                     billing_mode) IN (0, 5))
)
-- A set of notices ends at once: each page has room for all of its rows again, and no index follows.
WITH (fillfactor = 50);
CREATE UNIQUE INDEX notices_of_customer ON notices (customer, merchant, position);
-- For proofs, which read all receipts of a day.
CREATE INDEX notices_due_time ON notices USING brin (due_time)
    WITH (pages_per_range = 32, autosummarize);
CREATE INDEX notices_occur_time ON notices USING brin (occur_time)
    WITH (pages_per_range = 32, autosummarize);
CREATE INDEX notices_of_subject ON notices (customer, merchant, subject_resource);
CREATE INDEX notices_resent ON notices (customer, merchant) WHERE original_notice <> '';

-- Notices of these kinds about a subject whose events happened before this time are not true any more.
-- One row is what an event makes untrue; none is changed when the next one comes.
CREATE TABLE superseded_kinds (
    merchant              text        NOT NULL,
    customer              text        NOT NULL,
    subject_resource      text        NOT NULL,
    before_time           timestamptz NOT NULL,
    kinds                 text[]      NOT NULL,
    PRIMARY KEY (customer, merchant, subject_resource, before_time)
);

CREATE TABLE deliveries (
    merchant              text        NOT NULL,
    customer              text        NOT NULL,
    notice                text        NOT NULL,
    channel               text        NOT NULL CHECK (channel IN ('SMS', 'EMAIL')),
    main                  boolean     NOT NULL,
    -- What counts as proof that it arrived.
    evidence              text        NOT NULL DEFAULT 'DELIVERED'
                            CHECK (evidence IN ('ACCEPTED', 'DELIVERED')),
    -- Whether payments is asked for a file that goes with it.
    has_attachment        boolean     NOT NULL DEFAULT false,
    give_up_time          timestamptz NOT NULL,
    -- When what it says stops being true.
    expire_time           timestamptz,
    -- Where it goes, if not where the contact is reached at the moment of sending.
    own_address           bytea,
    bucket                smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(customer)) STORED,
    state                 text        NOT NULL
                            CHECK (state IN ('PENDING', 'ACCEPTED', 'DELIVERED', 'FAILED', 'EXPIRED',
                                             'VOIDED')),
    -- When it is tried next or, once a gateway has it, when the gateway is asked what became of it.
    next_attempt_time     timestamptz NOT NULL,
    attempt_count         integer     NOT NULL DEFAULT 0,
    deliver_time          timestamptz,
    -- When a gateway took it that sends receipts, which, and what it calls it.
    accept_time           timestamptz,
    gateway               text        NOT NULL DEFAULT '',
    gateway_message       text        NOT NULL DEFAULT '',
    failure_code          text        NOT NULL,
    -- Whether it failed or expired for a cause outside: neither its address nor its words were refused.
    given_up              boolean     NOT NULL DEFAULT false,
    -- Of an SMS that was attempted: the country of its number and, if a gateway took it, its segments
    -- and what they cost in millionths of the unit of the operator's currency.
    region_code           text        NOT NULL DEFAULT '',
    segment_count         integer     NOT NULL DEFAULT 0,
    cost_micros           bigint      NOT NULL DEFAULT 0,
    cost_currency         text        NOT NULL DEFAULT '',
    secret_text           bytea,
    -- What is sent at each attempt, stored before the first; empty until then.
    locale                text        NOT NULL DEFAULT '',
    -- The merchant's template and its version, or empty: the suite's.
    template              text        NOT NULL DEFAULT '',
    subject               bytea       NOT NULL DEFAULT '',
    text                  bytea       NOT NULL DEFAULT '',
    -- The notice whose message says this one as well; empty: it has a message of its own.
    digest_notice         text        NOT NULL DEFAULT '',
    -- When its message was first sent, if that counts among those of a day.
    counted_time          timestamptz,
    -- Its notice is there: it was stored just before, and is never deleted.
    -- From when on it counts as having arrived.
    evidence_time         timestamptz GENERATED ALWAYS AS (
        CASE evidence WHEN 'ACCEPTED' THEN coalesce(accept_time, deliver_time)
                      ELSE deliver_time END) STORED,
    PRIMARY KEY (customer, merchant, notice, channel),
    CHECK ((state = 'DELIVERED') = (deliver_time IS NOT NULL)),
    CHECK (state <> 'ACCEPTED' OR accept_time IS NOT NULL),
    CHECK (state = 'PENDING' OR secret_text IS NULL)
)
-- What an attempt changes comes last, side by side: PostgreSQL logs of a row that stays on its page
-- only what is between the first and the last changed byte. The text comes with the first attempt and
-- is most of a row: a page has room for it.
WITH (fillfactor = 25);
CREATE INDEX deliveries_accepted ON deliveries (bucket, next_attempt_time)
    WHERE state = 'ACCEPTED';
CREATE INDEX deliveries_due ON deliveries (bucket, has_attachment, channel, next_attempt_time)
    WHERE state = 'PENDING';
-- For proofs, which read all that arrived on a day.
CREATE INDEX deliveries_evidence_time ON deliveries USING brin (evidence_time)
    WITH (pages_per_range = 32, autosummarize);
-- And of each ask whether a copy arrived earlier: most notices have none.
CREATE INDEX deliveries_copies ON deliveries (customer, merchant, notice) WHERE NOT main;
-- What did not arrive, of all of a merchant's customers.
CREATE INDEX deliveries_undelivered ON deliveries (merchant, state, next_attempt_time, customer, notice)
    WHERE state IN ('FAILED', 'EXPIRED');
-- The messages of a day.
CREATE INDEX deliveries_counted ON deliveries (customer, merchant, channel, counted_time)
    WHERE counted_time IS NOT NULL;
-- What waits for a customer. `state || ''` keeps the planner from the one in place of the other: it
-- would read all that waits, for each customer or bucket, wherever the statistics say that little does.
CREATE INDEX deliveries_waiting ON deliveries (customer, merchant, channel)
    WHERE state || '' = 'PENDING';

-- How many deliveries there are, but for those that wait for a first attempt: by the day (UTC) on which
-- their notices were made, and by what they are. Those of notice_statistics_changes are to be added.
CREATE TABLE notice_statistics (
    merchant              text        NOT NULL,
    day                   date        NOT NULL,
    channel               text        NOT NULL,
    region_code           text        NOT NULL,
    kind                  text        NOT NULL,
    state                 text        NOT NULL,
    cost_currency         text        NOT NULL,
    delivery_count        bigint      NOT NULL,
    segment_count         bigint      NOT NULL,
    cost_micros           bigint      NOT NULL,
    PRIMARY KEY (merchant, day, channel, region_code, kind, state, cost_currency)
);
-- Whoever changes deliveries adds rows, and waits for nobody who changes others.
CREATE TABLE notice_statistics_changes (
    merchant              text        NOT NULL,
    position              uuid        NOT NULL DEFAULT uuidv7(),
    day                   date        NOT NULL,
    channel               text        NOT NULL,
    region_code           text        NOT NULL,
    kind                  text        NOT NULL,
    state                 text        NOT NULL,
    cost_currency         text        NOT NULL,
    delivery_count        bigint      NOT NULL,
    segment_count         bigint      NOT NULL,
    cost_micros           bigint      NOT NULL,
    PRIMARY KEY (merchant, position)
);
CREATE INDEX notice_statistics_changes_position ON notice_statistics_changes (position);

CREATE FUNCTION count_added_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO notice_statistics_changes (merchant, day, channel, region_code, kind, state,
                                           cost_currency, delivery_count, segment_count, cost_micros)
    SELECT merchant, CAST(create_time AT TIME ZONE 'UTC' AS date), channel, region_code, kind, state,
           cost_currency, count(*), sum(segment_count), sum(cost_micros)
    FROM added JOIN notices USING (customer, merchant, notice)
    WHERE state <> 'PENDING'
    GROUP BY 1, 2, 3, 4, 5, 6, 7;
    RETURN NULL;
END $$;
CREATE TRIGGER deliveries_added AFTER INSERT ON deliveries
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_added_deliveries();
CREATE FUNCTION count_changed_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO notice_statistics_changes (merchant, day, channel, region_code, kind, state,
                                           cost_currency, delivery_count, segment_count, cost_micros)
    SELECT merchant, CAST(create_time AT TIME ZONE 'UTC' AS date), channel, change.region_code, kind,
           change.state, change.cost_currency, sum(sign), sum(sign * change.segment_count),
           sum(sign * change.cost_micros)
    FROM (
        SELECT customer, merchant, notice, channel,
               former.state AS former_state, former.region_code AS former_region_code,
               former.segment_count AS former_segment_count, former.cost_micros AS former_cost_micros,
               former.cost_currency AS former_cost_currency,
               present.state, present.region_code, present.segment_count, present.cost_micros,
               present.cost_currency
        FROM former JOIN present USING (customer, merchant, notice, channel)
        WHERE (former.state, former.region_code, former.segment_count, former.cost_micros,
               former.cost_currency)
           <> (present.state, present.region_code, present.segment_count, present.cost_micros,
               present.cost_currency)) AS changed
    JOIN notices USING (customer, merchant, notice)
    CROSS JOIN LATERAL (VALUES
        (-1, former_state, former_region_code, former_segment_count, former_cost_micros,
         former_cost_currency),
        (1, changed.state, changed.region_code, changed.segment_count, changed.cost_micros,
         changed.cost_currency))
      AS change (sign, state, region_code, segment_count, cost_micros, cost_currency)
    WHERE change.state <> 'PENDING'
    GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(sign) <> 0 OR sum(sign * change.segment_count) <> 0
        OR sum(sign * change.cost_micros) <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER deliveries_changed AFTER UPDATE ON deliveries
    REFERENCING OLD TABLE AS former NEW TABLE AS present
    FOR EACH STATEMENT EXECUTE FUNCTION count_changed_deliveries();

CREATE TABLE phone_codes (
    merchant              text        NOT NULL,
    customer              text        NOT NULL,
    notice                text        NOT NULL,
    -- To bind the phone that it went to, to release the one that is bound, or to bind an e-mail.
    purpose               text        NOT NULL CHECK (purpose IN ('BIND', 'RELEASE', 'EMAIL')),
    -- The phone, or the e-mail address.
    phone                 bytea       NOT NULL,
    code_hash             bytea       NOT NULL,
    state                 text        NOT NULL CHECK (state IN ('PENDING', 'USED', 'VOID')),
    wrong_count           integer     NOT NULL DEFAULT 0,
    create_time           timestamptz NOT NULL,
    expire_time           timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant, notice),
    FOREIGN KEY (customer, merchant, notice) REFERENCES notices
);
CREATE UNIQUE INDEX phone_codes_pending ON phone_codes (customer, merchant, purpose)
    WHERE state = 'PENDING';

-- When codes were sent lately, the newest first: to a phone whosever it is, to a merchant's range of
-- numbers, for a customer. Outlives the customer. Only who has the service's key can say what a row is
-- about, so all may see it.
CREATE TABLE code_limits (
    subject_blind_index   bytea         NOT NULL PRIMARY KEY,
    send_times            timestamptz[] NOT NULL
);
CREATE INDEX code_limits_sent ON code_limits ((send_times[1]));

-- How many codes a merchant's customers were sent in the present hour and day, and what they cost in
-- millionths of the unit of the operator's currency.
CREATE TABLE code_budgets (
    merchant              text        NOT NULL,
    period                text        NOT NULL CHECK (period IN ('HOUR', 'DAY')),
    start_time            timestamptz NOT NULL,
    sent_count            integer     NOT NULL,
    spent_micros          bigint      NOT NULL,
    PRIMARY KEY (merchant, period)
);

-- How merchants' customers are reached beyond what each contact says. Few rows, rarely changed: a copy
-- on each shard.
CREATE TABLE notify_settings (
    merchant              text        NOT NULL PRIMARY KEY,
    -- ISO 3166-1; empty: all countries that the operator allows.
    phone_region_codes    text[]      NOT NULL DEFAULT '{}',
    -- What codes may cost in a day of UTC.
    code_spend_max_minor  bigint,
    code_spend_currency   text,
    web_otp_host          text        NOT NULL DEFAULT '',
    -- For so many days a phone is proved after each message that arrives.
    phone_proof_days      integer     NOT NULL DEFAULT 400,
    -- The page that links to prove an e-mail address lead to.
    email_page_uri        text        NOT NULL DEFAULT '',
    -- Whether an address gets notices before it is proved.
    proved_email_only     boolean     NOT NULL DEFAULT false,
    -- Of contacts that name none; empty: it is not known.
    time_zone             text        NOT NULL DEFAULT '',
    -- What messages call the merchant, and where its customers complain.
    merchant_display_name text        NOT NULL DEFAULT '',
    complaint_address     text        NOT NULL DEFAULT '',
    -- What counts as proof that the notice before a charge arrived, where no rule pack asks for it.
    charge_notice_evidence text       NOT NULL DEFAULT 'DELIVERED'
                            CHECK (charge_notice_evidence IN ('ACCEPTED', 'DELIVERED')),
    -- Of those on which nothing depends, by customer and channel; 0: any number.
    daily_message_max     integer     NOT NULL DEFAULT 0,
    -- Whether customers get a summary of each month.
    monthly_summaries     boolean     NOT NULL DEFAULT false,
    version               integer     NOT NULL DEFAULT 0,
    CHECK (num_nulls(code_spend_max_minor, code_spend_currency) IN (0, 2))
);

-- Merchants' own templates, by ids that name the kind, the channel and the language. The text is the
-- merchant's, not a customer's.
CREATE TABLE notice_templates (
    merchant              text        NOT NULL,
    template              text        NOT NULL,
    version               integer     NOT NULL,
    kind                  text        NOT NULL,
    channel               text        NOT NULL CHECK (channel IN ('SMS', 'EMAIL')),
    locale                text        NOT NULL,
    subject               text        NOT NULL,
    text                  text        NOT NULL,
    is_fallback           boolean     NOT NULL,
    active                boolean     NOT NULL,
    update_time           timestamptz NOT NULL,
    PRIMARY KEY (merchant, template)
);
CREATE INDEX notice_templates_of_kind ON notice_templates (merchant, kind) WHERE active;

-- What notices were written by.
CREATE TABLE notice_template_versions (
    merchant              text        NOT NULL,
    template              text        NOT NULL,
    version               integer     NOT NULL,
    subject               text        NOT NULL,
    text                  text        NOT NULL,
    create_time           timestamptz NOT NULL,
    PRIMARY KEY (merchant, template, version)
);

-- What customers write. Of no merchant until it is known who wrote. Their words are kept until
-- they are read, and their number until they are answered.
CREATE TABLE inbound_messages (
    -- What brought it, and what that calls it.
    gateway               text        NOT NULL,
    gateway_message       text        NOT NULL,
    merchant              text        NOT NULL DEFAULT '',
    customer              text        NOT NULL DEFAULT '',
    -- By it messages of one number are counted; changes with the key.
    sender_blind_index    bytea       NOT NULL,
    -- What one phone writes is read in its order, by one replica.
    bucket                smallint    NOT NULL
                            GENERATED ALWAYS AS (bucket_of(encode(sender_blind_index, 'hex'))) STORED,
    -- Ours, that it was sent to.
    recipient             text        NOT NULL,
    phone                 bytea       NOT NULL,
    text                  bytea       NOT NULL,
    receive_time          timestamptz NOT NULL,
    state                 text        NOT NULL DEFAULT 'PENDING'
                            CHECK (state IN ('PENDING', 'ACTING', 'DONE')),
    -- When it is read or, once it is known what it asks for, when that is tried next.
    next_attempt_time     timestamptz NOT NULL,
    attempt_count         integer     NOT NULL DEFAULT 0,
    -- What it asks for; empty: nothing that is known.
    word                  text        NOT NULL DEFAULT '',
    -- The order that it is about, what its standing order is called, and its date.
    subject_resource      text        NOT NULL DEFAULT '',
    title                 text        NOT NULL DEFAULT '',
    due_date              date,
    -- Whether the customer gets no answer: too many came, or they want no messages.
    is_silent             boolean     NOT NULL DEFAULT false,
    -- What the customer was answered, or why nothing.
    outcome               text        NOT NULL DEFAULT '',
    PRIMARY KEY (gateway, gateway_message),
    CHECK ((state = 'DONE') = (outcome <> '')),
    CHECK (state <> 'DONE' OR phone = ''),
    CHECK (state = 'PENDING' OR text = '')
);
CREATE INDEX inbound_messages_due ON inbound_messages (bucket, state, next_attempt_time)
    WHERE state <> 'DONE';
CREATE INDEX inbound_messages_of_sender ON inbound_messages (sender_blind_index, receive_time);
CREATE INDEX inbound_messages_receive_time ON inbound_messages (receive_time);
CREATE INDEX inbound_messages_open ON inbound_messages (receive_time) WHERE state <> 'DONE';
CREATE INDEX inbound_messages_of_customer ON inbound_messages (customer, merchant, receive_time)
    WHERE customer <> '';

-- Where platforms get the events of a merchant.
CREATE TABLE webhook_endpoints (
    merchant              text        NOT NULL,
    endpoint              text        NOT NULL,
    -- One replica sends to an endpoint, so that the requests at a time can be counted.
    bucket                smallint    NOT NULL
                            GENERATED ALWAYS AS (bucket_of(merchant || '/' || endpoint)) STORED,
    url                   text        NOT NULL,
    -- Empty: all.
    event_types           text[]      NOT NULL,
    description           text        NOT NULL,
    secret                bytea       NOT NULL,
    -- Requests are signed with it, too, until it expires.
    previous_secret       bytea       NOT NULL DEFAULT '',
    previous_secret_expire_time timestamptz,
    disable_reason        text        CHECK (disable_reason IN ('BY_CALLER', 'FAILING', 'GONE')),
    disable_time          timestamptz,
    -- Since when nothing was taken.
    failing_since_time    timestamptz,
    -- When what came of requests to it was stored last.
    last_attempt_time     timestamptz,
    -- Of what happened from then on, it wants what is of its types, and gets it.
    keep_since_time       timestamptz NOT NULL,
    send_since_time       timestamptz NOT NULL,
    version               integer     NOT NULL DEFAULT 1,
    create_time           timestamptz NOT NULL,
    PRIMARY KEY (merchant, endpoint),
    CHECK ((disable_reason IS NULL) = (disable_time IS NULL))
);
CREATE INDEX webhook_endpoints_of_bucket ON webhook_endpoints (bucket);
CREATE INDEX webhook_endpoints_not_taking ON webhook_endpoints (disable_time)
    WHERE disable_reason IN ('FAILING', 'GONE');

-- Events that an endpoint of their merchant wants, in the form in which they are sent: ids, masked
-- numbers and titles, as in the outbox.
CREATE TABLE webhook_events (
    merchant              text        NOT NULL,
    event_id              uuid        NOT NULL,
    type                  text        NOT NULL,
    occur_time            timestamptz NOT NULL,
    body                  bytea       NOT NULL,
    create_time           timestamptz NOT NULL,
    PRIMARY KEY (merchant, event_id)
);
CREATE INDEX webhook_events_occur_time ON webhook_events (merchant, occur_time);
CREATE INDEX webhook_events_create_time ON webhook_events (create_time);

CREATE TABLE webhook_deliveries (
    merchant              text        NOT NULL,
    endpoint              text        NOT NULL,
    event_id              uuid        NOT NULL,
    -- Callers see it, so it is a time and not a count over all merchants.
    position              uuid        NOT NULL DEFAULT uuidv7(),
    bucket                smallint    NOT NULL
                            GENERATED ALWAYS AS (bucket_of(merchant || '/' || endpoint)) STORED,
    event_type            text        NOT NULL,
    occur_time            timestamptz NOT NULL,
    create_time           timestamptz NOT NULL,
    state                 text        NOT NULL
                            CHECK (state IN ('PENDING', 'DELIVERED', 'FAILED', 'CANCELLED')),
    attempt_count         integer     NOT NULL DEFAULT 0,
    -- Since its event, or since it was last replayed.
    tried_count           integer     NOT NULL DEFAULT 0,
    next_attempt_time     timestamptz NOT NULL,
    deliver_time          timestamptz,
    failure_code          text        NOT NULL DEFAULT '',
    PRIMARY KEY (merchant, endpoint, event_id),
    CHECK ((state = 'DELIVERED') = (deliver_time IS NOT NULL))
)
WITH (fillfactor = 70);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (bucket, next_attempt_time)
    WHERE state = 'PENDING';
-- What waits for an endpoint; as with deliveries_waiting, it is not to be taken for the one above.
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (merchant, endpoint, next_attempt_time)
    WHERE state || '' = 'PENDING';
CREATE UNIQUE INDEX webhook_deliveries_of_endpoint ON webhook_deliveries (merchant, endpoint, position);
CREATE INDEX webhook_deliveries_create_time ON webhook_deliveries (create_time);

CREATE TABLE webhook_attempts (
    merchant              text        NOT NULL,
    endpoint              text        NOT NULL,
    event_id              uuid        NOT NULL,
    number                integer     NOT NULL,
    start_time            timestamptz NOT NULL,
    -- Of HTTP; 0 without an answer.
    status                integer     NOT NULL,
    duration              interval    NOT NULL,
    -- The first bytes of it; it could be anything.
    answer                bytea       NOT NULL,
    failure_code          text        NOT NULL,
    PRIMARY KEY (merchant, endpoint, event_id, number),
    FOREIGN KEY (merchant, endpoint, event_id) REFERENCES webhook_deliveries ON DELETE CASCADE
);

-- By kind of work and bucket, when the first is due. Buckets are looked into from the first that has
-- any of a kind on, so that a kind with nothing takes one look, not one a bucket.
CREATE VIEW first_due WITH (security_invoker = true) AS
    -- A gateway that is slow delays its own channel alone: each is a queue.
    SELECT kind, queue, buckets.bucket, due_time
    FROM buckets
    CROSS JOIN (VALUES ('delivery', 'SMS', false, 'SMS'), ('delivery', 'EMAIL', false, 'EMAIL'),
                       ('attachment', '', true, 'EMAIL')) AS work (kind, queue, has_attachment, channel)
    CROSS JOIN LATERAL (
        SELECT next_attempt_time AS due_time FROM deliveries
        WHERE state = 'PENDING' AND deliveries.bucket = buckets.bucket
          AND deliveries.has_attachment = work.has_attachment AND deliveries.channel = work.channel
        ORDER BY due_time LIMIT 1) AS first
    UNION ALL
    SELECT 'receipt', '', buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT next_attempt_time AS due_time FROM deliveries
        WHERE state = 'ACCEPTED' AND deliveries.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM deliveries WHERE state = 'ACCEPTED'
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'webhook', '', buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT next_attempt_time AS due_time FROM webhook_deliveries
        WHERE state = 'PENDING' AND webhook_deliveries.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM webhook_deliveries WHERE state = 'PENDING'
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT kind, '', buckets.bucket, due_time
    FROM buckets
    CROSS JOIN (VALUES ('reply', 'PENDING'), ('reply-act', 'ACTING')) AS work (kind, state)
    CROSS JOIN LATERAL (
        SELECT next_attempt_time AS due_time FROM inbound_messages
        WHERE state <> 'DONE' AND inbound_messages.bucket = buckets.bucket
          AND inbound_messages.state = work.state
        ORDER BY due_time LIMIT 1) AS first
    UNION ALL
    SELECT 'phone-change', '', buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT pending_bind_time AS due_time FROM contacts
        WHERE pending_bind_time IS NOT NULL AND contacts.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM contacts WHERE pending_bind_time IS NOT NULL
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'phone-silence', '', buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT phone_proof_end_time AS due_time FROM contacts
        WHERE phone_proof_end_time IS NOT NULL AND contacts.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM contacts WHERE phone_proof_end_time IS NOT NULL
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'monthly-summary', '', buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT summary_due_time AS due_time FROM contacts
        WHERE summary_due_time IS NOT NULL AND contacts.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM contacts WHERE summary_due_time IS NOT NULL
        ORDER BY bucket LIMIT 1);

SELECT enable_tenant_rls('merchant', 'contacts', 'notices', 'deliveries', 'phone_codes', 'code_budgets',
                  'notify_settings', 'notice_statistics', 'notice_statistics_changes',
                  'superseded_kinds', 'inbound_messages', 'notice_templates',
                  'notice_template_versions');
SELECT enable_tenant_rls('merchant', 'webhook_endpoints', 'webhook_events', 'webhook_deliveries',
                  'webhook_attempts');
SELECT revoke_privileges('DELETE', 'notices', 'superseded_kinds', 'deliveries',
    'notice_statistics', 'code_budgets', 'notify_settings', 'webhook_attempts');
SELECT revoke_privileges('UPDATE', 'webhook_events');
SELECT revoke_privileges('UPDATE, DELETE', 'notice_template_versions');
SELECT revoke_privileges('DELETE', 'notice_templates');
SELECT keep_final_states('deliveries', 'DELIVERED', 'FAILED', 'EXPIRED');
SELECT keep_final_states('phone_codes', 'USED', 'VOID');
SELECT keep_final_states('inbound_messages', 'DONE');

CREATE VIEW audit_v1.notices AS
    SELECT merchant, customer, 'merchants/' || merchant || '/customers/' || customer AS customer_name,
           notice, kind, subject_resource, outcome, deliver_time, promised_amount_minor,
           coalesce(promised_currency, '') AS promised_currency,
           charge_not_before AS charge_not_before_time, notice_lead, billing_mode, occur_time,
           create_time, original_notice
    FROM notices LEFT JOIN (
        SELECT customer, merchant, notice, min(evidence_time) AS deliver_time FROM deliveries
        GROUP BY customer, merchant, notice) AS arrived USING (customer, merchant, notice);
CREATE VIEW audit_v1.deliveries AS
    SELECT deliveries.merchant, deliveries.customer,
           'merchants/' || deliveries.merchant || '/customers/' || deliveries.customer
               AS customer_name,
           notice, kind, subject_resource, channel, main, deliveries.state, occur_time, deliver_time,
           accept_time, evidence AS evidence_state, evidence_time, billing_mode, promised_amount_minor,
           coalesce(promised_currency, '') AS promised_currency,
           charge_not_before AS charge_not_before_time, notice_lead, digest_notice,
           -- Unknown of a customer who was erased, and of one who came again since.
           contacts.bind_count AS bound_phone_count
    FROM deliveries
    LEFT JOIN notices USING (customer, merchant, notice)
    LEFT JOIN contacts ON contacts.customer = deliveries.customer
      AND contacts.merchant = deliveries.merchant AND contacts.create_time <= notices.create_time;
-- What scheduler says as well, by when the order was due, and payments, by when a notice was delivered.
CREATE VIEW audit_v1.compared AS
    SELECT 'receipt-sent' AS clause, merchant, '' AS product, subject_resource AS subject, customer,
           '' AS order_name, '' AS currency, 0::bigint AS amount_minor,
           CASE kind WHEN 'RECEIPT' THEN 'PAID' ELSE 'CANCELLED' END AS facts,
           due_time AS partition_time, true AS is_final
    FROM notices WHERE kind IN ('RECEIPT', 'ORDER_CANCELLED') AND original_notice = ''
    UNION ALL
    SELECT 'evidence-as-delivered', merchant, '',
           'merchants/' || merchant || '/customers/' || customer || '/notices/' || notice,
           customer, subject_resource, promised_currency, promised_amount_minor,
           concat_ws(' ', billing_mode, 'delivered', deliveries.evidence_time, 'not before',
                     greatest(charge_not_before, deliveries.evidence_time + notice_lead)),
           deliveries.evidence_time, true
    FROM deliveries JOIN notices USING (customer, merchant, notice)
    WHERE kind = 'ORDER_UPCOMING' AND outcome = 'DELIVERED' AND promised_amount_minor IS NOT NULL
      AND deliveries.evidence_time IS NOT NULL
      -- By the channel that it first arrived by. Copies are fewer than what they are copies of: a proof
      -- that reads all deliveries joins those alone.
      AND NOT EXISTS (
          SELECT FROM deliveries AS copy
          WHERE copy.customer = deliveries.customer AND copy.merchant = deliveries.merchant
            AND copy.notice = deliveries.notice AND NOT copy.main
            AND (copy.evidence_time, copy.channel) < (deliveries.evidence_time, deliveries.channel))
      AND (main OR NOT EXISTS (
          SELECT FROM deliveries AS other
          WHERE other.customer = deliveries.customer AND other.merchant = deliveries.merchant
            AND other.notice = deliveries.notice AND other.main
            AND (other.evidence_time, other.channel) < (deliveries.evidence_time, deliveries.channel)));
-- What digests of settled days are made of.
CREATE VIEW audit_v1.digested AS
    SELECT clause, merchant, product, subject, currency, amount_minor, facts, partition_time, is_final,
           clause = 'receipt-sent' AS may_be_backdated
    FROM audit_v1.compared
    UNION ALL
    -- Each with its deliveries.
    SELECT 'notices', merchant, '', customer || '/' || notice || '/' || coalesce(channel, ''), '', 0,
           concat_ws(' ', kind, subject_resource, outcome, state, deliver_time),
           occur_time, coalesce(state NOT IN ('PENDING', 'ACCEPTED'), true), false
    FROM notices LEFT JOIN deliveries USING (customer, merchant, notice);
CREATE VIEW audit_v1.due_work AS
    SELECT channel || ' of notice' AS kind, merchant,
           merchant || '/' || customer || '/' || notice AS subject,
           least(next_attempt_time, give_up_time) AS due_time, bucket
    FROM deliveries WHERE state = 'PENDING'
    UNION ALL
    SELECT 'receipt of notice', merchant, merchant || '/' || customer || '/' || notice,
           next_attempt_time, bucket
    FROM deliveries WHERE state = 'ACCEPTED'
    UNION ALL
    SELECT 'reply', merchant, gateway || '/' || gateway_message, next_attempt_time, bucket
    FROM inbound_messages WHERE state <> 'DONE'
    UNION ALL
    SELECT 'change of phone', merchant, merchant || '/' || customer, pending_bind_time, bucket
    FROM contacts WHERE pending_bind_time IS NOT NULL
    UNION ALL
    SELECT 'silence of phone', merchant, merchant || '/' || customer, phone_proof_end_time, bucket
    FROM contacts WHERE phone_proof_end_time IS NOT NULL
    UNION ALL
    SELECT 'monthly summary', merchant, merchant || '/' || customer, summary_due_time, bucket
    FROM contacts WHERE summary_due_time IS NOT NULL
    UNION ALL
    -- What waits for an endpoint is sent in its order, as fast as the endpoint answers.
    SELECT 'events for a webhook endpoint', merchant, merchant || '/' || endpoint,
           greatest(next_attempt_time, last_attempt_time), bucket
    FROM webhook_endpoints AS known
    CROSS JOIN LATERAL (
        SELECT next_attempt_time FROM webhook_deliveries AS queued
        WHERE queued.merchant = known.merchant AND queued.endpoint = known.endpoint
          AND queued.state || '' = 'PENDING'
        ORDER BY next_attempt_time LIMIT 1 OFFSET 0) AS first
    WHERE disable_reason IS NULL
    UNION ALL
    SELECT 'event for no webhook endpoint', merchant, merchant || '/' || endpoint || '/' || event_id,
           next_attempt_time, bucket
    FROM webhook_deliveries AS queued
    WHERE state = 'PENDING' AND NOT EXISTS (
        SELECT FROM webhook_endpoints AS known
        WHERE known.merchant = queued.merchant AND known.endpoint = queued.endpoint
          AND known.disable_reason IS NULL);
-- Of an endpoint: what it wants, from when on it is kept and sent, and what was.
CREATE VIEW audit_v1.webhook_endpoints AS
    SELECT merchant, endpoint, event_types, keep_since_time, send_since_time,
           disable_reason IS NULL AS is_enabled
    FROM webhook_endpoints;
CREATE VIEW audit_v1.webhook_events AS
    SELECT merchant, event_id, type, occur_time, create_time FROM webhook_events;
CREATE VIEW audit_v1.webhook_deliveries AS
    SELECT merchant, endpoint, event_id, event_type, state, next_attempt_time, deliver_time,
           create_time
    FROM webhook_deliveries;
"""
