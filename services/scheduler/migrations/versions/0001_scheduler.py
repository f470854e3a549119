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
    price_protection        jsonb,
    notice_lead             interval    NOT NULL,
    payment_window          interval    NOT NULL,
    state                   text        NOT NULL
                            CHECK (state IN ('ACTIVE', 'PAUSED', 'CANCELLED', 'COMPLETED')),
    base_cycle              integer     NOT NULL,
    -- The first cycle of all: the count that the customer gave counts from it, under any schedule.
    plan_first_cycle        integer     NOT NULL DEFAULT 1,
    -- Of the last cycle that has an order, what the recurrence gave: that date is used up.
    last_nominal_date       date,
    -- The first cycle that is billed here; those before it were another system's.
    first_cycle             integer     NOT NULL DEFAULT 1 CHECK (first_cycle >= 1),
    -- Of the row that it was imported from, encrypted; the same row again changes nothing.
    import_hash             bytea       NOT NULL DEFAULT '',
    next_cycle              integer     CHECK (next_cycle >= 1),
    next_due_time           timestamptz,
    prepare_time            timestamptz,
    catch_up_mode           text        NOT NULL
                            CHECK (catch_up_mode IN ('LATEST_ONLY', 'ALL_IN_ORDER', 'NONE')),
    catch_up_window         interval    NOT NULL,
    -- JSON, kept as text: it is read far more often than it is different.
    conditions              text        NOT NULL DEFAULT '[]',
    repurchase_window       interval,
    repurchase_action       text        NOT NULL
                            CHECK (repurchase_action IN ('SKIP', 'HOLD_AND_ASK')),
    last_cycle              integer,
    resume_time             timestamptz,
    -- When the last cycle is due; a pause that lasts longer ends the standing order.
    last_due_time           timestamptz,
    changes                 jsonb       NOT NULL,
    -- Whether somebody moved dates since sign-up: then the schedule alone does not give them all.
    dates_changed           boolean     NOT NULL DEFAULT false,
    paid_order_count        integer     NOT NULL DEFAULT 0,
    last_amount_minor       bigint,
    last_currency           text        NOT NULL DEFAULT '',
    version                 integer     NOT NULL DEFAULT 1,
    claim_time              timestamptz,
    create_time             timestamptz NOT NULL,
    update_time             timestamptz NOT NULL,
    PRIMARY KEY (merchant, standing_order)
)
-- A cycle changes the row three times (claimed, moved on, paid): where there is room on its page, the
-- indexes of what did not change stay as they are.
WITH (fillfactor = 70);
CREATE INDEX standing_orders_due ON standing_orders (prepare_time) WHERE state = 'ACTIVE';
CREATE INDEX standing_orders_resting ON standing_orders (least(resume_time, last_due_time))
    WHERE state = 'PAUSED' AND next_cycle IS NOT NULL;
CREATE INDEX standing_orders_of_customer ON standing_orders (merchant, customer, standing_order);

CREATE TABLE orders (
    merchant                text        NOT NULL,
    standing_order          text        NOT NULL,
    cycle                   integer     NOT NULL CHECK (cycle >= 1),
    customer                text        NOT NULL,
    local_date              date        NOT NULL,
    due_time                timestamptz NOT NULL,
    notice_lead             interval    NOT NULL,
    state                   text        NOT NULL,
    -- What it was announced with; until then, the standing order's when it was last prepared.
    title                   text        NOT NULL,
    billing_mode            text        NOT NULL
                            CHECK (billing_mode IN ('AUTOMATIC', 'PAY_ON_NOTICE')),
    mandate                 text        NOT NULL,
    payment_window          interval    NOT NULL,
    time_zone               text        NOT NULL,
    reasons                 text[]      NOT NULL,
    items                   jsonb       NOT NULL,
    -- What was taken instead of a product; items has it.
    substitutes             jsonb       NOT NULL,
    ship_to                 bytea       NOT NULL,
    lines                   jsonb       NOT NULL,
    currency                text        NOT NULL,
    notified_minor          bigint,
    amount_minor            bigint,
    charge_not_before_time  timestamptz,
    notice_time             timestamptz,
    collect_time            timestamptz,
    pay_time                timestamptz,
    recheck_time            timestamptz,
    held_stage              text,
    -- Whether the customer is asked about a condition.
    asks_condition          boolean     NOT NULL,
    confirmed_reasons       text[]      NOT NULL,
    hold_until_time         timestamptz NOT NULL,
    announcement_count      integer     NOT NULL,
    traceparent             text        NOT NULL,
    history                 jsonb       NOT NULL,
    claim_time              timestamptz,
    create_time             timestamptz NOT NULL,
    update_time             timestamptz NOT NULL,
    -- One cycle, at most one order.
    PRIMARY KEY (merchant, standing_order, cycle),
    FOREIGN KEY (merchant, standing_order) REFERENCES standing_orders,
    CHECK (state IN ('UPCOMING', 'AWAITING_PAYMENT', 'PAID', 'SKIPPED', 'HELD', 'LAPSED',
                     'CANCELLED')),
    -- Never more than the customer was told.
    CHECK (amount_minor <= notified_minor)
);
CREATE INDEX orders_to_collect ON orders (collect_time) WHERE state = 'UPCOMING';
CREATE INDEX orders_held ON orders (recheck_time) WHERE state = 'HELD';
CREATE INDEX orders_of_merchant_due ON orders (merchant, due_time);

-- What customers bought elsewhere: of each product the last purchase. The shard key is the customer.
CREATE TABLE purchases (
    merchant                text        NOT NULL,
    customer                text        NOT NULL,
    product                 text        NOT NULL,
    purchase_time           timestamptz NOT NULL,
    PRIMARY KEY (customer, merchant, product)
);

-- How merchants' standing orders behave. Few rows, rarely changed: a copy on each shard.
CREATE TABLE scheduler_settings (
    merchant                text        NOT NULL PRIMARY KEY,
    unpaid_policy           text        NOT NULL
                            CHECK (unpaid_policy IN ('GO_ON', 'WAIT', 'PAUSE')),
    version                 integer     NOT NULL
);

SELECT enable_tenant_rls('merchant', 'standing_orders', 'orders', 'purchases', 'scheduler_settings');

-- What statements read of an order (store/order_rows.py): all but its history, which is long.
CREATE VIEW order_rows WITH (security_invoker = true) AS
    SELECT merchant, standing_order, cycle, customer, ship_to, state, title, billing_mode, mandate,
           payment_window, time_zone, items, substitutes, hold_until_time, asks_condition, local_date,
           due_time, notice_lead, lines, currency, notified_minor, amount_minor,
           charge_not_before_time, notice_time, collect_time, pay_time, recheck_time, held_stage,
           announcement_count, traceparent, reasons, confirmed_reasons, create_time, update_time,
           claim_time
    FROM orders;
-- What statements read of a standing order (store/standing_order_rows.py), and what its merchant's
-- settings mean for it: they are found by their key, row by row, and never read as a whole.
CREATE VIEW standing_order_rows WITH (security_invoker = true) AS
    SELECT merchant, standing_order, customer, title, items, schedule, billing_mode, mandate, ship_to,
           price_protection, notice_lead, payment_window, create_time, update_time, state, base_cycle,
           plan_first_cycle, last_nominal_date, next_cycle, next_due_time, prepare_time,
           catch_up_mode, catch_up_window, conditions, repurchase_window, repurchase_action,
           last_cycle, resume_time, last_due_time, changes, dates_changed, paid_order_count,
           last_amount_minor, last_currency, version, claim_time,
           coalesce((SELECT unpaid_policy = 'WAIT' FROM scheduler_settings AS settings
                     WHERE settings.merchant = standing_orders.merchant), false) AS waits_for_payment
    FROM standing_orders;

-- A final state stays, whatever arrives late, twice or out of order. A customer's own skip is the one
-- that the customer can take back: the order is then prepared and announced again.
CREATE TRIGGER orders_final BEFORE UPDATE OF state ON orders FOR EACH ROW
    WHEN (OLD.state IN ('PAID', 'SKIPPED', 'LAPSED', 'CANCELLED') AND NEW.state <> OLD.state
          AND NOT (OLD.state = 'SKIPPED' AND OLD.reasons = '{SKIPPED_BY_CUSTOMER}'
                   AND NEW.state = 'HELD'))
    EXECUTE FUNCTION refuse_regress();

CREATE VIEW audit_v1.standing_orders AS
    SELECT merchant, standing_order, customer, state, base_cycle, first_cycle, next_cycle,
           next_due_time, last_cycle, schedule, dates_changed, title = '' AS erased,
           coalesce((
               SELECT max(occur_time) FROM outbox
               WHERE type = 'recurring.scheduler.v1.StandingOrderChanged'
                 AND partition_key = 'merchants/' || merchant || '/standingOrders/' || standing_order
           ), update_time) AS state_change_time
    FROM standing_orders;
CREATE VIEW audit_v1.orders AS
    SELECT merchant, standing_order, cycle,
           'merchants/' || merchant || '/standingOrders/' || standing_order AS standing_order_name,
           'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
               AS name,
           customer, 'merchants/' || merchant || '/customers/' || customer AS customer_name,
           local_date, due_time, state, reasons,
           billing_mode, notified_minor, amount_minor, currency, charge_not_before_time, notice_time,
           pay_time,
           history @> '[{"kind": "ORDERED_NOW"}]' OR history @> '[{"kind": "DEFERRED"}]' AS moved
    FROM orders;
-- What the units are held of, for an order that is to be paid or was.
CREATE VIEW audit_v1.order_items AS
    SELECT merchant,
           'merchants/' || merchant || '/standingOrders/' || standing_order AS standing_order_name,
           'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
               AS order_name,
           state, item.product, item.quantity_units
    FROM orders CROSS JOIN LATERAL (
        SELECT item ->> 0 AS product, sum((item ->> 1)::integer) AS quantity_units
        FROM jsonb_array_elements(items) AS item GROUP BY item ->> 0) AS item
    WHERE state IN ('AWAITING_PAYMENT', 'PAID');
-- The cycle that was next when somebody asked for it at once, and when it would have been due.
CREATE VIEW audit_v1.cycles_brought_forward AS
    SELECT DISTINCT ON (resource, state_before -> 'next_cycle')
           split_part(resource, '/', 2) AS merchant, split_part(resource, '/', 4) AS standing_order,
           (state_before ->> 'next_cycle')::integer AS cycle,
           (state_before ->> 'next_due_time')::timestamptz AS due_time,
           state_before -> 'schedule' ->> 'time_zone' AS time_zone
    FROM audit_entries
    WHERE method = 'OrderNow' AND state_before -> 'next_due_time' IS NOT NULL
      AND state_before IS DISTINCT FROM state_after
    ORDER BY resource, state_before -> 'next_cycle', position;
CREATE VIEW audit_v1.cycles_moved_by_customers AS
    SELECT DISTINCT split_part(resource, '/', 2) AS merchant,
           split_part(resource, '/', 4) AS standing_order, (change ->> 'cycle')::integer AS cycle
    FROM audit_entries
    CROSS JOIN LATERAL jsonb_array_elements(state_after -> 'cycle_changes') AS change
    WHERE method = 'ChangeCycle' AND change -> 'local_date' IS NOT NULL;
CREATE VIEW audit_v1.due_work AS
    SELECT 'standing order' AS kind, merchant, merchant || '/' || standing_order AS subject,
           prepare_time AS due_time, claim_time
    FROM standing_orders WHERE state = 'ACTIVE' AND prepare_time IS NOT NULL
    UNION ALL
    SELECT 'pause of', merchant, merchant || '/' || standing_order, resume_time, claim_time
    FROM standing_orders WHERE state = 'PAUSED' AND resume_time IS NOT NULL
    UNION ALL
    SELECT 'announced order', merchant, merchant || '/' || standing_order || '/' || cycle, collect_time,
           claim_time
    FROM orders WHERE state = 'UPCOMING' AND collect_time IS NOT NULL
    UNION ALL
    SELECT 'announced order without a delivered notice', merchant,
           merchant || '/' || standing_order || '/' || cycle, hold_until_time, claim_time
    FROM orders WHERE state = 'UPCOMING' AND collect_time IS NULL
    UNION ALL
    SELECT 'held order', merchant, merchant || '/' || standing_order || '/' || cycle,
           CASE WHEN reasons = ARRAY['PREVIOUS_UNPAID'] THEN recheck_time
                ELSE least(recheck_time, hold_until_time) END, claim_time
    FROM orders WHERE state = 'HELD';
"""
