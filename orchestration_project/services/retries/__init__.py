"""Retries of failed partitions and work items."""
