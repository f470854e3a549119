"""PostgreSQL: pool, migrations, idempotency, audit, key rotation."""
