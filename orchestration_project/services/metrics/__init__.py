"""Metrics of the system, read from its storage, as runs are other processes.

Each module has one place to read from, and functions that return Prometheus' metric families. Names
and units follow its conventions: seconds, bytes, `_total` for what only grows.
"""
