"""The outside world for development: payment provider, SMS gateway, mail and a simulated clock."""
