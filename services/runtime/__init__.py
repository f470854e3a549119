"""What a process needs to run: no service and no business noun is known here."""
