"""Contacts, phone codes, notices and their deliveries. The shard key is the customer."""

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
    bind_time             timestamptz,
    bind_count            integer     NOT NULL DEFAULT 0,
    -- Messages in a row that the bound phone did not take, and until when no more are tried.
    sms_failure_count     integer     NOT NULL DEFAULT 0,
    sms_retry_time        timestamptz,
    sms_receipts_muted    boolean     NOT NULL,
    email_muted           boolean     NOT NULL,
    version               integer     NOT NULL DEFAULT 1,
    create_time           timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant),
    CHECK ((phone = '') = (bind_time IS NULL))
);
CREATE INDEX contacts_of_merchant ON contacts (merchant, customer);

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
    -- How it ended, once; later attempts on other channels do not change it.
    outcome               text        CHECK (outcome IN ('DELIVERED', 'FAILED', 'VOIDED')),
    create_time           timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant, notice),
    CHECK (num_nulls(promised_amount_minor, promised_currency, charge_not_before, notice_lead,
                     billing_mode) IN (0, 5))
);
CREATE UNIQUE INDEX notices_of_customer ON notices (customer, merchant, position);
CREATE INDEX notices_of_subject ON notices (customer, merchant, subject_resource);

-- Notices of a kind about a subject whose events happened before this time are not true any more.
CREATE TABLE superseded_kinds (
    merchant              text        NOT NULL,
    customer              text        NOT NULL,
    subject_resource      text        NOT NULL,
    kind                  text        NOT NULL,
    before_time           timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant, subject_resource, kind)
);

CREATE TABLE deliveries (
    merchant              text        NOT NULL,
    customer              text        NOT NULL,
    notice                text        NOT NULL,
    channel               text        NOT NULL CHECK (channel IN ('SMS', 'EMAIL')),
    main                  boolean     NOT NULL,
    state                 text        NOT NULL
                            CHECK (state IN ('PENDING', 'DELIVERED', 'FAILED', 'VOIDED')),
    subject               bytea       NOT NULL,
    text                  bytea       NOT NULL,
    secret_text           bytea,
    next_attempt_time     timestamptz NOT NULL,
    give_up_time          timestamptz NOT NULL,
    -- When what it says stops being true.
    expire_time           timestamptz,
    attempt_count         integer     NOT NULL DEFAULT 0,
    claim_time            timestamptz,
    deliver_time          timestamptz,
    failure_code          text        NOT NULL,
    -- Where it goes, if not where the contact is reached at the moment of sending.
    own_address           bytea,
    PRIMARY KEY (customer, merchant, notice, channel),
    FOREIGN KEY (customer, merchant, notice) REFERENCES notices,
    CHECK ((state = 'DELIVERED') = (deliver_time IS NOT NULL)),
    CHECK (state = 'PENDING' OR secret_text IS NULL)
);
CREATE INDEX deliveries_due ON deliveries (next_attempt_time) WHERE state = 'PENDING';
CREATE INDEX deliveries_pending ON deliveries (customer, merchant, channel) WHERE state = 'PENDING';

CREATE TABLE phone_codes (
    merchant              text        NOT NULL,
    customer              text        NOT NULL,
    notice                text        NOT NULL,
    phone                 bytea       NOT NULL,
    salt                  bytea       NOT NULL,
    code_hash             bytea       NOT NULL,
    state                 text        NOT NULL CHECK (state IN ('PENDING', 'USED', 'VOID')),
    wrong_count           integer     NOT NULL DEFAULT 0,
    create_time           timestamptz NOT NULL,
    expire_time           timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant, notice),
    FOREIGN KEY (customer, merchant, notice) REFERENCES notices
);
CREATE UNIQUE INDEX phone_codes_pending ON phone_codes (customer, merchant)
    WHERE state = 'PENDING';

-- When codes were sent lately, the newest first: to a phone whosever it is, to a merchant's range of
-- numbers, for a customer. Outlives the customer. Only who has the service's key can say what a row is
-- about, so all may see it.
CREATE TABLE code_limits (
    subject_blind_index   bytea         NOT NULL PRIMARY KEY,
    send_times            timestamptz[] NOT NULL
);
CREATE INDEX code_limits_sent ON code_limits ((send_times[1]));

-- How many codes a merchant's customers were sent in the present hour and day.
CREATE TABLE code_budgets (
    merchant              text        NOT NULL,
    period                text        NOT NULL CHECK (period IN ('HOUR', 'DAY')),
    start_time            timestamptz NOT NULL,
    sent_count            integer     NOT NULL,
    PRIMARY KEY (merchant, period)
);

SELECT enable_tenant_rls('merchant', 'contacts', 'notices', 'deliveries', 'phone_codes', 'code_budgets',
                  'superseded_kinds');
SELECT keep_final_states('deliveries', 'DELIVERED', 'FAILED');
SELECT keep_final_states('phone_codes', 'USED', 'VOID');

CREATE VIEW audit_v1.notices AS
    SELECT merchant, customer, 'merchants/' || merchant || '/customers/' || customer AS customer_name,
           notice, kind, subject_resource, outcome, deliver_time, promised_amount_minor,
           coalesce(promised_currency, '') AS promised_currency,
           charge_not_before AS charge_not_before_time, notice_lead, billing_mode, occur_time,
           create_time
    FROM notices LEFT JOIN (
        SELECT customer, merchant, notice, min(deliver_time) AS deliver_time FROM deliveries
        GROUP BY customer, merchant, notice) AS arrived USING (customer, merchant, notice);
CREATE VIEW audit_v1.deliveries AS
    SELECT deliveries.merchant, deliveries.customer,
           'merchants/' || deliveries.merchant || '/customers/' || deliveries.customer
               AS customer_name,
           notice, kind, subject_resource, channel, main, deliveries.state, occur_time, deliver_time,
           billing_mode, promised_amount_minor,
           coalesce(promised_currency, '') AS promised_currency,
           charge_not_before AS charge_not_before_time, notice_lead,
           -- Unknown of a customer who was erased, and of one who came again since.
           contacts.bind_count AS bound_phone_count
    FROM deliveries
    LEFT JOIN notices USING (customer, merchant, notice)
    LEFT JOIN contacts ON contacts.customer = deliveries.customer
      AND contacts.merchant = deliveries.merchant AND contacts.create_time <= notices.create_time;
CREATE VIEW audit_v1.due_work AS
    SELECT channel || ' of notice' AS kind, merchant,
           merchant || '/' || customer || '/' || notice AS subject,
           least(next_attempt_time, give_up_time) AS due_time, claim_time
    FROM deliveries WHERE state = 'PENDING';
"""
