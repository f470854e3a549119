"""What notify decides: values and rules, without I/O."""
