"""Training: steps, schedule, averaging, validation."""
