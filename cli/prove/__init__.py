"""`recurring prove`: the services' databases against the outside world's own records and the calendar.

Nothing here asks the services: what they say of themselves is what is to be proved.
"""
