"""A book of settled cycles, written straight into the four databases: what a proof is measured on.

Every standing order is weekly, and each of its cycles was announced, charged and confirmed. Of every
seven one has a cycle whose charge was refused, one a cycle that was paid by the second attempt, one a
refund, and one is paid by the customer's own confirmation.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

# What follows is in the order in which it refers to what is before it. `$1` is how many standing orders
# there are, `$2` how many cycles each has had.
_CYCLES = """
    WITH named AS (
        SELECT s, 'acme' AS merchant, 'tea-' || s AS standing_order, 'customer-' || s AS customer,
               date_trunc('day', now(), 'UTC') - interval '3 days' + interval '9 hours' AS last_due_time
        FROM generate_series(1, $1::integer) AS s),
    book AS (
        SELECT s, merchant, standing_order, customer, cycle, last_due_time,
               last_due_time - (($2::integer - cycle) * interval '7 days') AS due_time,
               'merchants/acme/standingOrders/' || standing_order || '/orders/' || cycle AS order_name,
               'merchants/acme/customers/' || customer AS customer_name,
               standing_order || '-' || cycle AS charge,
               s % 7 = 3 AND cycle = 2 AS refused, s % 7 = 5 AND cycle = 2 AS declined,
               s % 7 = 6 AND cycle = 2 AS refunded,
               CASE WHEN s % 7 = 0 THEN 'PAY_ON_NOTICE' ELSE 'AUTOMATIC' END AS mode
        FROM named CROSS JOIN generate_series(1, $2::integer) AS cycle
        -- As the rows came in the course of time.
        ORDER BY due_time)
"""
_RECEIVED = """
    INSERT INTO inbox (batch_id, partition_keys, handle_time)
    VALUES ('0b8e0000-0000-4000-8000-000000000001', '{merchants/acme/standingOrders/tea-1}',
            now() - interval '1 day')
"""
_SCHEDULER = (
    """
    INSERT INTO standing_orders (
        merchant, standing_order, customer, title, items, schedule, billing_mode, mandate, ship_to,
        notice_lead, payment_window, state, base_cycle, next_cycle, next_due_time, prepare_time,
        catch_up_mode, catch_up_window, repurchase_action, changes, currency, create_time, update_time)
    SELECT merchant, standing_order, customer, 'Tea', '[["tea", 2]]',
           json_build_object(
               'start_date',
               to_char(last_due_time - ($2::integer - 1) * interval '7 days', 'YYYY-MM-DD'),
               'local_time', '09:00', 'time_zone', 'UTC', 'end', NULL, 'recurrence',
               json_build_object('weekly', json_build_object('every_weeks', 1, 'weekdays', '[]'::json))
           )::text,
           'AUTOMATIC', 'consent', '', interval '3 days', interval '7 days', 'ACTIVE', 1,
           $2::integer + 1, last_due_time + interval '7 days',
           last_due_time + interval '4 days' - interval '15 minutes',
           'LATEST_ONLY', interval '7 days', 'SKIP', '{}', 'EUR', last_due_time, last_due_time
    FROM named
    """,
    """
    INSERT INTO orders (
        merchant, standing_order, cycle, customer, local_date, due_time, notice_lead, state, title,
        billing_mode, mandate, payment_window, time_zone, reasons, items, substitutes, ship_to, lines,
        currency, notified_minor, amount_minor, charge_not_before_time, notice_time, pay_time,
        asks_condition, confirmed_reasons, hold_until_time, announcement_count, traceparent, is_moved,
        first_decisions, create_time, update_time)
    SELECT merchant, standing_order, cycle, customer, due_time::date, due_time,
           interval '3 days', CASE WHEN refused THEN 'LAPSED' ELSE 'PAID' END, 'Tea', mode,
           'consent', interval '7 days', 'UTC', '{}', '[["tea", 2]]', '{}', '', '[]', 'EUR', 900, 900,
           due_time, due_time - interval '3 days', CASE WHEN NOT refused THEN due_time END, false, '{}',
           due_time + interval '7 days', 1, '', false, '[]', due_time - interval '3 days',
           due_time
    FROM book
    """,
    # One event, which catalog and notify have had, and the merchant's platform.
    """
    INSERT INTO outbox (batch_id, type, event_count, tenants, event_ids, partition_keys, occur_time,
                        store_time, data)
    VALUES ('0b8e0000-0000-4000-8000-000000000001', 'recurring.scheduler.v1.OrderConfirmed', 1,
            '{acme}', '{0b8e0000-0000-4000-8000-000000000002}', '{merchants/acme/standingOrders/tea-1}',
            now() - interval '1 day', now() - interval '1 day', '')
    """,
)
_PAYMENTS = (
    """
    INSERT INTO payment_methods (merchant, customer, payment_method, provider_token, brand, last4,
                                 create_time, provider)
    SELECT merchant, customer, 'card', 'x', 'visa', '4242', last_due_time, 'stripe' FROM named
    """,
    """
    INSERT INTO mandates (merchant, customer, mandate, payment_method, charge_ceiling_minor,
                          period_ceiling_minor, currency, valid_from_time, evidence, create_time)
    SELECT merchant, customer, 'consent', 'card', 1000, 10000, 'EUR',
           last_due_time - ($2::integer + 1) * interval '7 days', '', last_due_time
    FROM named
    """,
    """
    INSERT INTO notices (merchant, customer, charge, notice, amount_minor, currency,
                         charge_not_before_time, deliver_time, billing_mode)
    SELECT merchant, customer, charge, customer_name || '/notices/upcoming-' || charge, 900, 'EUR',
           due_time, due_time - interval '3 days', mode
    FROM book
    """,
    """
    INSERT INTO charges (merchant, customer, charge, order_name, due_time, billing_mode, amount_minor,
                         currency,
                         mandate, title, time_zone, traceparent, state, attempt_count, refusal_reasons,
                         create_time, update_time)
    SELECT merchant, customer, charge, order_name, due_time, mode, 900, 'EUR', 'consent', 'Tea', 'UTC',
           '', CASE WHEN refused THEN 'REFUSED' ELSE 'SUCCEEDED' END, 1, '{}', due_time, due_time
    FROM book
    """,
    """
    INSERT INTO verdicts (merchant, customer, charge, number, permit, decide_time, reasons,
                          billing_mode, amount_minor, currency, payment_method, mandate, applied_rules,
                          period_start_time)
    SELECT merchant, customer, charge, number, 1, due_time + number * interval '1 hour', '{}', mode,
           900, 'EUR', 'card', CASE mode WHEN 'AUTOMATIC' THEN 'consent' ELSE '' END, '[]',
           date_trunc('month', due_time + number * interval '1 hour', 'UTC')
    FROM book CROSS JOIN generate_series(1, CASE WHEN declined THEN 2 ELSE 1 END) AS number
    WHERE NOT refused
    """,
    """
    INSERT INTO attempts (merchant, customer, charge, number, permit, idempotency_key, amount_minor,
                          currency, payment_method, mandate, state, policy_version,
                          provider_payment, start_time, end_time)
    SELECT merchant, customer, charge, number, 1, charge || '-' || number, 900, 'EUR', 'card',
           CASE mode WHEN 'AUTOMATIC' THEN 'consent' ELSE '' END,
           CASE WHEN declined AND number = 1 THEN 'DECLINED' ELSE 'SUCCEEDED' END,
           CASE WHEN declined AND number = 1 AND mode = 'AUTOMATIC' THEN 0 END, 'pi_' || charge,
           due_time + number * interval '1 hour', due_time + number * interval '1 hour'
    FROM book CROSS JOIN generate_series(1, CASE WHEN declined THEN 2 ELSE 1 END) AS number
    WHERE NOT refused
    """,
    """
    INSERT INTO refunds (merchant, customer, charge, refund, amount_minor, currency, note, state,
                         idempotency_key, provider_refund, traceparent, create_time, update_time)
    SELECT merchant, customer, charge, 'torn', 400, 'EUR', '', 'SUCCEEDED', charge || '-r',
           're_' || charge, '', due_time, due_time
    FROM book WHERE refunded
    """,
    """
    INSERT INTO ledger_transfers (merchant, customer, source, kind, transaction, debit_account,
                                  credit_account, amount_minor, currency, book_time)
    SELECT merchant, customer, customer_name || '/charges/' || charge, 'CHARGE',
           md5(charge)::uuid, 'provider-clearing', 'receivable', 900, 'EUR', due_time
    FROM book WHERE NOT refused
    UNION ALL
    SELECT merchant, customer, customer_name || '/charges/' || charge, 'SALE',
           md5(charge || ' sale')::uuid, 'receivable', 'revenue', 900, 'EUR', due_time
    FROM book WHERE NOT refused
    UNION ALL
    SELECT merchant, customer, customer_name || '/charges/' || charge || '/refunds/torn', kind,
           md5(charge || '/refunds/torn ' || kind)::uuid, debit_account, credit_account, 400, 'EUR',
           due_time
    FROM book CROSS JOIN (
        VALUES ('REFUND', 'receivable', 'provider-clearing'), ('CREDIT_NOTE', 'refunds', 'receivable')
    ) AS booked (kind, debit_account, credit_account)
    WHERE refunded
    """,
    """
    UPDATE ledger_closing
    SET closed_through_date = current_date - 1, kept_through_date = current_date - 1
    """,
    """
    INSERT INTO ledger_days (merchant, account, currency, book_date, debit_minor, credit_minor)
    SELECT merchant, account, currency, book_time::date, sum(debit_minor), sum(credit_minor)
    FROM ledger_transfers CROSS JOIN LATERAL (
        VALUES (debit_account, amount_minor, 0), (credit_account, 0, amount_minor)
    ) AS entry (account, debit_minor, credit_minor)
    WHERE book_time < current_date
    GROUP BY merchant, account, currency, book_time::date
    """,
)
_NOTIFY = (
    """
    INSERT INTO contacts (merchant, customer, display_name, email, bind_count, sms_receipts_muted,
                          email_muted, create_time)
    SELECT merchant, customer, '', '', 1, false, false, last_due_time - ($2 + 1) * interval '7 days'
    FROM named
    """,
    """
    INSERT INTO notices (merchant, customer, notice, kind, subject_resource, promised_amount_minor,
                         promised_currency, charge_not_before, notice_lead, billing_mode, traceparent,
                         occur_time, due_time, outcome, create_time)
    SELECT merchant, customer, 'upcoming-' || charge, 'ORDER_UPCOMING', order_name, 900, 'EUR',
           due_time, interval '3 days', mode, '', due_time - interval '3 days', NULL, 'DELIVERED',
           due_time - interval '3 days'
    FROM book
    UNION ALL
    SELECT merchant, customer, 'ended-' || charge,
           CASE WHEN refused THEN 'ORDER_LAPSED' ELSE 'RECEIPT' END, order_name, NULL, NULL, NULL, NULL,
           NULL, '', due_time + interval '2 hours', due_time, 'DELIVERED',
           due_time + interval '2 hours'
    FROM book
    UNION ALL
    SELECT merchant, customer, 'declined-' || charge, 'PAYMENT_DECLINED', order_name, NULL, NULL, NULL,
           NULL, NULL, '', due_time + interval '1 hour', NULL, 'DELIVERED', due_time + interval '1 hour'
    FROM book WHERE declined
    """,
    """
    INSERT INTO deliveries (merchant, customer, notice, channel, main, state, subject, text,
                            next_attempt_time, give_up_time, deliver_time, failure_code)
    SELECT merchant, customer, notice, 'SMS', true, 'DELIVERED', '', '', occur_time, occur_time,
           occur_time, ''
    FROM notices
    """,
    """
    INSERT INTO webhook_endpoints (merchant, endpoint, url, event_types, description, secret,
                                   keep_since_time, send_since_time, create_time)
    SELECT 'acme', 'shop', 'https://shop.example/hooks', '{}', '', '', since, since, since
    FROM (SELECT now() - interval '7 days' AS since) AS known
    """,
    """
    INSERT INTO webhook_events (merchant, event_id, type, occur_time, body, create_time)
    SELECT 'acme', '0b8e0000-0000-4000-8000-000000000002', 'recurring.scheduler.v1.OrderConfirmed', at,
           '', at
    FROM (SELECT now() - interval '1 day' AS at) AS happened
    """,
    """
    INSERT INTO webhook_deliveries (merchant, endpoint, event_id, event_type, occur_time, create_time,
                                    state, next_attempt_time, deliver_time)
    SELECT merchant, 'shop', event_id, type, occur_time, create_time, 'DELIVERED', create_time,
           create_time
    FROM webhook_events
    """,
    _RECEIVED,
)
_CATALOG = (
    """
    INSERT INTO products (merchant, product, title, increase_notice_days, stock_tracked,
                          low_stock_threshold, state, create_time)
    VALUES ('acme', 'tea', 'Tea', 0, true, 0, 'ACTIVE', now())
    """,
    """
    INSERT INTO stock (merchant, product, on_hand_units) VALUES ('acme', 'tea', 1000000)
    """,
    """
    INSERT INTO stock_holds (merchant, standing_order, cycle, announcement_count, state, products,
                             quantities, expire_time, due_time, hold_time)
    SELECT merchant, standing_order, cycle, 1, 'COMMITTED', '{tea}', '{2}',
           due_time + interval '45 days', due_time, due_time
    FROM book WHERE NOT refused
    """,
    _RECEIVED,
)
STATEMENTS: Mapping[str, tuple[str, ...]] = {
    "scheduler": _SCHEDULER,
    "payments": _PAYMENTS,
    "notify": _NOTIFY,
    "catalog": _CATALOG,
}


@dataclass(frozen=True, slots=True)
class Size:
    """How large a book is."""

    standing_orders: int
    cycles: int


async def write_book(urls: Mapping[str, str], size: Size) -> None:
    """Write a book into empty databases, by their addresses for a superuser."""
    await asyncio.gather(*(_write(url, STATEMENTS[service], size) for service, url in urls.items()))


async def _write(url: str, statements: tuple[str, ...], size: Size) -> None:
    connection = await asyncpg.connect(url, server_settings={"timezone": "UTC"})
    try:
        # What triggers would check of each row is what a proof is about.
        await connection.execute("SET session_replication_role = replica")
        for statement in statements:
            await _run(connection, statement, size)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


async def _run(connection: asyncpg.Connection, statement: str, size: Size) -> None:
    if "FROM named" in statement or "FROM book" in statement:
        await connection.execute(f"{_CYCLES} {statement}", size.standing_orders, size.cycles)
    else:
        await connection.execute(statement)
