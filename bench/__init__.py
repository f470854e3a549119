"""How many cycles a second the suite bills, beside a limit and a peer on the same PostgreSQL."""
