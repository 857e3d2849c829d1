"""What is measured of the system, read from where it is stored: runs happen in other processes.

Each module has one place to read from, and functions that return Prometheus' metric families. Names
and units follow its conventions: seconds, bytes, `_total` for what only grows.
"""
