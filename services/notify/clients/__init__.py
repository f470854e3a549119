"""What notify asks of others: an SMS gateway and a mail server."""
