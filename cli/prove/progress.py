"""Progress: nothing is overdue, abandoned by its worker, given up, or unknown to whom it concerns."""

from cli.prove.clauses import Clause, LocalClause

SERVICES = ("catalog", "scheduler", "payments", "notify")

NOTHING_DUE_UNDONE = LocalClause(
    "nothing-due-undone",
    "What is to be done at a time is done within an hour of it.",
    SERVICES,
    "SELECT count(*) FROM audit_v1.due_work WHERE $1 IN ('', merchant)",
    """
    SELECT merchant, format('%s %s waits since %s', kind, subject, due_time) AS what
    FROM audit_v1.due_work
    WHERE due_time < $2 - interval '1 hour' AND $1 IN ('', merchant)
    """,
)
# Leases are 15 to 30 seconds: whoever still works makes a claim anew by then.
NO_LEASE_OUTLIVED = LocalClause(
    "no-lease-outlived",
    "No claim on work that is due is older than five minutes.",
    SERVICES,
    """
    SELECT (SELECT count(*) FROM audit_v1.due_work
            WHERE claim_time IS NOT NULL AND $1 IN ('', merchant))
         + (SELECT count(*) FROM audit_v1.events_published
            WHERE publish_time IS NULL AND claim_time IS NOT NULL AND $1 IN ('', merchant))
    """,
    """
    SELECT merchant, format('%s %s is claimed since %s', kind, subject, claim_time) AS what
    FROM (SELECT kind, merchant, subject, claim_time FROM audit_v1.due_work WHERE due_time <= $2
          UNION ALL
          SELECT 'event', merchant, event_id::text, claim_time FROM audit_v1.events_published
          WHERE publish_time IS NULL) AS claimed
    WHERE claim_time < $3 - interval '5 minutes' AND $1 IN ('', merchant)
    """,
)
NO_DEAD_LETTER = LocalClause(
    "no-dead-letter",
    "No event was given up.",
    SERVICES,
    "SELECT count(*) FROM audit_v1.dead_letters WHERE $1 IN ('', merchant)",
    """
    SELECT merchant, format('%s %s was given up %s', type, event_id, dead_letter_time) AS what
    FROM audit_v1.dead_letters WHERE $1 IN ('', merchant)
    """,
)
NO_EVENT_UNTOLD = Clause(
    "no-event-untold",
    "Every event reaches every service that it concerns within ten minutes.",
)
LOCAL = (NOTHING_DUE_UNDONE, NO_LEASE_OUTLIVED, NO_DEAD_LETTER)
