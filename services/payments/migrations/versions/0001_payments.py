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
    -- Which provider knows it: every attempt with it is made there.
    provider                text        NOT NULL,
    -- What it is charged by, encrypted by the service. Empty once it was erased.
    provider_token          bytea       NOT NULL,
    brand                   text        NOT NULL,
    last4                   text        NOT NULL,
    create_time             timestamptz NOT NULL,
    -- When it was declined for good; no attempt is made with it from then on.
    block_time              timestamptz,
    decline_code            text        NOT NULL DEFAULT '',
    kind                    text        NOT NULL DEFAULT 'CARD' CHECK (kind IN ('CARD', 'BANK_DEBIT')),
    -- The first instant (UTC) after the month until which it is valid.
    expire_time             timestamptz,
    -- Whose it is at the provider.
    provider_customer       text        NOT NULL DEFAULT '',
    -- What mandates without a method of their own are charged by.
    is_default              boolean     NOT NULL DEFAULT false,
    -- The place among what is charged when the default cannot be; 0: none.
    fallback_order          integer     NOT NULL DEFAULT 0 CHECK (fallback_order >= 0),
    -- When its use was ended; no attempt begins with it from then on.
    detach_time             timestamptz,
    -- When it is looked at next whether it is about to expire; null: it is not, or not any more.
    expiry_check_time       timestamptz,
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(customer)) STORED,
    PRIMARY KEY (customer, merchant, payment_method),
    CHECK ((block_time IS NULL) = (decline_code = '')),
    CHECK (detach_time IS NULL OR NOT is_default)
);
CREATE UNIQUE INDEX payment_methods_one_default ON payment_methods (customer, merchant)
    WHERE is_default;
CREATE INDEX payment_methods_expiring ON payment_methods (provider, bucket, expiry_check_time)
    WHERE expiry_check_time IS NOT NULL;

-- Which provider takes a merchant's new payment methods; empty: the deployment says. Few rows, rarely
-- changed: a copy on each shard.
CREATE TABLE payment_routings (
    merchant                text        NOT NULL PRIMARY KEY,
    card_provider           text        NOT NULL,
    bank_debit_provider     text        NOT NULL,
    version                 integer     NOT NULL
);

-- What follows a decline. Few rows, rarely changed: a copy on each shard.
CREATE TABLE dunning_policies (
    merchant                text        NOT NULL PRIMARY KEY,
    schedule                text        NOT NULL
                            CHECK (schedule IN ('STANDARD', 'KILL_BILL', 'PAYFORIT', 'CUSTOM')),
    retry_days              integer[]   NOT NULL,
    retry_hour              integer     CHECK (retry_hour BETWEEN 0 AND 23),
    weekdays                integer[]   NOT NULL,
    uses_fallbacks          boolean     NOT NULL,
    awaits_new_method       boolean     NOT NULL,
    ask_to_pay_days         integer     NOT NULL CHECK (ask_to_pay_days >= 0),
    reminder_hours          integer[]   NOT NULL,
    payment_page_uri        text        NOT NULL,
    version                 integer     NOT NULL
);
-- What each was changed to, for those that read later what followed a decline.
CREATE TABLE dunning_policy_versions (
    LIKE dunning_policies INCLUDING CONSTRAINTS,
    PRIMARY KEY (merchant, version)
);

CREATE TABLE mandates (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    mandate                 text        NOT NULL,
    -- Null: the customer's default, or their fallbacks.
    payment_method          text,
    charge_ceiling_minor    bigint      NOT NULL CHECK (charge_ceiling_minor > 0),
    period_ceiling_minor     bigint      CHECK (period_ceiling_minor > 0),
    currency                text        NOT NULL,
    valid_from_time         timestamptz NOT NULL,
    valid_until_time        timestamptz,
    -- What was agreed to, when and where, encrypted by the service.
    evidence                bytea       NOT NULL,
    create_time             timestamptz NOT NULL,
    revoke_time             timestamptz,
    -- The customer has not consented yet.
    is_pending              boolean     NOT NULL DEFAULT false,
    pause_time              timestamptz,
    pause_reason            text        CHECK (pause_reason IN ('REQUESTED', 'DISPUTED')),
    -- Since when it was, by a rule pack, not used for too long.
    lapse_time              timestamptz,
    version                 integer     NOT NULL DEFAULT 1,
    -- The ceiling of the period is of so many local days, each with those before it; null: of a month.
    period_days             integer     CHECK (period_days BETWEEN 1 AND 366),
    time_zone               text        NOT NULL DEFAULT 'UTC',
    -- What it is for; none: for all of the customer's.
    standing_orders         text[]      NOT NULL DEFAULT '{}',
    -- So long before each charge its notice is delivered.
    lead_seconds            integer     NOT NULL DEFAULT 0 CHECK (lead_seconds >= 0),
    CHECK (period_days IS NULL OR period_ceiling_minor IS NOT NULL),
    CHECK ((pause_time IS NULL) = (pause_reason IS NULL)),
    CHECK (NOT is_pending OR pause_time IS NULL AND lapse_time IS NULL),
    PRIMARY KEY (customer, merchant, mandate),
    FOREIGN KEY (customer, merchant, payment_method) REFERENCES payment_methods
);

-- How the terms of mandates were changed: what they were until then.
CREATE TABLE mandate_amendments (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    mandate                 text        NOT NULL,
    -- The mandate's versions that had the former terms: from one on, and before the other.
    from_version            integer     NOT NULL,
    version                 integer     NOT NULL CHECK (version > from_version),
    amend_time              timestamptz NOT NULL,
    -- How the customer consented, encrypted by the service; empty where that was not needed.
    evidence                bytea       NOT NULL,
    charge_ceiling_minor    bigint      NOT NULL,
    period_ceiling_minor    bigint,
    period_days             integer,
    time_zone               text        NOT NULL,
    valid_until_time        timestamptz,
    standing_orders         text[]      NOT NULL,
    lead_seconds            integer     NOT NULL,
    PRIMARY KEY (customer, merchant, mandate, version),
    FOREIGN KEY (customer, merchant, mandate) REFERENCES mandates
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
-- For proofs, as that of charges.
CREATE INDEX notices_deliver_time ON notices USING brin (deliver_time)
    WITH (pages_per_range = 32, autosummarize);

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
    -- When the order was due.
    due_time                timestamptz NOT NULL,
    billing_mode            text        NOT NULL
                            CHECK (billing_mode IN ('AUTOMATIC', 'PAY_ON_NOTICE')),
    amount_minor            bigint      NOT NULL CHECK (amount_minor > 0),
    currency                text        NOT NULL,
    mandate                 text        NOT NULL,
    title                   text        NOT NULL,
    time_zone               text        NOT NULL,
    traceparent             text        NOT NULL,
    expire_time             timestamptz,
    -- What rule packs ask of it, by payment scheme; NULL: nobody said.
    charge_rules            jsonb,
    -- What it is for: products with their net amounts and taxes; and where that is delivered to.
    lines                   jsonb       NOT NULL DEFAULT '[]',
    region_code             text        NOT NULL DEFAULT '',
    -- For so many days it can be paid late, once it was not paid in time; 0: not at all.
    late_payment_days       integer     NOT NULL DEFAULT 0 CHECK (late_payment_days >= 0),
    -- In whose queue it is: that of what it is expected to be made with; empty: nobody knows yet.
    provider                text        NOT NULL DEFAULT '',
    -- The days that it pays for; null: nobody said.
    period_start_date       date,
    period_end_date         date        CHECK (period_end_date >= period_start_date),
    create_time             timestamptz NOT NULL,
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(customer)) STORED,
    state                   text        NOT NULL CHECK (state IN ('SCHEDULED', 'REQUESTED',
                                        'IN_FLIGHT', 'SUCCEEDED', 'REFUSED', 'ABANDONED')),
    -- Until when it can be confirmed, while it can.
    request_expire_time     timestamptz GENERATED ALWAYS AS (
                                CASE WHEN state = 'REQUESTED' THEN expire_time END) STORED,
    payment_method          text        NOT NULL DEFAULT '',
    attempt_count           integer     NOT NULL DEFAULT 0,
    -- How many of them never reached the provider.
    not_made_count          integer     NOT NULL DEFAULT 0,
    next_attempt_time       timestamptz,
    notice_wait_until_time  timestamptz,
    -- The payment method that is busy with another charge, while this one waits for it.
    awaited_method          text        NOT NULL DEFAULT '',
    notice                  text        NOT NULL DEFAULT '',
    refusal_reasons         text[]      NOT NULL DEFAULT '{}',
    abandon_reason          text,
    decline_code            text        NOT NULL DEFAULT '',
    -- What the rules said that bound it when it was last decided.
    applied_rules           jsonb       NOT NULL DEFAULT '[]',
    -- Retries of the merchant's policy, and the fallback that is tried next without waiting for one.
    retry_count             integer     NOT NULL DEFAULT 0,
    fallback_method         text        NOT NULL DEFAULT '',
    -- When the customer of a request to pay is reminded next.
    next_reminder_time      timestamptz,
    -- What credit pays of it: reserved while it is IN_FLIGHT, used once it has SUCCEEDED.
    credit_minor            bigint      NOT NULL DEFAULT 0,
    -- Since when it is overdue: its order lapsed then, and can be paid late.
    overdue_time            timestamptz,
    update_time             timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant, charge),
    CHECK (overdue_time IS NULL OR late_payment_days > 0),
    CHECK ((state = 'SCHEDULED') = (next_attempt_time IS NOT NULL)),
    CHECK ((state = 'ABANDONED') = (abandon_reason IS NOT NULL)),
    CHECK (next_reminder_time IS NULL OR state = 'REQUESTED'),
    CHECK (credit_minor = 0 OR state IN ('IN_FLIGHT', 'SUCCEEDED')),
    CHECK (credit_minor BETWEEN 0 AND amount_minor)
)
-- What an attempt changes comes last, side by side: PostgreSQL logs of a row that stays on its page
-- only what is between the first and the last changed byte. A set of rows changes at once: a page has
-- room for all of its rows again. No index has the state itself, so none follows a change of it alone.
WITH (fillfactor = 50);
CREATE INDEX charges_of_merchant ON charges (merchant, charge, customer);
-- For what customers owe.
CREATE INDEX charges_of_merchant_due ON charges (merchant, due_time);
CREATE INDEX charges_due ON charges (provider, bucket, next_attempt_time)
    WHERE next_attempt_time IS NOT NULL;
-- For proofs, which read all charges of a day.
CREATE INDEX charges_due_time ON charges USING brin (due_time)
    WITH (pages_per_range = 32, autosummarize);
CREATE INDEX charges_awaiting ON charges (customer, merchant, awaited_method, create_time)
    WHERE awaited_method <> '';
CREATE INDEX charges_reminding ON charges (bucket, next_reminder_time)
    WHERE next_reminder_time IS NOT NULL;
CREATE INDEX charges_expiring ON charges (bucket, request_expire_time)
    WHERE request_expire_time IS NOT NULL;

-- What the guard said before an attempt was sent, or sent once more, and what it compared. One without
-- reasons is the attempt's permit: its key has it used once.
CREATE TABLE verdicts (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    number                  integer     NOT NULL CHECK (number > 0),
    permit                  smallint    NOT NULL CHECK (permit IN (1, 2)),
    decide_time             timestamptz NOT NULL,
    reasons                 text[]      NOT NULL,
    billing_mode            text        NOT NULL,
    amount_minor            bigint      NOT NULL,
    currency                text        NOT NULL,
    payment_method          text        NOT NULL,
    -- Null, with what follows from it: the customer confirmed.
    mandate                 text,
    mandate_version         integer,
    charge_ceiling_minor    bigint,
    period_ceiling_minor     bigint,
    spent_minor             bigint,
    -- Since when what was charged counted.
    period_start_time       timestamptz,
    last_charge_time        timestamptz,
    -- Null, with what it promised: there was none.
    notice                  text,
    notice_amount_minor     bigint,
    notice_currency         text,
    charge_not_before_time  timestamptz,
    deliver_time            timestamptz,
    applied_rules           jsonb       NOT NULL,
    PRIMARY KEY (customer, merchant, charge, number, permit)
);

-- Links by which customers pay requests, each once. Their tokens are kept as keyed hashes alone.
CREATE TABLE payment_links (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    token_hash              bytea       NOT NULL,
    create_time             timestamptz NOT NULL,
    use_time                timestamptz,
    PRIMARY KEY (customer, merchant, charge, token_hash)
);
CREATE INDEX payment_links_of_merchant ON payment_links (merchant, token_hash);

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
    start_time              timestamptz NOT NULL,
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(customer)) STORED,
    -- That of its payment method.
    provider                text        NOT NULL DEFAULT '',
    -- Which of its verdicts let it be sent last.
    permit                  smallint    NOT NULL,
    state                   text        NOT NULL DEFAULT 'UNKNOWN'
                            CHECK (state IN ('UNKNOWN', 'PENDING', 'REQUIRES_ACTION', 'SUCCEEDED',
                                             'DECLINED', 'NOT_MADE')),
    decline_code            text        NOT NULL DEFAULT '',
    -- Of the policy that decided what followed the decline.
    policy_version          integer,
    provider_payment        text        NOT NULL DEFAULT '',
    -- When it was sent once more under its key, never more often.
    resend_time             timestamptz,
    end_time                timestamptz,
    lookup_count            integer     NOT NULL DEFAULT 0,
    -- How the provider's answer differs from the request.
    mismatch                text        NOT NULL DEFAULT '',
    next_lookup_time        timestamptz,
    -- Where the customer confirms it with their bank, while they can, and until when that is.
    action_url              text        NOT NULL DEFAULT '',
    action_expire_time      timestamptz,
    -- Its charge and payment method are there: what begins it has read them, and none is ever deleted.
    PRIMARY KEY (customer, merchant, charge, number),
    CHECK ((state IN ('SUCCEEDED', 'DECLINED', 'NOT_MADE')) = (end_time IS NOT NULL)),
    CHECK ((end_time IS NULL) = (next_lookup_time IS NOT NULL)),
    CHECK ((state = 'DECLINED' AND mandate <> '') = (policy_version IS NOT NULL)),
    CHECK ((state = 'REQUIRES_ACTION') = (action_url <> '')),
    CHECK (state <> 'REQUIRES_ACTION' OR action_expire_time IS NOT NULL),
    CHECK (resend_time >= start_time),
    CHECK (permit = CASE WHEN resend_time IS NULL THEN 1 ELSE 2 END)
)
-- As that of charges.
WITH (fillfactor = 50);
-- No attempt begins while one has an open outcome, and none after one that succeeded.
CREATE UNIQUE INDEX attempts_one_live ON attempts (customer, merchant, charge)
    WHERE state NOT IN ('DECLINED', 'NOT_MADE');
CREATE INDEX attempts_open ON attempts (provider, bucket, next_lookup_time)
    WHERE next_lookup_time IS NOT NULL;
CREATE INDEX attempts_of_method ON attempts (customer, merchant, payment_method)
    WHERE state = 'UNKNOWN';
-- For proofs.
CREATE INDEX attempts_pending ON attempts (start_time) WHERE state = 'PENDING';
CREATE INDEX attempts_declined ON attempts (customer, merchant, payment_method, end_time)
    WHERE state = 'DECLINED';
-- Of charges that were declined at first, for the simulation of policies.
CREATE INDEX attempts_declined_first ON attempts (merchant, start_time)
    WHERE state = 'DECLINED' AND number = 1;
CREATE INDEX attempts_start_time ON attempts USING brin (coalesce(resend_time, start_time))
    WITH (pages_per_range = 32, autosummarize);
-- Of bank debits, whose provider lists its own ids alone.
CREATE INDEX attempts_of_bank_payment ON attempts (provider_payment) WHERE provider_payment LIKE 'PM%';
CREATE INDEX attempts_of_mandate ON attempts (customer, merchant, mandate, start_time)
    WHERE state NOT IN ('DECLINED', 'NOT_MADE');

CREATE TABLE refunds (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    refund                  text        NOT NULL,
    amount_minor            bigint      NOT NULL CHECK (amount_minor > 0),
    -- What of it was given as credit, whatever becomes of the rest.
    credit_minor            bigint      NOT NULL DEFAULT 0
                            CHECK (credit_minor BETWEEN 0 AND amount_minor),
    -- What it gives back of which product; none: a part of all.
    lines                   jsonb       NOT NULL DEFAULT '[]',
    currency                text        NOT NULL,
    -- Encrypted by the service.
    note                    bytea       NOT NULL,
    state                   text        NOT NULL DEFAULT 'PENDING'
                            CHECK (state IN ('PENDING', 'SUCCEEDED', 'FAILED')),
    idempotency_key         text        NOT NULL,
    -- That of the payment; empty where no payment method has paid.
    provider                text        NOT NULL DEFAULT '',
    provider_refund         text        NOT NULL DEFAULT '',
    failure_code            text        NOT NULL DEFAULT '',
    -- How the provider's answer differs from the request.
    mismatch                text        NOT NULL DEFAULT '',
    traceparent             text        NOT NULL,
    try_count               integer     NOT NULL DEFAULT 0,
    next_try_time           timestamptz,
    create_time             timestamptz NOT NULL,
    update_time             timestamptz NOT NULL,
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(customer)) STORED,
    PRIMARY KEY (customer, merchant, charge, refund),
    FOREIGN KEY (customer, merchant, charge) REFERENCES charges,
    -- One that succeeded is looked at again.
    CHECK (next_try_time IS NOT NULL OR state <> 'PENDING'),
    CHECK (next_try_time IS NULL OR state <> 'FAILED')
);
CREATE INDEX refunds_due ON refunds (provider, bucket, next_try_time) WHERE next_try_time IS NOT NULL;
CREATE INDEX refunds_mismatched ON refunds (create_time)
    WHERE next_try_time IS NOT NULL AND mismatch <> '';
CREATE INDEX refunds_of_bank_refund ON refunds (provider_refund) WHERE provider_refund LIKE 'RF%';
CREATE INDEX refunds_pending ON refunds (create_time) WHERE state = 'PENDING';

-- What payers dispute. Its money is in the ledger.
CREATE TABLE disputes (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    -- Derived from the provider's.
    dispute                 text        NOT NULL,
    provider                text        NOT NULL,
    provider_dispute        text        NOT NULL,
    -- That the charge was made under; empty: the customer confirmed it.
    mandate                 text        NOT NULL,
    amount_minor            bigint      NOT NULL CHECK (amount_minor > 0),
    currency                text        NOT NULL,
    reason                  text        NOT NULL,
    state                   text        NOT NULL CHECK (state IN ('INQUIRY_NEEDS_RESPONSE',
                                        'INQUIRY_UNDER_REVIEW', 'INQUIRY_CLOSED', 'NEEDS_RESPONSE',
                                        'UNDER_REVIEW', 'WON', 'LOST')),
    open_time               timestamptz NOT NULL,
    update_time             timestamptz NOT NULL,
    evidence_due_time       timestamptz,
    -- When the provider took the money, and gave it back.
    withdraw_time           timestamptz,
    reinstate_time          timestamptz,
    fee_minor               bigint      NOT NULL,
    fee_currency            text        NOT NULL,
    close_time              timestamptz,
    response                text        NOT NULL DEFAULT 'NONE'
                            CHECK (response IN ('NONE', 'EVIDENCE', 'ACCEPTANCE')),
    response_time           timestamptz,
    response_send_time      timestamptz,
    response_failure        text        NOT NULL DEFAULT '',
    -- What is sent to the provider, encrypted by the service. Empty once it was erased.
    evidence                bytea       NOT NULL DEFAULT '',
    send_count              integer     NOT NULL DEFAULT 0,
    next_send_time          timestamptz,
    -- Whether the bank sent the payment back by itself: the payer disputes nothing.
    late_failure            boolean     NOT NULL DEFAULT false,
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(customer)) STORED,
    PRIMARY KEY (customer, merchant, dispute),
    FOREIGN KEY (customer, merchant, charge) REFERENCES charges,
    CHECK ((response = 'NONE') = (response_time IS NULL))
);
CREATE INDEX disputes_of_merchant ON disputes (merchant, dispute);
CREATE INDEX disputes_of_charge ON disputes (customer, merchant, charge);
CREATE INDEX disputes_of_mandate ON disputes (customer, merchant, mandate) WHERE mandate <> '';
CREATE INDEX disputes_due ON disputes (provider, bucket, next_send_time)
    WHERE next_send_time IS NOT NULL;
CREATE INDEX disputes_unanswered ON disputes (evidence_due_time)
    WHERE response = 'NONE' AND close_time IS NULL;

-- What is done about disputes. Few rows, rarely changed: a copy on each shard.
CREATE TABLE dispute_policies (
    merchant                text        NOT NULL PRIMARY KEY,
    charging                text        NOT NULL
                            CHECK (charging IN ('GO_ON', 'STOP_WHILE_OPEN', 'STOP_UNLESS_WON')),
    version                 integer     NOT NULL
);

-- Which disputes of the provider's to look up, whose charge may not be known yet.
CREATE TABLE dispute_lookups (
    provider                text        NOT NULL,
    provider_dispute        text        NOT NULL,
    next_lookup_time        timestamptz,
    try_count               integer     NOT NULL DEFAULT 0,
    -- Why people have to look at it.
    finding                 text        NOT NULL DEFAULT '',
    create_time             timestamptz NOT NULL,
    bucket                  smallint    NOT NULL
                            GENERATED ALWAYS AS (bucket_of(provider_dispute)) STORED,
    PRIMARY KEY (provider_dispute, provider)
);
CREATE INDEX dispute_lookups_due ON dispute_lookups (provider, bucket, next_lookup_time)
    WHERE next_lookup_time IS NOT NULL;
CREATE INDEX dispute_lookups_found ON dispute_lookups (create_time) WHERE finding <> '';
-- Until when all disputes were listed. A row a provider.
CREATE TABLE dispute_lists (
    provider                text        NOT NULL PRIMARY KEY,
    listed_through_time     timestamptz NOT NULL
);
-- They are of no merchant, so that no caller sees any.
ALTER TABLE dispute_lookups ENABLE ROW LEVEL SECURITY;
ALTER TABLE dispute_lists ENABLE ROW LEVEL SECURITY;

-- The ledger: an amount that one account is debited and another credited with. So what a merchant's
-- accounts come to is zero in each currency, whatever is booked.
CREATE TABLE ledger_transfers (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    -- The charge or refund, of which each kind is booked once.
    source                  text        NOT NULL,
    kind                    text        NOT NULL,
    -- Derived from these.
    transaction             uuid        NOT NULL,
    -- Callers see it, so it is a time and not a count over all merchants.
    position                uuid        NOT NULL DEFAULT uuidv7(),
    debit_account           text        NOT NULL,
    credit_account          text        NOT NULL,
    amount_minor            bigint      NOT NULL CHECK (amount_minor > 0),
    currency                text        NOT NULL,
    book_time               timestamptz NOT NULL,
    -- When it happened, where that was before; null: when it was booked.
    occur_time              timestamptz,
    PRIMARY KEY (customer, merchant, source, kind),
    CHECK (debit_account <> credit_account),
    CHECK (occur_time < book_time)
);
CREATE INDEX ledger_transfers_of_merchant ON ledger_transfers (merchant, position);
CREATE INDEX ledger_transfers_by_time ON ledger_transfers (merchant, book_time)
    INCLUDE (debit_account, credit_account, currency, amount_minor);
-- For reports: few, among what is sold.
CREATE INDEX ledger_transfers_given_back ON ledger_transfers (merchant, book_time)
    WHERE kind LIKE 'CREDIT_NOTE%';
-- For proofs, which read all of them: few.
CREATE INDEX ledger_transfers_disputed ON ledger_transfers (merchant) WHERE kind LIKE 'DISPUTE%';
CREATE INDEX ledger_transfers_paid_out ON ledger_transfers (merchant) WHERE kind LIKE 'PAYOUT %';
-- For proofs, as that of charges.
CREATE INDEX ledger_transfers_book_time ON ledger_transfers USING brin (book_time)
    WITH (pages_per_range = 32, autosummarize);

-- How merchants' ledgers are kept. Few rows, rarely changed: a copy on each shard.
CREATE TABLE ledger_settings (
    merchant                text        NOT NULL PRIMARY KEY,
    revenue_recognition     text        NOT NULL
                            CHECK (revenue_recognition IN ('ON_CHARGE', 'OVER_PERIOD')),
    version                 integer     NOT NULL
);
-- What of sales is deferred, and how it becomes revenue. The ledger has what was booked of it.
CREATE TABLE revenue_deferrals (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    currency                text        NOT NULL,
    start_date              date        NOT NULL,
    end_date                date        NOT NULL CHECK (end_date >= start_date),
    deferred_minor          bigint      NOT NULL CHECK (deferred_minor >= 0),
    -- What was recognized, less what was given back of it.
    recognized_minor        bigint      NOT NULL,
    -- So much was deferred at the end of a day, and is spread over the days after it.
    spread_minor            bigint      NOT NULL CHECK (spread_minor >= deferred_minor),
    spread_after_date       date        NOT NULL,
    through_date            date        NOT NULL CHECK (through_date >= spread_after_date),
    change_time             timestamptz NOT NULL,
    -- When the next day begins of which something is recognized.
    next_recognize_time     timestamptz,
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(customer)) STORED,
    PRIMARY KEY (customer, merchant, charge),
    CHECK ((deferred_minor = 0) = (next_recognize_time IS NULL))
);
CREATE INDEX revenue_deferrals_due ON revenue_deferrals (bucket, next_recognize_time)
    WHERE next_recognize_time IS NOT NULL;

-- What customers have of credit. A charge whose outcome is not known yet reserves what it would use.
CREATE TABLE credit_balances (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    currency                text        NOT NULL,
    balance_minor           bigint      NOT NULL DEFAULT 0
                            CHECK (balance_minor BETWEEN 0 AND 999999999999),
    reserved_minor          bigint      NOT NULL DEFAULT 0 CHECK (reserved_minor >= 0),
    PRIMARY KEY (customer, merchant, currency),
    CHECK (reserved_minor <= balance_minor)
)
-- A balance changes with each charge that it pays a part of, and no index has what changes.
WITH (fillfactor = 50);
-- What changed them.
CREATE TABLE credit_transactions (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    credit_transaction      text        NOT NULL,
    type                    text        NOT NULL
                            CHECK (type IN ('GOODWILL', 'OVERPAYMENT', 'REFUND_KEPT', 'CORRECTION',
                                            'PAYOUT', 'CHARGE', 'REFUND')),
    amount_minor            bigint      NOT NULL CHECK (amount_minor <> 0),
    currency                text        NOT NULL,
    -- The charge that it paid, or the refund that it was given for, either once; else empty.
    source                  text        NOT NULL,
    create_time             timestamptz NOT NULL,
    balance_after_minor     bigint      NOT NULL CHECK (balance_after_minor >= 0),
    -- Callers see it, as that of a transfer.
    position                uuid        NOT NULL DEFAULT uuidv7(),
    PRIMARY KEY (customer, merchant, credit_transaction),
    CHECK ((type IN ('CHARGE', 'REFUND')) = (source <> '')),
    CHECK ((amount_minor < 0) = (type IN ('CHARGE', 'PAYOUT')) OR type = 'CORRECTION')
);
CREATE UNIQUE INDEX credit_transactions_one_a_source ON credit_transactions (customer, merchant, source)
    WHERE source <> '';
CREATE INDEX credit_transactions_listed ON credit_transactions (customer, merchant, position);

-- What each movement of money left of the provider's balance.
CREATE TABLE balance_transactions (
    provider                text        NOT NULL,
    -- Empty, as the customer is: the provider's account moved it for somebody of whom we do not know.
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    -- The charge or refund; of others the provider's id of what it is about.
    source                  text        NOT NULL,
    -- The provider's id.
    balance_transaction     text        NOT NULL,
    type                    text        NOT NULL
                            CHECK (type IN ('CHARGE', 'REFUND', 'REFUND_FAILURE', 'DISPUTE',
                                            'DISPUTE_REVERSAL', 'OTHER')),
    amount_minor            bigint      NOT NULL,
    fee_minor               bigint      NOT NULL,
    currency                text        NOT NULL,
    create_time             timestamptz NOT NULL,
    -- What it was before the provider converted it to the currency of its balance, if it did.
    converted_minor         bigint,
    converted_currency      text,
    CHECK ((converted_minor IS NULL) = (converted_currency IS NULL)),
    -- What it was paid out with, by the provider's id; empty while it was not.
    payout                  text        NOT NULL DEFAULT '',
    PRIMARY KEY (customer, merchant, balance_transaction)
);
CREATE INDEX balance_transactions_of_source ON balance_transactions (customer, merchant, source);
CREATE INDEX balance_transactions_of_merchant ON balance_transactions (merchant, create_time);
CREATE INDEX balance_transactions_of_payout ON balance_transactions (payout) WHERE payout <> '';
-- For proofs, as that of charges.
CREATE INDEX balance_transactions_create_time ON balance_transactions USING brin (create_time)
    WITH (pages_per_range = 32, autosummarize);

-- What the provider has paid out, for all merchants; no caller sees any. A copy on each shard.
CREATE TABLE provider_payouts (
    provider                text        NOT NULL,
    -- The provider's id.
    payout                  text        NOT NULL PRIMARY KEY,
    amount_minor            bigint      NOT NULL,
    currency                text        NOT NULL,
    arrive_time             timestamptz NOT NULL,
    state                   text        NOT NULL DEFAULT 'LISTED'
                            CHECK (state IN ('LISTED', 'MATCHED', 'MISMATCHED')),
    -- How much more it is than its transactions come to.
    difference_minor        bigint      NOT NULL DEFAULT 0,
    -- The last of its transactions that was read, while they are being read.
    after                   text        NOT NULL DEFAULT '',
    CHECK ((difference_minor <> 0) = (state = 'MISMATCHED'))
);
CREATE INDEX provider_payouts_listed ON provider_payouts (payout) WHERE state = 'LISTED';
CREATE INDEX provider_payouts_mismatched ON provider_payouts (payout) WHERE state = 'MISMATCHED';
ALTER TABLE provider_payouts ENABLE ROW LEVEL SECURITY;

-- What a payout brought to a merchant.
CREATE TABLE payouts (
    merchant                text        NOT NULL,
    payout                  text        NOT NULL,
    currency                text        NOT NULL,
    charges_minor           bigint      NOT NULL,
    refunds_minor           bigint      NOT NULL,
    disputes_minor          bigint      NOT NULL,
    others_minor            bigint      NOT NULL,
    fees_minor              bigint      NOT NULL,
    transaction_count       integer     NOT NULL,
    amount_minor            bigint      NOT NULL,
    arrive_time             timestamptz NOT NULL,
    -- What callers name it by, derived from its key.
    share                   text        NOT NULL,
    PRIMARY KEY (merchant, payout, currency),
    CHECK (amount_minor = charges_minor + refunds_minor + disputes_minor + others_minor - fees_minor)
);
CREATE UNIQUE INDEX payouts_of_callers ON payouts (merchant, share);
CREATE INDEX payouts_by_time ON payouts (merchant, arrive_time DESC, payout DESC,
    currency DESC);

-- Which time of each provider's balance is being read, and how far.
CREATE TABLE balance_reading (
    provider                text        NOT NULL PRIMARY KEY,
    -- So long after it was known to us a movement is listed at the latest.
    listing_delay_days      integer     NOT NULL,
    since_time              timestamptz NOT NULL,
    until_time              timestamptz NOT NULL CHECK (until_time >= since_time),
    after                   text        NOT NULL,
    -- By the clock of the database: when a replica last had its turn.
    turn_time               timestamptz NOT NULL,
    -- Through which day the books are compared with it, and as above, when one last had its turn.
    compared_through_date   date        NOT NULL,
    compare_turn_time       timestamptz NOT NULL
);

-- What the books and the provider's list of a day (UTC) do not agree on; open once at a time.
CREATE TABLE reconciliation_findings (
    merchant                text        NOT NULL,
    provider                text        NOT NULL,
    -- Callers see it, as that of a transfer.
    finding                 text        NOT NULL DEFAULT CAST(uuidv7() AS text),
    kind                    text        NOT NULL
                            CHECK (kind IN ('MISSING_HERE', 'MISSING_AT_PROVIDER', 'DIFFERENT_AMOUNT',
                                            'DIFFERENT_STATE', 'DUPLICATE')),
    customer                text        NOT NULL,
    -- The charge or refund, and which movement of its money.
    source                  text        NOT NULL,
    type                    text        NOT NULL
                            CHECK (type IN ('CHARGE', 'REFUND', 'REFUND_FAILURE')),
    -- What came to the provider's balance by the books and by the provider; negative: what left it.
    booked_minor            bigint      NOT NULL,
    currency                text        NOT NULL,
    provider_minor          bigint      NOT NULL,
    provider_currency       text        NOT NULL,
    compare_date            date        NOT NULL,
    find_time               timestamptz NOT NULL,
    -- When it was compared last.
    check_time              timestamptz NOT NULL,
    -- When both agreed again, and when they do by an entry that a merchant wanted.
    resolve_time            timestamptz,
    apply_time              timestamptz,
    PRIMARY KEY (merchant, finding),
    CHECK (apply_time IS NULL OR apply_time = resolve_time)
);
CREATE UNIQUE INDEX reconciliation_findings_one_open
    ON reconciliation_findings (merchant, source, type, kind) WHERE resolve_time IS NULL;
CREATE INDEX reconciliation_findings_open ON reconciliation_findings (compare_date)
    WHERE resolve_time IS NULL;
CREATE INDEX reconciliation_findings_oldest ON reconciliation_findings (find_time)
    WHERE resolve_time IS NULL;

-- What providers report by themselves: which of their objects to look up.
CREATE TABLE webhook_events (
    provider                text        NOT NULL,
    -- The provider's id.
    event                   text        NOT NULL,
    type                    text        NOT NULL,
    subject                 text        NOT NULL
                            CHECK (subject IN ('PAYMENT', 'REFUND', 'DISPUTE', 'OTHER')),
    -- The provider's id of what it is about, and its state there.
    object                  text        NOT NULL,
    object_state            text        NOT NULL,
    moved                   boolean     NOT NULL,
    -- What it is of ours; empty if it says nothing of it.
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    idempotency_key         text        NOT NULL,
    refund                  text        NOT NULL,
    state                   text        NOT NULL DEFAULT 'RECEIVED'
                            CHECK (state IN ('RECEIVED', 'HANDLED', 'IGNORED', 'UNKNOWN_OBJECT',
                                             'CONTRADICTED')),
    receive_time            timestamptz NOT NULL,
    forget_time             timestamptz,
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (
                                bucket_of(CASE customer WHEN '' THEN event ELSE customer END)) STORED,
    PRIMARY KEY (event, provider),
    CHECK ((state = 'RECEIVED') = (forget_time IS NULL))
);
CREATE INDEX webhook_events_due ON webhook_events (bucket, receive_time) WHERE state = 'RECEIVED';
CREATE INDEX webhook_events_old ON webhook_events (forget_time) WHERE forget_time IS NOT NULL;
CREATE INDEX webhook_events_unknown ON webhook_events (receive_time) WHERE state = 'UNKNOWN_OBJECT';
CREATE INDEX webhook_events_contradicted ON webhook_events (receive_time)
    WHERE state = 'CONTRADICTED';
-- Some are of no merchant, so that no caller sees any.
ALTER TABLE webhook_events ENABLE ROW LEVEL SECURITY;

-- What an account was debited and credited with on a day (UTC) that is closed.
CREATE TABLE ledger_days (
    merchant                text        NOT NULL,
    account                 text        NOT NULL,
    currency                text        NOT NULL,
    book_date               date        NOT NULL,
    debit_minor             bigint      NOT NULL CHECK (debit_minor >= 0),
    credit_minor            bigint      NOT NULL CHECK (credit_minor >= 0),
    PRIMARY KEY (merchant, account, currency, book_date)
);
CREATE INDEX ledger_days_by_date ON ledger_days (book_date, merchant);
-- What was sold on such a day, by the lines of charges, of which a merchant has few.
CREATE TABLE sales_days (
    merchant                text        NOT NULL,
    book_date               date        NOT NULL,
    region_code             text        NOT NULL,
    currency                text        NOT NULL,
    lines_md5               uuid        NOT NULL,
    lines                   jsonb       NOT NULL,
    charge_count            bigint      NOT NULL CHECK (charge_count > 0),
    amount_minor            bigint      NOT NULL CHECK (amount_minor > 0),
    PRIMARY KEY (merchant, book_date, region_code, currency, lines_md5)
);
-- Through which day nothing is booked any more, and through which that is kept. One row.
CREATE TABLE ledger_closing (
    closed_through_date     date        NOT NULL,
    -- By the clock of the database: when that was said.
    close_time              timestamptz NOT NULL,
    kept_through_date       date        NOT NULL CHECK (kept_through_date <= closed_through_date),
    open_from_time          timestamptz NOT NULL
        GENERATED ALWAYS AS ((closed_through_date + 1)::timestamp AT TIME ZONE 'UTC') STORED
);
CREATE UNIQUE INDEX ledger_closing_one_row ON ledger_closing ((true));
INSERT INTO ledger_closing (closed_through_date, close_time, kept_through_date)
VALUES ('1970-01-01', now(), '1970-01-01');

-- What a merchant's documents look like, and which are issued. Few rows, rarely changed.
CREATE TABLE document_settings (
    merchant                text        NOT NULL PRIMARY KEY,
    seller_name             text        NOT NULL,
    seller_address          text[]      NOT NULL,
    seller_tax_id           text        NOT NULL,
    -- Which of the merchant's logos; empty: none.
    logo_sha256             text        NOT NULL,
    payment_documents       text        NOT NULL
                            CHECK (payment_documents IN ('NO_DOCUMENTS', 'INVOICES', 'RECEIPTS',
                                                         'INVOICES_AND_RECEIPTS')),
    invoice_prefix          text        NOT NULL,
    receipt_prefix          text        NOT NULL,
    credit_note_prefix      text        NOT NULL,
    language_code           text        NOT NULL,
    time_zone               text        NOT NULL,
    footer                  text        NOT NULL,
    email_documents         boolean     NOT NULL,
    version                 integer     NOT NULL
);
-- What documents say of who buys, encrypted; empty: nothing.
CREATE TABLE billing_details (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    details                 bytea       NOT NULL,
    version                 integer     NOT NULL,
    PRIMARY KEY (customer, merchant)
);
-- What the buyers on a customer's documents of a year, and the files of these, are encrypted with;
-- encrypted itself. Documents never change: without their key nobody reads any more who bought.
CREATE TABLE document_keys (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    year                    integer     NOT NULL,
    data_key                bytea       NOT NULL,
    PRIMARY KEY (customer, merchant, year)
);
-- Also those that only documents have which are issued already.
CREATE TABLE document_logos (
    merchant                text        NOT NULL,
    logo_sha256             text        NOT NULL
                            GENERATED ALWAYS AS (encode(sha256(content), 'hex')) STORED,
    content                 bytea       NOT NULL CHECK (octet_length(content) <= 49152),
    PRIMARY KEY (merchant, logo_sha256)
);
-- What documents are to be issued for, from the transaction that it happened in until that which issues
-- them.
CREATE TABLE owed_documents (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    refund                  text        NOT NULL,
    cause                   text        NOT NULL
                            CHECK (cause IN ('PAYMENT', 'REFUND', 'REFUND_TO_CREDIT',
                                             'REFUND_FAILURE')),
    fact_time               timestamptz NOT NULL,
    -- In the order in which it happened, where the time is the same.
    position                uuid        NOT NULL DEFAULT uuidv7(),
    -- Later than the fact if its documents could not be made.
    next_try_time           timestamptz NOT NULL,
    failures                integer     NOT NULL DEFAULT 0,
    -- Why they could not, the last time: an error, without the values of a row.
    failure                 text        NOT NULL DEFAULT '',
    -- The series of a merchant are numbered by one worker.
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(merchant)) STORED,
    PRIMARY KEY (customer, merchant, charge, refund, cause),
    CHECK ((cause = 'PAYMENT') = (refund = '')),
    CHECK ((failures = 0) = (failure = ''))
);
CREATE INDEX owed_documents_due ON owed_documents (bucket, next_try_time);
CREATE INDEX owed_documents_failed ON owed_documents (fact_time) WHERE failures > 0;
-- How far each series is numbered. Its shard key is the merchant, as that of what it numbers.
CREATE TABLE document_series (
    merchant                text        NOT NULL,
    prefix                  text        NOT NULL,
    year                    integer     NOT NULL,
    last_number             integer     NOT NULL CHECK (last_number > 0),
    PRIMARY KEY (merchant, prefix, year)
);
CREATE TABLE documents (
    merchant                text        NOT NULL,
    document                text        NOT NULL,
    type                    text        NOT NULL
                            CHECK (type IN ('INVOICE', 'RECEIPT', 'CREDIT_NOTE', 'DEBIT_NOTE')),
    prefix                  text        NOT NULL,
    year                    integer     NOT NULL,
    number                  integer     NOT NULL CHECK (number > 0),
    -- Callers see it, as that of a transfer.
    position                uuid        NOT NULL DEFAULT uuidv7(),
    issue_time              timestamptz NOT NULL,
    customer                text        NOT NULL,
    charge                  text        NOT NULL,
    refund                  text        NOT NULL,
    cause                   text        NOT NULL
                            CHECK (cause IN ('PAYMENT', 'REFUND', 'REFUND_TO_CREDIT',
                                             'REFUND_FAILURE')),
    -- The document that it corrects, which is of the same charge; empty: none.
    corrected               text        NOT NULL,
    corrected_document      text        GENERATED ALWAYS AS (nullif(corrected, '')) STORED,
    currency                text        NOT NULL,
    net_minor               bigint      NOT NULL CHECK (net_minor >= 0),
    tax_minor               bigint      NOT NULL CHECK (tax_minor >= 0),
    amount_minor            bigint      NOT NULL CHECK (amount_minor > 0),
    -- All that it says, as JSON, and the hash of that.
    content                 bytea       NOT NULL,
    content_sha256          text        NOT NULL
                            GENERATED ALWAYS AS (encode(sha256(content), 'hex')) STORED,
    PRIMARY KEY (merchant, document),
    UNIQUE (merchant, prefix, year, number),
    -- One fact has one document of a type.
    UNIQUE (merchant, customer, charge, refund, cause, type),
    UNIQUE (merchant, document, customer, charge),
    FOREIGN KEY (merchant, corrected_document, customer, charge)
        REFERENCES documents (merchant, document, customer, charge),
    CHECK (amount_minor = net_minor + tax_minor),
    CHECK ((cause = 'PAYMENT') = (corrected = ''))
);
CREATE INDEX documents_of_merchant ON documents (merchant, position);
CREATE INDEX documents_of_customer ON documents (merchant, customer, position);
-- For proofs, as that of charges.
CREATE INDEX documents_issue_time ON documents USING brin (issue_time)
    WITH (pages_per_range = 32, autosummarize);
-- Documents as they were handed out first, and are from then on.
CREATE TABLE document_files (
    merchant                text        NOT NULL,
    document                text        NOT NULL,
    format                  text        NOT NULL CHECK (format IN ('HTML', 'PDF')),
    language_code           text        NOT NULL,
    -- Encrypted if it names a buyer. The hash is that of the file.
    content                 bytea       NOT NULL CHECK (octet_length(content) <= 2097280),
    content_sha256          text        NOT NULL,
    create_time             timestamptz NOT NULL,
    PRIMARY KEY (merchant, document, format, language_code),
    FOREIGN KEY (merchant, document) REFERENCES documents
);
-- What a merchant has closed its books through, each time once. Its days are kept, so that nothing is
-- booked on them any more.
CREATE TABLE ledger_periods (
    merchant                text        NOT NULL,
    through_date            date        NOT NULL,
    close_time              timestamptz NOT NULL,
    -- Of the trial balance at the end of that day.
    balance_digest          text        NOT NULL,
    PRIMARY KEY (merchant, through_date)
);

-- By kind of work, queue and bucket, when the first is due. What a provider is asked has a queue a
-- provider; the providers are found in the index, from one to the next. Buckets are looked into from
-- the first that has any of a kind on, so that a kind with nothing takes one look, not one a bucket.
CREATE VIEW first_due WITH (security_invoker = true) AS
    SELECT 'charge' AS kind, queue, buckets.bucket, due_time
    FROM (
        WITH RECURSIVE queues (queue) AS (
            (SELECT provider FROM charges WHERE next_attempt_time IS NOT NULL
             ORDER BY provider LIMIT 1)
            UNION ALL
            SELECT following.provider FROM queues CROSS JOIN LATERAL (
                SELECT provider FROM charges
                WHERE next_attempt_time IS NOT NULL AND provider > queue
                ORDER BY provider LIMIT 1) AS following)
        SELECT queue FROM queues) AS providers
    CROSS JOIN buckets CROSS JOIN LATERAL (
        SELECT next_attempt_time AS due_time FROM charges
        WHERE next_attempt_time IS NOT NULL
          AND charges.provider = queue AND charges.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    UNION ALL
    SELECT 'request-expiry' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT request_expire_time AS due_time FROM charges
        WHERE request_expire_time IS NOT NULL AND charges.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM charges WHERE request_expire_time IS NOT NULL
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'request-reminder' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT next_reminder_time AS due_time FROM charges
        WHERE next_reminder_time IS NOT NULL AND charges.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM charges WHERE next_reminder_time IS NOT NULL
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'lookup' AS kind, queue, buckets.bucket, due_time
    FROM (
        WITH RECURSIVE queues (queue) AS (
            (SELECT provider FROM attempts WHERE next_lookup_time IS NOT NULL
             ORDER BY provider LIMIT 1)
            UNION ALL
            SELECT following.provider FROM queues CROSS JOIN LATERAL (
                SELECT provider FROM attempts
                WHERE next_lookup_time IS NOT NULL AND provider > queue
                ORDER BY provider LIMIT 1) AS following)
        SELECT queue FROM queues) AS providers
    CROSS JOIN buckets CROSS JOIN LATERAL (
        SELECT next_lookup_time AS due_time FROM attempts
        WHERE next_lookup_time IS NOT NULL
          AND attempts.provider = queue AND attempts.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    UNION ALL
    SELECT 'refund' AS kind, queue, buckets.bucket, due_time
    FROM (
        WITH RECURSIVE queues (queue) AS (
            (SELECT provider FROM refunds WHERE next_try_time IS NOT NULL
             ORDER BY provider LIMIT 1)
            UNION ALL
            SELECT following.provider FROM queues CROSS JOIN LATERAL (
                SELECT provider FROM refunds
                WHERE next_try_time IS NOT NULL AND provider > queue
                ORDER BY provider LIMIT 1) AS following)
        SELECT queue FROM queues) AS providers
    CROSS JOIN buckets CROSS JOIN LATERAL (
        SELECT next_try_time AS due_time FROM refunds
        WHERE next_try_time IS NOT NULL
          AND refunds.provider = queue AND refunds.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    UNION ALL
    SELECT 'method-expiry' AS kind, queue, buckets.bucket, due_time
    FROM (
        WITH RECURSIVE queues (queue) AS (
            (SELECT provider FROM payment_methods WHERE expiry_check_time IS NOT NULL
             ORDER BY provider LIMIT 1)
            UNION ALL
            SELECT following.provider FROM queues CROSS JOIN LATERAL (
                SELECT provider FROM payment_methods
                WHERE expiry_check_time IS NOT NULL AND provider > queue
                ORDER BY provider LIMIT 1) AS following)
        SELECT queue FROM queues) AS providers
    CROSS JOIN buckets CROSS JOIN LATERAL (
        SELECT expiry_check_time AS due_time FROM payment_methods
        WHERE expiry_check_time IS NOT NULL
          AND payment_methods.provider = queue AND payment_methods.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    UNION ALL
    SELECT 'dispute-lookup' AS kind, queue, buckets.bucket, due_time
    FROM (
        WITH RECURSIVE queues (queue) AS (
            (SELECT provider FROM dispute_lookups WHERE next_lookup_time IS NOT NULL
             ORDER BY provider LIMIT 1)
            UNION ALL
            SELECT following.provider FROM queues CROSS JOIN LATERAL (
                SELECT provider FROM dispute_lookups
                WHERE next_lookup_time IS NOT NULL AND provider > queue
                ORDER BY provider LIMIT 1) AS following)
        SELECT queue FROM queues) AS providers
    CROSS JOIN buckets CROSS JOIN LATERAL (
        SELECT next_lookup_time AS due_time FROM dispute_lookups
        WHERE next_lookup_time IS NOT NULL
          AND dispute_lookups.provider = queue AND dispute_lookups.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    UNION ALL
    SELECT 'dispute-response' AS kind, queue, buckets.bucket, due_time
    FROM (
        WITH RECURSIVE queues (queue) AS (
            (SELECT provider FROM disputes WHERE next_send_time IS NOT NULL
             ORDER BY provider LIMIT 1)
            UNION ALL
            SELECT following.provider FROM queues CROSS JOIN LATERAL (
                SELECT provider FROM disputes
                WHERE next_send_time IS NOT NULL AND provider > queue
                ORDER BY provider LIMIT 1) AS following)
        SELECT queue FROM queues) AS providers
    CROSS JOIN buckets CROSS JOIN LATERAL (
        SELECT next_send_time AS due_time FROM disputes
        WHERE next_send_time IS NOT NULL
          AND disputes.provider = queue AND disputes.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    UNION ALL
    SELECT 'webhook' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT receive_time AS due_time FROM webhook_events
        WHERE state = 'RECEIVED' AND webhook_events.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM webhook_events WHERE state = 'RECEIVED'
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'document' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT next_try_time AS due_time FROM owed_documents
        WHERE owed_documents.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM owed_documents
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'revenue' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT next_recognize_time AS due_time FROM revenue_deferrals
        WHERE next_recognize_time IS NOT NULL AND revenue_deferrals.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM revenue_deferrals WHERE next_recognize_time IS NOT NULL
        ORDER BY bucket LIMIT 1);

SELECT enable_tenant_rls('merchant', 'payment_methods', 'dunning_policies', 'dunning_policy_versions',
    'mandates', 'notices',
    'withdrawals', 'mandate_changes', 'charges', 'payment_links', 'attempts', 'refunds', 'disputes',
    'dispute_policies', 'payment_routings', 'ledger_transfers', 'ledger_days',
    'sales_days', 'credit_balances',
    'credit_transactions',
    'balance_transactions', 'payouts', 'ledger_periods', 'ledger_settings', 'revenue_deferrals',
    'reconciliation_findings');
SELECT enable_tenant_rls('merchant', 'document_settings', 'document_logos', 'owed_documents',
    'document_series', 'documents', 'document_files', 'billing_details', 'document_keys');
SELECT revoke_privileges('DELETE', 'payment_methods', 'payment_routings', 'dunning_policies',
    'mandates', 'notices', 'withdrawals', 'mandate_changes', 'charges', 'attempts', 'refunds',
    'disputes', 'dispute_policies', 'dispute_lookups', 'dispute_lists');
SELECT revoke_privileges('UPDATE, DELETE', 'dunning_policy_versions');
SELECT revoke_privileges('UPDATE, DELETE', 'documents', 'document_logos');
SELECT revoke_privileges('UPDATE', 'document_files');
SELECT revoke_privileges('DELETE', 'document_series', 'document_settings');
SELECT revoke_privileges('UPDATE, DELETE', 'ledger_transfers', 'ledger_days', 'sales_days',
    'ledger_periods', 'credit_transactions');
SELECT revoke_privileges('DELETE', 'credit_balances', 'ledger_settings', 'revenue_deferrals');
SELECT revoke_privileges('UPDATE, DELETE', 'payouts');
SELECT revoke_privileges('DELETE', 'balance_transactions', 'provider_payouts',
    'reconciliation_findings');
SELECT revoke_privileges('INSERT, DELETE', 'ledger_closing');
SELECT revoke_privileges('DELETE', 'balance_reading');
SELECT enable_tenant_rls('merchant', 'verdicts', 'mandate_amendments');
SELECT revoke_privileges('DELETE', 'mandate_amendments');
SELECT revoke_privileges('UPDATE, DELETE', 'verdicts');

SELECT keep_final_states('charges', 'SUCCEEDED', 'REFUSED', 'ABANDONED');
SELECT keep_final_states('attempts', 'SUCCEEDED', 'DECLINED', 'NOT_MADE');
SELECT keep_final_states('refunds', 'FAILED');
-- A lost one can be won yet: payers let merchants have bank debits all the same.
SELECT keep_final_states('disputes', 'WON');

CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER ledger_transfers_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transfers
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
-- Of days that are kept no statement is under way any more that began before they were closed.
CREATE FUNCTION ledger_refuse_closed_days() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM booked JOIN ledger_closing
          ON book_time < (kept_through_date + 1)::timestamp AT TIME ZONE 'UTC'
    ) THEN
        RAISE EXCEPTION '% takes no entries of a day that is closed', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_transfers_closed_days
    AFTER INSERT ON ledger_transfers REFERENCING NEW TABLE AS booked
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_closed_days();
CREATE TRIGGER ledger_periods_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_periods
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER credit_transactions_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

CREATE TRIGGER documents_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON documents
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER document_files_append_only
    BEFORE UPDATE OR TRUNCATE ON document_files
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

CREATE VIEW audit_v1.charges AS
    SELECT merchant, customer, charge,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge AS name,
           'merchants/' || merchant || '/customers/' || customer AS customer_name,
           order_name, due_time, state, billing_mode, amount_minor, currency, refusal_reasons,
           abandon_reason, credit_minor, overdue_time, period_start_date, period_end_date
    FROM charges;
CREATE VIEW audit_v1.withdrawals AS
    SELECT merchant, customer, charge,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               AS charge_name,
           withdraw_time
    FROM withdrawals;
-- So long at most a scheme of bank debits takes to decide, from the start of an attempt. Their working
-- days, by https://support.gocardless.com/hc/en-us/articles/360001018705-Payment-timings-comparison-chart
-- (read on 2026-11-30): BECS 3; ACH, Bacs and SEPA 4; BECS NZ and PAD 5; Autogiro 8; Betalingsservice
-- collects once a month. Here they are days, with weekends and up to four holidays; one that is unknown
-- has the most. A gauge finds what is overdue by the least of them.
CREATE FUNCTION days_to_decide(brand text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE brand WHEN 'becs' THEN 9 WHEN 'ach' THEN 10 WHEN 'bacs' THEN 10 WHEN 'sepa_core' THEN 10
                     WHEN 'becs_nz' THEN 11 WHEN 'pad' THEN 11 WHEN 'autogiro' THEN 16 ELSE 45 END $$;
CREATE VIEW audit_v1.attempts AS
    SELECT attempts.merchant, attempts.customer, attempts.charge,
           'merchants/' || attempts.merchant || '/customers/' || attempts.customer || '/charges/'
               || attempts.charge AS charge_name,
           attempts.number, idempotency_key, attempts.state,
           CASE WHEN attempts.mandate = '' THEN 'PAY_ON_NOTICE' ELSE 'AUTOMATIC' END AS billing_mode,
           attempts.amount_minor,
           attempts.currency, provider_payment,
           -- The guard decides again before it is sent once more.
           coalesce(resend_time, start_time) AS start_time, attempts.permit, end_time,
           payment_methods.provider,
           attempts.mandate,
           CASE WHEN attempts.mandate = '' THEN '' ELSE
               'merchants/' || attempts.merchant || '/customers/' || attempts.customer || '/mandates/'
                   || attempts.mandate
           END AS mandate_name,
           verdicts.mandate_version,
           CASE WHEN attempts.state = 'PENDING' THEN
               start_time + days_to_decide(payment_methods.brand) * interval '1 day'
           END AS decide_deadline_time
    FROM attempts LEFT JOIN charges USING (customer, merchant, charge)
    LEFT JOIN verdicts
      ON verdicts.customer = attempts.customer AND verdicts.merchant = attempts.merchant
      AND verdicts.charge = attempts.charge AND verdicts.number = attempts.number
      AND verdicts.permit = attempts.permit
    LEFT JOIN payment_methods
      ON payment_methods.customer = attempts.customer
      AND payment_methods.merchant = attempts.merchant
      AND payment_methods.payment_method = attempts.payment_method;
CREATE VIEW audit_v1.verdicts AS
    SELECT merchant, customer, charge,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               AS charge_name,
           number, permit, decide_time, reasons, billing_mode, amount_minor, currency, mandate,
           mandate_version, charge_ceiling_minor, period_ceiling_minor, spent_minor,
           period_start_time, last_charge_time, notice, notice_amount_minor, notice_currency,
           charge_not_before_time, deliver_time
    FROM verdicts;
CREATE VIEW audit_v1.mandates AS
    SELECT merchant, customer, mandate,
           'merchants/' || merchant || '/customers/' || customer || '/mandates/' || mandate AS name,
           charge_ceiling_minor, period_ceiling_minor, period_days, time_zone, currency,
           standing_orders, lead_seconds, valid_from_time, valid_until_time, revoke_time, is_pending,
           pause_time, pause_reason, lapse_time
    FROM mandates;
CREATE VIEW audit_v1.mandate_amendments AS
    SELECT merchant, customer, mandate,
           'merchants/' || merchant || '/customers/' || customer || '/mandates/' || mandate
               AS mandate_name,
           from_version, version, amend_time, evidence <> '' AS is_consented, charge_ceiling_minor,
           period_ceiling_minor, period_days, time_zone, valid_until_time, standing_orders,
           lead_seconds
    FROM mandate_amendments;
CREATE VIEW audit_v1.notice_evidence AS
    SELECT merchant, customer, charge,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               AS charge_name,
           'merchants/' || merchant || '/customers/' || customer AS customer_name, notice,
           billing_mode, amount_minor, currency, charge_not_before_time, deliver_time
    FROM notices;
-- What scheduler says as well, by when the order was due, and notify, by when the notice was delivered.
CREATE VIEW audit_v1.compared AS
    -- Charges are read once for both that is said of them.
    SELECT said.clause, merchant, '' AS product, charges.order_name AS subject, customer,
           '' AS order_name, said.currency, said.amount_minor, said.facts, due_time AS partition_time,
           state IN ('SUCCEEDED', 'REFUSED', 'ABANDONED') AS is_final
    FROM charges CROSS JOIN LATERAL (
        SELECT 'order-has-one-charge' AS clause, currency, amount_minor, '' AS facts
        UNION ALL
        SELECT 'final-states-agree', '', 0,
               -- The order of one that is overdue has lapsed, until it is paid.
               CASE WHEN state = 'SUCCEEDED' THEN 'paid'
                    WHEN state IN ('REFUSED', 'ABANDONED') OR overdue_time IS NOT NULL THEN 'unpaid'
                    ELSE 'open' END) AS said
    UNION ALL
    SELECT 'evidence-as-delivered', merchant, '', notice, customer, '', currency, amount_minor,
           concat_ws(' ', billing_mode, 'delivered', deliver_time,
                     'not before', charge_not_before_time),
           deliver_time, true
    FROM notices;
CREATE VIEW audit_v1.refunds AS
    SELECT merchant, customer, charge,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               || '/refunds/' || refund AS name,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               AS charge_name,
           state, amount_minor, credit_minor, currency, provider_refund,
           CASE state WHEN 'SUCCEEDED' THEN next_try_time END AS follow_up_time, update_time,
           provider
    FROM refunds;
CREATE VIEW audit_v1.disputes AS
    SELECT merchant, customer, charge,
           'merchants/' || merchant || '/disputes/' || dispute AS name,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               AS charge_name,
           state, amount_minor, currency, provider_dispute, open_time, withdraw_time, reinstate_time,
           late_failure
    FROM disputes;
CREATE VIEW audit_v1.ledger_transfers AS
    SELECT merchant, customer, transaction::text AS transaction, source, kind, debit_account,
           credit_account, amount_minor, currency, book_time,
           coalesce(occur_time, book_time) AS occur_time
    FROM ledger_transfers;
-- Both sides of each transfer.
CREATE VIEW audit_v1.ledger_entries AS
    SELECT merchant, customer, transaction, 1 AS leg, source, kind, debit_account AS account,
           amount_minor, currency, book_time, occur_time
    FROM audit_v1.ledger_transfers
    UNION ALL
    SELECT merchant, customer, transaction, 2, source, kind, credit_account, -amount_minor, currency,
           book_time, occur_time
    FROM audit_v1.ledger_transfers;
CREATE VIEW audit_v1.credit_balances AS
    SELECT merchant, customer, 'merchants/' || merchant || '/customers/' || customer AS customer_name,
           currency, balance_minor, reserved_minor
    FROM credit_balances;
CREATE VIEW audit_v1.credit_transactions AS
    SELECT merchant, customer,
           'merchants/' || merchant || '/customers/' || customer || '/creditTransactions/'
               || credit_transaction AS name,
           type, amount_minor, currency, source, create_time, balance_after_minor
    FROM credit_transactions;
CREATE VIEW audit_v1.balance_transactions AS
    SELECT merchant, customer, source, balance_transaction, type, amount_minor, fee_minor, currency,
           create_time, payout
    FROM balance_transactions;
CREATE VIEW audit_v1.payouts AS
    SELECT merchant, payout, currency, charges_minor, refunds_minor, disputes_minor, others_minor,
           fees_minor, transaction_count, amount_minor, arrive_time
    FROM payouts;
CREATE VIEW audit_v1.ledger_days AS
    SELECT merchant, account, currency, book_date, debit_minor, credit_minor,
           book_date::timestamp AT TIME ZONE 'UTC' AS day_time
    FROM ledger_days;
CREATE VIEW audit_v1.ledger_closing AS
    SELECT kept_through_date, (kept_through_date + 1)::timestamp AT TIME ZONE 'UTC' AS kept_until_time
    FROM ledger_closing;
CREATE VIEW audit_v1.revenue_deferrals AS
    SELECT merchant, customer, charge,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               AS charge_name,
           currency, start_date, end_date, deferred_minor, recognized_minor, next_recognize_time
    FROM revenue_deferrals;
CREATE VIEW audit_v1.ledger_periods AS
    SELECT merchant, through_date, close_time, balance_digest FROM ledger_periods;
CREATE VIEW audit_v1.documents AS
    SELECT merchant, customer, charge, refund, cause,
           'merchants/' || merchant || '/documents/' || document AS name,
           'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               AS charge_name,
           type, prefix, year, number, issue_time, net_minor, tax_minor, amount_minor, currency,
           CASE corrected WHEN '' THEN '' ELSE 'merchants/' || merchant || '/documents/' || corrected
           END AS corrected_name,
           content_sha256
    FROM documents;
CREATE VIEW audit_v1.document_series AS
    SELECT merchant, prefix, year, last_number FROM document_series;
-- What digests of settled days are made of.
CREATE VIEW audit_v1.digested AS
    SELECT clause, merchant, product, subject, currency, amount_minor, facts, partition_time, is_final,
           true AS may_be_backdated
    FROM audit_v1.compared
    UNION ALL
    SELECT 'attempts', merchant, '', charge_name || ' ' || number, currency, amount_minor,
           concat_ws(' ', state, start_time, billing_mode, mandate), start_time,
           end_time IS NOT NULL, false
    FROM audit_v1.attempts
    UNION ALL
    SELECT 'ledger-entries', merchant, '', transaction::text, currency, amount_minor,
           kind || ' ' || debit_account || ' ' || credit_account || ' ' || source, book_time, true,
           false
    FROM ledger_transfers;
CREATE VIEW audit_v1.due_work AS
    SELECT 'charge' AS kind, merchant, merchant || '/' || customer || '/' || charge AS subject,
           next_attempt_time AS due_time, bucket
    FROM charges WHERE next_attempt_time IS NOT NULL
    UNION ALL
    SELECT 'charge', merchant, merchant || '/' || customer || '/' || charge, request_expire_time, bucket
    FROM charges WHERE request_expire_time IS NOT NULL
    UNION ALL
    SELECT 'reminder of a request to pay', merchant, merchant || '/' || customer || '/' || charge,
           next_reminder_time, bucket
    FROM charges WHERE next_reminder_time IS NOT NULL
    UNION ALL
    SELECT 'attempt of open outcome', merchant, merchant || '/' || customer || '/' || charge,
           next_lookup_time, bucket
    FROM attempts WHERE next_lookup_time IS NOT NULL
    UNION ALL
    SELECT 'refund', merchant, merchant || '/' || customer || '/' || charge || '/' || refund,
           next_try_time, bucket
    FROM refunds WHERE next_try_time IS NOT NULL
    UNION ALL
    SELECT 'response to a dispute', merchant, merchant || '/' || customer || '/' || dispute,
           next_send_time, bucket
    FROM disputes WHERE next_send_time IS NOT NULL
    UNION ALL
    SELECT 'dispute to look up', '', provider || ' ' || provider_dispute, next_lookup_time, bucket
    FROM dispute_lookups WHERE next_lookup_time IS NOT NULL
    UNION ALL
    SELECT 'payment method that expires', merchant,
           merchant || '/' || customer || '/' || payment_method, expiry_check_time, bucket
    FROM payment_methods WHERE expiry_check_time IS NOT NULL
    UNION ALL
    SELECT 'webhook', merchant, provider || ' ' || event, receive_time, bucket
    FROM webhook_events WHERE state = 'RECEIVED'
    UNION ALL
    SELECT 'document to issue', merchant,
           merchant || '/' || customer || '/' || charge || '/' || refund || '/' || cause, fact_time,
           bucket
    FROM owed_documents
    UNION ALL
    SELECT 'revenue to recognize', merchant, merchant || '/' || customer || '/' || charge,
           next_recognize_time, bucket
    FROM revenue_deferrals WHERE next_recognize_time IS NOT NULL;
"""
