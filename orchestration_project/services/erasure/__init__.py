"""Erasure of a person or document from rows, bytes and logs of runs."""
