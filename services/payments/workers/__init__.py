"""Due work of payments: each step takes a batch that is due and calls the use cases."""
