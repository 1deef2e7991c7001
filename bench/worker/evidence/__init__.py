"""Which kernel ran, read from the executed programs."""
