"""The client of the payment provider."""
