"""Each clause of the proof fails for one changed row of one database, and no other clause does."""

import pytest

from cli.errors import CommandError
from cli.prove import cycles, run, webhooks, witness
from cli.prove.motion import SUBSCRIBERS
from cli.prove.progress import NO_EVENT_UNDELIVERED
from services.catalog.consumers import subscriptions as of_catalog
from services.notify.consumers import subscriptions as of_notify
from services.payments.consumers import subscriptions as of_payments
from services.runtime.workers.clock import SystemClock
from services.scheduler.consumers import subscriptions as of_scheduler
from tests.integration.prove.conftest import SECOND_NOTICE, SIZE, Book

# Of an order of tea-3 whose charge was refused.
_ATTEMPT = """
    WITH permitted AS (
        INSERT INTO verdicts (merchant, customer, charge, number, permit, decide_time, reasons,
                              billing_mode, amount_minor, currency, payment_method, mandate,
                              applied_rules, period_start_time)
        VALUES ('acme', 'customer-3', 'tea-3-2', 1, 1, now() - interval '{ago}', '{{}}', 'AUTOMATIC',
                {amount_minor}, 'EUR', 'card', 'consent', '[]',
                date_trunc('month', now() - interval '{ago}', 'UTC')))
    INSERT INTO attempts (merchant, customer, charge, number, idempotency_key, amount_minor, currency,
                          payment_method, mandate, start_time, next_lookup_time, permit)
    VALUES ('acme', 'customer-3', 'tea-3-2', 1, 'key', {amount_minor}, 'EUR', 'card', 'consent',
            now() - interval '{ago}', now() + interval '1 hour', 1)
"""
_EVENT = """
    INSERT INTO outbox (batch_id, type, event_count, tenants, event_ids, partition_keys, occur_time,
                        store_time, data)
    VALUES (gen_random_uuid(), 'recurring.scheduler.v1.OrderConfirmed', 1, '{{acme}}',
            ARRAY[gen_random_uuid()], '{{merchants/acme/standingOrders/tea-1}}', now(),
            now() - interval '{ago}', '')
"""
_FAILED_EVENT = """
    INSERT INTO failed_events (partition_key, event_id, type, event, error, create_time, retry_time,
                               dead_letter_time)
    VALUES ('merchants/acme/standingOrders/tea-1', gen_random_uuid(), '', '', '',
            now() - interval '{ago}', now(), {dead_letter_time})
"""
LESS_ASKED = "UPDATE orders SET amount_minor = 899 WHERE standing_order = 'tea-1' AND cycle = 1"
# Clause -> the service whose row is changed, and how.
CHANGES = {
    "one-outcome-per-cycle": (
        "scheduler",
        "UPDATE standing_orders SET next_cycle = next_cycle + 1 WHERE standing_order = 'tea-1'",
    ),
    "cycles-on-calendar": (
        "scheduler",
        """
        UPDATE orders SET due_time = due_time + interval '1 day'
        WHERE standing_order = 'tea-1' AND cycle = 1
        """,
    ),
    "no-date-billed-again": (
        "scheduler",
        """
        INSERT INTO audit_entries (tenant, subject, origin, method, resource, state_before, state_after)
        SELECT merchant, '', '', 'OrderNow', 'merchants/acme/standingOrders/tea-1', jsonb_build_object(
            'next_cycle', 1, 'schedule', '{"time_zone": "UTC"}'::jsonb, 'next_due_time', due_time), '{}'
        FROM orders WHERE standing_order = 'tea-1' AND cycle = 2
        """,
    ),
    "order-has-one-charge": ("scheduler", LESS_ASKED),
    "final-states-agree": (
        "payments",
        "UPDATE charges SET state = 'REQUESTED' WHERE charge = 'tea-3-2'",
    ),
    "charge-has-one-payment": (
        "payments",
        """
        WITH permitted AS (UPDATE verdicts SET amount_minor = 899 WHERE charge = 'tea-1-1')
        UPDATE attempts SET amount_minor = 899 WHERE charge = 'tea-1-1'
        """,
    ),
    "no-outcome-unknown": ("payments", _ATTEMPT.format(amount_minor=900, ago="2 days")),
    "notice-before-charge": (
        "payments",
        "UPDATE attempts SET start_time = start_time - interval '4 days' WHERE charge = 'tea-1-1'",
    ),
    "charge-never-above-notice": ("payments", _ATTEMPT.format(amount_minor=901, ago="1 hour")),
    "lead-kept": (
        "payments",
        "UPDATE attempts SET start_time = start_time - interval '2 hours' WHERE charge = 'tea-1-1'",
    ),
    "mode-as-announced": (
        "payments",
        """
        WITH permitted AS (
            UPDATE verdicts SET mandate = 'consent', billing_mode = 'AUTOMATIC'
            WHERE charge = 'tea-7-1')
        UPDATE attempts SET mandate = 'consent' WHERE charge = 'tea-7-1'
        """,
    ),
    "no-charge-after-withdrawal": (
        "payments",
        """
        INSERT INTO withdrawals
        SELECT merchant, customer, charge, create_time FROM charges WHERE charge = 'tea-1-1'
        """,
    ),
    "attempt-permitted": (
        "payments",
        "UPDATE verdicts SET reasons = '{MANDATE_REVOKED}' WHERE charge = 'tea-1-1'",
    ),
    "mandate-covered": (
        "payments",
        """
        UPDATE mandates SET revoke_time = now() - interval '4 days' WHERE customer = 'customer-1'
        """,
    ),
    "charge-ceiling": (
        "payments",
        "UPDATE mandates SET charge_ceiling_minor = 899 WHERE customer = 'customer-1'",
    ),
    "period-ceiling": (
        "payments",
        "UPDATE mandates SET period_ceiling_minor = 899 WHERE customer = 'customer-1'",
    ),
    "evidence-as-delivered": (
        "payments",
        "UPDATE notices SET amount_minor = 950 WHERE charge = 'tea-1-1'",
    ),
    "captured-in-ledger": (
        "payments",
        "UPDATE ledger_transfers SET kind = 'PAID' WHERE source LIKE '%/tea-1-1' AND kind = 'CHARGE'",
    ),
    "sales-in-ledger": (
        "payments",
        """
        UPDATE ledger_transfers SET source = source || '0'
        WHERE source LIKE '%/tea-1-1' AND kind = 'SALE'
        """,
    ),
    "refunds-within-charge": (
        "payments",
        """
        INSERT INTO refunds (merchant, customer, charge, refund, amount_minor, currency, note,
                             idempotency_key, traceparent, next_try_time, create_time, update_time)
        VALUES ('acme', 'customer-1', 'tea-1-1', 'torn', 901, 'EUR', '', 'key', '', now(), now(), now())
        """,
    ),
    "disputes-in-ledger": (
        "payments",
        """
        INSERT INTO disputes (merchant, customer, charge, dispute, provider, provider_dispute, mandate,
                              amount_minor, currency, reason, state, open_time, update_time,
                              withdraw_time, fee_minor, fee_currency)
        VALUES ('acme', 'customer-1', 'tea-1-1', 'd1', 'stripe', 'dp_1', '', 900, 'EUR', 'fraudulent',
                'NEEDS_RESPONSE', now(), now(), now(), 0, '')
        """,
    ),
    "ledger-days-add-up": (
        "payments",
        """
        INSERT INTO ledger_days (merchant, account, currency, book_date, debit_minor, credit_minor)
        VALUES ('acme', 'provider-clearing', 'EUR', '1970-01-01', 1, 0)
        """,
    ),
    "closed-periods-stay": (
        "payments",
        """
        INSERT INTO ledger_periods (merchant, through_date, close_time, balance_digest)
        VALUES ('acme', '2020-01-31', now(), 'of other balances')
        """,
    ),
    "credit-adds-up": (
        "payments",
        """
        INSERT INTO credit_balances (merchant, customer, currency, balance_minor)
        VALUES ('acme', 'customer-1', 'EUR', 1)
        """,
    ),
    "deferred-revenue-adds-up": (
        "payments",
        """
        INSERT INTO revenue_deferrals (merchant, customer, charge, currency, start_date, end_date,
                                       deferred_minor, recognized_minor, spread_minor,
                                       spread_after_date, through_date, change_time,
                                       next_recognize_time)
        VALUES ('acme', 'customer-1', 'tea-1-1', 'EUR', '2026-01-01', '2026-01-31', 1, 0, 1,
                '2025-12-31', '2025-12-31', now(), now())
        """,
    ),
    "fees-in-ledger": (
        "payments",
        """
        INSERT INTO balance_transactions (provider, merchant, customer, source, balance_transaction,
                                          type, amount_minor, fee_minor, currency, create_time)
        VALUES ('stripe', 'acme', 'customer-1', '', 'txn_1', 'OTHER', 0, 1, 'EUR', now())
        """,
    ),
    "payouts-add-up": (
        "payments",
        """
        INSERT INTO payouts (merchant, payout, currency, charges_minor, refunds_minor, disputes_minor,
                             others_minor, fees_minor, transaction_count, amount_minor, share,
                             arrive_time)
        VALUES ('acme', 'po_1', 'EUR', 0, 0, 0, 0, 0, 1, 0, 'p1', now())
        """,
    ),
    "payouts-in-ledger": (
        "payments",
        """
        INSERT INTO ledger_transfers (merchant, customer, source, kind, transaction, debit_account,
                                      credit_account, amount_minor, currency, book_time)
        VALUES ('acme', '', 'po_1', 'PAYOUT EUR', gen_random_uuid(), 'bank', 'provider-clearing', 1,
                'EUR', now())
        """,
    ),
    "documents-without-gaps": (
        "payments",
        """
        INSERT INTO document_series (merchant, prefix, year, last_number)
        VALUES ('acme', 'INV-', 2026, 1)
        """,
    ),
    "documents-as-booked": (
        "payments",
        """
        WITH numbered AS (
            INSERT INTO document_series (merchant, prefix, year, last_number)
            VALUES ('acme', 'INV-', 2026, 1)
        )
        INSERT INTO documents (merchant, document, type, prefix, year, number, issue_time, customer,
                               charge, refund, cause, corrected, currency, net_minor, tax_minor,
                               amount_minor, content)
        VALUES ('acme', 'inv-2026-000001', 'INVOICE', 'INV-', 2026, 1, now(), 'customer-1', 'none-1',
                '', 'PAYMENT', '', 'EUR', 1, 0, 1, '{}')
        """,
    ),
    "receipt-sent": (
        "notify",
        "UPDATE notices SET kind = 'REFUND' WHERE notice = 'ended-tea-1-1'",
    ),
    "one-notice-a-fact": (
        "notify",
        SECOND_NOTICE.format("tea-1-1"),
    ),
    "outcome-as-delivered": (
        "notify",
        "UPDATE notices SET outcome = NULL WHERE notice = 'ended-tea-1-1'",
    ),
    "no-text-false-when-sent": (
        "notify",
        """
        UPDATE deliveries SET deliver_time = deliver_time + interval '2 hours'
        WHERE notice = 'declined-tea-5-2'
        """,
    ),
    "webhooks-queued": (
        "notify",
        "DELETE FROM webhook_deliveries",
    ),
    "webhook-events-kept": (
        "notify",
        "DELETE FROM webhook_events",
    ),
    "held-units-add-up": ("catalog", "UPDATE stock SET held_units = 1"),
    "booked-slots-add-up": (
        "catalog",
        """
        INSERT INTO booked_days (merchant, product, day, slots, booked_slots)
        VALUES ('acme', 'tea', '2026-01-05', 1, 1)
        """,
    ),
    "stock-matches-orders": (
        "catalog",
        "UPDATE stock_holds SET quantities = '{1}' WHERE standing_order = 'tea-1' AND cycle = 1",
    ),
    "slots-match-orders": (
        "scheduler",
        "UPDATE orders SET services = '{tea}' WHERE standing_order = 'tea-1' AND cycle = 1",
    ),
    "nothing-due-undone": (
        "scheduler",
        """
        UPDATE standing_orders SET prepare_time = now() - interval '2 hours'
        WHERE standing_order = 'tea-1'
        """,
    ),
    "no-lease-outlived": (
        "scheduler",
        """
        WITH dead AS (
            INSERT INTO lease_holders (holder, name, expire_time)
            VALUES (gen_random_uuid(), 'dead', now() - interval '6 minutes')
            RETURNING holder
        ), leased AS (
            INSERT INTO bucket_leases (bucket, holder) SELECT bucket, holder FROM buckets, dead
        )
        UPDATE standing_orders SET prepare_time = now() WHERE standing_order = 'tea-1'
        """,
    ),
    "no-dead-letter": (
        "catalog",
        _FAILED_EVENT.format(ago="1 minute", dead_letter_time="now()"),
    ),
    "settled-days-unchanged": (
        "scheduler",
        """
        INSERT INTO proof_digests (clause, merchant, day, product, currency, row_count, sum_minor, hash,
                                   is_settled)
        VALUES ('receipt-sent', 'acme', current_date - 40, '', '', 1, 0, 0, true)
        """,
    ),
    "no-event-undelivered": (
        "scheduler",
        _EVENT.format(ago="11 minutes"),
    ),
}
JUST_PUBLISHED = _EVENT.format(ago="0")
# What tests of the pure functions try.
OF_THE_WITNESS = {clause.id for clause in witness.CLAUSES}


def test_every_clause_is_tried() -> None:
    clauses = {clause.id for clause in run.OF_ROWS} | OF_THE_WITNESS
    clauses |= {cycles.CYCLES_ON_CALENDAR.id, cycles.NO_DATE_BILLED_AGAIN.id}
    clauses.add(webhooks.WEBHOOK_EVENTS_KEPT.id)
    assert {*CHANGES, *OF_THE_WITNESS} == clauses | {NO_EVENT_UNDELIVERED.id}


def test_every_subscription_is_known() -> None:
    services = {
        "catalog": of_catalog, "scheduler": of_scheduler, "payments": of_payments, "notify": of_notify,
    }  # fmt: skip
    subscribed = {
        (subscription.type, service)
        for service, subscriptions in services.items()
        for of_stream in subscriptions(SystemClock()).values()
        for subscription in of_stream
    }
    assert {
        (event, service) for event, named in SUBSCRIBERS.items() for service in named
    } == subscribed


async def test_a_settled_book_breaks_no_clause(book: Book) -> None:
    report = await book.prove()
    assert report.violations == []
    checked = {verdict.clause.id: verdict.checked for verdict in report.verdicts}
    orders = SIZE.standing_orders * SIZE.cycles
    assert checked["one-outcome-per-cycle"] == checked["order-has-one-charge"] == orders
    # One was refused.
    assert checked["stock-matches-orders"] == checked["receipt-sent"] == orders - 1


@pytest.mark.parametrize("clause", CHANGES)
async def test_one_changed_row_breaks_its_clause_alone(book: Book, clause: str) -> None:
    await book.change(*CHANGES[clause])
    report = await book.prove()
    assert report.broken == {clause}, report.violations


@pytest.mark.parametrize(
    ("brand", "ago", "is_overdue"),
    [
        ("sepa_core", "9 days", False),
        ("sepa_core", "11 days", True),
        ("betalingsservice", "44 days", False),
        ("betalingsservice", "46 days", True),
    ],
)
async def test_a_bank_debit_is_decided_within_the_days_of_its_scheme(
    book: Book, brand: str, ago: str, *, is_overdue: bool
) -> None:
    await book.change("payments", _ATTEMPT.format(amount_minor=900, ago=ago))
    await book.change(
        "payments",
        f"""
        WITH debit AS (UPDATE payment_methods SET brand = '{brand}' WHERE customer = 'customer-3')
        UPDATE attempts SET state = 'PENDING' WHERE charge = 'tea-3-2'
        """,  # noqa: S608 - of this test
    )
    assert ("no-outcome-unknown" in (await book.prove()).broken) == is_overdue


async def test_an_end_that_two_customers_were_notified_of_has_two_notices(book: Book) -> None:
    await book.change("notify", SECOND_NOTICE.format("tea-1-1"))
    await book.execute("notify", "UPDATE notices SET customer = 'bob' WHERE notice = 'again'")
    assert (await book.prove()).broken == {"one-notice-a-fact"}


async def test_another_merchants_violations_are_not_shown(book: Book) -> None:
    await book.change(*CHANGES["order-has-one-charge"])
    assert (await book.prove(merchant="acme")).broken == {"order-has-one-charge"}
    other = await book.prove(merchant="other")
    assert other.violations == []
    assert sum(verdict.checked for verdict in other.verdicts) == 0


async def test_what_an_event_on_its_way_is_about_may_differ(book: Book) -> None:
    await book.change("scheduler", LESS_ASKED)
    await book.change("scheduler", JUST_PUBLISHED)
    report = await book.prove()
    assert report.violations == []
    moving = {
        verdict.clause.id: verdict.in_motion for verdict in report.verdicts if verdict.in_motion
    }
    # It concerns catalog and notify.
    assert moving == {"order-has-one-charge": 1, "no-event-undelivered": 2}


# What a period is, the most that may be paid in it, from when on the guard counted, and what is wrong.
PERIODS = [
    ("NULL", 2700, "date_trunc('month', decide_time, 'UTC')", ""),
    ("NULL", 899, "date_trunc('month', decide_time, 'UTC')", "its ceiling is 899"),
    ("NULL", 2700, "decide_time", "begins no period"),
    (
        "NULL",
        2700,
        "date_trunc('month', decide_time, 'UTC') - interval '1 month'",
        "begins no period",
    ),
    ("3", 2700, "date_trunc('day', decide_time, 'UTC') - interval '2 days'", ""),
    ("3", 899, "date_trunc('day', decide_time, 'UTC') - interval '2 days'", "its ceiling is 899"),
    ("3", 2700, "date_trunc('day', decide_time, 'UTC')", "begins no period"),
    ("3", 2700, "NULL", "counted from no instant"),
]


@pytest.mark.parametrize(("days", "ceiling_minor", "start", "finding"), PERIODS)
async def test_a_ceiling_is_counted_from_the_instant_that_the_guard_kept(
    book: Book, days: str, ceiling_minor: int, start: str, finding: str
) -> None:
    await book.change(
        "payments",
        f"""
        WITH counted AS (
            UPDATE verdicts SET period_start_time = {start} WHERE customer = 'customer-1')
        UPDATE mandates SET period_ceiling_minor = {ceiling_minor}, period_days = {days}
        WHERE customer = 'customer-1'
        """,  # noqa: S608 - of the list above
    )
    report = await book.prove()
    assert report.broken == ({"period-ceiling"} if finding else set())
    assert all(finding in violation for violation in report.violations)


async def test_what_a_subscriber_knows_first_may_differ(book: Book) -> None:
    await book.change("payments", "UPDATE charges SET state = 'REQUESTED' WHERE charge = 'tea-3-2'")
    await book.change(
        "payments",
        "INSERT INTO inbox VALUES (gen_random_uuid(), '{merchants/acme/standingOrders/tea-3}', now())",
    )
    report = await book.prove()
    assert report.violations == []
    # It has arrived.
    [events] = [verdict for verdict in report.verdicts if verdict.clause is NO_EVENT_UNDELIVERED]
    assert events.in_motion == 0


async def test_what_an_event_is_about_that_is_tried_again_may_differ(book: Book) -> None:
    await book.change("scheduler", LESS_ASKED)
    await book.change("payments", _FAILED_EVENT.format(ago="1 minute", dead_letter_time="NULL"))
    assert (await book.prove()).violations == []


async def test_an_event_that_is_tried_again_for_long_is_undelivered(book: Book) -> None:
    await book.change("payments", _FAILED_EVENT.format(ago="11 minutes", dead_letter_time="NULL"))
    assert (await book.prove()).broken == {"no-event-undelivered"}


async def test_an_event_about_something_else_excuses_nothing(book: Book) -> None:
    await book.change("scheduler", "UPDATE orders SET amount_minor = 899"
                      " WHERE standing_order = 'tea-2' AND cycle = 1")  # fmt: skip
    await book.change("scheduler", JUST_PUBLISHED)
    assert (await book.prove()).broken == {"order-has-one-charge"}


@pytest.mark.parametrize("state", ["BACKORDERED", "WAIVED"])
async def test_what_a_paid_order_is_owed_or_was_is_accounted_for(book: Book, state: str) -> None:
    changed = (
        f"UPDATE stock_holds SET state = '{state}' WHERE standing_order = 'tea-1' AND cycle = 1"  # noqa: S608
    )
    await book.change("catalog", changed)
    assert (await book.prove()).violations == []


async def test_units_held_just_now_may_be_for_an_order_that_is_not_stored_yet(book: Book) -> None:
    await book.change(
        "catalog",
        """
        INSERT INTO stock_holds (merchant, standing_order, cycle, announcement_count, state, products,
                                 quantities, expire_time, due_time)
        VALUES ('acme', 'tea-3', 2, 1, 'HELD', '{tea}', '{2}', now() + interval '45 days', now())
        """,
    )
    await book.change("catalog", "UPDATE stock SET held_units = 2")
    assert (await book.prove()).violations == []
    older = "UPDATE stock_holds SET hold_time = now() - interval '1 minute' WHERE state = 'HELD'"
    await book.change("catalog", older)
    assert (await book.prove()).broken == {"stock-matches-orders"}


WAITS = """
    UPDATE webhook_deliveries SET state = 'PENDING', deliver_time = NULL,
                                  next_attempt_time = now() - interval '{}'
"""


async def test_an_event_that_waits_for_an_endpoint_that_is_sent_to_is_not_late(book: Book) -> None:
    await book.change("notify", WAITS.format("2 hours"))
    assert (await book.prove()).broken == {"nothing-due-undone"}
    sent = "UPDATE webhook_endpoints SET last_attempt_time = now() - interval '{} minutes'"
    await book.change("notify", sent.format(59))
    assert (await book.prove()).violations == []
    await book.change("notify", sent.format(61))
    assert (await book.prove()).broken == {"nothing-due-undone"}


async def test_an_event_for_an_endpoint_that_is_not_there_any_more_is_not_left_waiting(
    book: Book,
) -> None:
    await book.change("notify", WAITS.format("59 minutes"))
    await book.change("notify", "DELETE FROM webhook_endpoints")
    assert (await book.prove()).violations == []
    await book.change("notify", WAITS.format("61 minutes"))
    assert (await book.prove()).broken == {"nothing-due-undone"}


async def test_an_event_that_waits_for_an_endpoint_is_kept(book: Book) -> None:
    await book.change("notify", WAITS.format("0 minutes"))
    await book.change("notify", "DELETE FROM webhook_events")
    assert (await book.prove()).broken == {"webhooks-queued", "webhook-events-kept"}


async def test_what_happened_before_an_endpoint_wanted_it_is_owed_to_nobody(book: Book) -> None:
    await book.execute("notify", "DELETE FROM webhook_deliveries; DELETE FROM webhook_events")
    changed = "UPDATE webhook_endpoints SET {0}, send_since_time = {1}, keep_since_time = {1}"
    await book.change("notify", changed.format("event_types = '{}'", "now()"))
    assert (await book.prove()).violations == []
    long_ago = "now() - interval '3 days'"
    await book.change("notify", changed.format("event_types = '{some.other.Event}'", long_ago))
    assert (await book.prove()).violations == []
    await book.change("notify", changed.format("event_types = '{}'", long_ago))
    assert (await book.prove()).broken == {"webhook-events-kept"}


async def test_a_view_that_may_not_be_read_ends_the_proof_with_the_name_of_its_database(
    book: Book,
) -> None:
    await book.execute(
        "payments", "REVOKE SELECT ON audit_v1.withdrawals FROM recurring_payments_auditor"
    )
    with pytest.raises(CommandError, match=r"database of payments cannot be read: .*withdrawals"):
        await book.prove()


async def test_an_event_of_yesterday_is_looked_for_by_a_full_proof(book: Book) -> None:
    await book.change("scheduler", _EVENT.format(ago="1 day"))
    assert (await book.prove(full=False)).violations == []
    assert (await book.prove()).broken == {"no-event-undelivered"}
