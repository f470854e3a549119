"""What happens: the use cases of the scheduler, one noun a module."""
