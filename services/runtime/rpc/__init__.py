"""gRPC: server, admission, validation, limits, channels, pages."""
