"""Repair of damaged artifacts, and copies of artifacts in a second store."""
