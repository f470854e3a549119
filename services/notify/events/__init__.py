"""What notify tells, and the notices that it makes of what others tell."""
