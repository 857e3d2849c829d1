"""Loads data: captures, validation, one transaction per delivery, history, runs of partitions."""
