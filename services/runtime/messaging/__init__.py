"""Events between services: outbox, inbox, NATS JetStream."""
