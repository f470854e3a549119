"""The scheduler's due work: prepare what comes, collect what is due, look again at what is held."""
