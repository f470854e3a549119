"""Who calls: tokens, certificates, the context of a call."""
