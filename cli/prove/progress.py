"""Progress: nothing is overdue, abandoned by its worker, given up, or unknown to whom it concerns."""

from cli.connect import SERVICES
from cli.prove.clauses import Clause, JointClauses, LocalClause

NOTHING_DUE_UNDONE = Clause(
    "nothing-due-undone", "What is to be done at a time is done within an hour of it."
)
NO_LEASE_OUTLIVED = Clause(
    "no-lease-outlived",
    "No work is due in a bucket whose lease ended more than five minutes ago.",
)
# What waits for a worker is found by the worker's index. What waits for an event has none, and is read
# of days that are not settled.
_READ = """
    (kind <> 'announced order without a delivered notice' OR UNSETTLED(due_time))
    AND $1 IN ('', merchant)
"""
OF_DUE_WORK = JointClauses(
    (NOTHING_DUE_UNDONE, NO_LEASE_OUTLIVED),
    SERVICES,
    f"SELECT count(*) FROM audit_v1.due_work WHERE {_READ}",  # noqa: S608 - a condition of our own
    # Leases are 20 to 30 seconds, and renewed every other second: whoever still works has taken it by
    # then.
    f"""
    , due AS MATERIALIZED (
        SELECT merchant, kind, subject, due_time, bucket FROM audit_v1.due_work
        WHERE due_time <= $2 AND {_READ})
    SELECT 'nothing-due-undone' AS clause, merchant,
           format('%s %s waits since %s', kind, subject, due_time) AS what
    FROM due WHERE due_time < $2 - interval '1 hour'
    UNION ALL
    SELECT 'no-lease-outlived', merchant,
           format('the lease on %s %s ended at %s', kind, subject, expire_time)
    FROM due JOIN audit_v1.bucket_leases USING (bucket)
    WHERE expire_time < $3 - interval '5 minutes'
    """,  # noqa: S608 - a condition of our own
    ("order-has-one-charge",),
)
NO_DEAD_LETTER = LocalClause(
    "no-dead-letter",
    "No event was given up.",
    SERVICES,
    """
    SELECT count(*) FROM audit_v1.failed_events
    WHERE dead_letter_time IS NOT NULL AND $1 IN ('', merchant)
    """,
    """
    SELECT merchant, format('%s %s was given up %s', type, event_id, dead_letter_time) AS what
    FROM audit_v1.failed_events
    WHERE dead_letter_time IS NOT NULL AND $1 IN ('', merchant)
    """,
)
NO_EVENT_UNDELIVERED = Clause(
    "no-event-undelivered",
    "Every event reaches every service that it concerns within ten minutes.",
)
LOCAL = (NO_DEAD_LETTER,)
