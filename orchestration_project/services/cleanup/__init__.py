"""Removal of artifacts that are old and that nothing references."""
