"""Embedded demo sources: programs of their own that only speak HTTP to the rest."""
