"""When a charge may be made, what becomes of it, and what is booked. Pure functions."""
