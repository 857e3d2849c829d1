"""Entries that need a person: read from all domains, with marks and possible actions."""
