"""Documents as files, made in a process of their own."""
