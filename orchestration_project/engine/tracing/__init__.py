"""Traces by W3C Trace Context: one ID from a request to the rows that it loads."""
