"""The control plane: accepts, keeps, schedules and answers; no numpy, no torch."""
