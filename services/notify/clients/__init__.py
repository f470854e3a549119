"""Clients of the SMS gateway and the mail server."""
