"""Authentication: tokens, certificates, the caller of a call."""
