"""Read-only SQL of analysts, within limits of time and rows, on both databases."""
