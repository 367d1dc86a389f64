"""What a machine can run: each thing looked at alone, so that whatever is broken shows as a line and stops nothing."""
