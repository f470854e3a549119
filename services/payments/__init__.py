"""Consent, charges and the books: nobody pays more, earlier or more often than they agreed to."""
