"""What payments asks of others: the payment provider."""
