"""Notices: one for each fact, and no text that had become false before it was sent."""

from cli.prove.clauses import Agreement, LocalClause

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
    """
    , ends AS (
        SELECT merchant, subject_resource, kind FROM audit_v1.notices
        WHERE kind IN ('RECEIPT', 'ORDER_LAPSED', 'ORDER_CANCELLED') AND original_notice = ''
          AND $1 IN ('', merchant))
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
OUTCOME_AS_DELIVERED = LocalClause(
    "outcome-as-delivered",
    "A notice counts as delivered if and only if a channel delivered it.",
    ("notify",),
    """
    SELECT count(*) FROM audit_v1.notices
    WHERE outcome IS NOT NULL AND UNSETTLED(occur_time) AND $1 IN ('', merchant)
    """,
    """
    SELECT merchant, format('%s/notices/%s is %s, its deliveries say otherwise', customer_name, notice,
                            coalesce(outcome, 'open')) AS what
    FROM audit_v1.notices
    WHERE outcome = 'DELIVERED' AND UNSETTLED(occur_time) AND $1 IN ('', merchant)
      AND NOT EXISTS (
          SELECT FROM audit_v1.deliveries
          WHERE deliveries.customer = notices.customer AND deliveries.merchant = notices.merchant
            AND deliveries.notice = notices.notice AND deliveries.evidence_time IS NOT NULL)
    UNION ALL
    SELECT merchant, format('%s/notices/%s is open, its %s was delivered', notices.customer_name,
                            notice, channel)
    FROM audit_v1.notices JOIN audit_v1.deliveries USING (merchant, customer, notice)
    WHERE outcome IS NULL AND main AND evidence_time IS NOT NULL AND UNSETTLED(notices.occur_time)
      AND $1 IN ('', merchant)
    """,
    ("notices", "deliveries"),
)
# What a later notice of a kind about the same subject makes untrue. What is being sent at that moment
# arrives all the same. A notice that was made before the other's fact is no later one: an order that is
# held again for what it was held for before keeps its notice, with the time of the last hold.
NO_TEXT_FALSE_WHEN_SENT = LocalClause(
    "no-text-false-when-sent",
    "No text is sent after notify knew that it was not true any more.",
    ("notify",),
    """
    SELECT count(*) FROM audit_v1.notices
    WHERE outcome = 'DELIVERED' AND UNSETTLED(occur_time) AND $1 IN ('', merchant)
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
        ('PAYMENT_OVERDUE', 'PAYMENT_REQUEST'), ('PAYMENT_OVERDUE', 'PAYMENT_DECLINED'))
    SELECT sent.merchant, format('%s %s of %s was sent %s, after %s', sent.channel, sent.kind,
                                 sent.subject_resource, coalesce(sent.accept_time, sent.deliver_time),
                                 later.kind) AS what
    FROM audit_v1.deliveries AS sent
    JOIN audit_v1.notices AS later
      ON later.merchant = sent.merchant AND later.subject_resource = sent.subject_resource
      AND sent.occur_time < later.occur_time AND sent.occur_time < later.create_time
      AND coalesce(sent.accept_time, sent.deliver_time) > later.create_time + interval '30 seconds'
      AND UNSETTLED_OR_LATER(later.occur_time)
    -- Before the pairs of kinds, which would multiply the rows: the times alone leave hardly any.
    WHERE sent.kind IN ('ORDER_UPCOMING', 'ORDER_HELD', 'ORDER_SKIPPED', 'PAYMENT_REQUEST',
                        'PAYMENT_DECLINED', 'PAYMENT_OVERDUE')
      AND (later.kind, sent.kind) IN (SELECT later_kind, kind FROM supersedes)
      AND sent.state = 'DELIVERED' AND UNSETTLED(sent.occur_time) AND $1 IN ('', sent.merchant)
    """,
    ("notices", "deliveries"),
)
LOCAL = (ONE_NOTICE_A_FACT, OUTCOME_AS_DELIVERED, NO_TEXT_FALSE_WHEN_SENT)
AGREEMENTS = (RECEIPT_SENT,)
