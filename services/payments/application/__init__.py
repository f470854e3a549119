"""Use cases of payments: what happens, by noun, in one transaction each."""
