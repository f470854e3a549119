"""Products, prices, protections, stock and holds."""

from alembic import op

from services.runtime.db.migrations import RUNTIME_TABLES_V1, statements

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in statements(RUNTIME_TABLES_V1 + TABLES):
        op.execute(statement)


TABLES = """
CREATE TABLE products (
    merchant              text        NOT NULL,
    product               text        NOT NULL,
    title                 text        NOT NULL,
    increase_notice_days  integer     NOT NULL CHECK (increase_notice_days >= 0),
    stock_tracked         boolean     NOT NULL,
    low_stock_threshold   bigint      NOT NULL CHECK (low_stock_threshold >= 0),
    state                 text        NOT NULL CHECK (state IN ('ACTIVE', 'DISCONTINUED')),
    version               integer     NOT NULL DEFAULT 1,
    create_time           timestamptz NOT NULL,
    tax_category          text        NOT NULL DEFAULT 'standard',
    -- A bundle: its parts, none of them a bundle, and how many of each.
    part_products         text[]      NOT NULL DEFAULT '{}',
    part_quantities       integer[]   NOT NULL DEFAULT '{}' CHECK (0 < ALL (part_quantities)),
    -- A service: its stock is slots by day.
    capacity_by_day       boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (product, merchant),
    CHECK (cardinality(part_products) = cardinality(part_quantities)),
    CHECK (part_products = '{}' OR NOT (stock_tracked OR capacity_by_day)),
    CHECK (NOT (stock_tracked AND capacity_by_day))
);
CREATE INDEX products_of_merchant ON products (merchant, product);
CREATE INDEX products_by_day ON products (merchant) WHERE capacity_by_day;
CREATE INDEX products_bundles ON products (merchant) WHERE part_products <> '{}';

CREATE TABLE prices (
    merchant              text        NOT NULL,
    product               text        NOT NULL,
    price                 text        NOT NULL,
    unit_price_minor      bigint      NOT NULL CHECK (unit_price_minor > 0),
    currency              text        NOT NULL,
    effective_time        timestamptz NOT NULL,
    announce_time         timestamptz NOT NULL,
    withdraw_time         timestamptz CHECK (withdraw_time < effective_time),
    tier_mode             text        CHECK (tier_mode IN ('VOLUME', 'GRADUATED')),
    -- From a number of units on, what one costs: pairs in order.
    tiers                 jsonb       NOT NULL DEFAULT '[]',
    subscriber_discount_bps integer   NOT NULL DEFAULT 0
                          CHECK (subscriber_discount_bps BETWEEN 0 AND 9999),
    version               integer     NOT NULL DEFAULT 1,
    PRIMARY KEY (product, merchant, price),
    FOREIGN KEY (product, merchant) REFERENCES products,
    CHECK ((tier_mode IS NULL) = (tiers = '[]'))
);
CREATE UNIQUE INDEX prices_at_an_instant ON prices (product, merchant, currency, effective_time)
    WHERE withdraw_time IS NULL;

-- What standing orders signed up to. How they are protected is said by who asks what they cost.
CREATE TABLE protections (
    merchant              text        NOT NULL,
    standing_order        text        NOT NULL,
    product               text        NOT NULL,
    -- A version of the product's price: it is in effect, so it stays.
    sign_up_price         text        NOT NULL,
    sign_up_time          timestamptz NOT NULL,
    PRIMARY KEY (standing_order, merchant, product)
);

-- Few rows: a copy on each shard.
CREATE TABLE promotions (
    merchant              text        NOT NULL,
    promotion             text        NOT NULL,
    title                 text        NOT NULL,
    percent_off_bps       integer     NOT NULL CHECK (percent_off_bps BETWEEN 0 AND 9999),
    amount_off_minor      bigint      NOT NULL CHECK (amount_off_minor >= 0),
    currency              text        NOT NULL,
    cycle_count           integer     NOT NULL CHECK (cycle_count >= 0),
    discount_until_time   timestamptz,
    code                  text        NOT NULL,
    products              text[]      NOT NULL,
    redemption_limit      integer     NOT NULL,
    end_time              timestamptz,
    create_time           timestamptz NOT NULL,
    redemption_count      integer     NOT NULL DEFAULT 0 CHECK (redemption_count >= 0),
    state                 text        NOT NULL DEFAULT 'ACTIVE'
                          CHECK (state IN ('ACTIVE', 'ENDED')),
    version               integer     NOT NULL DEFAULT 1,
    PRIMARY KEY (merchant, promotion),
    CHECK ((percent_off_bps = 0) <> (amount_off_minor = 0)),
    CHECK ((currency = '') = (amount_off_minor = 0)),
    -- Never more than may.
    CHECK (redemption_limit = 0 OR redemption_count <= redemption_limit)
);
CREATE UNIQUE INDEX promotions_code ON promotions (merchant, code) WHERE code <> '';
CREATE INDEX promotions_redeemable ON promotions (code, merchant);

-- A standing order redeems one promotion at most, when it is made.
CREATE TABLE redemptions (
    merchant              text        NOT NULL,
    standing_order        text        NOT NULL,
    promotion             text        NOT NULL,
    first_cycle           integer     NOT NULL CHECK (first_cycle >= 1),
    redeem_time           timestamptz NOT NULL,
    PRIMARY KEY (standing_order, merchant)
);

-- Few rows: a copy on each shard.
CREATE TABLE price_protection_offers (
    merchant              text        NOT NULL,
    offer                 text        NOT NULL,
    title                 text        NOT NULL,
    -- A lock for a number of cycles or until an instant, or a cap.
    lock_cycle_count      integer     CHECK (lock_cycle_count > 0),
    lock_until_time       timestamptz,
    cap_bps               integer     CHECK (cap_bps >= 0),
    products              text[]      NOT NULL,
    start_time            timestamptz,
    end_time              timestamptz,
    protects_added_products   boolean NOT NULL,
    survives_schedule_changes boolean NOT NULL,
    create_time           timestamptz NOT NULL,
    state                 text        NOT NULL DEFAULT 'ACTIVE'
                          CHECK (state IN ('ACTIVE', 'ENDED')),
    version               integer     NOT NULL DEFAULT 1,
    PRIMARY KEY (merchant, offer),
    CHECK (num_nonnulls(lock_cycle_count, lock_until_time, cap_bps) = 1)
);

-- When customers were notified of a price, by standing order: the notice of an increase runs from then.
CREATE TABLE price_notices (
    merchant              text        NOT NULL,
    standing_order        text        NOT NULL,
    product               text        NOT NULL,
    price                 text        NOT NULL,
    -- A correction announces a price again, and what notices said before does not count.
    announce_time         timestamptz NOT NULL,
    deliver_time          timestamptz NOT NULL,
    PRIMARY KEY (standing_order, merchant, product, price, announce_time)
);

CREATE TABLE stock (
    merchant              text        NOT NULL,
    product               text        NOT NULL,
    on_hand_units         bigint      NOT NULL DEFAULT 0,
    held_units            bigint      NOT NULL DEFAULT 0 CHECK (held_units >= 0),
    -- Gone, for orders that were paid.
    committed_units       bigint      NOT NULL DEFAULT 0,
    -- Whether an order was refused for the want of units since there were last more of them.
    is_awaited            boolean     NOT NULL DEFAULT false,
    version               integer     NOT NULL DEFAULT 1,
    PRIMARY KEY (product, merchant),
    FOREIGN KEY (product, merchant) REFERENCES products,
    -- Never promised more than there is.
    CHECK (held_units <= on_hand_units)
);

CREATE TABLE deliveries (
    merchant              text        NOT NULL,
    product               text        NOT NULL,
    delivery              text        NOT NULL,
    units                 bigint      NOT NULL CHECK (units > 0),
    expected_date         date        NOT NULL,
    state                 text        NOT NULL
                          CHECK (state IN ('EXPECTED', 'RECEIVED', 'CANCELLED')),
    received_units        bigint      NOT NULL CHECK (received_units >= 0),
    create_time           timestamptz NOT NULL,
    PRIMARY KEY (product, merchant, delivery),
    FOREIGN KEY (product, merchant) REFERENCES products
);
CREATE INDEX deliveries_expected ON deliveries (product, merchant, expected_date)
    WHERE state = 'EXPECTED';

-- A row an order: what is held for it, or that it ended. The end of an order may come before a hold
-- that was asked for earlier, which then finds the row and holds nothing.
CREATE TABLE stock_holds (
    merchant              text        NOT NULL,
    standing_order        text        NOT NULL,
    cycle                 integer     NOT NULL,
    -- How often the order had been announced by then: what was asked for by fewer is out of date.
    announcement_count    integer     NOT NULL CHECK (announcement_count >= 0),
    state                 text        NOT NULL
                          CHECK (state IN ('HELD', 'COMMITTED', 'RELEASED', 'ENDED', 'BACKORDERED',
                                           'WAIVED')),
    products              text[]      NOT NULL,
    -- Of each product.
    quantities            integer[]   NOT NULL CHECK (0 < ALL (quantities)),
    -- With bundles, where `products` has their parts; null: those are what was ordered.
    ordered_products      text[],
    ordered_quantities    integer[],
    -- Null where nothing was ever held. BACKORDERED: since when there may be units; null: none.
    expire_time           timestamptz,
    -- When the order is due, or was.
    due_time              timestamptz,
    -- By this database's clock: a hold is made by a call, before the order is stored that it is for.
    hold_time             timestamptz NOT NULL DEFAULT now(),
    bucket                smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(standing_order)) STORED,
    PRIMARY KEY (standing_order, merchant, cycle),
    CHECK (cardinality(products) = cardinality(quantities)),
    CHECK (state <> 'HELD' OR num_nulls(expire_time, due_time) = 0)
);
CREATE INDEX stock_holds_expiring ON stock_holds (bucket, expire_time) WHERE state = 'HELD';
CREATE INDEX stock_holds_served ON stock_holds (bucket, expire_time)
    WHERE state = 'BACKORDERED' AND expire_time IS NOT NULL;
-- Put so that the planner does not take it for what is due.
CREATE INDEX stock_holds_owed ON stock_holds (merchant) WHERE state || '' = 'BACKORDERED';
-- For proofs, which read all holds of a day.
CREATE INDEX stock_holds_due_time ON stock_holds USING brin (due_time)
    WITH (pages_per_range = 32, autosummarize);

-- How many slots a service has on each weekday, from Monday on, and on single dates. Who books or frees
-- slots of a service locks its row.
CREATE TABLE capacities (
    merchant              text        NOT NULL,
    product               text        NOT NULL,
    weekday_slots         integer[]   NOT NULL DEFAULT '{0,0,0,0,0,0,0}'
                          CHECK (cardinality(weekday_slots) = 7 AND 0 <= ALL (weekday_slots)),
    exception_dates       date[]      NOT NULL DEFAULT '{}',
    exception_slots       integer[]   NOT NULL DEFAULT '{}' CHECK (0 <= ALL (exception_slots)),
    -- Whether an order found no slot since some were last freed or added.
    is_awaited            boolean     NOT NULL DEFAULT false,
    -- How often that was published.
    freed_count           integer     NOT NULL DEFAULT 0,
    version               integer     NOT NULL DEFAULT 1,
    PRIMARY KEY (product, merchant),
    FOREIGN KEY (product, merchant) REFERENCES products,
    CHECK (cardinality(exception_dates) = cardinality(exception_slots))
);

-- The days of services that slots were ever booked of.
CREATE TABLE booked_days (
    merchant              text        NOT NULL,
    product               text        NOT NULL,
    day                   date        NOT NULL,
    -- The capacity of the day.
    slots                 integer     NOT NULL,
    booked_slots          integer     NOT NULL,
    -- Of those, for orders that were paid.
    committed_slots       integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (product, merchant, day),
    FOREIGN KEY (product, merchant) REFERENCES products,
    -- Never more promised than there are.
    CHECK (booked_slots <= slots),
    CHECK (committed_slots BETWEEN 0 AND booked_slots)
);

-- A row an order: its slots, or that it ended, as of `stock_holds`.
CREATE TABLE slot_bookings (
    merchant              text        NOT NULL,
    standing_order        text        NOT NULL,
    cycle                 integer     NOT NULL,
    announcement_count    integer     NOT NULL CHECK (announcement_count >= 0),
    state                 text        NOT NULL
                          CHECK (state IN ('HELD', 'COMMITTED', 'RELEASED', 'ENDED')),
    -- Services, and how many slots of each.
    products              text[]      NOT NULL,
    quantities            integer[]   NOT NULL CHECK (0 < ALL (quantities)),
    -- Null where nothing was ever booked.
    day                   date,
    expire_time           timestamptz,
    -- When the order is due, or was, on that day.
    due_time              timestamptz,
    -- Whether the order is known to be stored; until then it expires soon.
    order_stored          boolean     NOT NULL DEFAULT false,
    -- By this database's clock, as `stock_holds.hold_time`.
    book_time             timestamptz NOT NULL DEFAULT now(),
    bucket                smallint    NOT NULL GENERATED ALWAYS AS (bucket_of(standing_order)) STORED,
    PRIMARY KEY (standing_order, merchant, cycle),
    CHECK (cardinality(products) = cardinality(quantities)),
    CHECK (state NOT IN ('HELD', 'COMMITTED') OR num_nulls(day, expire_time, due_time) = 0)
);
CREATE INDEX slot_bookings_expiring ON slot_bookings (bucket, expire_time) WHERE state = 'HELD';
CREATE INDEX slot_bookings_of_day ON slot_bookings (merchant, day);
-- For proofs, which read all bookings of a day.
CREATE INDEX slot_bookings_due_time ON slot_bookings USING brin (due_time)
    WITH (pages_per_range = 32, autosummarize);

-- What merchants add to the rule packs that come with the catalog.
CREATE TABLE rule_packs (
    merchant              text        NOT NULL,
    rule_pack             text        NOT NULL,
    extra_regions         text[]      NOT NULL DEFAULT '{}',
    -- Of the merchant's own pack.
    rules                 jsonb       NOT NULL DEFAULT '[]',
    version               integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (merchant, rule_pack)
);

-- Few rows, rarely changed, as all that merchants set: a copy on each shard.
CREATE TABLE tax_rates (
    merchant              text        NOT NULL,
    tax_rate              text        NOT NULL,
    region_code           text        NOT NULL,
    tax_category          text        NOT NULL,
    tax                   text        NOT NULL,
    title                 text        NOT NULL,
    rate_ppm              integer     NOT NULL CHECK (rate_ppm BETWEEN 0 AND 1000000),
    compound              boolean     NOT NULL,
    tax_id_treatment      text        NOT NULL
                          CHECK (tax_id_treatment IN ('CHARGED', 'REVERSE_CHARGE', 'EXEMPT')),
    effective_time        timestamptz NOT NULL,
    create_time           timestamptz NOT NULL,
    withdraw_time         timestamptz CHECK (withdraw_time < effective_time),
    PRIMARY KEY (merchant, tax_rate)
);
CREATE UNIQUE INDEX tax_rates_at_an_instant
    ON tax_rates (merchant, region_code, tax_category, tax, effective_time)
    WHERE withdraw_time IS NULL;

-- How a merchant's prices and taxes are meant.
CREATE TABLE catalog_settings (
    merchant              text        NOT NULL PRIMARY KEY,
    tax_behavior          text        NOT NULL CHECK (tax_behavior IN ('INCLUSIVE', 'EXCLUSIVE')),
    tax_rounding          text        NOT NULL CHECK (tax_rounding IN ('LINE', 'DOCUMENT')),
    half_rounding         text        NOT NULL CHECK (half_rounding IN ('UP', 'EVEN')),
    region_code           text        NOT NULL,
    version               integer     NOT NULL,
    tax_source            text        NOT NULL CHECK (tax_source IN ('OWN_RATES', 'TAX_SERVICE'))
);

-- By kind of work and bucket, when the first is due. Buckets are looked into from the first that has
-- any of a kind on, so that a kind with nothing takes one look, not one a bucket.
CREATE VIEW first_due WITH (security_invoker = true) AS
    SELECT 'hold-expiry' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT expire_time AS due_time FROM stock_holds
        WHERE state = 'HELD' AND stock_holds.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM stock_holds WHERE state = 'HELD'
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'backorder' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT expire_time AS due_time FROM stock_holds
        WHERE state = 'BACKORDERED' AND expire_time IS NOT NULL AND stock_holds.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM stock_holds WHERE state = 'BACKORDERED' AND expire_time IS NOT NULL
        ORDER BY bucket LIMIT 1)
    UNION ALL
    SELECT 'booking-expiry' AS kind, '' AS queue, buckets.bucket, due_time
    FROM buckets CROSS JOIN LATERAL (
        SELECT expire_time AS due_time FROM slot_bookings
        WHERE state = 'HELD' AND slot_bookings.bucket = buckets.bucket
        ORDER BY due_time LIMIT 1) AS first
    WHERE buckets.bucket >= (
        SELECT bucket FROM slot_bookings WHERE state = 'HELD'
        ORDER BY bucket LIMIT 1);

SELECT enable_tenant_rls('merchant', 'products', 'prices', 'protections', 'price_notices', 'stock',
                         'stock_holds', 'deliveries', 'rule_packs', 'promotions', 'redemptions',
                         'price_protection_offers',
                         'tax_rates', 'catalog_settings',
                         'capacities', 'booked_days', 'slot_bookings');
SELECT revoke_privileges('DELETE', 'products', 'prices', 'protections', 'price_notices', 'stock',
    'stock_holds', 'deliveries', 'rule_packs', 'promotions', 'price_protection_offers', 'tax_rates',
    'catalog_settings', 'capacities', 'booked_days', 'slot_bookings');
SELECT keep_final_states('products', 'DISCONTINUED');
SELECT keep_final_states('promotions', 'ENDED');
SELECT keep_final_states('price_protection_offers', 'ENDED');
SELECT keep_final_states('deliveries', 'RECEIVED', 'CANCELLED');
SELECT keep_final_states('stock_holds', 'COMMITTED', 'WAIVED');
SELECT keep_final_states('slot_bookings', 'COMMITTED');

CREATE VIEW audit_v1.stock_holds AS
    SELECT merchant, standing_order, cycle,
           'merchants/' || merchant || '/standingOrders/' || standing_order AS standing_order_name,
           'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
               AS order_name,
           product, quantity AS quantity_units, state, expire_time, hold_time, due_time
    FROM stock_holds CROSS JOIN LATERAL unnest(products, quantities) AS held (product, quantity);
CREATE VIEW audit_v1.slot_bookings AS
    SELECT merchant, standing_order, cycle,
           'merchants/' || merchant || '/standingOrders/' || standing_order AS standing_order_name,
           'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
               AS order_name,
           product, quantity AS slots, day, state, expire_time, book_time, due_time
    FROM slot_bookings CROSS JOIN LATERAL unnest(products, quantities) AS booked (product, quantity);
CREATE VIEW audit_v1.booked_days AS
    SELECT merchant, product, day, slots, booked_slots, committed_slots FROM booked_days;
-- What scheduler says as well, by when the order was due.
CREATE VIEW audit_v1.compared AS
    SELECT 'stock-matches-orders' AS clause, merchant, product,
           'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
               || ' ' || product AS subject,
           '' AS customer, '' AS order_name, '' AS currency, 0::bigint AS amount_minor,
           -- What is owed to a paid order is accounted for, as what it took is.
           CASE state WHEN 'HELD' THEN 'HELD ' ELSE 'COMMITTED ' END || quantity_units AS facts,
           due_time AS partition_time, state <> 'HELD' AS is_final
    FROM stock_holds
    -- As it was ordered, with bundles by their own names.
    CROSS JOIN LATERAL unnest(coalesce(ordered_products, products),
                              coalesce(ordered_quantities, quantities))
      AS ordered (product, quantity_units)
    WHERE state IN ('HELD', 'COMMITTED', 'BACKORDERED', 'WAIVED')
    UNION ALL
    SELECT 'slots-match-orders', merchant, product,
           'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
               || ' ' || product,
           '', '', '', 0::bigint, state || ' ' || quantity || ' ' || day, due_time, state = 'COMMITTED'
    FROM slot_bookings CROSS JOIN LATERAL unnest(products, quantities) AS booked (product, quantity)
    WHERE state = 'COMMITTED' OR (state = 'HELD' AND order_stored);
-- What digests of settled days are made of.
CREATE VIEW audit_v1.digested AS
    SELECT clause, merchant, product, subject, currency, amount_minor, facts, partition_time, is_final,
           true AS may_be_backdated
    FROM audit_v1.compared;
CREATE VIEW audit_v1.stock AS
    SELECT merchant, product, on_hand_units, held_units
    FROM stock JOIN products USING (product, merchant)
    -- A bundle has no units of its own, and orders have it where one of its parts is tracked.
    WHERE stock_tracked OR EXISTS (
        SELECT FROM products AS part
        WHERE part.merchant = products.merchant AND part.product = ANY (products.part_products)
          AND part.stock_tracked);
-- Services, whose slots are booked by day.
CREATE VIEW audit_v1.services AS
    SELECT merchant, product FROM products WHERE capacity_by_day;
CREATE VIEW audit_v1.due_work AS
    SELECT 'hold of stock for' AS kind, merchant,
           merchant || '/' || standing_order || '/' || cycle AS subject, expire_time AS due_time,
           bucket
    FROM stock_holds WHERE state = 'HELD'
    UNION ALL
    SELECT 'units that are owed to', merchant, merchant || '/' || standing_order || '/' || cycle,
           expire_time, bucket
    FROM stock_holds WHERE state = 'BACKORDERED' AND expire_time IS NOT NULL
    UNION ALL
    SELECT 'booking of slots for', merchant, merchant || '/' || standing_order || '/' || cycle,
           expire_time, bucket
    FROM slot_bookings WHERE state = 'HELD';
"""
