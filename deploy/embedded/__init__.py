"""The whole suite on one machine: PostgreSQL, NATS, the sandbox and the services as processes.

Start it with `python -m deploy.embedded up`. Tests use `EmbeddedPostgres` and `EmbeddedNats` alone,
or an `EmbeddedStack` in a folder of their own.
"""
