"""Notices: one for each fact, and no text that had become false before it was sent."""

from cli.prove.clauses import Agreement, Clause, JointClauses, LocalClause

RECEIPT_SENT = Agreement(
    "receipt-sent",
    "Every paid order has a receipt, every cancelled one a notice of it, and no other has.",
    "scheduler",
    "notify",
)
ONE_NOTICE_A_FACT = LocalClause(
    "one-notice-a-fact",
    "The end of an order has one notice, copies aside: a receipt, or that it lapsed or was cancelled.",
    ("notify",),
    """
    SELECT count(*) FROM audit_v1.notices
    WHERE kind IN ('RECEIPT', 'ORDER_LAPSED', 'ORDER_CANCELLED') AND original_notice = ''
      AND UNSETTLED(occur_time) AND $1 IN ('', merchant)
    """,
    """
    SELECT merchant, format('%s notices of the end of %s: %s', count(*), subject_resource,
                            string_agg(DISTINCT kind, ', ')) AS what
    FROM ends GROUP BY merchant, subject_resource HAVING count(*) > 1
    """,
    ("notices",),
    # Long names are slow to group: what has one notice is left out by a hash.
    """
    , repeated AS MATERIALIZED (
        SELECT hashtextextended(subject_resource, 0) AS subject_hash FROM audit_v1.notices
        WHERE kind IN ('RECEIPT', 'ORDER_LAPSED', 'ORDER_CANCELLED') AND original_notice = ''
          AND $1 IN ('', merchant)
        GROUP BY subject_hash HAVING count(*) > 1),
    ends AS (
        SELECT merchant, subject_resource, kind FROM audit_v1.notices
        WHERE kind IN ('RECEIPT', 'ORDER_LAPSED', 'ORDER_CANCELLED') AND original_notice = ''
          AND hashtextextended(subject_resource, 0) IN (TABLE repeated) AND $1 IN ('', merchant))
    """,
    # Those of the same customer are found by an index, however old they are.
    """
    , new AS (
        SELECT merchant, customer, subject_resource, notice, kind FROM audit_v1.notices
        WHERE kind IN ('RECEIPT', 'ORDER_LAPSED', 'ORDER_CANCELLED') AND original_notice = ''
          AND UNSETTLED(occur_time) AND $1 IN ('', merchant)),
    ends AS (
        SELECT merchant, subject_resource, notice, kind FROM new
        UNION
        SELECT merchant, subject_resource, other.notice, other.kind
        FROM new JOIN audit_v1.notices AS other USING (merchant, customer, subject_resource)
        WHERE other.kind IN ('RECEIPT', 'ORDER_LAPSED', 'ORDER_CANCELLED')
          AND other.original_notice = '')
    """,
)
OUTCOME_AS_DELIVERED = Clause(
    "outcome-as-delivered", "A notice counts as delivered if and only if a channel delivered it."
)
NO_TEXT_FALSE_WHEN_SENT = Clause(
    "no-text-false-when-sent",
    "No text is sent after notify knew that it was not true any more.",
)
# Notices are joined with their deliveries once. A text that was sent 30 seconds after notify knew what
# makes it untrue was sent 30 seconds after what it is about as well: most texts are left out by that.
#
# `supersedes` is what a later notice of a kind about the same subject makes untrue. What is being sent
# at that moment arrives all the same. A notice that was made before the other's fact is no later one:
# an order that is held again for what it was held for before keeps its notice, with the time of the
# last hold.
OF_DELIVERIES = JointClauses(
    (OUTCOME_AS_DELIVERED, NO_TEXT_FALSE_WHEN_SENT),
    ("notify",),
    """
    SELECT count(*) FROM audit_v1.notices
    WHERE outcome IS NOT NULL AND UNSETTLED(occur_time) AND $1 IN ('', merchant)
    """,
    """
    , supersedes (later_kind, kind) AS (VALUES
        ('ORDER_UPCOMING', 'ORDER_UPCOMING'), ('ORDER_UPCOMING', 'ORDER_HELD'),
        ('ORDER_UPCOMING', 'ORDER_SKIPPED'), ('ORDER_HELD', 'ORDER_HELD'),
        ('ORDER_HELD', 'PAYMENT_REQUEST'), ('ORDER_HELD', 'PAYMENT_DECLINED'),
        ('PAYMENT_REQUEST', 'ORDER_HELD'), ('PAYMENT_REQUEST', 'PAYMENT_REQUEST'),
        ('PAYMENT_REQUEST', 'PAYMENT_DECLINED'), ('PAYMENT_DECLINED', 'PAYMENT_DECLINED'),
        ('ORDER_SKIPPED', 'ORDER_UPCOMING'), ('ORDER_SKIPPED', 'ORDER_HELD'),
        ('ORDER_SKIPPED', 'PAYMENT_REQUEST'), ('ORDER_SKIPPED', 'PAYMENT_DECLINED'),
        ('RECEIPT', 'ORDER_UPCOMING'), ('RECEIPT', 'ORDER_HELD'), ('RECEIPT', 'PAYMENT_REQUEST'),
        ('RECEIPT', 'PAYMENT_DECLINED'), ('ORDER_LAPSED', 'ORDER_UPCOMING'),
        ('ORDER_LAPSED', 'ORDER_HELD'), ('ORDER_LAPSED', 'PAYMENT_REQUEST'),
        ('ORDER_LAPSED', 'PAYMENT_DECLINED'), ('ORDER_CANCELLED', 'ORDER_UPCOMING'),
        ('ORDER_CANCELLED', 'ORDER_HELD'), ('ORDER_CANCELLED', 'PAYMENT_REQUEST'),
        ('ORDER_CANCELLED', 'PAYMENT_DECLINED'), ('RECEIPT', 'PAYMENT_OVERDUE'),
        ('PAYMENT_OVERDUE', 'PAYMENT_REQUEST'), ('PAYMENT_OVERDUE', 'PAYMENT_DECLINED')),
    suspected AS MATERIALIZED (
        SELECT merchant, customer, notices.customer_name, notice, notices.kind,
               notices.subject_resource, notices.occur_time, outcome, channel, main, evidence_time,
               state, coalesce(accept_time, deliveries.deliver_time) AS send_time
        FROM audit_v1.notices LEFT JOIN audit_v1.deliveries USING (merchant, customer, notice)
        WHERE UNSETTLED(notices.occur_time) AND $1 IN ('', merchant)
          AND (outcome = 'DELIVERED' AND evidence_time IS NULL
               OR outcome IS NULL AND main AND evidence_time IS NOT NULL
               OR state = 'DELIVERED'
                  AND notices.kind IN ('ORDER_UPCOMING', 'ORDER_HELD', 'ORDER_SKIPPED',
                                       'PAYMENT_REQUEST', 'PAYMENT_DECLINED', 'PAYMENT_OVERDUE')
                  AND coalesce(accept_time, deliveries.deliver_time)
                      > notices.occur_time + interval '30 seconds'))
    SELECT DISTINCT 'outcome-as-delivered' AS clause, merchant,
           format('%s/notices/%s is DELIVERED, its deliveries say otherwise', customer_name, notice)
               AS what
    FROM suspected
    WHERE outcome = 'DELIVERED' AND evidence_time IS NULL
      AND NOT EXISTS (
          SELECT FROM audit_v1.deliveries
          WHERE deliveries.customer = suspected.customer AND deliveries.merchant = suspected.merchant
            AND deliveries.notice = suspected.notice AND deliveries.evidence_time IS NOT NULL)
    UNION ALL
    SELECT 'outcome-as-delivered', merchant,
           format('%s/notices/%s is open, its %s was delivered', customer_name, notice, channel)
    FROM suspected WHERE outcome IS NULL AND main AND evidence_time IS NOT NULL
    UNION ALL
    SELECT 'no-text-false-when-sent', sent.merchant,
           format('%s %s of %s was sent %s, after %s', sent.channel, sent.kind, sent.subject_resource,
                  send_time, later.kind)
    FROM suspected AS sent
    JOIN audit_v1.notices AS later
      ON later.merchant = sent.merchant AND later.subject_resource = sent.subject_resource
      AND sent.occur_time < later.occur_time AND sent.occur_time < later.create_time
      AND send_time > later.create_time + interval '30 seconds' AND UNSETTLED_OR_LATER(later.occur_time)
    WHERE state = 'DELIVERED' AND (later.kind, sent.kind) IN (SELECT later_kind, kind FROM supersedes)
    """,
    ("notices",),
)
LOCAL = (ONE_NOTICE_A_FACT,)
JOINT = (OF_DELIVERIES,)
AGREEMENTS = (RECEIPT_SENT,)
