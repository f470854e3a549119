"""Standing orders and orders."""

from alembic import op

from services.runtime.db.migrations import RUNTIME_TABLES_V1, statements

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in statements(RUNTIME_TABLES_V1 + TABLES):
        op.execute(statement)


# The shard key is the standing order: it is in every key, and every hot query finds it by one. The
# merchant comes first in keys, so that they serve the lists of a merchant, too.
TABLES = """
CREATE TABLE standing_orders (
    merchant                text        NOT NULL,
    standing_order          text        NOT NULL,
    customer                text        NOT NULL,
    title                   text        NOT NULL,
    items                   jsonb       NOT NULL,
    -- JSON, kept as text: it is read far more often than it is different.
    schedule                text        NOT NULL,
    billing_mode            text        NOT NULL
                            CHECK (billing_mode IN ('AUTOMATIC', 'PAY_ON_NOTICE')),
    mandate                 text        NOT NULL,
    -- An address, encrypted by the service for the customer; copied to orders as it is.
    ship_to                 bytea       NOT NULL,
    -- The country of that address, or its part (DE, US-CA), as far as it is known.
    region_code             text        NOT NULL DEFAULT '',
    tax_id                  text        NOT NULL DEFAULT '',
    price_protection        jsonb,
    notice_lead             interval    NOT NULL,
    payment_window          interval    NOT NULL,
    currency                text        NOT NULL DEFAULT '',
    promotion_code          text        NOT NULL DEFAULT '',
    -- How early rule packs have its charges announced, and which pack, as far as is known.
    rule_lead               interval    NOT NULL DEFAULT '0',
    notice_rule_pack        text        NOT NULL DEFAULT '',
    -- How its prices are protected, from a cycle on each: the last is the present one.
    price_agreements        jsonb       NOT NULL DEFAULT '[]',
    -- When the last protected cycle is due, or before when cycles are.
    protection_end_time     timestamptz,
    -- When the customer is notified of that; NULL: was, or is not.
    protection_notice_time  timestamptz,
    -- The promotion that it has redeemed and that ends; NULL: none, or its customer was notified of the
    -- end. And when they are.
    ending_promotion        jsonb,
    promotion_notice_time   timestamptz,
    -- Since when it is to be asked how early its charges are announced; NULL: that is known.
    lead_check_time         timestamptz,
    base_cycle              integer     NOT NULL,
    -- The first cycle of all: the count that the customer gave counts from it, under any schedule.
    plan_first_cycle        integer     NOT NULL DEFAULT 1,
    -- The first cycle that is billed here; those before it were another system's.
    first_cycle             integer     NOT NULL DEFAULT 1 CHECK (first_cycle >= 1),
    -- Of the row that it was imported from, encrypted; the same row again changes nothing.
    import_hash             bytea       NOT NULL DEFAULT '',
    catch_up_mode           text        NOT NULL
                            CHECK (catch_up_mode IN ('LATEST_ONLY', 'ALL_IN_ORDER', 'NONE')),
    catch_up_window         interval    NOT NULL,
    -- JSON, kept as text: it is read far more often than it is different.
    conditions              text        NOT NULL DEFAULT '[]',
    repurchase_window       interval,
    repurchase_action       text        NOT NULL
                            CHECK (repurchase_action IN ('SKIP', 'HOLD_AND_ASK')),
    -- How many days a cycle may be moved to where a service has a free slot.
    slot_days_before        smallint    NOT NULL DEFAULT 0 CHECK (slot_days_before BETWEEN 0 AND 14),
    slot_days_after         smallint    NOT NULL DEFAULT 0 CHECK (slot_days_after BETWEEN 0 AND 14),
    last_cycle              integer,
    -- Whether somebody moved dates since sign-up: then the schedule alone does not give them all.
    dates_changed           boolean     NOT NULL DEFAULT false,
    create_time             timestamptz NOT NULL,
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(standing_order)) STORED,
    state                   text        NOT NULL
                            CHECK (state IN ('ACTIVE', 'PAUSED', 'CANCELLED', 'COMPLETED')),
    -- Of the last cycle that has an order, what the recurrence gave: that date is used up.
    last_nominal_date       date,
    next_cycle              integer     CHECK (next_cycle >= 1),
    next_due_time           timestamptz,
    prepare_time            timestamptz,
    -- When it came into its state; NULL if that is its first.
    state_change_time       timestamptz,
    resume_time             timestamptz,
    -- When the last cycle is due; a pause that lasts longer ends the standing order.
    last_due_time           timestamptz,
    changes                 jsonb       NOT NULL,
    paid_order_count        integer     NOT NULL DEFAULT 0,
    last_amount_minor       bigint,
    last_currency           text        NOT NULL DEFAULT '',
    -- What protections took off orders that were paid.
    protection_saved_minor  bigint      NOT NULL DEFAULT 0,
    version                 integer     NOT NULL DEFAULT 1,
    update_time             timestamptz NOT NULL,
    PRIMARY KEY (merchant, standing_order)
)
-- A cycle changes the row twice (moved on, paid), and a set of rows at once: each page has room for
-- all of its rows again. What a cycle changes comes last, side by side, as that of orders.
WITH (fillfactor = 50);
CREATE INDEX standing_orders_due ON standing_orders (bucket, prepare_time) WHERE state = 'ACTIVE';
CREATE INDEX standing_orders_resting
    ON standing_orders (bucket, least(resume_time, last_due_time))
    WHERE state = 'PAUSED' AND next_cycle IS NOT NULL;
CREATE INDEX standing_orders_of_customer ON standing_orders (merchant, customer, standing_order);
CREATE INDEX standing_orders_protected ON standing_orders (merchant, standing_order)
    WHERE price_protection IS NOT NULL;
CREATE INDEX standing_orders_protection_ending ON standing_orders (bucket, protection_notice_time)
    WHERE state = 'ACTIVE' AND protection_notice_time IS NOT NULL;
CREATE INDEX standing_orders_promotion_ending ON standing_orders (bucket, promotion_notice_time)
    WHERE state = 'ACTIVE' AND promotion_notice_time IS NOT NULL;
CREATE INDEX standing_orders_lead_checks ON standing_orders (bucket, lead_check_time)
    WHERE lead_check_time IS NOT NULL;

-- Which standing orders have a product, whatever their state; the triggers below keep it. A walk over
-- those of a product goes by when they were added, so that it finds those that come later at its end.
CREATE TABLE standing_order_products (
    merchant                text        NOT NULL,
    product                 text        NOT NULL,
    standing_order          text        NOT NULL,
    customer                text        NOT NULL,
    -- By this database's clock.
    add_time                timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (merchant, product, standing_order)
);
CREATE INDEX standing_order_products_added
    ON standing_order_products (merchant, product, add_time, standing_order);
CREATE INDEX standing_order_products_of_customer
    ON standing_order_products (merchant, customer, product);

-- Products that went off sale for good, and how far the customers of theirs have been notified.
CREATE TABLE discontinued_products (
    merchant                text        NOT NULL,
    product                 text        NOT NULL,
    -- A standing order that failed alone and was passed over; empty: all that have the product.
    only_standing_order     text        NOT NULL DEFAULT '',
    title                   text        NOT NULL,
    discontinue_time        timestamptz NOT NULL,
    -- The last standing order that was looked at.
    after_standing_order    text        NOT NULL DEFAULT '',
    is_done                 boolean     NOT NULL DEFAULT false,
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(product)) STORED,
    PRIMARY KEY (product, merchant, only_standing_order)
);
CREATE INDEX discontinued_products_due ON discontinued_products (bucket, discontinue_time)
    WHERE NOT is_done;

-- What a change of state changes comes last, side by side: PostgreSQL logs of a row that stays on its
-- page only what is between the first and the last changed byte.
CREATE TABLE orders (
    merchant                text        NOT NULL,
    standing_order          text        NOT NULL,
    cycle                   integer     NOT NULL CHECK (cycle >= 1),
    customer                text        NOT NULL,
    local_date              date        NOT NULL,
    due_time                timestamptz NOT NULL,
    notice_lead             interval    NOT NULL,
    -- What it was announced with; until then, the standing order's when it was last prepared.
    title                   text        NOT NULL,
    billing_mode            text        NOT NULL
                            CHECK (billing_mode IN ('AUTOMATIC', 'PAY_ON_NOTICE')),
    mandate                 text        NOT NULL,
    payment_window          interval    NOT NULL,
    time_zone               text        NOT NULL,
    items                   jsonb       NOT NULL,
    -- What was taken instead of a product; items has it.
    substitutes             jsonb       NOT NULL,
    ship_to                 bytea       NOT NULL,
    region_code             text        NOT NULL DEFAULT '',
    tax_id                  text        NOT NULL DEFAULT '',
    lines                   jsonb       NOT NULL,
    currency                text        NOT NULL,
    hold_until_time         timestamptz NOT NULL,
    traceparent             text        NOT NULL,
    -- What was decided when it was stored first.
    first_decisions         jsonb       NOT NULL,
    create_time             timestamptz NOT NULL,
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(standing_order)) STORED,
    state                   text        NOT NULL,
    reasons                 text[]      NOT NULL,
    notified_minor          bigint,
    amount_minor            bigint,
    charge_not_before_time  timestamptz,
    notice_time             timestamptz,
    collect_time            timestamptz,
    pay_time                timestamptz,
    -- LAPSED: until when it can be paid all the same; NULL: it is over for good.
    late_payment_until_time timestamptz,
    recheck_time            timestamptz,
    held_stage              text,
    -- Whether the customer is asked about a condition.
    asks_condition          boolean     NOT NULL,
    confirmed_reasons       text[]      NOT NULL,
    announcement_count      integer     NOT NULL,
    -- Whether its date was moved after it was announced.
    is_moved                boolean     NOT NULL,
    -- Its products that have slots booked for its date.
    services                text[]      NOT NULL DEFAULT '{}',
    -- The date that it had before it was moved to one with free slots.
    moved_from_date         date,
    -- Counts the changes: what was decided about an earlier one is not stored any more.
    version                 integer     NOT NULL DEFAULT 1,
    update_time             timestamptz NOT NULL,
    -- One cycle, at most one order. Its standing order is there: who stores an order has moved it on.
    PRIMARY KEY (merchant, standing_order, cycle),
    CHECK (state IN ('UPCOMING', 'AWAITING_PAYMENT', 'PAID', 'SKIPPED', 'HELD', 'LAPSED',
                     'CANCELLED')),
    CHECK (state = 'UPCOMING' OR collect_time IS NULL),
    CHECK (state = 'HELD' OR recheck_time IS NULL),
    CHECK (state = 'LAPSED' OR late_payment_until_time IS NULL),
    -- Never more than the notice said.
    CHECK (amount_minor <= notified_minor)
)
-- A set of orders changes at once: each page has room for all of its rows again.
WITH (fillfactor = 50);
-- No index has the state itself, so that indexes need not follow a change of state alone.
CREATE INDEX orders_to_collect ON orders (bucket, collect_time) WHERE collect_time IS NOT NULL;
CREATE INDEX orders_held ON orders (bucket, recheck_time) WHERE recheck_time IS NOT NULL;
-- Put so that the planner does not take it for what is due, and read every merchant's for each bucket.
CREATE INDEX orders_held_of_merchant ON orders (merchant)
    WHERE coalesce(recheck_time, '-infinity') > '-infinity';
CREATE INDEX orders_of_merchant_due ON orders (merchant, due_time);
-- For proofs, which read all orders of a day.
CREATE INDEX orders_due ON orders USING brin (due_time) WITH (pages_per_range = 32, autosummarize);
CREATE INDEX orders_hold_until ON orders USING brin (hold_until_time)
    WITH (pages_per_range = 32, autosummarize);

-- What was decided about an order later, by the version that it made. Rows are added, never changed.
CREATE TABLE order_decisions (
    merchant                text        NOT NULL,
    standing_order          text        NOT NULL,
    cycle                   integer     NOT NULL,
    version                 integer     NOT NULL,
    decisions               jsonb       NOT NULL,
    PRIMARY KEY (merchant, standing_order, cycle, version)
);

-- What customers bought elsewhere: of each product the last purchase. The shard key is the customer.
CREATE TABLE purchases (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    product                 text        NOT NULL,
    purchase_time           timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant, product)
);

-- Changes of prices, and how far their walk over the standing orders with the product has come.
CREATE TABLE price_changes (
    merchant                text        NOT NULL,
    product                 text        NOT NULL,
    price                   text        NOT NULL,
    -- What customers call the product.
    title                   text        NOT NULL,
    effective_time          timestamptz NOT NULL,
    -- A correction announces it again, and the walk begins again.
    announce_time           timestamptz NOT NULL,
    -- Set: it will not take effect, and the walk is over those who were notified.
    withdraw_time           timestamptz,
    -- Behind what comes next: when it was added, and the standing order; of a withdrawn one the
    -- customer.
    after_time              timestamptz NOT NULL DEFAULT to_timestamp(0),
    after_key               text        NOT NULL DEFAULT '',
    -- When the walk goes on; NULL: it is over.
    due_time                timestamptz,
    version                 integer     NOT NULL DEFAULT 1,
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(product)) STORED,
    PRIMARY KEY (merchant, product, price)
);
CREATE INDEX price_changes_due ON price_changes (bucket, due_time) WHERE due_time IS NOT NULL;

-- What a change of a price means to a standing order, and whether its customer was notified.
CREATE TABLE price_change_notices (
    merchant                text        NOT NULL,
    standing_order          text        NOT NULL,
    product                 text        NOT NULL,
    price                   text        NOT NULL,
    announce_time           timestamptz NOT NULL,
    customer                text        NOT NULL,
    -- When it is looked at; NULL: the customer was notified, or is not concerned.
    notify_time             timestamptz,
    notified_time               timestamptz,
    -- The notice, by its id.
    notice                  text,
    first_cycle             integer,
    first_due_time          timestamptz,
    -- What the units of the product cost in an order from that cycle on, and what without the change.
    amount_minor            bigint,
    previous_minor          bigint,
    currency                text,
    bucket                  smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(customer)) STORED,
    PRIMARY KEY (merchant, standing_order, product, price, announce_time),
    CHECK (notified_time IS NULL OR notify_time IS NULL),
    CHECK (num_nulls(notified_time, notice, first_cycle, first_due_time, amount_minor, previous_minor,
                     currency) IN (0, 7))
);
CREATE INDEX price_change_notices_due ON price_change_notices (bucket, notify_time)
    WHERE notify_time IS NOT NULL;
-- Of all rows: one of those that wait would be taken for the index of what is due.
CREATE INDEX price_change_notices_of_customer
    ON price_change_notices (merchant, product, price, customer);
CREATE INDEX price_change_notices_told
    ON price_change_notices (merchant, product, price, customer) WHERE notified_time IS NOT NULL;

-- How merchants' standing orders behave. Few rows, rarely changed: a copy on each shard.
CREATE TABLE scheduler_settings (
    merchant                text        NOT NULL PRIMARY KEY,
    unpaid_policy           text        NOT NULL
                            CHECK (unpaid_policy IN ('GO_ON', 'WAIT', 'PAUSE', 'CANCEL')),
    late_payment_days       integer     NOT NULL CHECK (late_payment_days BETWEEN 0 AND 60),
    action_page_uri         text        NOT NULL,
    version                 integer     NOT NULL
);

-- Links in notices, by which customers act once. They are gone soon after they expire.
CREATE TABLE action_links (
    merchant                text        NOT NULL,
    standing_order          text        NOT NULL,
    -- The order that the notice is about; NULL: it is about the standing order.
    cycle                   integer     CHECK (cycle > 0),
    token_hash              bytea       NOT NULL,
    actions                 text[]      NOT NULL,
    expire_time             timestamptz NOT NULL,
    use_time                timestamptz,
    used_action             text        NOT NULL DEFAULT ''
                            CHECK (used_action IN ('', 'SKIP', 'PAUSE', 'RESUME', 'CANCEL', 'CONFIRM')),
    PRIMARY KEY (standing_order, merchant, token_hash)
);
CREATE INDEX action_links_of_merchant ON action_links (merchant, token_hash);

SELECT enable_tenant_rls('merchant', 'standing_orders', 'standing_order_products',
    'discontinued_products', 'orders', 'order_decisions', 'purchases', 'scheduler_settings',
    'price_changes', 'price_change_notices', 'action_links');
SELECT revoke_privileges('UPDATE, DELETE', 'order_decisions');
SELECT revoke_privileges('DELETE', 'standing_orders', 'discontinued_products', 'orders',
    'price_changes', 'price_change_notices', 'scheduler_settings');

-- What statements read of an order (store/order_rows.py).
CREATE VIEW order_rows WITH (security_invoker = true) AS
    SELECT merchant, standing_order, cycle, customer, ship_to, region_code, tax_id, state, title,
           billing_mode, mandate, payment_window, time_zone, items, substitutes, hold_until_time,
           asks_condition, local_date, due_time, notice_lead, lines, currency, notified_minor,
           amount_minor, charge_not_before_time, notice_time, collect_time, pay_time,
           late_payment_until_time, recheck_time, held_stage, announcement_count, traceparent,
           reasons, confirmed_reasons, services, moved_from_date, version, create_time, update_time
    FROM orders;
-- What statements read of a standing order (store/standing_order_rows.py), and what its merchant's
-- settings mean for it: they are found by their key, row by row, and never read as a whole.
CREATE VIEW standing_order_rows WITH (security_invoker = true) AS
    SELECT merchant, standing_order, customer, title, items, schedule, billing_mode, mandate, ship_to,
           region_code, tax_id, price_protection, notice_lead, payment_window, currency,
           promotion_code, rule_lead, notice_rule_pack, price_agreements, protection_end_time,
           protection_notice_time, protection_saved_minor, ending_promotion,
           promotion_notice_time, create_time, update_time, state,
           base_cycle, plan_first_cycle,
           last_nominal_date, next_cycle,
           next_due_time, prepare_time,
           catch_up_mode, catch_up_window, conditions, repurchase_window, repurchase_action,
           slot_days_before, slot_days_after, last_cycle, resume_time, last_due_time, changes,
           dates_changed, paid_order_count,
           last_amount_minor, last_currency, version,
           coalesce((SELECT unpaid_policy = 'WAIT' FROM scheduler_settings AS settings
                     WHERE settings.merchant = standing_orders.merchant), false) AS waits_for_payment,
           coalesce((SELECT late_payment_days FROM scheduler_settings AS settings
                     WHERE settings.merchant = standing_orders.merchant), 0) AS late_payment_days,
           coalesce((SELECT action_page_uri FROM scheduler_settings AS settings
                     WHERE settings.merchant = standing_orders.merchant), '') AS action_page_uri
    FROM standing_orders;

CREATE FUNCTION keep_state_change_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.state_change_time := NEW.update_time;
    RETURN NEW;
END $$;
CREATE TRIGGER standing_orders_state BEFORE UPDATE OF state ON standing_orders FOR EACH ROW
    WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION keep_state_change_time();

CREATE FUNCTION add_products() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO standing_order_products (merchant, product, standing_order, customer)
    SELECT DISTINCT merchant, item ->> 0, standing_order, customer
    FROM added CROSS JOIN LATERAL jsonb_array_elements(items) AS item;
    RETURN NULL;
END $$;
CREATE TRIGGER standing_orders_created AFTER INSERT ON standing_orders
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION add_products();
CREATE FUNCTION change_products() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM standing_order_products AS had
    WHERE had.merchant = NEW.merchant AND had.standing_order = NEW.standing_order
      AND had.product = ANY (
          SELECT item ->> 0 FROM jsonb_array_elements(OLD.items) AS item
          EXCEPT SELECT item ->> 0 FROM jsonb_array_elements(NEW.items) AS item);
    INSERT INTO standing_order_products (merchant, product, standing_order, customer)
    SELECT DISTINCT NEW.merchant, item ->> 0, NEW.standing_order, NEW.customer
    FROM jsonb_array_elements(NEW.items) AS item
    ON CONFLICT (merchant, product, standing_order) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER standing_orders_items AFTER UPDATE OF items ON standing_orders FOR EACH ROW
    WHEN (NEW.items <> OLD.items) EXECUTE FUNCTION change_products();

-- By kind of work and bucket, when the first is due. Buckets are looked into from the first that has
-- any of a kind on, so that a kind with nothing takes one look, not one a bucket.
CREATE VIEW first_due WITH (security_invoker = true) AS
    SELECT 'prepare' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT prepare_time AS due_time FROM standing_orders
        WHERE state = 'ACTIVE' AND standing_orders.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM standing_orders WHERE state = 'ACTIVE'
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'discontinue' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT discontinue_time AS due_time FROM discontinued_products
        WHERE NOT is_done AND discontinued_products.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM discontinued_products WHERE NOT is_done
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'resume' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT least(resume_time, last_due_time) AS due_time FROM standing_orders
        WHERE state = 'PAUSED' AND next_cycle IS NOT NULL AND standing_orders.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM standing_orders WHERE state = 'PAUSED' AND next_cycle IS NOT NULL
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'protection-ending' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT protection_notice_time AS due_time FROM standing_orders
        WHERE state = 'ACTIVE' AND protection_notice_time IS NOT NULL
          AND standing_orders.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM standing_orders WHERE state = 'ACTIVE' AND protection_notice_time IS NOT NULL
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'promotion-ending' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT promotion_notice_time AS due_time FROM standing_orders
        WHERE state = 'ACTIVE' AND promotion_notice_time IS NOT NULL
          AND standing_orders.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM standing_orders WHERE state = 'ACTIVE' AND promotion_notice_time IS NOT NULL
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'lead-check' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT lead_check_time AS due_time FROM standing_orders
        WHERE lead_check_time IS NOT NULL AND standing_orders.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM standing_orders WHERE lead_check_time IS NOT NULL
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'collect' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT collect_time AS due_time FROM orders
        WHERE collect_time IS NOT NULL AND orders.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM orders WHERE collect_time IS NOT NULL
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'held' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT recheck_time AS due_time FROM orders
        WHERE recheck_time IS NOT NULL AND orders.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM orders WHERE recheck_time IS NOT NULL
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'price-change' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT due_time FROM price_changes
        WHERE due_time IS NOT NULL AND price_changes.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM price_changes WHERE due_time IS NOT NULL
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'price-notice' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT notify_time AS due_time FROM price_change_notices
        WHERE notify_time IS NOT NULL AND price_change_notices.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM price_change_notices WHERE notify_time IS NOT NULL
        ORDER BY bucket LIMIT 1);

-- A final state stays, whatever arrives late, twice or out of order, with two ways out. A customer can
-- take back their own skip: the order is then prepared and announced again. An order that lapsed can be
-- paid late while it has the time until which that is open.
CREATE TRIGGER orders_final BEFORE UPDATE OF state ON orders FOR EACH ROW
    WHEN (OLD.state IN ('PAID', 'SKIPPED', 'LAPSED', 'CANCELLED') AND NEW.state <> OLD.state
          AND NOT (OLD.state = 'SKIPPED' AND OLD.reasons = '{SKIPPED_BY_CUSTOMER}'
                   AND NEW.state = 'HELD')
          AND NOT (OLD.state = 'LAPSED' AND OLD.late_payment_until_time IS NOT NULL
                   AND NEW.state = 'PAID'))
    EXECUTE FUNCTION refuse_regress();

CREATE VIEW audit_v1.standing_orders AS
    SELECT merchant, standing_order, customer, state, base_cycle, first_cycle, next_cycle,
           next_due_time, last_cycle, schedule, dates_changed, title = '' AS erased,
           coalesce(state_change_time, create_time) AS state_change_time
    FROM standing_orders;
CREATE VIEW audit_v1.orders AS
    SELECT merchant, standing_order, cycle,
           'merchants/' || merchant || '/standingOrders/' || standing_order AS standing_order_name,
           'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
               AS name,
           customer, 'merchants/' || merchant || '/customers/' || customer AS customer_name,
           local_date, due_time, state, reasons,
           billing_mode, notified_minor, amount_minor, currency, charge_not_before_time, notice_time,
           pay_time, late_payment_until_time,
           is_moved AS moved
    FROM orders;
-- What the units are held of, for an order that is to be paid or was.
CREATE VIEW audit_v1.order_items AS
    SELECT merchant,
           'merchants/' || merchant || '/standingOrders/' || standing_order AS standing_order_name,
           'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
               AS order_name,
           state, item.product, item.quantity_units, due_time
    FROM orders CROSS JOIN LATERAL (
        SELECT item ->> 0 AS product, sum((item ->> 1)::integer) AS quantity_units
        FROM jsonb_array_elements(items) AS item GROUP BY item ->> 0) AS item
    WHERE state IN ('AWAITING_PAYMENT', 'PAID');
-- The slots of services that are booked for an order that is announced, to be paid or paid.
CREATE VIEW audit_v1.order_slots AS
    SELECT merchant,
           'merchants/' || merchant || '/standingOrders/' || standing_order AS standing_order_name,
           'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
               AS order_name,
           state, local_date, item ->> 0 AS product, (item ->> 1)::integer AS slots, due_time
    FROM orders CROSS JOIN LATERAL jsonb_array_elements(items) AS item
    WHERE services <> '{}' AND state IN ('UPCOMING', 'AWAITING_PAYMENT', 'PAID')
      AND item ->> 0 = ANY (services);
-- What payments, notify and catalog say as well, by when the order was due.
CREATE VIEW audit_v1.compared AS
    -- Orders are read once for all that is said of them.
    SELECT said.clause, merchant, '' AS product, name AS subject, customer, '' AS order_name,
           said.currency, said.amount_minor, said.facts, due_time AS partition_time, said.is_final
    FROM audit_v1.orders CROSS JOIN LATERAL (
        SELECT 'order-has-one-charge' AS clause, currency, amount_minor, '' AS facts,
               state <> 'AWAITING_PAYMENT' AND late_payment_until_time IS NULL AS is_final
        WHERE amount_minor IS NOT NULL
        UNION ALL
        SELECT 'final-states-agree', '', 0,
               CASE state WHEN 'PAID' THEN 'paid' WHEN 'AWAITING_PAYMENT' THEN 'open'
                          ELSE 'unpaid' END,
               state <> 'AWAITING_PAYMENT' AND late_payment_until_time IS NULL
        WHERE amount_minor IS NOT NULL
        UNION ALL
        SELECT 'receipt-sent', '', 0, state, true WHERE state IN ('PAID', 'CANCELLED')) AS said
    UNION ALL
    SELECT 'stock-matches-orders', merchant, product, order_name || ' ' || product, '', '', '', 0,
           CASE state WHEN 'PAID' THEN 'COMMITTED ' ELSE 'HELD ' END || quantity_units, due_time,
           state = 'PAID'
    FROM audit_v1.order_items
    UNION ALL
    SELECT 'slots-match-orders', merchant, product, order_name || ' ' || product, '', '', '', 0,
           CASE state WHEN 'PAID' THEN 'COMMITTED ' ELSE 'HELD ' END || slots || ' ' || local_date,
           due_time, state = 'PAID'
    FROM audit_v1.order_slots;
-- What digests of settled days are made of.
CREATE VIEW audit_v1.digested AS
    SELECT clause, merchant, product, subject, currency, amount_minor, facts, partition_time, is_final,
           true AS may_be_backdated
    FROM audit_v1.compared;
-- The cycle that was next when somebody asked for it at once, and when it would have been due, unless
-- that could be another date than its rule gave. A call that leaves that time as it is has brought
-- forward none, or one that had its order.
CREATE VIEW audit_v1.cycles_brought_forward AS
    SELECT DISTINCT ON (resource, state_before -> 'next_cycle')
           split_part(resource, '/', 2) AS merchant, split_part(resource, '/', 4) AS standing_order,
           (state_before ->> 'next_cycle')::integer AS cycle,
           CASE WHEN state_before -> 'schedule' -> 'business_days' IS NULL
                     AND state_before -> 'schedule' ->> 'blackout_rule'
                         IS DISTINCT FROM 'MOVE_TO_NEXT_ALLOWED'
                     AND NOT EXISTS (
                       SELECT FROM jsonb_array_elements(state_before -> 'cycle_changes') AS change
                       WHERE change -> 'cycle' = state_before -> 'next_cycle'
                         AND change -> 'local_date' IS NOT NULL)
                THEN (state_before ->> 'next_due_time')::timestamptz END AS due_time,
           state_before -> 'schedule' ->> 'time_zone' AS time_zone
    FROM audit_entries
    WHERE method = 'OrderNow' AND state_before -> 'next_due_time' IS NOT NULL
      AND state_before -> 'next_due_time' IS DISTINCT FROM state_after -> 'next_due_time'
    ORDER BY resource, state_before -> 'next_cycle', position;
CREATE VIEW audit_v1.cycles_moved_by_customers AS
    SELECT DISTINCT split_part(resource, '/', 2) AS merchant,
           split_part(resource, '/', 4) AS standing_order, (change ->> 'cycle')::integer AS cycle
    FROM audit_entries
    CROSS JOIN LATERAL jsonb_array_elements(state_after -> 'cycle_changes') AS change
    WHERE method = 'ChangeCycle' AND change -> 'local_date' IS NOT NULL;
CREATE VIEW audit_v1.due_work AS
    SELECT 'standing order' AS kind, merchant, merchant || '/' || standing_order AS subject,
           prepare_time AS due_time, bucket
    FROM standing_orders WHERE state = 'ACTIVE' AND prepare_time IS NOT NULL
    UNION ALL
    SELECT 'pause of', merchant, merchant || '/' || standing_order, resume_time, bucket
    FROM standing_orders WHERE state = 'PAUSED' AND resume_time IS NOT NULL
    UNION ALL
    SELECT 'notice of price protection of', merchant, merchant || '/' || standing_order,
           protection_notice_time, bucket
    FROM standing_orders WHERE state = 'ACTIVE' AND protection_notice_time IS NOT NULL
    UNION ALL
    SELECT 'notice of the end of a promotion of', merchant, merchant || '/' || standing_order,
           promotion_notice_time, bucket
    FROM standing_orders WHERE state = 'ACTIVE' AND promotion_notice_time IS NOT NULL
    UNION ALL
    SELECT 'notice lead of', merchant, merchant || '/' || standing_order, lead_check_time, bucket
    FROM standing_orders WHERE lead_check_time IS NOT NULL
    UNION ALL
    SELECT 'discontinued product', merchant, merchant || '/' || product, discontinue_time, bucket
    FROM discontinued_products WHERE NOT is_done
    UNION ALL
    SELECT 'announced order', merchant, merchant || '/' || standing_order || '/' || cycle, collect_time,
           bucket
    FROM orders WHERE collect_time IS NOT NULL
    UNION ALL
    SELECT 'held order', merchant, merchant || '/' || standing_order || '/' || cycle,
           CASE WHEN reasons IN (ARRAY['PREVIOUS_UNPAID'], ARRAY['TAX_UNAVAILABLE']) THEN recheck_time
                ELSE least(recheck_time, hold_until_time) END, bucket
    FROM orders WHERE recheck_time IS NOT NULL
    UNION ALL
    SELECT 'announced order without a delivered notice', merchant,
           merchant || '/' || standing_order || '/' || cycle, hold_until_time, bucket
    FROM orders
    WHERE state IN ('UPCOMING', 'HELD') AND collect_time IS NULL AND recheck_time IS NULL
    UNION ALL
    SELECT 'walk of price change', merchant, merchant || '/' || product || '/' || price, due_time,
           bucket
    FROM price_changes WHERE due_time IS NOT NULL
    UNION ALL
    SELECT 'notice of price change', merchant, merchant || '/' || standing_order || '/' || price,
           notify_time, bucket
    FROM price_change_notices WHERE notify_time IS NOT NULL;
"""
