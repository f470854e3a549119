"""Consent, charges and the ledger: nobody pays more, earlier or more often than they agreed to."""
