"""How many cycles a second the suite bills, beside bare SQL and pgqueuer on the same PostgreSQL."""
