"""Which tables say what callers and events did."""

# What the workers of a service write at intervals, whatever callers and events do.
CHANGED_AT_INTERVALS = (
    "bucket_leases", "lease_holders", "outbox_cursor", "proof_digests", "proof_digest_progress",
    "ledger_closing", "ledger_days", "sales_days", "balance_reading", "reconciliation_findings",
    "dispute_lists", "notice_statistics", "notice_statistics_changes",
)  # fmt: skip
