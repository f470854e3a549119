"""The `recurring` command: a client of the public contracts, for people and for programs."""
