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
    PRIMARY KEY (product, merchant)
);
CREATE INDEX products_of_merchant ON products (merchant, product);

CREATE TABLE prices (
    merchant              text        NOT NULL,
    product               text        NOT NULL,
    price                 text        NOT NULL,
    amount_minor          bigint      NOT NULL CHECK (amount_minor > 0),
    currency              text        NOT NULL,
    effective_time        timestamptz NOT NULL,
    announce_time         timestamptz NOT NULL,
    withdraw_time         timestamptz CHECK (withdraw_time < effective_time),
    PRIMARY KEY (product, merchant, price),
    FOREIGN KEY (product, merchant) REFERENCES products
);
CREATE UNIQUE INDEX prices_at_an_instant ON prices (product, merchant, effective_time)
    WHERE withdraw_time IS NULL;

CREATE TABLE protections (
    merchant              text        NOT NULL,
    standing_order        text        NOT NULL,
    product               text        NOT NULL,
    sign_up_amount_minor  bigint      NOT NULL CHECK (sign_up_amount_minor > 0),
    sign_up_price         text        NOT NULL,
    currency              text        NOT NULL,
    sign_up_time          timestamptz NOT NULL,
    kind                  text        NOT NULL CHECK (kind IN ('NONE', 'LOCK', 'CAP')),
    lock_cycle_count      integer,
    lock_until_time       timestamptz,
    cap_bps               integer,
    PRIMARY KEY (standing_order, merchant, product)
);

CREATE TABLE stock (
    merchant              text        NOT NULL,
    product               text        NOT NULL,
    on_hand_units         bigint      NOT NULL DEFAULT 0,
    held_units            bigint      NOT NULL DEFAULT 0 CHECK (held_units >= 0),
    version               integer     NOT NULL DEFAULT 1,
    PRIMARY KEY (product, merchant),
    FOREIGN KEY (product, merchant) REFERENCES products
);

CREATE TABLE stock_holds (
    merchant              text        NOT NULL,
    standing_order        text        NOT NULL,
    cycle                 integer     NOT NULL,
    product               text        NOT NULL,
    quantity              integer     NOT NULL CHECK (quantity > 0),
    state                 text        NOT NULL CHECK (state IN ('HELD', 'COMMITTED', 'RELEASED')),
    expire_time           timestamptz NOT NULL,
    -- By this database's clock: a hold is made by a call, before the order is stored that it is for.
    hold_time             timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (standing_order, merchant, cycle, product)
);
CREATE INDEX stock_holds_expiring ON stock_holds (expire_time) WHERE state = 'HELD';

SELECT enable_tenant_rls('merchant', 'products', 'prices', 'protections', 'stock', 'stock_holds');
SELECT keep_final_states('products', 'DISCONTINUED');
SELECT keep_final_states('stock_holds', 'COMMITTED');

CREATE VIEW audit_v1.stock_holds AS
    SELECT merchant, standing_order, cycle,
           'merchants/' || merchant || '/standingOrders/' || standing_order AS standing_order_name,
           'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
               AS order_name,
           product, quantity AS quantity_units, state, expire_time, hold_time
    FROM stock_holds;
CREATE VIEW audit_v1.stock AS
    SELECT merchant, product, on_hand_units, held_units
    FROM stock JOIN products USING (product, merchant) WHERE stock_tracked;
CREATE VIEW audit_v1.due_work AS
    SELECT 'hold of stock for' AS kind, merchant,
           merchant || '/' || standing_order || '/' || cycle AS subject, expire_time AS due_time,
           NULL::timestamptz AS claim_time
    FROM stock_holds WHERE state = 'HELD';
"""
