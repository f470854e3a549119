"""Clients of the SMS gateway, the mail server and payments."""
