"""Exports as a service: declared in a file, planned by loads, delivered to targets by retries.

How rows become a file is in `services/export.py`.
"""
