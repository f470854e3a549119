"""Payment methods, mandates, notices, charges, attempts, refunds and the ledger."""

from alembic import op

from services.runtime.db.migrations import RUNTIME_TABLES_V1, statements

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in statements(RUNTIME_TABLES_V1 + TABLES):
        op.execute(statement)


# The shard key of every table is the customer, within a merchant.
TABLES = """
CREATE TABLE payment_methods (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    payment_method          text        NOT NULL,
    -- What it is charged by, encrypted by the service. Empty once it was erased.
    provider_token          bytea       NOT NULL,
    brand                   text        NOT NULL,
    last4                   text        NOT NULL,
    create_time             timestamptz NOT NULL,
    -- When it was declined for good; no attempt is made with it from then on.
    block_time              timestamptz,
    decline_code            text        NOT NULL DEFAULT '',
    PRIMARY KEY (customer, merchant, payment_method),
    CHECK ((block_time IS NULL) = (decline_code = ''))
);

CREATE TABLE mandates (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    mandate                 text        NOT NULL,
    payment_method          text        NOT NULL,
    charge_ceiling_minor    bigint      NOT NULL CHECK (charge_ceiling_minor > 0),
    month_ceiling_minor     bigint      CHECK (month_ceiling_minor > 0),
    currency                text        NOT NULL,
    valid_from_time         timestamptz NOT NULL,
    valid_until_time        timestamptz,
    -- What was agreed to, when and where, encrypted by the service.
    evidence                bytea       NOT NULL,
    create_time             timestamptz NOT NULL,
    revoke_time             timestamptz,
    version                 integer     NOT NULL DEFAULT 1,
    PRIMARY KEY (customer, merchant, mandate),
    FOREIGN KEY (customer, merchant, payment_method) REFERENCES payment_methods
);

CREATE TABLE notices (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    notice                  text        NOT NULL,
    amount_minor            bigint      NOT NULL,
    currency                text        NOT NULL,
    charge_not_before_time  timestamptz NOT NULL,
    deliver_time            timestamptz NOT NULL,
    billing_mode            text        NOT NULL
                            CHECK (billing_mode IN ('AUTOMATIC', 'PAY_ON_NOTICE')),
    PRIMARY KEY (customer, merchant, charge, notice)
);

CREATE TABLE withdrawals (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    withdraw_time           timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant, charge)
);

-- The mandate that a charge is made under, since its standing order's was changed.
CREATE TABLE mandate_changes (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    mandate                 text        NOT NULL,
    change_time             timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant, charge)
);

CREATE TABLE charges (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    order_name              text        NOT NULL,
    billing_mode            text        NOT NULL
                            CHECK (billing_mode IN ('AUTOMATIC', 'PAY_ON_NOTICE')),
    amount_minor            bigint      NOT NULL CHECK (amount_minor > 0),
    currency                text        NOT NULL,
    mandate                 text        NOT NULL,
    title                   text        NOT NULL,
    time_zone               text        NOT NULL,
    traceparent             text        NOT NULL,
    state                   text        NOT NULL CHECK (state IN ('SCHEDULED', 'REQUESTED',
                                        'IN_FLIGHT', 'SUCCEEDED', 'REFUSED', 'ABANDONED')),
    payment_method          text        NOT NULL DEFAULT '',
    attempt_count           integer     NOT NULL DEFAULT 0,
    -- How many of them never reached the provider.
    not_made_count          integer     NOT NULL DEFAULT 0,
    next_attempt_time       timestamptz,
    expire_time             timestamptz,
    notice_wait_until_time  timestamptz,
    -- The payment method that is busy with another charge, while this one waits for it.
    awaited_method          text        NOT NULL DEFAULT '',
    notice                  text        NOT NULL DEFAULT '',
    refusal_reasons         text[]      NOT NULL DEFAULT '{}',
    abandon_reason          text,
    decline_code            text        NOT NULL DEFAULT '',
    create_time             timestamptz NOT NULL,
    update_time             timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant, charge),
    CHECK ((state = 'SCHEDULED') = (next_attempt_time IS NOT NULL)),
    CHECK ((state = 'ABANDONED') = (abandon_reason IS NOT NULL))
);
CREATE INDEX charges_of_merchant ON charges (merchant, charge, customer);
CREATE INDEX charges_due ON charges (next_attempt_time) WHERE state = 'SCHEDULED';
CREATE INDEX charges_awaiting ON charges (customer, merchant, awaited_method, create_time)
    WHERE state = 'SCHEDULED' AND awaited_method <> '';
CREATE INDEX charges_expiring ON charges (expire_time) WHERE state = 'REQUESTED';

CREATE TABLE attempts (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    number                  integer     NOT NULL CHECK (number > 0),
    idempotency_key         text        NOT NULL,
    amount_minor            bigint      NOT NULL CHECK (amount_minor > 0),
    currency                text        NOT NULL,
    payment_method          text        NOT NULL,
    mandate                 text        NOT NULL,
    state                   text        NOT NULL DEFAULT 'UNKNOWN'
                            CHECK (state IN ('UNKNOWN', 'SUCCEEDED', 'DECLINED', 'NOT_MADE')),
    decline_code            text        NOT NULL DEFAULT '',
    provider_payment        text        NOT NULL DEFAULT '',
    start_time              timestamptz NOT NULL,
    -- When it was sent once more under its key, never more often.
    resend_time             timestamptz,
    end_time                timestamptz,
    lookup_count            integer     NOT NULL DEFAULT 0,
    -- How the provider's answer differs from the request.
    mismatch                text        NOT NULL DEFAULT '',
    next_lookup_time        timestamptz,
    claim_time              timestamptz,
    PRIMARY KEY (customer, merchant, charge, number),
    FOREIGN KEY (customer, merchant, charge) REFERENCES charges,
    FOREIGN KEY (customer, merchant, payment_method) REFERENCES payment_methods,
    CHECK ((state = 'UNKNOWN') = (next_lookup_time IS NOT NULL)),
    CHECK ((state = 'UNKNOWN') = (end_time IS NULL)),
    CHECK (resend_time >= start_time)
);
-- No attempt begins while one has an unknown outcome, and none after one that succeeded.
CREATE UNIQUE INDEX attempts_one_live ON attempts (customer, merchant, charge)
    WHERE state IN ('UNKNOWN', 'SUCCEEDED');
CREATE INDEX attempts_unknown ON attempts (next_lookup_time) WHERE state = 'UNKNOWN';
CREATE INDEX attempts_of_method ON attempts (customer, merchant, payment_method)
    WHERE state = 'UNKNOWN';
CREATE INDEX attempts_declined ON attempts (customer, merchant, payment_method, end_time)
    WHERE state = 'DECLINED';
CREATE INDEX attempts_of_mandate ON attempts (customer, merchant, mandate, start_time)
    WHERE state IN ('UNKNOWN', 'SUCCEEDED');

CREATE TABLE refunds (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    refund                  text        NOT NULL,
    amount_minor            bigint      NOT NULL CHECK (amount_minor > 0),
    currency                text        NOT NULL,
    -- Encrypted by the service.
    note                    bytea       NOT NULL,
    state                   text        NOT NULL DEFAULT 'PENDING'
                            CHECK (state IN ('PENDING', 'SUCCEEDED', 'FAILED')),
    idempotency_key         text        NOT NULL,
    provider_refund         text        NOT NULL DEFAULT '',
    failure_code            text        NOT NULL DEFAULT '',
    -- How the provider's answer differs from the request.
    mismatch                text        NOT NULL DEFAULT '',
    traceparent             text        NOT NULL,
    try_count               integer     NOT NULL DEFAULT 0,
    next_try_time           timestamptz,
    claim_time              timestamptz,
    create_time             timestamptz NOT NULL,
    update_time             timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant, charge, refund),
    FOREIGN KEY (customer, merchant, charge) REFERENCES charges,
    CHECK ((state = 'PENDING') = (next_try_time IS NOT NULL))
);
CREATE INDEX refunds_pending ON refunds (next_try_time) WHERE state = 'PENDING';

CREATE TABLE ledger_transactions (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    transaction             uuid        NOT NULL,
    source                  text        NOT NULL,
    kind                    text        NOT NULL,
    book_time               timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant, transaction),
    UNIQUE (customer, merchant, source, kind)
);
CREATE INDEX ledger_transactions_recent ON ledger_transactions (book_time);

CREATE TABLE ledger_entries (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    transaction             uuid        NOT NULL,
    leg                     integer     NOT NULL,
    -- Callers see it, so it is a time and not a count over all merchants.
    position                uuid        NOT NULL DEFAULT uuidv7(),
    account                 text        NOT NULL,
    amount_minor            bigint      NOT NULL CHECK (amount_minor <> 0),
    currency                text        NOT NULL,
    PRIMARY KEY (customer, merchant, transaction, leg),
    FOREIGN KEY (customer, merchant, transaction) REFERENCES ledger_transactions
);
CREATE INDEX ledger_entries_of_merchant ON ledger_entries (merchant, position);
CREATE INDEX ledger_entries_by_account ON ledger_entries (merchant, account, currency)
    INCLUDE (amount_minor);

SELECT enable_tenant_rls('merchant', 'payment_methods', 'mandates', 'notices', 'withdrawals',
    'mandate_changes', 'charges', 'attempts', 'refunds', 'ledger_transactions', 'ledger_entries');
SELECT revoke_privileges('UPDATE, DELETE', 'ledger_transactions', 'ledger_entries');

SELECT keep_final_states('charges', 'SUCCEEDED', 'REFUSED', 'ABANDONED');
SELECT keep_final_states('attempts', 'SUCCEEDED', 'DECLINED', 'NOT_MADE');
SELECT keep_final_states('refunds', 'SUCCEEDED', 'FAILED');

-- The ledger is append-only, and each of its transactions sums to zero in each currency.
CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER ledger_transactions_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_entries_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE FUNCTION ledger_check_sum() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM ledger_entries
        WHERE customer = NEW.customer AND merchant = NEW.merchant
          AND transaction = NEW.transaction
        GROUP BY currency HAVING sum(amount_minor) <> 0
    ) THEN
        RAISE EXCEPTION 'ledger transaction % does not sum to zero', NEW.transaction
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
-- At the commit, when all legs are there.
CREATE CONSTRAINT TRIGGER ledger_entries_sum_to_zero
    AFTER INSERT ON ledger_entries DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ledger_check_sum();

CREATE VIEW audit_v1.charges AS
    SELECT merchant, customer, charge,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge AS name,
           'merchants/' || merchant || '/customers/' || customer AS customer_name,
           order_name, state, billing_mode, amount_minor, currency, refusal_reasons, abandon_reason
    FROM charges;
CREATE VIEW audit_v1.withdrawals AS
    SELECT merchant, customer, charge,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               AS charge_name,
           withdraw_time
    FROM withdrawals;
CREATE VIEW audit_v1.attempts AS
    SELECT attempts.merchant, attempts.customer, attempts.charge,
           'merchants/' || attempts.merchant || '/customers/' || attempts.customer || '/charges/'
               || attempts.charge AS charge_name,
           number, idempotency_key, attempts.state, charges.billing_mode, attempts.amount_minor,
           attempts.currency, provider_payment,
           -- The guard decides again before it is sent once more.
           coalesce(resend_time, start_time) AS start_time, end_time, attempts.mandate,
           CASE WHEN attempts.mandate = '' THEN '' ELSE
               'merchants/' || attempts.merchant || '/customers/' || attempts.customer || '/mandates/'
                   || attempts.mandate
           END AS mandate_name
    FROM attempts LEFT JOIN charges USING (customer, merchant, charge);
CREATE VIEW audit_v1.mandates AS
    SELECT merchant, customer, mandate,
           'merchants/' || merchant || '/customers/' || customer || '/mandates/' || mandate AS name,
           charge_ceiling_minor, month_ceiling_minor, currency, valid_from_time, valid_until_time,
           revoke_time
    FROM mandates;
CREATE VIEW audit_v1.notice_evidence AS
    SELECT merchant, customer, charge,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               AS charge_name,
           'merchants/' || merchant || '/customers/' || customer AS customer_name, notice,
           billing_mode, amount_minor, currency, charge_not_before_time, deliver_time
    FROM notices;
CREATE VIEW audit_v1.refunds AS
    SELECT merchant, customer, charge,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               || '/refunds/' || refund AS name,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               AS charge_name,
           state, amount_minor, currency, provider_refund
    FROM refunds;
CREATE VIEW audit_v1.ledger_entries AS
    SELECT merchant, transaction::text AS transaction, source, kind, account, amount_minor, currency,
           book_time
    FROM ledger_entries LEFT JOIN ledger_transactions USING (customer, merchant, transaction);
CREATE VIEW audit_v1.due_work AS
    SELECT 'charge' AS kind, merchant, merchant || '/' || customer || '/' || charge AS subject,
           coalesce(next_attempt_time, expire_time) AS due_time, NULL::timestamptz AS claim_time
    FROM charges WHERE state IN ('SCHEDULED', 'REQUESTED')
      AND coalesce(next_attempt_time, expire_time) IS NOT NULL
    UNION ALL
    SELECT 'attempt of unknown outcome', merchant, merchant || '/' || customer || '/' || charge,
           next_lookup_time, claim_time
    FROM attempts WHERE state = 'UNKNOWN'
    UNION ALL
    SELECT 'refund', merchant, merchant || '/' || customer || '/' || charge || '/' || refund,
           next_try_time, claim_time
    FROM refunds WHERE state = 'PENDING';
"""
